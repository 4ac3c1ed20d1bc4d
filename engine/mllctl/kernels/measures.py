"""What answers are worth when the truth is known: hits of classes, ranks, and how far confidence can be believed."""

from dataclasses import dataclass

import numpy as np

from mllctl.kernels.arrays import Bool, Float, Int

BINS = 15  # as Guo et al. have it
ROUNDING = 1e-9  # by so much the sum of weighted probabilities may be off [0, 1]


def confusion(truth: Int, predicted: Int, classes: int) -> Int:
    """Count images by their true class and the one they were taken for.

        n[t, u] = |{x : truth[x] = t, predicted[x] = u}|

    Args:
        truth: class of each image, shape (i,).
        predicted: the class it was taken for, shape (i,).
        classes: how many there are.

    Returns:
        n, shape (c, c): truth by rows, what was predicted by columns.

    Raises:
        ValueError: if the two have not the same shape (i,), or hold anything but classes.
    """
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must both have shape (images,)")
    for name, found in (("truth", truth), ("predicted", predicted)):
        if not ((found >= 0) & (found < classes)).all():
            raise ValueError(f"{name} must be classes 0..{classes - 1}, got {found.min()}..{found.max()}")
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def rank_of_truth(confidence: Float, truth: Int) -> Int:
    """Count the classes that stand before the true one.

        rank[x] = |{u : s[x, u] > s[x, t], or s[x, u] = s[x, t] and u < t}|,  t = truth[x]

    It is 0 exactly where a first-index argmax finds the truth; top-n accuracy is the share of images with rank < n.

    Args:
        confidence: s, shape (i, c).
        truth: class of each image, shape (i,).

    Returns:
        rank, shape (i,), in 0..c-1.

    Raises:
        ValueError: on shapes that do not agree, a truth that is no class, or confidence that is not finite.
    """
    if confidence.ndim != 2 or truth.shape != confidence.shape[:1]:
        raise ValueError(f"confidence {confidence.shape} and truth {truth.shape} must share their images")
    classes = confidence.shape[1]
    if not ((truth >= 0) & (truth < classes)).all():
        raise ValueError(f"truth must be classes 0..{classes - 1}, got {truth.min()}..{truth.max()}")
    if not np.isfinite(confidence).all():
        raise ValueError("confidence must be finite")
    own = np.take_along_axis(confidence, truth[:, None], axis=1)
    before = (confidence > own) | ((confidence == own) & (np.arange(classes) < truth[:, None]))
    return np.asarray(before.sum(axis=1))


@dataclass(frozen=True)
class Reliability:
    """What images of like confidence have in common; those of several chunks add up.

    Attributes:
        count: images in each bin, shape (b,).
        confidence_sum: of these, shape (b,).
        correct: how many of these were right, shape (b,).
    """

    count: Int
    confidence_sum: Float
    correct: Int

    def __add__(self, other: "Reliability") -> "Reliability":
        """Return that of the images of both.

        Raises:
            ValueError: if they have not as many bins.
        """
        if self.count.shape != other.count.shape:
            raise ValueError(f"bins must be as many to be added, got {len(self.count)} and {len(other.count)}")
        return Reliability(
            self.count + other.count, self.confidence_sum + other.confidence_sum, self.correct + other.correct
        )


def reliability(confidence: Float, correct: Bool, bins: int = BINS) -> Reliability:
    """Sort images into bins of equal width by their confidence.

        B[b] = {x : b/bins < confidence[x] <= (b+1)/bins},  b = 0..bins-1

    Source: Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), section 2. A confidence of 0, which
    has no bin there, is in the first.

    Args:
        confidence: in the class each image was taken for, shape (i,), in [0, 1].
        correct: whether it was the true one, shape (i,).
        bins: at least 1.

    Raises:
        ValueError: on shapes that do not agree, confidence outside [0, 1] by more than rounding, or no bin.
    """
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ValueError(f"confidence {confidence.shape} and correct {correct.shape} must both have shape (images,)")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if not ((confidence >= -ROUNDING) & (confidence <= 1 + ROUNDING)).all():
        raise ValueError(f"confidence must be in [0, 1], got {confidence.min()}..{confidence.max()}")
    # Looked up and not multiplied out: 0.3 * 10 > 3 for some floats, and an edge would be in the wrong bin.
    upper = np.arange(1, bins + 1) / bins
    bin_ = np.minimum(np.searchsorted(upper, confidence), bins - 1)
    return Reliability(
        np.bincount(bin_, minlength=bins),
        np.asarray(np.bincount(bin_, confidence, minlength=bins), dtype=np.float64),
        np.bincount(bin_[correct], minlength=bins),
    )


def calibration_error(of: Reliability) -> float:
    """Return the expected calibration error, in [0, 1].

        ECE = sum_b n_b / n * |acc(B_b) - conf(B_b)|

    Source: Guo et al. (arXiv 1706.04599), Eq 3; acc is the share of a bin that is right, conf its mean confidence. A
    bin without images adds nothing.

    Raises:
        ValueError: if there are no images, for which it is not defined.
    """
    images = int(of.count.sum())
    if not images:
        raise ValueError("a calibration error needs at least one image")
    # n_b cancels: n_b * acc is the number of hits, n_b * conf the sum of confidence.
    return float(np.abs(of.correct - of.confidence_sum).sum() / images)


def recall(counts: Int) -> Float:
    """Return the share of the images of each class that were found.

        recall[t] = n[t, t] / sum_u n[t, u]

    Of the transposed counts it is the precision of each class: the share of what was taken for it that is of it.

    Args:
        counts: n, as `confusion` returns it, shape (c, c).

    Returns:
        recall, shape (c,), in [0, 1]; nan for a class without images.

    Raises:
        ValueError: if `counts` is not square.
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"counts must have shape (classes, classes), got {counts.shape}")
    images = counts.sum(axis=1)
    return np.asarray(np.divide(np.diag(counts), images, out=np.full(len(counts), np.nan), where=images > 0))


def mean_recall(counts: Int) -> float:
    """Return the mean recall over the classes that have images, in [0, 1].

    Args:
        counts: as `confusion` returns it, shape (c, c).

    Raises:
        ValueError: if `counts` is not square, or no class has images.
    """
    of_class = recall(counts)
    if np.isnan(of_class).all():
        raise ValueError("a mean recall needs at least one image")
    return float(np.nanmean(of_class))
