"""`label_model` on a real hub: what a model is shown, what is kept, and what ends in the hub."""

import dataclasses
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from fakes import COLOURS, FakeModel, InterruptedModel, fake, hub_of_folders, paint_folder
from mllctl import label_model
from mllctl.backends.devices import in_precision, precision_of
from mllctl.errors import HubBusy, HubReadOnly, InvalidTask, ModelNotLoadable, SourceUnreadable, StageMissing
from mllctl.graph import with_ancestors
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub, seal
from mllctl.images import Domain, scan
from mllctl.label import remove_images


def label_tables(hub):
    """Everything a hub holds about labels, whatever the ordinal of its model."""
    return {
        table: hub.query(f"SELECT * EXCLUDE (model) FROM {table} ORDER BY ALL").rows
        for table in ("label_node", "label_state", "label_row", "rival_mask", "image_label", "rival_order")
    }


def test_labelling_adds_a_complete_model_and_counts_its_hits(painted_copy):
    model = FakeModel("fake/model")
    calls = []
    report = label_model(painted_copy, model, lambda done, count: calls.append((done, count)), batch=16)
    assert (report.model, report.images, report.shown, report.skipped) == ("fake/model", 40, 40, ())
    assert calls == [(0, 40), (16, 40), (32, 40), (40, 40)]
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
    told = []
    report = label_model(hub, FakeModel("fake/model"), lambda *step: told.append(step), batch=4)
    assert told == [(0, 6), (3, 5), (4, 4)]
    assert [(skipped.path, skipped.reason) for skipped in report.skipped] == [
        (str(folder / "cat.n.01" / "1.png"), "no such file"),
        (str(folder / "dog.n.01" / "2.png"), "not an image"),
    ]
    assert (report.images, report.shown, report.labelled) == (6, 4, 4)
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


def test_an_image_that_is_removed_while_a_model_is_shown_others_does_not_undo_the_work(painted_copy):
    class Meddling(FakeModel):
        meddled = False

        def encode_images(self, images):
            if not self.meddled:
                self.meddled = True
                with Hub.open(painted_copy) as hub:
                    dogs = [image.image for image in hub.images(synset="dog.n.01")]
                remove_images(painted_copy, [*dogs, 17])
            return super().encode_images(images)

    model = Meddling("fake/model", blur=0.9)
    label_model(painted_copy, model)
    assert model.shown == 40
    with Hub.open(painted_copy) as hub:
        stored = hub.model("fake/model")
        assert (stored.state, stored.labelled) == ("complete", len(hub.images()))
        # The dogs compete no more.
        assert len(hub.label_nodes(stored.model)) == 4


def test_a_part_that_a_power_cut_left_empty_is_shown_again(painted_copy):
    model = FakeModel("fake/model")
    staging = painted_copy / "staging" / f"label-{model.card.identity[:16]}"
    staging.mkdir(parents=True)
    (staging / "image-0000000000.arrow").touch()
    assert label_model(painted_copy, model).shown == 40


def test_two_processes_do_not_label_one_model_at_once(painted_copy):
    class Nested(FakeModel):
        def encode_images(self, images):
            with pytest.raises(HubBusy):
                label_model(painted_copy, FakeModel("fake/model"))
            return super().encode_images(images)

    label_model(painted_copy, Nested("fake/model"))


no_cuda_memory = partial(torch.OutOfMemoryError, "CUDA out of memory.")


class Cramped(FakeModel):
    """A fake model with memory for so many images and captions at once, and its own words for having no more."""

    def __init__(self, *args, images=64, texts=256, error, **options):
        super().__init__(*args, **options)
        self._room = {"images": images, "texts": texts}
        self._error = error
        self.tried = []

    def _fit(self, items, what):
        self.tried.append((what, len(items)))
        if len(items) > self._room[what]:
            raise self._error()  # one that is kept would keep all it has passed through

    def encode_images(self, images):
        self._fit(images, "images")
        return super().encode_images(images)

    def encode_texts(self, texts):
        self._fit(texts, "texts")
        return super().encode_texts(texts)


@pytest.mark.parametrize("error", [no_cuda_memory, MemoryError])
def test_batches_are_halved_when_memory_runs_out_and_that_is_said_once(painted_copy, whole, error):
    model = Cramped("fake/model", blur=0.9, images=5, texts=2, error=error)
    said = []
    report = label_model(painted_copy, model, batch=16, text_batch=4, say=said.append)
    images = [size for what, size in model.tried if what == "images"]
    assert images == [16, 8, 4, 4, 4, 4, *([4] * 4), *([4] * 2)]
    assert [size for what, size in model.tried if what == "texts"] == [4, 2, 2, 1]
    assert said == ["fake/model: no memory for 16 images at once; going on with batches of half"]
    assert report.shown == 40
    with Hub.open(whole) as one, Hub.open(painted_copy) as other:
        assert label_tables(one) == label_tables(other)


def test_a_model_without_memory_for_one_image_is_refused_with_a_cure(painted_copy):
    model = Cramped("fake/model", images=0, error=no_cuda_memory)
    with pytest.raises(ModelNotLoadable, match="no memory for even one image; free some, or give --device cpu"):
        label_model(painted_copy, model, batch=4)
    assert [size for _, size in model.tried] == [4, 2, 1]


def test_other_errors_of_a_model_are_not_taken_for_lack_of_memory(painted_copy):
    model = Cramped("fake/model", images=0, error=partial(RuntimeError, "shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        label_model(painted_copy, model)
    assert len(model.tried) == 1


class Watching(FakeModel):
    """Remembers the batches it was shown."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.batches = []

    def encode_images(self, images):
        self.batches.append([image.tobytes() for image in images])
        return super().encode_images(images)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_hold_the_same_images_whatever_the_workers(painted, tmp_path, workers):
    models = []
    for name, count in (("one", 2), ("other", workers)):
        hub = shutil.copytree(painted.hub, tmp_path / name)
        models.append(Watching("fake/model"))
        label_model(hub, models[-1], batch=7, workers=count)
    assert models[0].batches == models[1].batches
    assert [len(batch) for batch in models[0].batches] == [7] * 5 + [5]


def test_another_model_of_a_known_name_is_refused_and_the_label_stays(labelled, labelled_copy):
    known = labelled.models[0]
    other = FakeModel("fake/0", seed=77)
    other.card = dataclasses.replace(other.card, source="elsewhere/0")
    with pytest.raises(InvalidTask, match="another model of the name fake/0, from fake/0; rename the file or folder"):
        label_model(labelled_copy, other)
    assert other.shown == 0
    moved = fake(0)
    moved.card = dataclasses.replace(moved.card, source="elsewhere/0")
    assert label_model(labelled_copy, moved).shown == 0
    with Hub.open(labelled_copy) as hub:
        assert hub.model("fake/0").card.fingerprint == known.card.fingerprint
        assert hub.model("fake/0").card.source == "elsewhere/0"


def test_a_label_of_another_precision_is_refused_and_stays(labelled_copy):
    model = in_precision(FakeModel("fake/0", seed=5, blur=0.5), "bfloat16", "cpu")
    with pytest.raises(InvalidTask, match="fake/0 is labelled in float32, which does not mix with bfloat16"):
        label_model(labelled_copy, model)
    with Hub.open(labelled_copy) as hub:
        assert (hub.model("fake/0").state, hub.model("fake/0").card) == ("complete", fake(0).card)


def test_a_model_without_label_is_labelled_in_any_precision_and_grows_in_it(painted_copy, tmp_path, nouns):
    inner = FakeModel("fake/model")
    half = in_precision(inner, "bfloat16", "cpu")
    with change_hub(painted_copy) as change:
        change.add_model(inner.card)
    label_model(painted_copy, half)
    with Hub.open(painted_copy) as hub:
        assert hub.model("fake/model").card == half.card
        assert precision_of(hub.model("fake/model").card) == "bfloat16"
    grow(painted_copy, paint_folder(tmp_path / "new", ["dog.n.01"], 3, seed=9), "photo", nouns)
    with pytest.raises(InvalidTask, match="give --precision bfloat16, or first `mllctl model remove fake/model`"):
        label_model(painted_copy, inner)
    assert label_model(painted_copy, half).shown == 3


def test_work_of_another_precision_in_staging_is_not_taken_up(painted_copy):
    half = in_precision(InterruptedModel("fake/model", after=20), "bfloat16", "cpu")
    with pytest.raises(KeyboardInterrupt):
        label_model(painted_copy, half, batch=1)
    model = FakeModel("fake/model", blur=0.3)
    assert label_model(painted_copy, model).shown == 40
