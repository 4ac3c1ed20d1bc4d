import numpy as np
import pytest

from fakes import COLOURS, SIDES, paint_folder
from mllctl import select_models
from mllctl.errors import InvalidTask, SourceUnreadable, StageMissing
from mllctl.hub import Hub, bundled_hub
from mllctl.reuse.showing import Showing
from mllctl.reuse.unlabelled import best_teller, weigh_by_images


@pytest.fixture(scope="module")
def hub(exact):
    with Hub.open(exact.hub) as opened:
        yield opened


@pytest.fixture
def how(exact):
    return Showing("cpu", workers=0, load=lambda source, device: exact.models[source])


def painted(root, **counts):
    for domain, count in counts.items():
        paint_folder(root / domain, list(COLOURS), count, seed=5, side=SIDES[domain])
    return root


def test_the_model_that_tells_domains_apart_is_asked(hub):
    # Only to `drawings` do all photos look alike, and no drawing like them.
    model, known, domain = best_teller(hub)
    assert model.card.name == "drawings"
    assert known.shape == (30, 7)
    assert np.bincount(domain).tolist() == [20, 10]
    assert best_teller(hub, ["things"])[0].card.name == "things"


@pytest.mark.parametrize(("photos", "drawings"), [(4, 0), (0, 4), (3, 1)])
def test_domains_are_weighed_as_they_come(hub, how, tmp_path, photos, drawings):
    like = weigh_by_images(hub, painted(tmp_path, photo=photos, drawing=drawings), showing=how)
    assert (like.images, like.skipped) == (5 * (photos + drawings), ())
    wanted = {"photo": photos / (photos + drawings), "drawing": drawings / (photos + drawings)}
    assert like.weights == pytest.approx(wanted, abs=0.06)
    assert sum(like.weights.values()) == pytest.approx(1)


def test_words_count_as_ten_images(hub, how, tmp_path):
    like = weigh_by_images(hub, painted(tmp_path, drawing=2), {"photo": 1.0, "drawing": 0.0}, showing=how)
    assert like.weights == pytest.approx({"photo": 10.5 / 21, "drawing": 10.5 / 21}, abs=0.03)


def test_given_weights_are_those_of_the_selection(hub, exact):
    found = select_models(hub, ["dog", "cat"], domain_weights={"drawing": 3, "photo": 1}, encoder=exact.encoder)
    assert [(d.name, d.similarity, d.weight) for d in found.domains] == [("photo", None, 0.25), ("drawing", None, 0.75)]
    assert found.domain_matched
    assert found.weights_given
    alike = select_models(hub, ["dog", "cat"], domain_weights={"drawing": 1, "photo": 1}, encoder=exact.encoder)
    assert alike.reuse.tolist() == select_models(hub, ["dog", "cat"], encoder=exact.encoder).reuse.tolist()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"phto": 1}, "no domain 'phto' in this hub; it has photo, drawing"),
        ({"photo": -1, "drawing": 2}, "at least 0"),
        ({"photo": 0}, "one of them above"),
        ({"photo": float("nan")}, "at least 0"),
    ],
)
def test_weights_that_make_none_are_refused(hub, exact, weights, message):
    with pytest.raises(InvalidTask, match=message):
        select_models(hub, ["dog"], domain_weights=weights, encoder=exact.encoder)


def test_what_cannot_be_read_is_skipped_and_nothing_else_is_refused(hub, how, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(SourceUnreadable, match="no image can be read"):
        weigh_by_images(hub, tmp_path, showing=how)
    like = weigh_by_images(hub, painted(tmp_path, photo=1), showing=how)
    assert [one.path.endswith("broken.png") for one in like.skipped] == [True]


def test_a_hub_without_embeddings_is_refused_before_anything_is_loaded(tmp_path):
    painted(tmp_path, photo=1)
    with Hub.open(bundled_hub()) as hub, pytest.raises(StageMissing, match="mllctl demo build DIR"):
        weigh_by_images(hub, tmp_path)
