"""Measure answers against the truth, some images at a time, in memory that does not grow with them.

    answering.Part ── Tally.add ── ... ── Tally.measures ── Measures ── plotting, or JSON

What is measured is what users were told: the class with the highest confidence, ties to the first, and that very
confidence. An image whose truth is none of the classes is counted and left out of everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ensemble import Weighting, answer_weight, ensemble_confidence
from mllctl.kernels.measures import (
    Reliability,
    calibration_error,
    confusion,
    mean_recall,
    rank_of_truth,
    recall,
    reliability,
)

FEW = 5  # classes that may hold the truth in top-5


@dataclass(frozen=True)
class ClassMeasure:
    """How one class fared.

    Attributes:
        class_: its name.
        images: how many truly show it.
        recall: share of these that were taken for it, in [0, 1]; None if there are none.
        precision: share of what was taken for it that shows it, in [0, 1]; None if nothing was.
    """

    class_: str
    images: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class Contribution:
    """What one model is worth to the ensemble.

    Attributes:
        model: its name.
        classes: of how many classes it is a member.
        alone: top-1 of its own probabilities over all classes, in [0, 1].
        without: top-1 of the ensemble if the model were not loaded at all, in [0, 1]: its classes are answered by their
            other members, and those that have none by all other models together. None if there is no other model.
        weight: its share in the answer that was given, mean over images, in [0, 1]; these sum to 1 over models if every
            class has members.
    """

    model: str
    classes: int
    alone: float
    without: float | None
    weight: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose confidence is above `low` and at most `high`; one of 0 is in the first bin.

    Attributes:
        low, high: edges, in [0, 1].
        images: how many there are.
        confidence: their mean, in [0, 1]; None without images.
        accuracy: share that was right, in [0, 1]; None without images.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Measures:
    """What answers to at least one image are worth.

    Attributes:
        images: how many were measured.
        outside: how many were left out, their truth being none of the classes.
        accuracy: top-1, in [0, 1].
        mean_class_recall: over the classes that have images, in [0, 1].
        top5: share with the truth among the five most confident classes, in [0, 1]; None for a task of five classes or
            fewer, where it is 1 whatever the answers.
        calibration_error: expected, of the confidence in the class that was answered, in [0, 1].
        reliability: bins of equal width over [0, 1], ascending.
        classes: one a class, in their order.
        confusion: images by true class (row) and class answered (column), shape (c, c).
        contribution: one a model, in their order.
    """

    images: int
    outside: int
    accuracy: float
    mean_class_recall: float
    top5: float | None
    calibration_error: float
    reliability: tuple[ReliabilityBin, ...]
    classes: tuple[ClassMeasure, ...]
    confusion: Int
    contribution: tuple[Contribution, ...]

    def mistaken(self, n: int) -> list[tuple[str, str, int]]:
        """Return (true class, class answered, images) of the `n` most frequent mistakes.

        The most frequent comes first; ties go to the lower true class, then to the lower one answered.

        Raises:
            ValueError: if `n` is below 0.
        """
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}")
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        # By row, then by column, which a stable sort leaves as it is among equals.
        truth, answered = np.nonzero(wrong)
        count = wrong[truth, answered]
        order = np.argsort(-count, kind="stable")[:n]
        return [(self.classes[truth[j]].class_, self.classes[answered[j]].class_, int(count[j])) for j in order]


class Tally:
    """Counts of the answers seen so far; `add` some more, or take the `measures`.

    Attributes:
        images: how many were measured.
        outside: how many were left out, their truth being none of the classes.
    """

    def __init__(self, classes: Sequence[str], models: Sequence[str], members: Int, weighting: Weighting) -> None:
        """Begin with no image.

        Args:
            classes: names, at least one.
            models: names.
            members: models of each class, positions in `models`, -1 pads, shape (c, k).
            weighting: how answers are weighed.

        Raises:
            ValueError: if there is no class, or `members` are not models of each class.
        """
        if not classes:
            raise ValueError("classes must not be empty")
        if members.ndim != 2 or len(members) != len(classes):
            raise ValueError(f"members must have shape ({len(classes)}, k), got {members.shape}")
        if members.size and not (members.min() >= -1 and members.max() < len(models)):
            raise ValueError(f"members must be models 0..{len(models) - 1} or -1")
        self.images = self.outside = 0
        self._classes, self._models = tuple(classes), tuple(models)
        self._members, self._weighting = members, weighting
        self._rests = [without_model(members, m) for m in range(len(models))]
        self._confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        self._in_few = 0
        self._reliability = reliability(np.zeros(0), np.zeros(0, dtype=np.bool_))
        self._alone, self._without = np.zeros((2, len(models)), dtype=np.int64)  # hits
        self._weight = np.zeros(len(models))

    def add(self, probability: Float, confidence: Float, truth: Int) -> None:
        """Count some more answers.

        Args:
            probability: P(c | x) of each model, shape (m, i, c).
            confidence: of the ensemble, what `ensemble_confidence` made of these, shape (i, c).
            truth: class of each image, -1 for none of them, shape (i,).

        Raises:
            ValueError: on shapes that do not agree, a truth that is no class, or confidence outside [0, 1]; nothing is
                counted then.
        """
        shape = (len(self._models), len(truth), len(self._classes))
        if truth.ndim != 1 or probability.shape != shape or confidence.shape != shape[1:]:
            got = f"{probability.shape}, {confidence.shape} and {truth.shape}"
            raise ValueError(f"probability, confidence and truth must be (m, i, c), (i, c) and (i,), got {got}")
        known = truth != -1
        if not known.all():
            probability, confidence, truth = probability[:, known], confidence[known], truth[known]
        rank, winner = rank_of_truth(confidence, truth), confidence.argmax(axis=1)
        sure = np.take_along_axis(confidence, winner[:, None], axis=1)[:, 0]
        weight = answer_weight(probability, self._members, winner, self._weighting)
        self._reliability += reliability(sure, rank == 0)
        self._confusion += confusion(truth, winner, len(self._classes))
        self._in_few += int((rank < FEW).sum())
        self._weight += weight.sum(axis=1)
        self._alone += (probability.argmax(axis=2) == truth).sum(axis=1)
        for m, rest in enumerate(self._rests):
            if rest is not None:
                others = ensemble_confidence(probability, rest, self._weighting)
                self._without[m] += (others.argmax(axis=1) == truth).sum()
        self.images += len(truth)
        self.outside += int((~known).sum())

    def measures(self) -> Measures | None:
        """Return what the answers so far are worth; None before an image was measured, for which nothing is defined."""
        if not self.images:
            return None
        return Measures(
            images=self.images,
            outside=self.outside,
            accuracy=int(np.trace(self._confusion)) / self.images,
            mean_class_recall=mean_recall(self._confusion),
            top5=self._in_few / self.images if len(self._classes) > FEW else None,
            calibration_error=calibration_error(self._reliability),
            reliability=_bins(self._reliability),
            classes=_of_classes(self._classes, self._confusion),
            confusion=self._confusion.copy(),
            contribution=tuple(self._contribution(m) for m in range(len(self._models))),
        )

    def _contribution(self, m: int) -> Contribution:
        return Contribution(
            model=self._models[m],
            classes=int((self._members == m).any(axis=1).sum()),
            alone=int(self._alone[m]) / self.images,
            without=None if self._rests[m] is None else int(self._without[m]) / self.images,
            weight=float(self._weight[m]) / self.images,
        )


def without_model(members: Int, model: int) -> Int | None:
    """Return who answers for each class if a model is taken away: its other members, or else all models that are left.

    Keeping the model where it has no company would measure an ensemble that still needs it; leaving such a class
    unanswered would measure the class, not the model. Every model has an answer for every class, so the rest can stand
    in. A class that never had members still has none.

    Args:
        members: shape (c, k); -1 pads.
        model: the one to be taken away.

    Returns:
        members, shape (c, k or more); None if no other model is a member of any class.
    """
    others = [m for m in np.unique(members).tolist() if m not in (-1, model)]
    if not others:
        return None
    left = np.where(members == model, -1, members)
    bereft = (left == -1).all(axis=1) & (members == model).any(axis=1)
    pads = np.full((len(members), max(len(others) - members.shape[1], 0)), -1)
    padded = np.concatenate([left, pads], axis=1)
    padded[bereft, : len(others)] = others
    return padded


def _bins(of: Reliability) -> tuple[ReliabilityBin, ...]:
    count = len(of.count)
    rows = zip(of.count.tolist(), of.confidence_sum.tolist(), of.correct.tolist(), strict=True)
    return tuple(
        ReliabilityBin(b / count, (b + 1) / count, images, total / images, hits / images)
        if images
        else ReliabilityBin(b / count, (b + 1) / count, 0, None, None)
        for b, (images, total, hits) in enumerate(rows)
    )


def _of_classes(classes: Sequence[str], counts: Int) -> tuple[ClassMeasure, ...]:
    images = counts.sum(axis=1).tolist()
    columns = ([None if np.isnan(x) else x for x in recall(n).tolist()] for n in (counts, counts.T))
    return tuple(ClassMeasure(*row) for row in zip(classes, images, *columns, strict=True))
