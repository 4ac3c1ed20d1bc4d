"""`make_label` against loops on hundreds of worlds full of ties, and `label_model` on a real hub."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from fakes import COLOURS, FakeModel, InterruptedModel, fake, hub_of_folders, paint_folder
from mllctl import label, label_model
from mllctl.errors import HubBusy, HubReadOnly, ModelNotLoadable, SourceUnreadable, StageMissing
from mllctl.graph import with_ancestors
from mllctl.hub import Hub, LabelInput
from mllctl.hub.writing import change_hub, seal
from mllctl.images import Domain, scan

# Sums of products of these tie all the time, and are as often negative as not.
VALUES = st.sampled_from([-1.0, -0.5, 0.0, 0.5])


@st.composite
def worlds(draw):
    """Blocks of images of a few nodes, with gaps in every ordinal, and the embeddings of one model."""
    nodes = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=12)))
    blocks = draw(st.lists(st.tuples(st.sampled_from(nodes), st.sets(st.integers(0, 63), min_size=1, max_size=5))))
    if not blocks:
        blocks = [(nodes[0], {63})]
    places = [(3 * n + 1, bit, node) for n, (node, bits) in enumerate(blocks) for bit in sorted(bits)]
    block, bit, node = zip(*places, strict=True)
    images = draw(st.permutations(range(len(places))))
    given_input = LabelInput(
        graph_version=1,
        nodes=np.array(nodes, dtype=np.uint32),
        captions=tuple(map(str, nodes)),
        images=np.array(images, dtype=np.uint32),
        image_node=np.array(node, dtype=np.uint32),
        block=np.array(block, dtype=np.uint32),
        bit=np.array(bit, dtype=np.uint8),
        uris=tuple(map(str, images)),
    )
    embedding = draw(hnp.arrays(np.float16, (len(places), 2), elements=VALUES))
    captions = draw(hnp.arrays(np.float16, (len(nodes), 2), elements=VALUES))
    return given_input, embedding, captions


def dense(given_input, embedding, captions):
    """The similarities as a list of rows over node ordinals, -inf where there is no caption."""
    rows = []
    for values in oracles.similarities(embedding.tolist(), captions.tolist()):
        row = [float("-inf")] * 41
        for node, value in zip(given_input.nodes.tolist(), values, strict=True):
            row[node] = value
        rows.append(row)
    return rows


def rivals_of(row, truth, nodes):
    beaten_by = [u for u in nodes if u != truth and oracles.beats(row, u, truth)]
    return sorted(beaten_by, key=lambda u: (-row[u], u))


@settings(max_examples=200)
@given(worlds(), st.sampled_from([1, 3, 2048]))
def test_masks_hold_a_bit_for_each_image_and_rival_and_no_other(world, at_once):
    given_input, *_ = world
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "COMPARED_AT_ONCE", at_once)
        made, hits = label.make_label(*world)
    unpacked = set()
    for row in made.masks.to_pylist():
        assert row["mask"] > 0
        for bit in range(64):
            if row["mask"] >> bit & 1:
                assert (row["node"], row["block"], bit, row["rival"]) not in unpacked
                unpacked.add((row["node"], row["block"], bit, row["rival"]))
    similarity = dense(*world)
    nodes = given_input.nodes.tolist()
    truths = given_input.image_node.tolist()
    places = list(zip(given_input.block.tolist(), given_input.bit.tolist(), strict=True))
    expected = {
        (truth, block, bit, rival)
        for row, truth, (block, bit) in zip(similarity, truths, places, strict=True)
        for rival in rivals_of(row, truth, nodes)
    }
    assert unpacked == expected
    assert hits == sum(oracles.winner(row, nodes) == truth for row, truth in zip(similarity, truths, strict=True))
    keys = [(row["node"], row["block"], row["mask"], row["rival"]) for row in made.masks.to_pylist()]
    assert keys == sorted(set(keys))
    # However the work is cut, a rival has one mask a block.
    assert len({(block, rival) for _, block, _, rival in keys}) == len(keys)


@settings(max_examples=60)
@given(worlds(), st.sampled_from([1, 3, 2048]))
def test_lists_order_the_rivals_of_each_image_and_three_others(world, at_once):
    given_input, *_ = world
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "COMPARED_AT_ONCE", at_once)
        made, _ = label.make_label(*world)
    nodes = given_input.nodes.tolist()
    rows = zip(given_input.images.tolist(), given_input.image_node.tolist(), dense(*world), strict=True)
    expected = []
    for image, truth, row in sorted(rows):
        before = rivals_of(row, truth, nodes)
        others = sorted(set(nodes) - {truth, *before}, key=lambda u: (-row[u], u))[:3]
        expected.append(
            {
                "image": image,
                "similarity": row[truth],
                "rank": len(before),
                "rivals": before,
                "rival_similarities": [row[u] for u in before[:8]],
                "runners_up": others,
                "runner_up_similarities": [row[u] for u in others],
            }
        )
    assert made.images.to_pylist() == expected


@settings(max_examples=30)
@given(worlds())
def test_the_state_of_a_label_has_a_bit_for_each_image_that_was_shown(world):
    given_input, *_ = world
    made, _ = label.make_label(*world)
    shown = {}
    for block, bit in zip(given_input.block.tolist(), given_input.bit.tolist(), strict=True):
        shown[block] = shown.get(block, 0) | 1 << bit
    assert dict(zip(*made.state.to_pydict().values(), strict=True)) == shown


def test_a_label_has_the_types_of_its_tables():
    given_input = LabelInput(
        graph_version=1,
        nodes=np.array([2, 5], dtype=np.uint32),
        captions=("two", "five"),
        images=np.array([9], dtype=np.uint32),
        image_node=np.array([5], dtype=np.uint32),
        block=np.array([0], dtype=np.uint32),
        bit=np.array([63], dtype=np.uint8),
        uris=("nine",),
    )
    made, hits = label.make_label(given_input, np.ones((1, 2), np.float16), np.ones((2, 2), np.float16))
    assert hits == 0
    assert made.masks.to_pylist() == [{"node": 5, "block": 0, "rival": 2, "mask": 2**63}]
    assert made.masks.schema.types == [pa.uint32(), pa.uint32(), pa.uint32(), pa.uint64()]
    assert made.state.schema.types == [pa.uint32(), pa.uint64()]
    assert [made.images.schema.field(name).type for name in ("image", "rank", "similarity")] == [
        pa.uint32(),
        pa.uint32(),
        pa.float32(),
    ]


# -- label_model --------------------------------------------------------------------------------------


def label_tables(hub):
    """Everything a hub holds about labels, whatever the ordinal of its model."""
    return {
        table: hub.query(f"SELECT * EXCLUDE (model) FROM {table} ORDER BY ALL").rows
        for table in ("label_node", "label_state", "rival_mask", "image_label")
    }


def test_labelling_adds_a_complete_model_and_counts_its_hits(painted_copy):
    model = FakeModel("fake/model")
    calls = []
    report = label_model(painted_copy, model, lambda done, count: calls.append((done, count)), batch=16)
    assert (report.model, report.images, report.shown, report.skipped) == ("fake/model", 40, 40, ())
    assert calls == [(16, 40), (32, 40), (40, 40)]
    with Hub.open(painted_copy) as hub:
        stored = hub.model("fake/model")
        assert (stored.state, stored.labelled, stored.card) == ("complete", 40, model.card)
        nodes = np.flatnonzero(hub.evidence_nodes())
        assert report.hits == hub.hits(nodes, [stored.model]).hits.sum()


def test_a_label_does_not_depend_on_the_batch(painted_copy, whole):
    label_model(painted_copy, FakeModel("fake/model", blur=0.9), batch=7)
    with Hub.open(whole) as one, Hub.open(painted_copy) as other:
        assert label_tables(one) == label_tables(other)
        assert len(label_tables(one)["rival_mask"]) > 0


@pytest.fixture(scope="module")
def whole(painted, tmp_path_factory):
    """The painted hub with a model that was labelled in one go."""
    hub = shutil.copytree(painted.hub, tmp_path_factory.mktemp("whole") / "hub")
    label_model(hub, FakeModel("fake/model", blur=0.9))
    return hub


@pytest.mark.parametrize("after", [0, 5, 37])
def test_an_interrupted_labelling_shows_only_the_rest_and_ends_in_the_same_label(painted, whole, tmp_path, after):
    cut = shutil.copytree(painted.hub, tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        label_model(cut, InterruptedModel("fake/model", blur=0.9, after=after), batch=1)
    with Hub.open(cut) as hub:
        assert hub.models() == []
    model = FakeModel("fake/model", blur=0.9)
    report = label_model(cut, model)
    # Embeddings are put down every 16 batches of one.
    assert model.shown == report.shown == 40 - after // 16 * 16
    with Hub.open(whole) as one, Hub.open(cut) as other:
        assert label_tables(one) == label_tables(other)
        for mine, theirs in zip(one.rival_masks(0), other.rival_masks(0), strict=True):
            assert np.array_equal(mine, theirs)
    assert list((cut / "staging").iterdir()) == []


def test_work_that_another_model_left_in_staging_is_not_taken_up(painted_copy):
    with pytest.raises(KeyboardInterrupt):
        label_model(painted_copy, InterruptedModel("fake/model", seed=1, after=20), batch=1)
    model = FakeModel("fake/model", seed=2)
    label_model(painted_copy, model)
    assert model.shown == 40


def test_other_weights_under_a_known_name_are_shown_everything(labelled_copy):
    model = FakeModel("fake/0", seed=77)
    label_model(labelled_copy, model)
    assert model.shown == 40
    with Hub.open(labelled_copy) as hub:
        assert {stored.card.name: stored.model for stored in hub.models()} == {"fake/1": 1, "fake/2": 2, "fake/0": 3}


def test_labelling_again_shows_nothing_and_changes_no_mask(labelled, labelled_copy):
    model = fake(0)
    report = label_model(labelled_copy, model)
    assert (model.shown, report.shown) == (0, 0)
    with Hub.open(labelled.hub) as before, Hub.open(labelled_copy) as after:
        assert label_tables(before) == label_tables(after)


def grow(path, folder, domain, nouns):
    """Add the images of a folder, without `graph build`."""
    found = scan(folder, domain, nouns).images
    with change_hub(path) as change:
        change.add_domain(Domain(domain, domain))
        change.add_nodes([nouns[image.wnid] for image in found])
        change.add_images(found)
    return found


def test_after_new_images_a_label_is_stale_and_labelling_shows_only_those(painted_copy, tmp_path, nouns):
    label_model(painted_copy, FakeModel("fake/model", blur=0.9))
    grow(painted_copy, paint_folder(tmp_path / "new", ["dog.n.01", "car.n.01"], 3, seed=9), "photo", nouns)
    with Hub.open(painted_copy) as hub:
        stored = hub.model("fake/model")
        assert (stored.state, stored.labelled, stored.missing, stored.unseen) == ("stale", 40, 6, 0)
    model = FakeModel("fake/model", blur=0.9)
    report = label_model(painted_copy, model)
    assert (model.shown, report.shown, report.images) == (6, 6, 46)
    with Hub.open(painted_copy) as hub:
        assert hub.model("fake/model").state == "complete"


def test_a_grown_label_is_the_label_of_a_model_that_saw_everything_at_once(tmp_path, nouns):
    old = paint_folder(tmp_path / "old", ["cat.n.01", "dog.n.01"], 4)
    new = paint_folder(tmp_path / "new", ["apple.n.01", "dog.n.01"], 4, seed=9)
    hub = hub_of_folders(tmp_path / "hub", {"photo": old}, nouns)
    label_model(hub, FakeModel("fake/grown", blur=0.9))
    found = grow(hub, new, "photo", nouns)
    with change_hub(hub) as change:
        change.set_graph(with_ancestors((image.wnid for image in found), nouns))
    with Hub.open(hub) as opened:
        stored = opened.model("fake/grown")
        assert (stored.state, stored.missing, stored.unseen) == ("stale", 8, 1)
    label_model(hub, FakeModel("fake/grown", blur=0.9))
    label_model(hub, FakeModel("fake/whole", blur=0.9))
    with Hub.open(hub) as opened:
        assert [model.state for model in opened.models()] == ["complete", "complete"]
        for grown, whole in zip(opened.rival_masks(0), opened.rival_masks(1), strict=True):
            assert np.array_equal(grown, whole)


def test_images_that_cannot_be_read_any_more_are_skipped_by_path_and_left_open(tmp_path, nouns):
    folder = paint_folder(tmp_path / "images", ["cat.n.01", "dog.n.01"], 3)
    hub = hub_of_folders(tmp_path / "hub", {"photo": folder}, nouns)
    (folder / "cat.n.01" / "1.png").unlink()
    (folder / "dog.n.01" / "2.png").write_bytes(b"no picture")
    report = label_model(hub, FakeModel("fake/model"))
    assert [(skipped.path, skipped.reason) for skipped in report.skipped] == [
        (str(folder / "cat.n.01" / "1.png"), "no such file"),
        (str(folder / "dog.n.01" / "2.png"), "not an image"),
    ]
    assert (report.images, report.shown) == (6, 4)
    with Hub.open(hub) as opened:
        assert opened.model("fake/model").missing == 2
        assert opened.hits([0, 1], [0]).images.sum() == 4


def test_labelling_refuses_when_not_one_image_can_be_read(tmp_path, nouns):
    folder = paint_folder(tmp_path / "images", ["cat.n.01"], 2)
    hub = hub_of_folders(tmp_path / "hub", {"photo": folder}, nouns)
    shutil.rmtree(folder)
    with pytest.raises(SourceUnreadable, match="no image of the hub can be read"):
        label_model(hub, FakeModel("fake/model"))


def test_labelling_refuses_a_hub_without_images(tmp_path):
    Hub.create(tmp_path / "hub").close()
    with pytest.raises(StageMissing, match="mllctl images add"):
        label_model(tmp_path / "hub", FakeModel("fake/model"))


def test_labelling_refuses_nodes_that_the_graph_has_not_seen(painted_copy, nouns):
    with change_hub(painted_copy) as change:
        change.add_nodes([nouns.senses("violin.n.01")[0]])
    with pytest.raises(StageMissing, match="mllctl graph build"):
        label_model(painted_copy, FakeModel("fake/model"))


def test_labelling_refuses_a_sealed_hub_before_it_shows_an_image(labelled_copy):
    seal(labelled_copy)
    model = FakeModel("fake/new")
    with pytest.raises(HubReadOnly):
        label_model(labelled_copy, model)
    assert model.shown == 0


def test_more_images_of_a_node_than_a_block_holds_are_labelled_alike(tmp_path, nouns):
    folder = paint_folder(tmp_path / "images", list(COLOURS)[:2], 70)
    hub = hub_of_folders(tmp_path / "hub", {"photo": folder}, nouns)
    label_model(hub, FakeModel("fake/model", blur=0.9))
    with Hub.open(hub) as opened:
        assert opened.query("SELECT node, used FROM block ORDER BY block").rows == ((0, 64), (0, 6), (1, 64), (1, 6))
        assert opened.hits([0, 1], [0]).images.tolist() == [[[70], [70]]]


def test_a_model_whose_embeddings_are_no_numbers_is_refused_and_nothing_is_stored(painted_copy):
    class Damaged(FakeModel):
        def encode_images(self, images):
            return np.full_like(super().encode_images(images), np.nan)

    with pytest.raises(ModelNotLoadable, match="not numbers"):
        label_model(painted_copy, Damaged("fake/damaged"))
    with Hub.open(painted_copy) as hub:
        assert hub.models() == []


def test_a_part_that_a_power_cut_left_empty_is_shown_again(painted_copy):
    model = FakeModel("fake/model")
    staging = painted_copy / "staging" / f"label-{model.card.identity[:16]}"
    staging.mkdir(parents=True)
    (staging / "0000000000.parquet").touch()
    assert label_model(painted_copy, model).shown == 40


def test_two_processes_do_not_label_one_model_at_once(painted_copy):
    class Nested(FakeModel):
        def encode_images(self, images):
            with pytest.raises(HubBusy):
                label_model(painted_copy, FakeModel("fake/model"))
            return super().encode_images(images)

    label_model(painted_copy, Nested("fake/model"))
