"""MLL: models chosen by the labels of a hub, as the paper has it and as we do.

The paper (arXiv 2501.18271, Eq 5-10): classes matched by captions, precision unshrunk, all domains alike, ensembles
weighed by entropy. Ours: `select_models` as it comes, members of a class weighed alike.
"""

from typing import Any, Literal

import numpy as np

from mllctl.kernels.arrays import Float
from mllctl.kernels.ensemble import Weighting
from mllctl.methods.protocol import Afterwards, Asked, Choice, Method, as_score
from mllctl.select import Selection

ENSEMBLE_SIZE = 3
PAPER: dict[str, Any] = {"matching": "caption", "estimator": "paper"}
Breadth = Literal["one", "few", "each"]


def label_method(
    name: str,
    about: str,
    breadth: Breadth,
    k: int = 1,
    weighting: Weighting = "uniform",
    domain: bool = False,
    **options: Any,
) -> Method:
    """Return a method that chooses by labels.

    Args:
        name, about: as `Method` has them.
        breadth: one model for the task, a few over all classes, or `k` for each class.
        k: models of a class.
        weighting: how they answer together.
        domain: whether it is told the domain in words.
        **options: of `select_models`.
    """
    # Asked for alike by methods that differ only in what they take of the answer: a selection may be remembered.
    wanted = {"k": max(k, ENSEMBLE_SIZE), **options}

    def choose(asked: Asked, _: Afterwards | None) -> Choice:
        assert asked.select is not None
        selection = asked.select(domain=(asked.domain or None) if domain else None, **wanted)
        return choice_of(asked, selection, breadth, k, weighting)

    return Method(name, about, "hub", choose, per_class=breadth != "one")


def choice_of(asked: Asked, selection: Selection, breadth: Breadth, k: int, weighting: Weighting) -> Choice:
    """Return what a selection says as a choice.

    Args:
        asked: the task.
        selection: of it.
        breadth, k, weighting: as of `label_method`.
    """
    place = np.array([asked.models.index(name) for name in selection.names])
    believed = selection.class_precision.mean(axis=1)
    if not selection.covered.any():
        believed = np.arange(len(place)) == selection.single
    score = as_score(_spread(believed.astype(np.float64), place, len(asked.models)))
    if breadth == "one":
        return Choice(score)
    members = place[selection.answer(breadth).members[:, :k]]
    # Models that were left out, such as a second one with the same weights, are worth nothing to any class.
    worth = np.nan_to_num(_spread(selection.reuse, place, len(asked.models))) if breadth == "each" else None
    return Choice(score, members, worth, weighting)


def _spread(values: Float, place: Any, models: int) -> Float:
    spread = np.full((models, *values.shape[1:]), np.nan)
    spread[place] = values
    return spread


def _best_on_hub(asked: Asked, _: Afterwards | None) -> Choice:
    assert asked.typical is not None
    return Choice(as_score(asked.typical))


LABELS = (
    Method("best-on-hub", "the best model in typical tasks of the hub", "hub", _best_on_hub),
    label_method("mll-paper", "MLL as the paper has it, one model", "one", **PAPER),
    label_method("mll-paper-k1", "the same, a model a class", "each", 1, "entropy", **PAPER),
    label_method("mll-paper-k3", "the same, 3 models a class by entropy", "each", ENSEMBLE_SIZE, "entropy", **PAPER),
    label_method("mll-names", "MLL by default, from class names, one model", "one"),
    label_method("mll", "MLL by default, told the domain, one model", "one", domain=True),
    label_method("mll-2", "the same, at most 2 models", "few", 1, domain=True),
    label_method("mll-k1", "the same, a model a class", "each", 1, domain=True),
    label_method("mll-k3", "the same, 3 models a class", "each", ENSEMBLE_SIZE, domain=True),
)
