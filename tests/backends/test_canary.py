"""A canary tells an exact repeat from rounding, and rounding from another model."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fakes import FakeModel, unit
from mllctl import label_model
from mllctl.backends.canary import (
    CAPTIONS,
    KEPT,
    KEY,
    canary_images,
    canary_of,
    take_canary,
    versions_of,
    watch_model,
    with_canary,
)
from mllctl.backends.devices import card_in
from mllctl.errors import ModelNotLoadable
from mllctl.hub import Hub, bundled_hub
from mllctl.hub.writing import change_hub

WIDTH = 96


class Drawn:
    """Knows each image and its caption by an axis; `far` from that by noise, and wrong about `wrong` of them."""

    def __init__(self, far=0.0, wrong=0, versions=None, precision="float32", axis=None):
        card = FakeModel("fake/drawn").card
        libraries = {"torch": "2.6", "timm": "1.0"} if versions is None else versions
        self.card = card_in(replace(card, embedding_width=WIDTH, libraries=libraries), precision)
        random = np.random.default_rng(3)
        base = unit(np.eye(len(CAPTIONS), WIDTH) + 0.1 * random.normal(size=(len(CAPTIONS), WIDTH)))
        noise = random.uniform(-1, 1, size=base.shape)
        if axis is not None:
            noise *= np.arange(WIDTH) == axis
        self._images = (base + far * noise).astype(np.float32)
        self._texts = np.concatenate([np.roll(base[:wrong], 1, axis=0), base[wrong:]])
        self._seen = [image.tobytes() for image in canary_images()]

    def encode_images(self, images):
        return np.array([self._images[self._seen.index(image.tobytes())] for image in images])

    def encode_texts(self, texts):
        return np.array([self._texts[CAPTIONS.index(text)] for text in texts])


def kept(model):
    return with_canary(model.card, take_canary(model))


def compared(stored, model):
    """Return what is said of a model beside the card that the hub has."""
    _, lines = watch_model(model, stored)
    return lines[0] if lines else None


def test_images_are_different_and_always_the_same():
    first, second = canary_images(), canary_images()
    assert len(first) == len(CAPTIONS) == len({image.tobytes() for image in first})
    assert [image.tobytes() for image in first] == [image.tobytes() for image in second]
    assert all(image.mode == "RGB" and min(image.size) >= 64 for image in first)


def test_the_same_model_has_the_same_canary_and_nothing_is_said():
    assert take_canary(Drawn()).sha256 == take_canary(Drawn()).sha256
    assert compared(kept(Drawn()), Drawn()) is None


@pytest.mark.parametrize("far", [1e-4, 9e-4])
def test_a_drift_is_said_in_one_line_with_the_versions_that_changed(far):
    said = compared(kept(Drawn()), Drawn(far, versions={"torch": "2.7", "timm": "1.0"}))
    assert "torch 2.6 -> 2.7" in said
    assert "timm" not in said
    assert "\n" not in said


def test_a_drift_under_the_same_versions_is_put_down_to_the_machine():
    assert "another machine" in compared(kept(Drawn()), Drawn(1e-4))


@pytest.mark.parametrize("far", [2e-3, 5e-3, 0.1, 3.0])
def test_a_change_is_refused_with_the_versions_to_restore(far):
    with pytest.raises(
        ModelNotLoadable, match=r"changed: timm 1.0 -> none, torch 2.6 -> 2.7\); restore those"
    ) as caught:
        compared(kept(Drawn()), Drawn(far, versions={"torch": "2.7"}))
    assert "mllctl model remove fake/drawn" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fewer_bits_may_drift_further():
    half = Drawn(precision="bfloat16")
    assert "differ by" in compared(kept(half), Drawn(5e-3, precision="bfloat16"))
    with pytest.raises(ModelNotLoadable):
        compared(kept(half), Drawn(0.1, precision="bfloat16"))


def test_a_change_beyond_the_numbers_that_are_kept_shows_in_the_cosines():
    with pytest.raises(ModelNotLoadable, match="gives other embeddings"):
        compared(kept(Drawn()), Drawn(0.5, axis=KEPT + 3))


def test_another_model_and_a_card_without_a_canary_are_compared_with_nothing():
    other = replace(kept(Drawn()), fingerprint="another")
    assert compared(other, Drawn(3.0)) is None
    assert compared(Drawn().card, Drawn(3.0)) is None
    assert compared(None, Drawn(3.0)) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"numbers": "!"}', json.dumps({"numbers": "00000", "width": 1})])
def test_a_canary_that_cannot_be_read_is_none(text):
    card = replace(Drawn().card, libraries={KEY: text})
    assert canary_of(card) is None
    assert compared(card, Drawn()) is None


def test_a_card_keeps_a_canary_as_text_without_becoming_another():
    card = kept(Drawn())
    again = replace(card, libraries=json.loads(json.dumps(card.libraries)))
    canary = canary_of(again)
    taken = take_canary(Drawn())
    assert canary.sha256 == taken.sha256
    assert (canary.start == taken.start).all()
    assert (canary.cosines == taken.cosines).all()
    assert canary.versions == versions_of(card) == {"torch": "2.6", "timm": "1.0"}
    assert card.identity == Drawn().card.identity
    assert with_canary(card, None) == Drawn().card
    assert len(card.libraries[KEY]) < 4500


def test_a_canary_of_other_images_is_compared_with_nothing():
    card = with_canary(Drawn().card, replace(take_canary(Drawn()), shown="other images"))
    assert compared(card, Drawn(3.0)) is None
    assert canary_of(watch_model(Drawn(3.0), card)[0].card).shown == take_canary(Drawn()).shown


def test_the_order_of_captions_is_a_warning_and_only_at_the_first():
    wrong = len(CAPTIONS) - 2
    model, said = watch_model(Drawn(wrong=wrong), None)
    assert f"captions of 2 of {len(CAPTIONS)}" in said[0]
    assert watch_model(Drawn(wrong=wrong), model.card)[1] == []
    assert watch_model(Drawn(wrong=wrong - 1), None)[1] == []
    assert take_canary(Drawn(wrong=wrong - 1)).order_holds
    assert not take_canary(Drawn(wrong=wrong)).order_holds


def test_the_first_canary_stays_so_that_drifts_do_not_add_up():
    model, said = watch_model(Drawn(), None)
    assert said == []
    for far in (5e-4, 9e-4):
        model, (line,) = watch_model(Drawn(far, versions={"torch": "2.7"}), model.card)
        assert "torch 2.6 -> 2.7" in line
        assert versions_of(model.card) == {"torch": "2.7"}
    with pytest.raises(ModelNotLoadable):
        watch_model(Drawn(5e-3), model.card)


def test_embeddings_that_are_no_numbers_are_refused():
    model = Drawn()
    model._images = model._images * np.float32(np.nan)
    with pytest.raises(ModelNotLoadable, match="not numbers"):
        take_canary(model)
    model.card = replace(model.card, embedding_width=5)
    with pytest.raises(ModelNotLoadable, match="its card says"):
        take_canary(model)


def test_a_hub_keeps_the_canary_of_a_label_and_the_label_is_the_same(labelled, painted_copy):
    plain = labelled.models[0]
    watched, _ = watch_model(plain, None)
    with change_hub(painted_copy) as change:
        change.add_model(watched.card)
    label_model(painted_copy, watched)
    with Hub.open(painted_copy) as hub, Hub.open(labelled.hub) as without:
        stored = hub.model(plain.card.name)
        assert stored.state == "complete"
        assert canary_of(stored.card).sha256 == take_canary(plain).sha256
        assert hub.overall_hits(stored.model) == without.overall_hits(without.model(plain.card.name).model)
    assert compared(stored.card, plain) is None


def test_a_label_of_before_canaries_gets_one_without_being_made_again(labelled, labelled_copy):
    with Hub.open(labelled_copy) as hub:
        stored = hub.model("fake/0")
    watched, _ = watch_model(labelled.models[0], stored.card)
    with change_hub(labelled_copy) as change:
        change.add_model(watched.card)
    with Hub.open(labelled_copy) as hub:
        assert hub.model("fake/0").state == "complete"
        assert canary_of(hub.model("fake/0").card) is not None


def test_the_bundled_hub_has_none_and_opens(tmp_path):
    copy = shutil.copytree(bundled_hub(), tmp_path / "hub")
    with Hub.open(copy) as hub:
        assert all(canary_of(stored.card) is None for stored in hub.models())
