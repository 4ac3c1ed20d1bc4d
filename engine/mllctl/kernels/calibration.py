"""How much too sure a model is: one number that its logits are divided by (temperature scaling).

Classes keep their order whatever that number is; how probabilities of several models add up does not.
"""

import numpy as np

from mllctl.kernels.arrays import Float, Int

LOWEST, HIGHEST = 0.05, 20.0  # temperatures that are told apart
EXACT = 1e-10  # of 1/T, relative
STRENGTH = 50.0  # images; docs/decisions.md says how it was tuned


def fit_temperature(logits: Float, truth: Int, weight: Float | None = None) -> float:
    """Return the temperature at which a model is as sure as it is right.

        T = argmin  sum_i w_i NLL_i / sum_i w_i,   NLL_i = -log softmax(logits_i / T)[truth_i]

    Source: Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), section 4.2. The mean is convex in
    1/T, and there its slope is zero:

        slope(1/T) = sum_i w_i (E_p[logits_i] - logits_i[truth_i]) / sum_i w_i,   p = softmax(logits_i / T)

    Newton's steps on the slope, and a bisection wherever one would leave the bracket, find it to 1e-10.

    Args:
        logits: finite, shape (i, c).
        truth: class of each image, shape (i,).
        weight: how much each image counts, finite and at least 0, shape (i,); all alike when None.

    Returns:
        T, in [0.05, 20]. It is 0.05 where the mean still falls there, as when every image is right with a margin; 20
        where it would fall beyond, as when logits say no more than chance, or mislead; 1 where T changes nothing, as
        with one class, or logits that are all alike.

    Raises:
        ValueError: on shapes that do not agree, a truth that is no class, numbers that are not finite, a weight below
            0, or no image that counts.
    """
    _check(logits, truth, weight)
    counted = np.ones(len(truth)) if weight is None else weight / weight.max()
    counted = counted / counted.sum()
    lead = logits - np.take_along_axis(logits, truth[:, None], axis=1)
    low, high = 1 / HIGHEST, 1 / LOWEST
    # The slope only rises: the two ends say whether it is zero in between.
    falls, rises = _slope(lead, counted, high)[0] <= 0, _slope(lead, counted, low)[0] >= 0
    if falls or rises:
        return 1.0 if falls and rises else LOWEST if falls else HIGHEST
    inverse = 1.0
    while high - low > EXACT * low:
        slope, curve = _slope(lead, counted, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = slope / curve if curve > 0 else np.inf
        if abs(step) <= EXACT * inverse:
            break
        inverse = inverse - step if low < inverse - step < high else float(np.sqrt(low * high))
    return 1 / inverse


def shrink_temperatures(fitted: Float, images: float, strength: float = STRENGTH) -> Float:
    """Draw the temperatures of several models, fitted to the same images, towards what they have in common.

        log T[m] = (images log fitted[m] + strength mean(log fitted)) / (images + strength)

    Few images say how sure such models are in general before they say which of them is surer.

    Args:
        fitted: positive, shape (m,).
        images: how many images the fit is worth: (sum w)^2 / sum w^2, where they weigh differently; at least 0.
        strength: how many images what they have in common is worth, above 0.

    Returns:
        T, shape (m,); with one model as it was fitted.

    Raises:
        ValueError: if an argument is outside its range.
    """
    if fitted.ndim != 1 or not (fitted > 0).all():
        raise ValueError(f"fitted must have shape (models,) and be positive, got {fitted}")
    if images < 0 or strength <= 0:
        raise ValueError(f"images must be at least 0 and strength above 0, got {images} and {strength}")
    log = np.log(fitted)
    return np.asarray(np.exp((images * log + strength * log.sum() / max(len(log), 1)) / (images + strength)))


def _slope(lead: Float, weight: Float, inverse: float) -> tuple[float, float]:
    """Return the first two derivatives by 1/T of the mean NLL; `lead` is each logit less the true one's."""
    scaled = inverse * lead
    chance = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    mean = (chance * lead).sum(axis=1)
    spread = (chance * (lead - mean[:, None]) ** 2).sum(axis=1)
    return float(weight @ mean), float(weight @ spread)


def _check(logits: Float, truth: Int, weight: Float | None) -> None:
    if logits.ndim != 2 or truth.shape != logits.shape[:1] or (weight is not None and weight.shape != truth.shape):
        shapes = f"logits {logits.shape}, truth {truth.shape}" + ("" if weight is None else f", weight {weight.shape}")
        raise ValueError(f"{shapes} must have shapes (images, classes), (images,), (images,)")
    if not ((truth >= 0) & (truth < logits.shape[1])).all():
        raise ValueError(f"truth must be a class 0..{logits.shape[1] - 1} of each image")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite")
    if weight is not None and not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("weight must be finite and at least 0")
    if not (len(truth) if weight is None else (weight > 0).any()):
        raise ValueError("a temperature needs at least one image that counts")
