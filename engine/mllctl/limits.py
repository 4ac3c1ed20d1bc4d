"""Which models, or experts, a task may use at all: limits on size, speed, licence and name.

    models + ModelFacts ── admit(Limits) ── kept, and why the others are refused

The facts come from `backends.facts`; whoever selects admits first, and looks at the evidence of those that are kept.
A fact that is not known fails the limit that asks for it: a limit that is guessed at is none. `parse_amount` reads
what people type. Nothing here reads a hub, a file or a clock.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from mllctl.backends.facts import ModelFacts
from mllctl.errors import InvalidTask

Quantity = Literal["parameters", "gflops", "bytes", "ms"]
Kind = Literal["model", "expert"]


@dataclass(frozen=True)
class Limits:
    """What a model must keep to; None and () ask for nothing.

    Attributes:
        max_params: parameters.
        max_gflops: 10^9 operations for an image and a text.
        max_size: bytes of weights.
        max_latency: ms an image, as measured on this machine.
        licenses: SPDX identifiers, in upper or lower case; whatever a model is under must be among them.
        allow_unknown_license: whether a model of unknown licence passes `licenses`.
        cached_only: whether it must be possible to load it without a download.
        models: patterns such as `ViT-*`, of which its name must match one; `*` stands for slashes, too.
    """

    max_params: float | None = None
    max_gflops: float | None = None
    max_size: float | None = None
    max_latency: float | None = None
    licenses: tuple[str, ...] = ()
    allow_unknown_license: bool = False
    cached_only: bool = False
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A model that breaks limits, and which of them, in words."""

    model: str
    reason: str


@dataclass(frozen=True)
class _Amount:
    """A limit on an amount: its option, its field in `Limits` and in `ModelFacts`, and how one speaks of it."""

    option: str
    limit: str
    fact: str
    quantity: Quantity
    name: str
    said: str


_AMOUNTS = (
    _Amount("--max-params", "max_params", "parameters", "parameters", "number of parameters", "{} parameters"),
    _Amount("--max-gflops", "max_gflops", "gflops", "gflops", "number of operations", "{} GFLOPs"),
    _Amount("--max-size", "max_size", "size_bytes", "bytes", "size", "{} of weights"),
    _Amount("--max-latency", "max_latency", "latency_ms", "ms", "latency on this machine", "{} an image"),
)
_OPTIONS = (*(amount.option for amount in _AMOUNTS), "--license", "--cached-only", "--models")


def admit(
    models: Sequence[str], facts: Mapping[str, ModelFacts], limits: Limits, kind: Kind = "model"
) -> tuple[tuple[str, ...], tuple[Refused, ...]]:
    """Divide models into those within the limits and those that are not, each in the order given.

    Args:
        models: names, at least one.
        facts: of each of them.
        limits: what they must keep to.
        kind: what they are called; the latency of an expert cannot be measured.

    Raises:
        InvalidTask: if none is left; it names the limit that refuses most.
    """
    broken = {model: dict(_broken(model, facts[model], limits, kind)) for model in models}
    kept = tuple(model for model in models if not broken[model])
    if not kept:
        raise InvalidTask(_nothing_left(broken, facts, kind))
    return kept, tuple(Refused(model, "; ".join(reasons.values())) for model, reasons in broken.items() if reasons)


def _broken(model: str, facts: ModelFacts, limits: Limits, kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield the option of each limit that a model breaks, and how it does."""
    for amount in _AMOUNTS:
        most, its = getattr(limits, amount.limit), getattr(facts, amount.fact)
        if most is not None and its is None:
            measurable = amount.quantity == "ms" and kind == "model"
            cure = f", `mllctl model time {model}` measures it" if measurable else ""
            yield amount.option, f"its {amount.name} is not known{cure}"
        elif most is not None and its > most:
            yield amount.option, f"{_said(amount, facts)}, more than {show_amount(most, amount.quantity)}"
    if limits.licenses and not _is_licensed(facts.license, limits):
        unknown = "its licence is not known, --allow-unknown-license lets it pass"
        yield "--license", unknown if facts.license is None else f"its licence is {facts.license}"
    if limits.cached_only and not facts.cached:
        yield "--cached-only", "it may have to be downloaded" if facts.cached is None else "it is not downloaded yet"
    if limits.models and not any(fnmatchcase(model, pattern) for pattern in limits.models):
        yield "--models", f"its name is not like {' or '.join(limits.models)}"


def _said(amount: _Amount, facts: ModelFacts) -> str:
    about = "about " if amount.quantity == "bytes" and facts.size_estimated else ""
    return about + amount.said.format(show_amount(getattr(facts, amount.fact), amount.quantity))


def _is_licensed(license_: str | None, limits: Limits) -> bool:
    """Say whether every licence of `A AND B` is allowed."""
    if license_ is None:
        return limits.allow_unknown_license
    return {part.lower() for part in license_.split(" AND ")} <= {name.lower() for name in limits.licenses}


def _nothing_left(broken: Mapping[str, Mapping[str, str]], facts: Mapping[str, ModelFacts], kind: Kind) -> str:
    """Name the limit that refuses most models, and the model that is nearest to it."""
    count = Counter(option for reasons in broken.values() for option in reasons)
    tightest = max(_OPTIONS, key=count.__getitem__)
    refused = [model for model, reasons in broken.items() if tightest in reasons]
    said = f"no {kind} is within the limits; loosen {tightest} first: it refuses {count[tightest]} of {len(broken)}, "
    licenses = _licenses([facts[model] for model in refused]) if tightest == "--license" else []
    if licenses:
        return f"{said}whose licences are {', '.join(licenses)}"
    model = _nearest(tightest, refused, facts)
    return f"{said}even {model} ({broken[model][tightest]})"


def _licenses(facts: Sequence[ModelFacts]) -> list[str]:
    """Return the licences that models are under, the most usual first, and at the end how many are not known."""
    known = Counter(its.license for its in facts if its.license)
    unknown = sum(its.license is None for its in facts)
    more = f"{unknown} unknown, which --allow-unknown-license lets pass"
    return [f"{name} ({number})" for name, number in known.most_common()] + ([more] if known and unknown else [])


def _nearest(option: str, models: Sequence[str], facts: Mapping[str, ModelFacts]) -> str:
    """Return the model with the least of what an option limits; the first where that is no amount or not known."""
    amount = next((amount for amount in _AMOUNTS if amount.option == option), None)
    known = [model for model in models if amount and getattr(facts[model], amount.fact) is not None]
    return min(known, key=lambda model: getattr(facts[model], amount.fact)) if amount and known else models[0]


# -- amounts as people write them -----------------------------------------------------------------------

_LETTERS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BINARY = {"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
_UNITS: dict[Quantity, dict[str, float]] = {
    "parameters": {**_LETTERS, "b": 1e9},
    "gflops": {"": 1.0, **{f"{k}{end}": v / 1e9 for k, v in _LETTERS.items() if k for end in ("", "flop", "flops")}},
    "bytes": {**_LETTERS, **{f"{k}b": v for k, v in _LETTERS.items()}, **_BINARY},
    "ms": {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3},
}
_EXAMPLES: dict[Quantity, str] = {
    "parameters": "150M or 2.5G",
    "gflops": "15 or 1.2T",
    "bytes": "300MB or 1.5GiB",
    "ms": "12ms or 0.5s",
}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]*)")


def parse_amount(text: str, quantity: Quantity = "parameters") -> float:
    """Read an amount as people write it: `150M` parameters, `15` or `1.2T` GFLOPs, `300MB` or `1.5GiB`, `12ms`.

    Upper and lower case are the same; a number alone is of parameters, GFLOPs, bytes or ms.

    Raises:
        InvalidTask: if it is none, or is zero.
    """
    read = _AMOUNT.fullmatch(text.strip().lower())
    unit = _UNITS[quantity].get(read[2]) if read else None
    if read is None or unit is None:
        raise InvalidTask(f"{text!r} is no amount; write it as {_EXAMPLES[quantity]}")
    if float(read[1]) == 0:
        raise InvalidTask(f"{text!r} would refuse every model; a limit is more than zero")
    return float(read[1]) * unit


def show_amount(amount: float, quantity: Quantity) -> str:
    """Write an amount, to five digits, as `parse_amount` reads it."""
    if quantity in ("gflops", "ms"):
        return f"{_five_digits(amount)}{'ms' if quantity == 'ms' else ''}"
    letter, unit = max((item for item in _LETTERS.items() if item[1] <= max(amount, 1)), key=lambda item: item[1])
    return f"{_five_digits(amount / unit)}{letter.upper()}{'B' if quantity == 'bytes' else ''}"


def _five_digits(amount: float) -> str:
    """Round to five digits; of large numbers the others are zeros, not an exponent."""
    return f"{float(f'{amount:.5g}'):.15g}"
