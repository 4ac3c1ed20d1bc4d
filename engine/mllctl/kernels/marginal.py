"""The evidence of linear models over features: LogME, for classes and for real targets.

    features ── eigenvalues of their Gram matrix ── alpha, beta of each target ── log evidence

Source: You et al., LogME (ICML 2021) and Ranking and Tuning Pre-trained Models (JMLR 2022), Algorithm 3. Where the
released code stops after eleven steps this goes on until nothing changes, and where there are more features than images
the determinant is that of all d eigenvalues, of which all but the rank are alpha.
"""

import numpy as np

from mllctl.kernels.arrays import AnyArray, Float
from mllctl.kernels.summary import FeatureSummary, checked_features

STEPS = 2_000
DAMPING = 1e-5  # added to |m|^2 and to the residual, as released: alpha and beta stay finite where either vanishes
CONVERGED = 1e-10  # relative change of alpha / beta
LEAST = 1e-15  # of a target's square that a residual is taken to have, and of alpha / beta
MOST = 1e15  # alpha / beta: features that say nothing of a target


def logme(features: AnyArray, labels: AnyArray) -> float:
    """Return how well a linear model over features explains labels: mean log evidence an image and class.

        LogME = 1/c sum over classes of 1/n max over alpha, beta of log p(y_c | F, alpha, beta),  y_c one-hot

    Source: LogME, Eq 2 and Algorithm 3.

    Args:
        features: F, shape (n, d).
        labels: any integers, shape (n,).

    Raises:
        ValueError: as `FeatureSummary.of`.
    """
    return logme_of(FeatureSummary.of(features, labels))


def logme_of(summary: FeatureSummary) -> float:
    """Return `logme` of features that are summed up already."""
    counts = summary.counts.astype(np.float64)
    if summary.width > summary.images:
        onehot = (summary.truth[:, None] == np.arange(summary.classes)).astype(np.float64)
        return float(_evidence(*_wide(summary.features + summary.mean, onehot), counts, summary.images).mean())
    # Sums of raw features, from those of centred ones.
    sums = summary.sums + counts[:, None] * summary.mean
    gram = summary.scatter + summary.images * np.outer(summary.mean, summary.mean)
    return float(_evidence(*_tall(gram, sums.T), counts, summary.images).mean())


def logme_regression(features: AnyArray, targets: AnyArray) -> float:
    """Return the mean log evidence an image and target of linear models over features.

    Args:
        features: F, shape (n, d).
        targets: real numbers, as they are, shape (n, t).

    Raises:
        ValueError: as `FeatureSummary.of`, or on targets of another shape.
    """
    values = checked_features(features)
    if targets.ndim != 2 or len(targets) != len(values) or targets.shape[1] == 0:
        raise ValueError(f"targets must have shape ({len(values)}, targets) with one at least, got {targets.shape}")
    wanted = np.asarray(targets, dtype=np.float64)
    if not np.isfinite(wanted).all():
        raise ValueError("targets must be finite")
    parts = _wide(values, wanted) if values.shape[1] > len(values) else _tall(values.T @ values, values.T @ wanted)
    return float(_evidence(*parts, np.einsum("nt,nt->t", wanted, wanted), len(values)).mean())


def _tall(gram: Float, products: Float) -> tuple[Float, Float]:
    """Return the eigenvalues of F^T F, and (V^T F^T y)^2 by eigenvalue and target, shape (d, t)."""
    values, vectors = np.linalg.eigh(gram)
    return np.maximum(values, 0), (vectors.T @ products) ** 2


def _wide(features: Float, targets: Float) -> tuple[Float, Float]:
    """Return the same from F F^T, which is smaller where d > n."""
    values, vectors = np.linalg.eigh(features @ features.T)
    values = np.maximum(values, 0)
    return values, values[:, None] * (vectors.T @ targets) ** 2


def _evidence(values: Float, products: Float, squares: Float, images: int) -> Float:
    """Return the log evidence an image of each target.

    With t = alpha / beta, s the eigenvalues and q the products: gamma = sum s / (t + s), |m|^2 = sum q^2 / (t + s)^2,
    residual = y^T y - sum q^2 (2 t + s) / (t + s)^2; alpha = gamma / |m|^2 and
    beta = (n - gamma) / residual, both damped.

    Args:
        values: s, shape (k,).
        products: q^2, shape (k, t).
        squares: y^T y of each target, shape (t,).
        images: n.
    """
    kept = values > values.max(initial=0) * max(images, len(values)) * np.finfo(np.float64).eps
    values, products = values[kept], products[kept]
    evidence = np.zeros(len(squares))
    told = (squares > 0) & (products.sum(axis=0) > 0)
    evidence[~told] = _of_noise(squares[~told], images)
    ratio = np.ones(int(told.sum()))
    q, square = products[:, told], squares[told]
    open_ = np.arange(len(ratio))
    for _ in range(STEPS):
        alpha, beta, _ = _strengths(values, q[:, open_], square[open_], ratio[open_], images)
        found = np.clip(alpha / beta, LEAST * values.max(initial=1), MOST * values.max(initial=1))
        moved = np.abs(found - ratio[open_]) > CONVERGED * ratio[open_]
        ratio[open_] = found
        open_ = open_[moved]
        if len(open_) == 0:
            break
    evidence[told] = _at(values, q, square, ratio, images)
    return evidence / images


def _strengths(values: Float, products: Float, squares: Float, ratio: Float, images: int) -> tuple[Float, Float, Float]:
    """Return alpha and beta of each target, and gamma."""
    shifted = values[:, None] + ratio
    gamma = (values[:, None] / shifted).sum(axis=0)
    size = (products / shifted**2).sum(axis=0)
    left = _residual(values, products, squares, ratio, shifted)
    return gamma / (size + DAMPING), np.maximum(images - gamma, LEAST) / (left + DAMPING), gamma


def _residual(values: Float, products: Float, squares: Float, ratio: Float, shifted: Float) -> Float:
    spoken = (products * (2 * ratio + values[:, None]) / shifted**2).sum(axis=0)
    return np.asarray(np.maximum(squares - spoken, LEAST * squares))


def _at(values: Float, products: Float, squares: Float, ratio: Float, images: int) -> Float:
    """Return log p(y | F, alpha, beta) at alpha = t beta.

    n/2 log beta + k/2 log alpha - n/2 log 2 pi - beta/2 residual - alpha/2 |m|^2 - 1/2 sum log(alpha + beta s)
    """
    shifted = values[:, None] + ratio
    alpha, beta, _ = _strengths(values, products, squares, ratio, images)
    left = _residual(values, products, squares, ratio, shifted)
    size = (products / shifted**2).sum(axis=0)
    rank = len(values)
    determinant = np.log(alpha + beta * values[:, None]).sum(axis=0)
    return np.asarray(
        (images * np.log(beta) + rank * np.log(alpha) - determinant - beta * left - alpha * size) / 2
        - images / 2 * np.log(2 * np.pi)
    )


def _of_noise(squares: Float, images: int) -> Float:
    """Return the log evidence of targets of which features say nothing: alpha infinite, beta = n / y^T y."""
    beta = images / np.maximum(squares, np.finfo(np.float64).tiny * images)
    return np.asarray(images / 2 * (np.log(beta) - np.log(2 * np.pi) - 1))
