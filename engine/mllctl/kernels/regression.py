"""A linear model of a few features, for values that are not known yet."""

import numpy as np

from mllctl.kernels.arrays import Float

ROUNDING = 1e-6  # of the largest: what differs by less does so by rounding, features being made of float32


def predict_linear(features: Float, target: Float, asked: Float) -> Float:
    """Predict values by ordinary least squares on standardised features.

        z[n,f] = (x[n,f] - mean of column f) / deviation of column f;  0 where x is unknown or its column constant
        w = argmin |z w - (y - mean y)|^2, the shortest if there are several
        said[m] = mean y + z[m] w

    Standardising changes no prediction of a full-rank problem; with fewer rows than columns, or columns that say the
    same, it makes the shortest w a fair one. An unknown feature counts as the mean of its column; columns, and
    directions of z, that differ by rounding alone are constant.

    Args:
        features: x, nan where unknown, shape (n, f).
        target: y, nan where unknown: such rows teach nothing, shape (n,).
        asked: features of what is predicted, shape (m, f).

    Returns:
        shape (m,); nan where there is no row to learn from.

    Raises:
        ValueError: on shapes that do not agree.
    """
    if features.ndim != 2 or target.shape != features.shape[:1]:
        raise ValueError(f"features (n, f) and target (n,) must agree, got {features.shape} and {target.shape}")
    if asked.ndim != 2 or asked.shape[1] != features.shape[1]:
        raise ValueError(f"asked must have shape (models, {features.shape[1]}), got {asked.shape}")
    taught = ~np.isnan(target)
    if not taught.any():
        return np.full(len(asked), np.nan)
    known, value = features[taught], target[taught]
    mean, deviation = _of_columns(known)
    weights, *_ = np.linalg.lstsq(_standard(known, mean, deviation), value - value.mean(), rcond=ROUNDING)
    return np.asarray(value.mean() + _standard(asked, mean, deviation) @ weights)


def _of_columns(values: Float) -> tuple[Float, Float]:
    """Return mean and deviation of each column's known values, the latter infinite where the column is constant."""
    there = ~np.isnan(values)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, values, 0).sum(axis=0) / count
    apart = np.where(there, values - mean, 0)
    deviation = np.sqrt((apart**2).sum(axis=0) / count)
    largest = np.abs(np.where(there, values, 0)).max(axis=0, initial=0)
    return mean, np.where(deviation > ROUNDING * largest, deviation, np.inf)


def _standard(values: Float, mean: Float, deviation: Float) -> Float:
    return np.nan_to_num((values - mean) / deviation, nan=0.0)
