import shutil
from dataclasses import replace

import numpy as np
import pytest

import oracles
from fakes import COLOURS, FakeEncoder, fake, paint_folder
from mllctl import select_models, with_examples
from mllctl.errors import InvalidTask, ModelNotLoadable, SourceUnreadable
from mllctl.hub import Hub
from mllctl.images import open_image
from mllctl.kernels.examples import STRENGTH, worth_of_names
from mllctl.reuse.ensemble import Ensemble
from mllctl.reuse.examples import Examples, expected, read_examples
from mllctl.reuse.saved import save_selection
from mllctl.reuse.showing import Showing

CLASSES = ["dog", "wolf", "cat", "apple"]


class Loader:
    """Makes the models of the labelled hub anew, and remembers them."""

    def __init__(self):
        self.loaded = {}

    def __call__(self, source, device="cpu"):
        assert source not in self.loaded
        self.loaded[source] = fake(int(source.removeprefix("fake/")))
        return self.loaded[source]


@pytest.fixture(scope="module")
def hub(labelled):
    with Hub.open(labelled.hub) as opened:
        yield opened


@pytest.fixture(scope="module")
def selection(hub):
    return select_models(hub, CLASSES, encoder=FakeEncoder())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = paint_folder(tmp_path_factory.mktemp("mine"), list(COLOURS)[:4], 3, seed=7)
    shutil.rmtree(folder / "apple.n.01")
    return folder


def showing(cache=None, **options):
    return Showing("cpu", batch=2, workers=0, cache=cache, load=Loader(), **options)


def equal(one, other):
    return (
        one.members.tolist() == other.members.tolist()
        and one.reuse.tolist() == other.reuse.tolist()
        and (one.single, one.verdict, one.doubt) == (other.single, other.verdict, other.doubt)
    )


# -- what is chosen -----------------------------------------------------------------------------------


def test_candidates_are_believed_as_the_loops_have_it(hub, selection, folder, labelled):
    found = with_examples(hub, selection, folder, showing=showing())
    texts = [f"a photo of {name}" for name in CLASSES]
    images = [[open_image(str(path)) for path in sorted((folder / f"{name}.n.01").glob("*"))] for name in CLASSES]
    counts = [len(few) for few in images]
    worth = worth_of_names(selection.transfer.max(axis=0), selection.covered)
    for m, model in enumerate(labelled.models):
        hits = [0] * len(CLASSES)
        for c, few in enumerate(images):
            if few:
                rows = oracles.similarities(model.encode_images(few).tolist(), model.encode_texts(texts).tolist())
                hits[c] = sum(oracles.winner(row, range(4)) == c for row in rows)
        assert found.examples.hits[m].tolist() == hits
        plain = oracles.blended_precision(selection.share[m].tolist(), hits, counts, worth, STRENGTH)
        assert found.class_precision[m].tolist() == pytest.approx(plain, abs=1e-12)
    assert found.examples.images.tolist() == counts == [3, 3, 3, 0]
    assert found.single == int(found.class_precision.mean(axis=1).argmax())
    assert found.share.tolist() == np.clip(found.class_precision, 0, 1).tolist()


def test_without_images_it_is_the_same_selection_and_no_model_is_loaded(hub, selection):
    how = showing()
    assert equal(with_examples(hub, selection, Examples((), np.zeros(0, dtype=np.int64)), showing=how), selection)
    assert how.load.loaded == {}


def test_the_order_of_images_does_not_matter(hub, selection, folder):
    given = read_examples(folder, CLASSES)
    order = np.random.default_rng(0).permutation(len(given.uris))
    other = Examples(tuple(given.uris[n] for n in order), given.truth[order])
    assert equal(*[with_examples(hub, selection, each, showing=showing()) for each in (given, other)])


def test_a_class_that_only_examples_know_counts_and_follows_the_others_before(hub, folder, tmp_path):
    selection = select_models(hub, ["dog", "quantum"], encoder=FakeEncoder())
    assert selection.covered.tolist() == [True, False]
    assert expected(hub, selection)[:, 1].tolist() == selection.share[:, 0].tolist()
    shutil.copytree(folder / "dog.n.01", tmp_path / "quantum")
    found = with_examples(hub, selection, tmp_path, showing=showing())
    assert found.covered.all()
    assert "the hub and your images have evidence for 2 of 2 classes" in found.verdict.reason


def test_where_no_node_speaks_for_any_class_typical_tasks_do(hub):
    selection = select_models(hub, ["quantum", "entropy"], encoder=FakeEncoder())
    assert not selection.covered.any()
    usual = expected(hub, selection)
    assert usual[:, 0].tolist() == usual[:, 1].tolist()
    assert int(usual[:, 0].argmax()) == selection.overall


def test_what_was_chosen_can_be_saved_and_answers(hub, selection, folder):
    found = with_examples(hub, selection, folder, showing=showing())
    ensemble = Ensemble.load(save_selection(found, "one"), Loader())
    assert [member.model.card.name for member in ensemble.members] == [found.names[found.single]]
    assert (found.class_belief.images > 0).all()
    assert (found.reuse_belief.images > 0).all()
    assert found.task_belief.mean.shape == (3,)


# -- how images are shown -----------------------------------------------------------------------------


def test_only_candidates_are_loaded(hub, folder):
    selection = select_models(hub, CLASSES, barred={"fake/1": "too large"}, encoder=FakeEncoder())
    how = showing()
    with_examples(hub, selection, folder, showing=how)
    assert sorted(how.load.loaded) == ["fake/0", "fake/2"]


def test_the_same_images_again_load_nothing_and_one_more_is_shown_alone(hub, selection, folder, tmp_path):
    mine = shutil.copytree(folder, tmp_path / "mine")
    first, again, more = (showing(tmp_path / "cache") for _ in range(3))
    once = with_examples(hub, selection, mine, showing=first)
    assert [model.shown for model in first.load.loaded.values()] == [9, 9, 9]
    assert equal(with_examples(hub, selection, mine, showing=again), once)
    assert again.load.loaded == {}
    paint_folder(mine, ["apple.n.01"], 1, seed=9)
    with_examples(hub, selection, mine, showing=more)
    assert [model.shown for model in more.load.loaded.values()] == [1, 1, 1]


def test_what_was_cut_off_in_the_cache_is_made_again(hub, selection, folder, tmp_path):
    once = with_examples(hub, selection, folder, showing=showing(tmp_path))
    for path in (tmp_path / "shown").rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:40])
    how = showing(tmp_path)
    assert equal(with_examples(hub, selection, folder, showing=how), once)
    assert [model.shown for model in how.load.loaded.values()] == [9, 9, 9]


def test_progress_is_told_by_model(hub, selection, folder):
    told = []
    with_examples(hub, selection, folder, showing=showing(progress=lambda *now: told.append(now)))
    assert [now for now in told if now[1] == now[2]] == [(f"fake/{n}", 9, 9) for n in range(3)]


def test_images_that_cannot_be_read_are_skipped(hub, selection, folder, tmp_path):
    mine = shutil.copytree(folder, tmp_path / "mine")
    whole = with_examples(hub, selection, mine, showing=showing())
    (mine / "cat.n.01" / "9.png").write_bytes(b"\x89PNG\r\n\x1a\n, but no more")
    found = with_examples(hub, selection, mine, showing=showing())
    assert equal(found, whole)
    [skipped] = found.examples.skipped
    assert skipped.path.endswith("9.png")


# -- refusals -----------------------------------------------------------------------------------------


def test_a_folder_that_is_none_of_the_classes_is_named(folder):
    with pytest.raises(InvalidTask, match=r"'cat\.n\.01' is none of the classes; name folders as the classes"):
        read_examples(folder, ["dog", "wolf"])


def test_a_folder_without_an_image_that_can_be_read_is_refused(hub, selection, tmp_path):
    (tmp_path / "dog").mkdir()
    with pytest.raises(SourceUnreadable, match="no images in this folder"):
        with_examples(hub, selection, tmp_path, showing=showing())
    (tmp_path / "dog" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(SourceUnreadable, match="no example can be read"):
        with_examples(hub, selection, tmp_path, showing=showing())


def test_another_model_than_the_one_that_was_labelled_is_refused(hub, selection, folder):
    def load(source, device="cpu"):
        model = fake(int(source.removeprefix("fake/")))
        model.card = replace(model.card, fingerprint="0" * 64)
        return model

    with pytest.raises(ModelNotLoadable, match="label it again"):
        with_examples(hub, selection, folder, showing=replace(showing(), load=load))
