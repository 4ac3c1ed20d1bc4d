"""What transferability scores need of features, gathered once: counts, means, sums of classes and the scatter matrix.

    features (n, d), labels (n,) ── FeatureSummary ── evidence, H-scores, TransRate, EMMS, ...

The scatter matrix is nearly all of the work, 2 n d^2 operations; the scores read it, and none of them looks at the
features again but those that must look at every image.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mllctl.kernels.arrays import AnyArray, Float, Int

FEW = 128  # classes up to which a product with one-hot labels is quicker than sorting the features (10,000 x 2,048)


@dataclass(frozen=True)
class FeatureSummary:
    """Features of labelled images, summed up.

    Attributes:
        features: less their mean, float64, shape (n, d).
        mean: of the features, shape (d,).
        truth: class of each image, 0..c-1: the labels in ascending order, whatever integers they were, shape (n,).
        classes: how many there are.
    """

    features: Float
    mean: Float
    truth: Int
    classes: int

    @classmethod
    def of(cls, features: AnyArray, labels: AnyArray) -> "FeatureSummary":
        """Sum up features of images and their labels.

        Args:
            features: finite numbers of any precision, shape (n, d).
            labels: any integers, shape (n,).

        Raises:
            ValueError: on shapes that do not agree, no image, no feature, or numbers that are not finite.
        """
        values = checked_features(features)
        truth, classes = relabelled(labels, len(values))
        mean = values.mean(axis=0)
        return cls(values - mean, mean, truth, classes)

    @property
    def images(self) -> int:
        """n."""
        return len(self.features)

    @property
    def width(self) -> int:
        """d."""
        return int(self.features.shape[1])

    @cached_property
    def counts(self) -> Int:
        """Images of each class, at least 1, shape (c,)."""
        return np.bincount(self.truth, minlength=self.classes)

    @cached_property
    def sums(self) -> Float:
        """Sum of the centred features of each class, shape (c, d)."""
        if self.classes <= FEW:
            return np.asarray((self.truth == np.arange(self.classes)[:, None]).astype(np.float64) @ self.features)
        order = np.argsort(self.truth, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        return np.asarray(np.add.reduceat(self.features[order], starts, axis=0))

    @property
    def means(self) -> Float:
        """Mean of the centred features of each class, shape (c, d)."""
        return np.asarray(self.sums / self.counts[:, None])

    @cached_property
    def scatter(self) -> Float:
        """Sum of x x^T over centred features, shape (d, d)."""
        return np.asarray(self.features.T @ self.features)

    @cached_property
    def between(self) -> Float:
        """Sum over classes of n_c m_c m_c^T, m_c being the mean of the class, as a factor: shape (c, d)."""
        return np.asarray(self.sums / np.sqrt(self.counts)[:, None])


def checked_features(features: AnyArray) -> Float:
    """Return features in float64.

    Raises:
        ValueError: if they are not of shape (n, d) with one of each, or not finite.
    """
    if features.ndim != 2 or features.size == 0:
        raise ValueError(f"features must have shape (images, width) with one of each, got {features.shape}")
    values = np.asarray(features, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("features must be finite")
    return values


def relabelled(labels: AnyArray, images: int) -> tuple[Int, int]:
    """Return labels as 0..c-1 in ascending order, and c.

    Raises:
        ValueError: if they are no integers of shape (images,).
    """
    if labels.shape != (images,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be {images} integers, got {labels.dtype} of shape {labels.shape}")
    known, truth = np.unique(labels, return_inverse=True)
    return truth.reshape(-1).astype(np.int64), len(known)
