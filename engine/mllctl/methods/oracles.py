"""What is known only afterwards: how good a choice could have been."""

import numpy as np

from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ensemble import ensemble_confidence
from mllctl.methods.protocol import Afterwards, Asked, Choice, Method, as_score, known


def _oracle(_: Asked, afterwards: Afterwards | None) -> Choice:
    return Choice(as_score(known(afterwards).reached))


def _hindsight(_: Asked, afterwards: Afterwards | None) -> Choice:
    """Take the mean over all tasks, this one too."""
    seen = known(afterwards)
    return Choice(as_score(np.vstack([seen.others, seen.reached]).mean(axis=0)))


def _oracle_per_class(_: Asked, afterwards: Afterwards | None) -> Choice:
    """Give each class a model so that most images are right.

    From the best single model on, class after class is given the model with which most images are right, until no
    change of one class helps: never worse than the best single model, and not always the best there is.
    """
    seen = known(afterwards)
    assert seen.probability is not None
    assert seen.truth is not None
    members = np.full(seen.probability.shape[2], int(seen.reached.argmax()))
    confidence = ensemble_confidence(seen.probability, members[:, None], "uniform")
    right = -1
    while (now := _improve(seen.probability, seen.truth, members, confidence)) > right:
        right = now
    return Choice(as_score(seen.reached), members[:, None])


def _improve(probability: Float, truth: Int, members: Int, confidence: Float) -> int:
    """Give each class in turn the model with which most images are right; return how many then are."""
    right = int((confidence.argmax(axis=1) == truth).sum())
    for c in range(len(members)):
        for m in range(len(probability)):
            kept = confidence[:, c].copy()
            confidence[:, c] = probability[m, :, c]
            now = int((confidence.argmax(axis=1) == truth).sum())
            if now > right:
                right, members[c] = now, m
            else:
                confidence[:, c] = kept
    return right


ORACLES = (
    Method("hindsight", "the best mean over all tasks, known afterwards", "truth", _hindsight),
    Method("oracle", "the best model of the task, known afterwards", "truth", _oracle),
    Method("oracle-per-class", "a model a class, known afterwards", "truth", _oracle_per_class, per_class=True),
)
