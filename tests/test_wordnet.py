import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import plain_synset
from mllctl.wordnet import Synset, WordNet, wnid_of, wordnet


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


@pytest.mark.parametrize("word", ["n00000000", "dog.n.99", "dog.v.01", "no such word", "Ähre", ""])
def test_what_is_no_noun_has_no_sense(nouns, word):
    assert nouns.senses(word) == []


def test_hyponyms_are_whose_hypernym_it_is(nouns):
    table = nouns.synsets()
    for synset in [nouns["n02084071"], *table[::9973]]:
        assert nouns.hyponyms(synset.wnid) == [below for below in table if synset.wnid in below.hypernyms]
    with pytest.raises(KeyError):
        nouns.hyponyms("n00000001")


def test_synsets_read_one_by_one_are_those_read_at_once(nouns):
    table = nouns.synsets()
    apart = wordnet.__wrapped__()
    for synset in table[::997]:
        assert apart[synset.wnid] == synset
        assert apart.senses(synset.synset) == [synset]
        assert synset in apart.senses(synset.lemmas[-1].replace("_", " "))
    assert "n00000001" not in apart
    assert "dog" not in apart
    assert len(apart) == len(table)


def test_a_lemma_has_the_senses_that_the_table_lists(nouns):
    by_hand = {}
    for synset in nouns.synsets():
        for lemma, sense in zip(synset.lemmas, synset.senses, strict=True):
            by_hand.setdefault(lemma.lower(), {})[sense] = synset
    for lemma in list(by_hand)[::499]:
        senses = [synset for _, synset in sorted(by_hand[lemma].items())]
        assert nouns.senses(lemma) == sorted(senses, key=lambda synset: lemma not in synset.lemmas)


def test_a_sense_that_two_spellings_share_is_listed_once(nouns):
    assert [sense.synset for sense in nouns.senses("DDC")] == ["dideoxycytosine.n.01"]


WORDS = st.sampled_from(["Dog", "dog", "hot_dog", "x-ray", "x"])


@st.composite
def tables(draw):
    """Synsets whose hypernyms have lower numbers, whose words are shared, and senses numbered as WordNet does."""
    size = draw(st.integers(1, 8))
    taken, synsets = {}, []
    for n in range(size):
        lemmas = draw(st.lists(WORDS, min_size=1, max_size=3, unique_by=str.lower))
        senses = []
        for lemma in lemmas:
            taken[lemma.lower()] = sense = taken.get(lemma.lower(), 0) + 1
            senses.append(sense)
        above = draw(st.lists(st.integers(0, n - 1), max_size=2, unique=True)) if n else []
        name = f"{lemmas[0].lower()}.n.{senses[0]:02d}"
        kind = draw(st.sampled_from(["animal", "food"]))
        text = f"what {n} is"
        synsets.append(Synset(name, wnid_of(n), tuple(lemmas), tuple(senses), text, tuple(map(wnid_of, above)), kind))
    return synsets


@given(tables())
def test_a_small_table_gives_back_what_went_in(synsets):
    nouns = WordNet.of(reversed(synsets))
    assert nouns.synsets() == synsets
    for row, synset in enumerate(synsets):
        assert nouns.senses(synset.synset) == nouns.senses(synset.wnid) == [synset]
        assert nouns.rows([synset.synset]).tolist() == [row]
        _, above = nouns.climb(np.array([row]))
        assert tuple(nouns.wnids(above)) == synset.hypernyms
    places, above = nouns.climb(np.arange(len(synsets)))
    assert [(p, wnid_of(a)) for p, a in zip(places.tolist(), above.tolist(), strict=True)] == [
        (p, wnid) for p, synset in enumerate(synsets) for wnid in synset.hypernyms
    ]
    first = [int(synset.hypernyms[0][1:]) if synset.hypernyms else -1 for synset in synsets]
    rows = np.arange(-1, len(synsets))
    assert nouns.first_hypernyms(rows).tolist() == [-1, *first]


def test_rows_of_no_synset_are_refused(nouns):
    for name in ("dog.n.99", "dog", "dog.v.01", "dog.n.xx"):
        with pytest.raises(KeyError, match=name.replace(".", r"\.")):
            nouns.rows(["dog.n.01", name])


def test_a_wordnet_can_be_handed_to_another_process():
    synset = plain_synset(1)
    assert pickle.loads(pickle.dumps(WordNet.of([synset]))).synsets() == [synset]
