from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.backends.facts import ModelFacts
from mllctl.errors import InvalidTask
from mllctl.limits import Limits, admit, parse_amount, show_amount

SMALL = ModelFacts(151_277_313, 14.78, 605_156_676, 12.5, "MIT", True)
LARGE = ModelFacts(427_616_513, 175.33, 1_710_466_052, 250.0, "CC-BY-NC-4.0", False, size_estimated=True)
UNKNOWN = ModelFacts()
FACTS = {"ViT-B-32/openai": SMALL, "ViT-L-14/metaclip": LARGE, "own/weights": UNKNOWN}


def refusals(**limits):
    """Model -> why it is refused."""
    kept, refused = admit(list(FACTS), FACTS, Limits(**limits))
    assert [*kept, *(one.model for one in refused)] == sorted(FACTS, key=lambda model: model not in kept)
    return {one.model: one.reason for one in refused}


def test_without_limits_all_are_kept():
    assert refusals() == {}


@pytest.mark.parametrize(
    ("limits", "large", "unknown"),
    [
        ({"max_params": 200e6}, "427.62M parameters, more than 200M", "its number of parameters is not known"),
        ({"max_gflops": 100}, "175.33 GFLOPs, more than 100", "its number of operations is not known"),
        ({"max_size": 1e9}, "about 1.7105GB of weights, more than 1GB", "its size is not known"),
        (
            {"max_latency": 20},
            "250ms an image, more than 20ms",
            "its latency on this machine is not known, `mllctl model time own/weights` measures it",
        ),
        (
            {"licenses": ("mit",)},
            "its licence is CC-BY-NC-4.0",
            "its licence is not known, --allow-unknown-license lets it pass",
        ),
        ({"cached_only": True}, "it is not downloaded yet", "it may have to be downloaded"),
        (
            {"models": ("ViT-B-*", "RN*")},
            "its name is not like ViT-B-* or RN*",
            "its name is not like ViT-B-* or RN*",
        ),
    ],
)
def test_a_limit_refuses_what_is_over_it_and_what_is_not_known(limits, large, unknown):
    assert refusals(**limits) == {"ViT-L-14/metaclip": large, "own/weights": unknown}


def test_of_experts_it_is_said_that_they_are_and_not_that_they_can_be_timed():
    _, refused = admit(list(FACTS), FACTS, Limits(max_latency=20), "expert")
    assert refused[-1].reason == "its latency on this machine is not known"
    with pytest.raises(InvalidTask, match=r"^no expert is within the limits; loosen --max-params first"):
        admit(list(FACTS), FACTS, Limits(max_params=1), "expert")


def test_a_model_at_its_limit_is_kept():
    limits = {"max_params": 151_277_313, "max_gflops": 14.78, "max_size": 605_156_676, "max_latency": 12.5}
    assert "ViT-B-32/openai" not in refusals(**limits)


def test_an_unknown_licence_passes_where_it_is_allowed():
    assert refusals(licenses=("MIT",), allow_unknown_license=True).keys() == {"ViT-L-14/metaclip"}


def test_all_licences_of_a_model_must_be_allowed():
    facts = {"demo/one": replace(SMALL, license="MIT AND Apache-2.0")}
    assert admit(["demo/one"], facts, Limits(licenses=("Apache-2.0", "MIT")))[1] == ()
    with pytest.raises(InvalidTask, match="whose licences are MIT AND Apache"):
        admit(["demo/one"], facts, Limits(licenses=("MIT",)))


def test_all_limits_that_a_model_breaks_are_told():
    reasons = refusals(max_params=200e6, max_latency=20, licenses=("MIT",))
    assert reasons["ViT-L-14/metaclip"] == (
        "427.62M parameters, more than 200M; 250ms an image, more than 20ms; its licence is CC-BY-NC-4.0"
    )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"max_params": 5e6},
            "no model is within the limits; loosen --max-params first: it refuses 3 of 3, "
            "even ViT-B-32/openai (151.28M parameters, more than 5M)",
        ),
        (
            # The licence alone leaves one, latency two: what refuses most is named.
            {"max_latency": 1, "licenses": ("CC-BY-NC-4.0",)},
            "loosen --max-latency first: it refuses 3 of 3, even ViT-B-32/openai (12.5ms an image, more than 1ms)",
        ),
        (
            {"models": ("*L-14*",), "licenses": ("MIT",)},
            "loosen --license first: it refuses 2 of 3, whose licences are CC-BY-NC-4.0 (1), 1 unknown, which "
            "--allow-unknown-license lets pass",
        ),
        ({"models": ("vit-*",)}, "loosen --models first: it refuses 3 of 3, even ViT-B-32/openai"),
    ],
)
def test_where_nothing_is_left_the_tightest_limit_is_named(limits, message):
    with pytest.raises(InvalidTask) as refused:
        admit(list(FACTS), FACTS, Limits(**limits))
    assert message in str(refused.value)


def test_of_models_whose_facts_are_unknown_the_first_is_named():
    with pytest.raises(InvalidTask, match="even own/weights"):
        admit(["own/weights"], FACTS, Limits(max_gflops=1))


@pytest.mark.parametrize(
    ("text", "quantity", "amount"),
    [
        ("150M", "parameters", 150e6),
        ("150m", "parameters", 150e6),
        ("2.5G", "parameters", 2.5e9),
        ("1b", "parameters", 1e9),
        ("86000000", "parameters", 86e6),
        (" 1 k ", "parameters", 1e3),
        ("15", "gflops", 15),
        ("15G", "gflops", 15),
        ("1.2T", "gflops", 1200),
        ("500 MFLOPs", "gflops", 0.5),
        ("300MB", "bytes", 300e6),
        ("300m", "bytes", 300e6),
        ("1.5GiB", "bytes", 1.5 * 1024**3),
        ("17b", "bytes", 17),
        (".5s", "ms", 500),
        ("12ms", "ms", 12),
        ("12", "ms", 12),
        ("250us", "ms", 0.25),
    ],
)
def test_amounts_are_read_as_people_write_them(text, quantity, amount):
    assert parse_amount(text, quantity) == pytest.approx(amount, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "quantity", "message"),
    [
        ("", "parameters", "'' is no amount; write it as 150M or 2.5G"),
        ("many", "parameters", "'many' is no amount"),
        ("-5M", "parameters", "'-5M' is no amount"),
        ("nan", "gflops", "'nan' is no amount; write it as 15 or 1.2T"),
        ("1e9", "parameters", "'1e9' is no amount"),
        ("12ms", "bytes", "'12ms' is no amount; write it as 300MB or 1.5GiB"),
        ("300MB", "ms", "'300MB' is no amount; write it as 12ms or 0.5s"),
        ("٣", "parameters", "is no amount"),
        ("0MB", "bytes", "'0MB' would refuse every model; a limit is more than zero"),
    ],
)
def test_what_is_no_amount_is_refused(text, quantity, message):
    with pytest.raises(InvalidTask) as refused:
        parse_amount(text, quantity)
    assert message in str(refused.value)


@given(st.floats(1e-3, 1e14), st.sampled_from(["parameters", "gflops", "bytes", "ms"]))
def test_a_shown_amount_can_be_read_again(amount, quantity):
    assert parse_amount(show_amount(amount, quantity), quantity) == pytest.approx(amount, rel=1e-4)
