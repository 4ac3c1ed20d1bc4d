"""The order of nodes against loops: worlds full of ties, and vectors whose similarities float32 cannot tell apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from mllctl.kernels import order
from mllctl.kernels.order import (
    NEAR,
    STRIDE,
    NodeVectors,
    float32_error,
    lay_out,
    likely_nodes,
    order_nodes,
    taken,
    takers,
)
from mllctl.kernels.precision import node_hits

# Sums of products of these tie all the time, and are as often negative as not.
VALUES = st.sampled_from([-1.0, -0.5, 0.0, 0.5])


@st.composite
def worlds(draw, most_nodes=12):
    """Embeddings of images and captions, and the true node of each image."""
    nodes, images, width = draw(st.integers(1, most_nodes)), draw(st.integers(0, 8)), draw(st.integers(1, 3))
    embedding = draw(hnp.arrays(np.float16, (images, width), elements=VALUES))
    captions = draw(hnp.arrays(np.float16, (nodes, width), elements=VALUES))
    return embedding, captions, draw(hnp.arrays(np.int64, images, elements=st.integers(0, nodes - 1)))


WAYS = {
    "every node": {},
    "those that float32 finds": {"FEW_NODES": 0, "GROUP": 2, "PAIRS_AT_ONCE": 3},
    "crowded and wide rows only": {"FEW_NODES": 0, "GROUP": 2, "CROWDED": 0, "NARROW": 0},
}


@pytest.fixture(params=WAYS, scope="module")
def way(request):
    """Small worlds go all the ways that large ones take."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WAYS[request.param].items():
            patch.setattr(order, name, value)
        yield request.param


def ordered(similarity, truth):
    """(rivals best first, the others best first) of one image, by sorting."""
    nodes = sorted(range(len(similarity)), key=lambda u: (-similarity[u], u))
    return nodes[: nodes.index(truth)], nodes[nodes.index(truth) + 1 :]


def check(found, similarity, truth, after):
    for n, row in enumerate(similarity):
        rivals, others = ordered(row, truth[n])
        kept = rivals + others[:after]
        assert found.rank[n] == len(rivals)
        assert found.own[n] == row[truth[n]]
        assert found.node[found.start[n] : found.start[n + 1]].tolist() == kept
        assert found.similarity[found.start[n] : found.start[n + 1]].tolist() == [row[u] for u in kept]
        assert all(oracles.beats(row, u, truth[n]) for u in rivals)
        assert not any(oracles.beats(row, u, truth[n]) for u in others)


@settings(max_examples=300)
@given(worlds(), st.integers(0, 4))
def test_rivals_and_runners_up_come_in_the_order_of_similarity(way, world, after):
    images, captions, truth = world
    similarity = oracles.similarities(images.tolist(), captions.tolist())
    check(order_nodes(images, NodeVectors.of(captions), truth, after), similarity, truth.tolist(), after)


@pytest.mark.parametrize("seed", range(6))
def test_nodes_that_float32_cannot_tell_apart_come_in_their_exact_order(way, seed):
    # Captions are one vector with its entries moved about and one changed in its last bit: many exact ties,
    # and differences far under what a float32 sum gets right.
    random = np.random.default_rng(seed)
    base = random.normal(size=256).astype(np.float16) / np.float16(16)
    captions = np.tile(base, (60, 1))
    for row in captions[::2]:
        place = random.integers(256)
        row[place] = np.nextafter(row[place], np.float16(random.choice([-4, 4])))
    images = (base + random.normal(size=(7, 256)) * 0.01).astype(np.float16)
    truth = random.integers(0, 60, size=7)
    similarity = oracles.similarities(images.tolist(), captions.tolist())
    check(order_nodes(images, NodeVectors.of(captions), truth, 3), similarity, truth.tolist(), 3)


@pytest.mark.parametrize("width", [3, 512])
@pytest.mark.parametrize("shift", [0.0, 0.3, -0.3])
def test_a_large_world_is_ordered_as_a_small_one(width, shift):
    random = np.random.default_rng(width)
    images, captions = (random.normal(shift, 1, size=(n, width)) for n in (40, 700))
    images, captions = (
        (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16) for rows in (images, captions)
    )
    truth = random.integers(0, 700, size=40)
    similarity = (images.astype(float) @ captions.astype(float).T).tolist()
    check(order_nodes(images, NodeVectors.of(captions), truth, 3), similarity, truth.tolist(), 3)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 384]))
def test_float32_is_off_by_less_than_the_bound(seed, width):
    random = np.random.default_rng(seed)
    images, captions = (random.normal(size=(5, width)).astype(np.float16) for _ in range(2))
    exact = images.astype(np.float64) @ captions.astype(np.float64).T
    rough = images.astype(np.float32) @ captions.astype(np.float32).T
    assert (np.abs(rough - exact) <= float32_error(images.astype(np.float64), NodeVectors.of(captions))[:, None]).all()


def test_few_nodes_are_likely_where_few_matter():
    # A prefilter that kept everything would be right, and useless.
    random = np.random.default_rng(0)
    captions = random.normal(size=(2000, 64))
    captions = (captions / np.linalg.norm(captions, axis=1, keepdims=True)).astype(np.float16)
    images, truth = captions[:50], np.arange(50)
    nodes = NodeVectors.of(captions)
    own = np.einsum("id,id->i", images.astype(np.float64), nodes.double[truth])
    row, _ = likely_nodes(images, nodes, own, float32_error(images.astype(np.float64), nodes), 3)
    assert 4 * 50 <= len(row) < 10 * 50


@given(st.integers(0, 2**32 - 1))
def test_similarities_of_unit_float16_vectors_do_not_depend_on_the_order_of_summation(seed):
    random = np.random.default_rng(seed)
    images, captions = (random.normal(size=(n, 384)) for n in (3, 4))
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float16)
    captions = (captions / np.linalg.norm(captions, axis=1, keepdims=True)).astype(np.float16)
    turned = random.permutation(384)
    truth = np.zeros(3, dtype=np.int64)
    one = order_nodes(images, NodeVectors.of(captions), truth, 3)
    other = order_nodes(images[:, turned], NodeVectors.of(captions[:, turned]), truth, 3)
    assert one.similarity.tolist() == other.similarity.tolist()
    check(one, oracles.similarities(images.tolist(), captions.tolist()), [0, 0, 0], 3)


def test_the_order_by_hand():
    # Node 1 is true. Node 0 ties with it and is lower, node 2 ties and is higher, node 3 is closer, node 4 is farther.
    captions = np.array([[0.5], [0.5], [0.5], [0.75], [0.25]], dtype=np.float16)
    found = order_nodes(np.ones((1, 1), np.float16), NodeVectors.of(captions), np.array([1]), 1)
    assert (found.node.tolist(), found.similarity.tolist()) == ([3, 0, 2], [0.75, 0.5, 0.5])
    assert (found.rank.tolist(), found.own.tolist()) == ([2], [0.5])


def test_what_is_no_number_is_refused():
    good, bad = np.ones((1, 2), np.float16), np.array([[np.nan, 1]], dtype=np.float16)
    with pytest.raises(ValueError, match="caption"):
        NodeVectors.of(bad)
    with pytest.raises(ValueError, match="image"):
        order_nodes(bad, NodeVectors.of(good), np.array([0]), 1)


# -- read back ------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(worlds(most_nodes=60), st.data())
def test_the_taker_is_the_first_selected_rival(world, data):
    images, captions, truth = world
    nodes = len(captions)
    found = order_nodes(images, NodeVectors.of(captions), truth, 2)
    # Ordinals of nodes have gaps; the table of selected ones ends before the greatest of them.
    ordinals = np.arange(nodes, dtype=np.uint16) * 3 + 1
    near, _ = lay_out(found, ordinals)
    chosen = sorted(data.draw(st.sets(st.integers(0, nodes - 1))))
    selected = np.zeros(3 * max(chosen, default=0) + 3, dtype=np.bool_)
    selected[ordinals[chosen]] = True
    asked = np.array(
        data.draw(st.lists(st.integers(0, max(len(images) - 1, 0)), max_size=9 if len(images) else 0)), int
    )
    taker = takers(near.take(asked), selected)
    similarity = oracles.similarities(images.tolist(), captions.tolist())
    for n, image in enumerate(asked.tolist()):
        beating = [u for u in ordered(similarity[image], truth[image])[0] if u in chosen]
        assert taker[n] == (ordinals[beating[0]] if beating else -1)
    assert taken(near.take(asked), selected).tolist() == (taker >= 0).tolist()


@pytest.mark.parametrize("rank", [0, 1, 7, 8, 9, 16, 17, 40, 72, 127, 128, 129, 136, 137, 300])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_taker_is_found_however_far_along_the_list_it_stands(rank, dtype):
    # One image; the truth is the last of `rank + 1` nodes, each a little less like it than the one before.
    captions = np.linspace(1, 0.25, rank + 1).astype(np.float16)[:, None]
    found = order_nodes(np.ones((1, 1), np.float16), NodeVectors.of(captions), np.array([rank]), 3)
    near, far = lay_out(found, np.arange(rank + 1, dtype=dtype))
    assert near.full.tolist() == [rank > NEAR - STRIDE]
    expected = ordered(captions.astype(float)[:, 0].tolist(), rank)[0]
    assert found.rank.tolist() == [rank]
    for place, node in enumerate(expected):
        selected = np.zeros(rank + 2, dtype=np.bool_)
        selected[expected[place:]] = True
        # The far rivals are asked only where no near one is selected.
        part = near if place < NEAR else far
        assert takers(part, selected).tolist() == [node]
        assert taken(part, selected).tolist() == [True]
    for part in (near, far):
        assert takers(part, np.zeros(rank + 2, dtype=np.bool_)).tolist() == [-1]


@given(worlds(), st.data())
def test_an_image_is_a_hit_where_no_selected_node_takes_it(world, data):
    images, captions, truth = world
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(captions) - 1)))), dtype=np.int64)
    selected = np.zeros(len(captions) + 1, dtype=np.bool_)
    selected[chosen] = True
    near, _ = lay_out(
        order_nodes(images, NodeVectors.of(captions), truth, 0), np.arange(len(captions), dtype=np.uint16)
    )
    free = ~taken(near, selected)
    similarity = np.array(oracles.similarities(images.tolist(), captions.tolist())).reshape(len(images), len(captions))
    assert node_hits(similarity, truth, chosen)[0].tolist() == [int(free[truth == v].sum()) for v in chosen]
