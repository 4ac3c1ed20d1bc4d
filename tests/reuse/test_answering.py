"""Answers to any number of images: each model is shown each image once, however it is run and interrupted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import COLOURS, fake, paint_folder
from mllctl import Hub, select_models
from mllctl.errors import ModelNotLoadable, SourceUnreadable
from mllctl.images import Row, Skipped
from mllctl.images.listing import list_images
from mllctl.reuse import answering
from mllctl.reuse.answering import Answering, Manner
from mllctl.reuse.ensemble import Ensemble
from mllctl.reuse.saved import save_selection


class Loader:
    """Makes the models of the labelled hub anew; one of them may stop after some images."""

    def __init__(self, stop=None, after=0, error=KeyboardInterrupt):
        self.shown = {}
        self.loaded = []
        self._stop, self._left, self._error = stop, after, error

    def __call__(self, source, device="cpu"):
        model = fake(int(source.removeprefix("fake/")))
        self.loaded.append(source)
        encode = model.encode_images

        def watched(images):
            if source == self._stop:
                if self._left < len(images):
                    raise self._error
                self._left -= len(images)
            self.shown[source] = self.shown.get(source, 0) + len(images)
            return encode(images)

        model.encode_images = watched
        return model


@pytest.fixture(scope="module")
def saved(labelled):
    from fakes import FakeEncoder

    with Hub.open(labelled.hub) as hub:
        encoder = FakeEncoder()
        classes = ["dog", "cat", "apple", "no such thing"]
        selection = select_models(
            hub, classes, k=2, nodes_per_class=1, matching="caption", estimator="paper", encoder=encoder
        )
    made = save_selection(selection)
    assert len(made.models) == 3
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten images, two of which cannot be read."""
    folder = paint_folder(tmp_path_factory.mktemp("task"), list(COLOURS), 2, seed=3)
    (folder / "cat.n.01" / "0.png").write_bytes(b"no image")
    (folder / "wolf.n.01" / "1.png").write_bytes(b"")
    return folder


@pytest.fixture
def few_at_once(monkeypatch):
    """Parts of every kind are of a few images."""
    monkeypatch.setattr(answering, "BATCHES_PER_PART", 1)
    monkeypatch.setattr(answering, "LISTED_AT_ONCE", 4)
    monkeypatch.setattr(answering, "COMBINED_AT_ONCE", 3 * 8 * 3 * 4)


def manner(load, batch=3, workers=0, memory=None, **options):
    return Manner(batch=batch, workers=workers, memory=memory, load=load, **options)


def rows(folder):
    return list_images([str(folder)], "folder")


def gathered(work):
    parts = list(work.parts())
    names = [name for part in parts for name in part.names]
    join = {field: np.concatenate([getattr(part, field) for part in parts]) for field in ("truth", "confidence")}
    return names, join["truth"], join["confidence"], np.concatenate([part.probability for part in parts], axis=1)


def expected(saved, folder):
    read = [path for path in sorted(folder.rglob("*.png")) if path.stat().st_size > 10]
    return [str(path) for path in read], Ensemble.load(saved, Loader()).predict(read).confidence


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("memory", [None, 0, 60, 1e9])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_answers_are_those_of_the_ensemble_in_memory(few_at_once, saved, folder, tmp_path, batch, memory, workers):
    load = Loader()
    with Answering(tmp_path / "work", saved, rows(folder)) as work:
        work.ask(manner(load, batch, workers, memory))
        names, truth, confidence, probability = gathered(work)
        skipped = work.skipped
    paths, in_memory = expected(saved, folder)
    assert names == paths
    np.testing.assert_allclose(confidence, in_memory, atol=1e-6)
    assert probability.shape == (3, 8, 4)
    assert truth.tolist() == [2, 2, -1, -1, 1, 0, 0, -1]  # cars and wolves are none of the classes
    assert [Path(one.path).parts[-2:] for one in skipped] == [("cat.n.01", "0.png"), ("wolf.n.01", "1.png")]
    assert [one.reason for one in skipped] == ["not an image", "the file is empty"]
    assert set(load.shown.values()) == {8}
    assert sorted(load.loaded) == ["fake/0", "fake/1", "fake/2"]


@pytest.mark.parametrize("memory", [None, 1e9])
@pytest.mark.parametrize("after", [0, 3, 4, 6, 8])
@pytest.mark.parametrize("stop", ["fake/0", "fake/2"])
def test_after_an_interruption_nothing_that_was_put_down_is_shown_again(
    few_at_once, saved, folder, tmp_path, stop, after, memory
):
    first, second = Loader(stop, after), Loader()
    if after < 8:
        with pytest.raises(KeyboardInterrupt), Answering(tmp_path, saved, rows(folder)) as work:
            work.ask(manner(first, 3, memory=memory))
    with Answering(tmp_path, saved, rows(folder)) as work:
        begun = work.done
        work.ask(manner(second, 3, memory=memory))
        names, _, confidence, _ = gathered(work)
        skipped = len(work.skipped)
    paths, in_memory = expected(saved, folder)
    assert names == paths
    assert skipped == 2
    np.testing.assert_allclose(confidence, in_memory, atol=1e-6)
    total = sum(first.shown.values()) + sum(second.shown.values())
    # A batch that was answered by some of the models loaded together, and not put down, is shown to these again.
    assert total <= 3 * 8 + (2 * 3 if memory else 0)
    assert begun <= 3 * 10


def test_a_finished_model_is_not_loaded_again(few_at_once, saved, folder, tmp_path):
    with pytest.raises(ModelNotLoadable), Answering(tmp_path, saved, rows(folder)) as work:
        work.ask(manner(Loader("fake/2", 0, ModelNotLoadable("fake/2", "gone"))))
    again = Loader()
    with Answering(tmp_path, saved, rows(folder)) as work:
        assert work.done == 20
        work.ask(manner(again))
        assert again.loaded == ["fake/2"]
        told = []
        work.ask(manner(again), lambda *done: told.append(done))
        assert (again.loaded, told) == (["fake/2"], [])


def test_other_images_or_another_selection_begin_anew(few_at_once, saved, folder, tmp_path):
    def done(saved, some):
        with Answering(tmp_path, saved, some) as work:
            before = work.done
            work.ask(manner(Loader()))
            return before

    every = list(rows(folder))
    assert done(saved, every) == 0
    assert done(saved, every) == 30
    assert done(saved, every[1:]) == 0
    assert done(replace(saved, weighting="confidence"), every[1:]) == 0
    assert done(replace(saved, weighting="confidence"), every[1:]) == 27


def test_a_torn_last_line_and_rows_beyond_the_count_are_not_believed(few_at_once, saved, folder, tmp_path):
    with pytest.raises(KeyboardInterrupt), Answering(tmp_path, saved, rows(folder)) as work:
        work.ask(manner(Loader("fake/0", 7), 3))
    count = int((tmp_path / "done-000").read_text())
    assert 0 < count < 10
    with (tmp_path / "unread-000.jsonl").open("a") as lines:
        lines.write(json.dumps([9, "a reason of a row that is shown again"]) + '\n[8, "to')
    with (tmp_path / "answers-000").open("ab") as answers:
        answers.write(b"\xff" * 11)
    with Answering(tmp_path, saved, rows(folder)) as work:
        work.ask(manner(Loader(), 3))
        names, _, confidence, _ = gathered(work)
        assert [one.reason for one in work.skipped] == ["not an image", "the file is empty"]
    with Answering(tmp_path, saved, rows(folder)) as work:
        assert work.done == 30
    assert names == expected(saved, folder)[0]
    np.testing.assert_allclose(confidence, expected(saved, folder)[1], atol=1e-6)


def test_what_cannot_be_listed_comes_first_among_the_skipped(saved, folder, tmp_path):
    some = [Skipped("x", "no path"), *rows(folder)]
    with Answering(tmp_path, saved, some) as work:
        assert work.count == 10
        work.ask(manner(Loader()))
        assert [one.path.rpartition("/")[2] for one in work.skipped] == ["x", "0.png", "1.png"]


@pytest.mark.parametrize("some", [[], [Skipped("x", "no path")], [Row("/no such.png", "", "", "no such.png")]])
def test_without_an_image_that_can_be_read_there_are_no_answers(saved, tmp_path, some):
    with Answering(tmp_path, saved, some) as work:
        work.ask(manner(Loader()))
        assert list(work.parts()) == []
        assert len(work.skipped) == len(some)


def test_two_processes_do_not_work_on_the_same(saved, folder, tmp_path):
    with Answering(tmp_path, saved, rows(folder)), pytest.raises(SourceUnreadable, match="another process"):
        Answering(tmp_path, saved, rows(folder))
    with Answering(tmp_path, saved, rows(folder)):
        pass


def test_a_batch_too_large_for_memory_is_halved_and_said_once(saved, folder, tmp_path):
    said = []
    load = Loader()

    def small(source, device):
        model = load(source)
        encode = model.encode_images

        def encode_few(images):
            if len(images) > 2:
                raise MemoryError
            return encode(images)

        model.encode_images = encode_few
        return model

    with Answering(tmp_path, saved, rows(folder)) as work:
        work.ask(manner(small, 8, say=said.append))
        names, _, confidence, _ = gathered(work)
    assert names == expected(saved, folder)[0]
    np.testing.assert_allclose(confidence, expected(saved, folder)[1], atol=1e-6)
    assert len(said) == 3
    assert all("going on with batches of half" in line for line in said)


def test_embeddings_that_are_not_numbers_are_refused(saved, folder, tmp_path):
    def broken(source, device):
        model = Loader()(source)
        model.encode_images = lambda images: np.full((len(images), 16), np.nan, np.float32)
        return model

    with pytest.raises(ModelNotLoadable, match="not numbers"), Answering(tmp_path, saved, rows(folder)) as work:
        work.ask(manner(broken))


def test_prompts_are_encoded_once_for_all_runs(saved, folder, tmp_path):
    heard = []

    def load(source, device):
        model = Loader()(source)
        encode = model.encode_texts
        model.encode_texts = lambda texts: heard.append(source) or encode(texts)
        return model

    for run in ("first", "second"):
        with Answering(tmp_path / run, saved, rows(folder)) as work:
            work.ask(manner(load, cache=tmp_path / "cache"))
            found = gathered(work)[2]
    assert sorted(heard) == ["fake/0", "fake/1", "fake/2"]
    np.testing.assert_allclose(found, expected(saved, folder)[1], atol=1e-6)
