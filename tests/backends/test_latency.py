import json

import pytest

from fakes import FakeModel, fake
from mllctl.backends import latency
from mllctl.backends.latency import ENOUGH, FEWEST, MOST, WARM_UP, known_latency, machine, measure_latency


class Clock:
    """Goes on by the next of some times at every second look: what a run takes."""

    def __init__(self, *seconds):
        self._seconds = list(seconds)
        self._now = 0.0
        self._looks = 0

    def __call__(self):
        self._looks += 1
        if self._looks % 2 == 0:
            self._now += self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]
        return self._now


def test_a_latency_is_the_median_of_single_images_in_milliseconds(tmp_path):
    model = fake(0)
    # Five runs are less than enough, the sixth is more.
    found = measure_latency(model, tmp_path, Clock(0.5, 0.1, 0.7, 0.2, 0.3, 100.0))
    assert found == pytest.approx(1000 * (0.3 + 0.5) / 2)
    assert model.shown == WARM_UP + 6


def test_quick_models_run_often_and_slow_ones_a_few_times(tmp_path):
    quick, slow = fake(0), fake(1)
    measure_latency(quick, tmp_path, Clock(0.001))
    measure_latency(slow, tmp_path, Clock(2 * ENOUGH / 1000))
    assert quick.shown == WARM_UP + MOST
    assert slow.shown == WARM_UP + FEWEST


def test_the_picture_is_as_large_as_the_model_sees_it(tmp_path):
    class Looking(FakeModel):
        def encode_images(self, images):
            assert [image.size for image in images] == [(self.card.image_size, self.card.image_size)]
            return super().encode_images(images)

    measure_latency(Looking("fake/looking"), tmp_path, Clock(0.001))


def test_what_was_measured_is_known_for_this_model_on_this_machine_only(tmp_path, monkeypatch):
    model = fake(0)
    assert known_latency(model.card, tmp_path) is None
    measure_latency(model, tmp_path, Clock(0.01))
    assert known_latency(model.card, tmp_path) == pytest.approx(10)
    assert known_latency(fake(1).card, tmp_path) is None
    [note] = tmp_path.rglob("*.json")
    assert json.loads(note.read_text()) == {"model": "fake/0", "machine": machine(), "latency_ms": pytest.approx(10)}
    monkeypatch.setattr(latency, "machine", lambda: "another")
    assert known_latency(model.card, tmp_path) is None


def test_the_last_measurement_counts_and_nothing_else_is_left(tmp_path):
    model = fake(0)
    for seconds in (0.01, 0.02):
        measure_latency(model, tmp_path, Clock(seconds))
    assert known_latency(model.card, tmp_path) == pytest.approx(20)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_real_clock_only_goes_forward(tmp_path):
    assert measure_latency(fake(0), tmp_path) > 0
