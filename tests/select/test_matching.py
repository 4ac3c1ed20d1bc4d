import numpy as np
import pytest

import oracles
from mllctl.hub import StoredNode
from mllctl.select.estimating import lineage
from mllctl.select.matching import REACH, STEP, Kin, match_by_caption, match_by_wordnet
from mllctl.senses import find_meanings
from mllctl.wordnet import wordnet


class Captions:
    """An index that keeps vectors as they are."""

    def __init__(self, vectors):
        self._vectors = np.array(vectors, dtype=np.float32)

    def __len__(self):
        return len(self._vectors)

    def nearest(self, queries, count, usable):
        order = np.argsort(-(queries @ self._vectors[usable].T), axis=1, kind="stable")[:, :count]
        return np.asarray(usable)[order]

    def vectors(self, rows):
        return self._vectors[rows]


def nodes(*synsets):
    return [StoredNode(n, synset, synset.split(".")[0], "", "", "", 1) for n, synset in enumerate(synsets)]


@pytest.fixture(scope="module")
def nouns():
    return wordnet()


ANIMALS = ("dog.n.01", "wolf.n.01", "cat.n.01", "eskimo_dog.n.01", "car.n.01")


def test_kin_counts_the_steps_up_to_a_common_ancestor_and_down(nouns):
    [dog] = nouns.senses("dog.n.01")
    found = dict(zip(*(part.tolist() for part in Kin(nodes(*ANIMALS), nouns).of(dog)), strict=True))
    # A wolf is a canine beside the dog; an Eskimo dog a working dog, under it; a cat is four steps away, out of reach.
    assert found == {0: 0, 1: 2, 3: 2}


@pytest.mark.parametrize(
    "name", ["dog.n.01", "eskimo_dog.n.01", "canine.n.02", "feline.n.01", "vehicle.n.01", "animal.n.01"]
)
def test_kin_finds_what_a_search_of_the_graph_finds(nouns, name):
    [synset] = nouns.senses(name)
    kin = Kin(nodes(*ANIMALS), nouns)
    found = dict(zip(*(part.tolist() for part in kin.of(synset)), strict=True))
    expected = {
        n: steps
        for n, other in enumerate(ANIMALS)
        if (steps := oracles.steps(nouns, synset.wnid, nouns.senses(other)[0].wnid)) <= kin.reach
    }
    assert found == expected


def test_a_class_is_matched_by_captions_and_steps_together(nouns):
    # All captions are equally like the class, so that steps decide.
    index = Captions(np.full((len(ANIMALS), 1), 0.8))
    usable = np.array([True, True, True, False, True])
    meanings = find_meanings(["dog"], nouns)
    match = match_by_wordnet(index, np.ones((1, 1)), usable, 3, meanings, Kin(nodes(*ANIMALS), nouns))
    far = pytest.approx(0.8 * STEP**REACH)
    assert match.transfer[:, 0].tolist() == [pytest.approx(0.8), pytest.approx(0.8 * STEP**2), far, 0, 0]
    assert (match.steps.tolist(), match.covered.tolist()) == ([0], [True])


def test_a_class_unknown_to_wordnet_is_matched_by_captions_alone(nouns):
    index = Captions([[0.9], [0.2], [0.5], [0.4], [0.6]])
    usable = np.ones(5, dtype=bool)
    meanings = find_meanings(["qwertz"], nouns)
    match = match_by_wordnet(index, np.ones((1, 1)), usable, 2, meanings, Kin(nodes(*ANIMALS), nouns))
    alone = match_by_caption(index, np.ones((1, 1)), usable, 2)
    np.testing.assert_allclose(match.transfer, alone.transfer * STEP**REACH, rtol=1e-6)
    assert match.covered.tolist() == alone.covered.tolist() == [True]


def test_a_class_that_resembles_nothing_is_not_covered(nouns):
    index = Captions([[0.2], [0.2], [0.3], [0.4], [0.1]])
    meanings = find_meanings(["gene"], nouns)
    match = match_by_wordnet(index, np.ones((1, 1)), np.ones(5, bool), 2, meanings, Kin(nodes(*ANIMALS), nouns))
    assert (match.covered.tolist(), match.transfer.any()) == ([False], False)


def test_a_lineage_names_what_several_but_not_all_nodes_share(nouns):
    table = lineage(nodes(*ANIMALS), nouns)
    # All but the car are animals, of which all but the cat are canines, of which dog and Eskimo dog are dogs.
    shared = [{number for number in row if number >= 0} for row in table.tolist()]
    assert [len(row) for row in shared] == [3, 2, 1, 3, 0]
    assert shared[2] < shared[1] < shared[0]
    assert shared[0] == shared[3]


def test_one_node_alone_shares_nothing(nouns):
    assert lineage(nodes("dog.n.01"), nouns).shape == (1, 0)
