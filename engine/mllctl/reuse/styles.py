"""The same answers in the shapes that other libraries have made familiar.

pipeline_answers   as a zero-shot image classification pipeline of transformers answers
Classifier         as a fitted classifier of scikit-learn answers; neither library is needed
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mllctl.kernels.arrays import Float, Int

PipelineAnswer = list[dict[str, str | float]]


def best_classes(confidence: Float, count: int) -> Int:
    """Return the classes of each image, most confident first, ties to the first, shape (i, min(count, c))."""
    return np.asarray(np.argsort(-confidence, axis=1, kind="stable")[:, :count])


def pipeline_answers(classes: Sequence[str], confidence: Float, top_k: int) -> list[PipelineAnswer]:
    """Return the best classes of each image, best first.

    Args:
        classes: their names.
        confidence: shape (i, c).
        top_k: classes an image, at least 1.

    Raises:
        ValueError: if `top_k` is below 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    best = best_classes(confidence, top_k)
    return [
        [{"label": classes[c], "score": float(row[c])} for c in few]
        for row, few in zip(confidence, best.tolist(), strict=True)
    ]


class Classifier:
    """Images in, classes out, by the names that scikit-learn gives these methods.

    Attributes:
        classes_: names of the classes, the order of the columns of `predict_proba`.
    """

    def __init__(self, classes: Sequence[str], confidence: Callable[[Any], Float]) -> None:
        self.classes_ = np.array(classes)
        self._confidence = confidence

    def fit(self, images: Any = None, truth: Any = None) -> "Classifier":  # noqa: ARG002
        """Return itself: nothing is learned from the user's images."""
        return self

    def predict(self, images: Any) -> NDArray[np.str_]:
        """Return the class of each image, shape (i,)."""
        return np.asarray(self.classes_[self._confidence(images).argmax(axis=1)])

    def predict_proba(self, images: Any) -> Float:
        """Return the confidence in each class, scaled so that those of an image sum to 1, shape (i, c)."""
        confidence = self._confidence(images)
        return np.asarray(confidence / confidence.sum(axis=1, keepdims=True))

    def score(self, images: Any, truth: Sequence[str]) -> float:
        """Return the share of images whose class is the true one, in [0, 1]."""
        return float((self.predict(images) == np.asarray(truth)).mean())
