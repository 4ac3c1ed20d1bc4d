import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from fakes import FakeEncoder, WordEncoder, plain_synset, unit
from mllctl import build_index
from mllctl.backends.vectors import VectorIndex
from mllctl.errors import StageMissing
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub
from mllctl.images import Domain
from mllctl.index import check_encoder, match_nodes, open_index
from mllctl.kernels.transfer import transfer_matrix


def test_an_index_holds_the_captions_of_all_nodes_and_says_who_made_it(painted):
    with Hub.open(painted.hub) as hub:
        index = open_index(hub)
        captions = hub.captions()
        made = hub.manifest.index
        assert (made.nodes, made.domains, made.encoder, made.encoder_fingerprint) == (
            len(captions),
            1,
            FakeEncoder.name,
            FakeEncoder.fingerprint,
        )
        assert np.array_equal(index.vectors(np.arange(len(index))), FakeEncoder().encode(captions))
        check_encoder(hub, FakeEncoder())


def test_building_reports_what_it_made(painted_copy):
    report = build_index(painted_copy, WordEncoder("dog"))
    with Hub.open(painted_copy) as hub:
        assert (report.nodes, report.domains, report.width, report.encoder) == (len(hub.captions()), 1, 2, "words")


def test_an_index_is_not_built_before_the_graph(tmp_path, painted_copy, nouns):
    Hub.create(tmp_path / "empty").close()
    with pytest.raises(StageMissing, match="no graph yet"):
        build_index(tmp_path / "empty", FakeEncoder())
    with change_hub(painted_copy) as change:
        change.add_nodes([plain_synset(1)])
    with pytest.raises(StageMissing, match="1 nodes came after"):
        build_index(painted_copy, FakeEncoder())


def test_an_index_that_is_missing_or_older_than_its_captions_is_not_opened(tmp_path, painted, painted_copy):
    with Hub.create(tmp_path / "empty") as hub, pytest.raises(StageMissing, match="no caption index"):
        open_index(hub)
    with change_hub(painted_copy) as change:
        change.add_nodes([plain_synset(1)])
    with Hub.open(painted_copy) as hub, pytest.raises(StageMissing, match="older than its captions") as error:
        open_index(hub)
    assert error.value.command == "mllctl index build"


def test_an_index_is_older_than_a_domain_that_came_after_it(painted_copy):
    with change_hub(painted_copy) as change:
        change.add_domain(Domain("drawing", "drawings"))
    with Hub.open(painted_copy) as hub, pytest.raises(StageMissing, match="1 of 2 domains"):
        open_index(hub)


def test_vectors_of_another_encoder_are_not_compared(painted):
    with Hub.open(painted.hub) as hub, pytest.raises(StageMissing, match="made by fake, not words"):
        check_encoder(hub, WordEncoder("dog"))


@st.composite
def searches(draw):
    """Unit vectors along few directions: ties are exact and everywhere."""
    directions = st.sampled_from([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (3, 4, 0), (0, 3, 4)])
    nodes = draw(st.lists(directions, min_size=1, max_size=20))
    queries = draw(st.lists(directions, min_size=1, max_size=3))
    usable = draw(hnp.arrays(np.bool_, len(nodes)))
    return unit(np.array(nodes, dtype=float)), unit(np.array(queries, dtype=float)), usable, draw(st.integers(1, 6))


@given(searches())
def test_the_matched_nodes_are_those_of_a_full_matrix(search):
    nodes, queries, usable, count = search
    near = match_nodes(VectorIndex.build(nodes), queries.astype(np.float64), usable, count)
    full = oracles.similarities(nodes.tolist(), queries.tolist())
    assert near.shape == (len(nodes), len(queries))
    assert not near[~usable].any()
    expected = oracles.transfer_matrix(full, count, usable.tolist())
    np.testing.assert_allclose(transfer_matrix(near, count), expected, rtol=0, atol=1e-12)


def test_an_index_survives_its_bytes():
    vectors = unit(np.random.default_rng(0).normal(size=(5, 3)))
    again = VectorIndex.from_bytes(VectorIndex.build(vectors).to_bytes())
    assert len(again) == 5
    assert np.array_equal(again.vectors(np.array([4, 0])), vectors[[4, 0]])
    assert again.nearest(vectors[:1], 3, [0]).tolist() == [[0, -1, -1]]
