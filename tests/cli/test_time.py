"""`model time`: what it prints, what it keeps, and that a limit then knows it."""

import pytest

from fakes import fake
from mllctl.backends.latency import known_latency


def test_a_model_is_timed_and_the_figure_kept(run, hubs, tmp_path):
    shown = run("model", "time", "fake/1", "--hub", hubs.labelled)
    assert shown.code == 0
    known = known_latency(fake(1).card, tmp_path / "cache")
    assert shown.out == f"fake/1: {known:.1f} ms an image\n"
    assert known_latency(fake(0).card, tmp_path / "cache") is None


def test_all_models_are_timed_in_the_order_of_the_hub(run, hubs):
    told = run("model", "time", "--all", "--hub", hubs.labelled, "--json").json
    assert [one["model"] for one in told] == ["fake/0", "fake/1", "fake/2"]
    assert all(one["latency_ms"] > 0 for one in told)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "name the models to time, or give --all"),
        (("fake/0", "--all"), 2, "name the models to time, or give --all"),
        (("fake/00",), 1, "no model 'fake/00' in this hub; did you mean fake/0"),
    ],
)
def test_what_cannot_be_timed_is_refused_in_a_line(run, hubs, arguments, code, message):
    refused = run("model", "time", *arguments, "--hub", hubs.labelled)
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
    assert refused.err.count("\n") == 1
