from hypothesis import given
from hypothesis import strategies as st

from fakes import plain_synset
from mllctl.graph import with_ancestors
from mllctl.wordnet import WordNet


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
    return WordNet.of(synsets), draw(st.lists(st.sampled_from(synsets), min_size=1))


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
