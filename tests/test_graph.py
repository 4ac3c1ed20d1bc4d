import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import plain_synset
from mllctl.graph import WordNet, with_ancestors, wordnet


def test_wordnet_has_every_noun_synset_and_each_of_its_hypernyms(nouns):
    assert len(nouns) == 82115
    dog = nouns["n02084071"]
    assert (dog.synset, dog.name, dog.lexname) == ("dog.n.01", "dog", "animal")
    assert dog.definition.startswith("a member of the genus Canis")
    assert {nouns[above].synset for above in dog.hypernyms} == {"canine.n.02", "domestic_animal.n.01"}
    assert wordnet() is nouns


def test_a_lemma_has_its_senses_most_frequent_first(nouns):
    assert [sense.synset for sense in nouns.senses("tiger")] == ["tiger.n.01", "tiger.n.02"]
    assert [sense.lexname for sense in nouns.senses("tiger")] == ["person", "animal"]
    assert [sense.synset for sense in nouns.senses("crane")][:2] == ["crane.n.04", "crane.n.05"]
    assert [sense.synset for sense in nouns.senses("Crane")][:2] == ["crane.n.01", "crane.n.02"]
    assert nouns.senses("dog")[0].synset == "dog.n.01"


@pytest.mark.parametrize("word", ["hot dog", "hot_dog", " Hot Dog "])
def test_a_lemma_is_found_however_it_is_written(nouns, word):
    assert nouns.senses(word) == nouns.senses("hot_dog")
    assert len(nouns.senses(word)) > 1


@pytest.mark.parametrize("word", ["n02084071", "dog.n.01", "Dog.n.01"])
def test_a_wnid_or_synset_name_has_one_sense(nouns, word):
    assert [sense.synset for sense in nouns.senses(word)] == ["dog.n.01"]


@pytest.mark.parametrize("word", ["n00000000", "dog.n.99", "dog.v.01", "no such word", ""])
def test_what_is_no_noun_has_no_sense(nouns, word):
    assert nouns.senses(word) == []


def test_the_ancestors_of_real_synsets_reach_the_root(nouns):
    graph = with_ancestors([nouns.senses(word)[0].wnid for word in ("dog.n.01", "apple.n.01")], nouns)
    assert [synset.synset for synset in graph.synsets[:2]] == ["dog.n.01", "apple.n.01"]
    names = {synset.synset for synset in graph.synsets}
    assert {"canine.n.02", "animal.n.01", "fruit.n.01", "entity.n.01"} <= names
    children = {child for _, child in graph.edges}
    assert [graph.synsets[n].synset for n in range(len(graph.synsets)) if n not in children] == ["entity.n.01"]


@st.composite
def hierarchies(draw):
    """Synsets whose hypernyms have lower numbers, and some of them to begin with."""
    size = draw(st.integers(1, 10))
    synsets = [
        plain_synset(n, sorted(draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else [])) for n in range(size)
    ]
    return WordNet(synsets), draw(st.lists(st.sampled_from(synsets), min_size=1))


@given(hierarchies())
def test_a_graph_holds_all_ancestors_after_the_evidence_and_every_edge_sorted(hierarchy):
    nouns, evidence = hierarchy
    graph = with_ancestors([synset.wnid for synset in evidence], nouns)
    wnids = [synset.wnid for synset in graph.synsets]
    given_wnids = list(dict.fromkeys(synset.wnid for synset in evidence))
    assert wnids[: len(given_wnids)] == given_wnids
    added = wnids[len(given_wnids) :]
    assert added == sorted(added)

    def reach(wnid):
        return {wnid}.union(*(reach(above) for above in nouns[wnid].hypernyms))

    assert set(wnids) == set().union(*map(reach, given_wnids))
    assert len(set(wnids)) == len(wnids)
    expected = {(parent, child) for child in wnids for parent in nouns[child].hypernyms}
    assert {(wnids[parent], wnids[child]) for parent, child in graph.edges} == expected
    assert list(graph.edges) == sorted(set(graph.edges))


def test_nothing_given_makes_an_empty_graph(nouns):
    assert with_ancestors([], nouns).synsets == with_ancestors([], nouns).edges == ()


def test_synsets_read_one_by_one_are_those_read_at_once(nouns):
    table = nouns.synsets()
    apart = wordnet.__wrapped__()
    for synset in list(table)[::997]:
        assert apart[synset.wnid] == synset
        assert apart.senses(synset.synset) == [synset]
        assert synset in apart.senses(synset.lemmas[-1].replace("_", " "))
    assert "n00000001" not in apart._by_wnid
    assert len(apart) == len(table)


def test_a_lemma_has_the_senses_that_the_table_lists(nouns):
    by_hand = {}
    for synset in nouns.synsets():
        for lemma, sense in zip(synset.lemmas, synset.senses, strict=True):
            by_hand.setdefault(lemma.lower(), {})[sense] = synset
    for lemma in list(by_hand)[::499]:
        senses = [synset for _, synset in sorted(by_hand[lemma].items())]
        assert nouns.senses(lemma) == sorted(senses, key=lambda synset: lemma not in synset.lemmas)
