"""The search in torch finds what the search in NumPy has to find; on a processor, since tests have no accelerator."""

import numpy as np
import pytest

from mllctl.backends.comparison import likely_on
from mllctl.kernels.order import NodeVectors, float32_error, likely_nodes, order_nodes


def vectors(random, count, width=64):
    rows = random.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture(scope="module")
def world():
    random = np.random.default_rng(3)
    captions, images = vectors(random, 600), vectors(random, 80)
    captions[300:310] = captions[:10]  # exact ties
    return images, captions, random.integers(0, 600, 80)


def test_a_label_is_the_same_wherever_its_images_are_compared(world):
    images, captions, truth = world
    here = order_nodes(images, NodeVectors.of(captions), truth, 3)
    there = order_nodes(images, NodeVectors.of(captions), truth, 3, likely_on("cpu"))
    for name in ("start", "node", "similarity", "own", "rank"):
        assert np.array_equal(getattr(here, name), getattr(there, name))


def test_both_find_few_nodes_and_all_that_matter(world):
    images, captions, truth = world
    nodes = NodeVectors.of(captions)
    exact = images.astype(np.float64) @ nodes.double.T
    own = exact[np.arange(80), truth]
    error = float32_error(images.astype(np.float64), nodes)
    for search in (likely_nodes, likely_on("cpu")):
        row, column = search(images, nodes, own, error, 3)
        found = set(zip(row.tolist(), column.tolist(), strict=True))
        assert len(found) == len(row)
        for n in range(80):
            runners_up = np.sort(exact[n][exact[n] < own[n]])[-3:]
            needed = np.flatnonzero((exact[n] >= own[n]) | np.isin(exact[n], runners_up))
            assert {(n, int(node)) for node in needed} <= found
        assert len(found) < 1.3 * sum((exact[n] >= own[n]).sum() + 3 for n in range(80))


def test_captions_of_another_label_are_not_mistaken_for_those_on_the_device(world):
    images, captions, truth = world
    search = likely_on("cpu")
    for shift in (0, 1):
        turned = np.roll(captions, shift, axis=0)
        here = order_nodes(images, NodeVectors.of(turned), truth, 3)
        assert np.array_equal(order_nodes(images, NodeVectors.of(turned), truth, 3, search).node, here.node)


def test_a_device_that_is_not_there_is_said():
    with pytest.raises((RuntimeError, AssertionError)):
        likely_on("cuda:99")
