"""A mixture of Gaussians with diagonal covariances, fitted by expectation maximisation."""

import numpy as np

from mllctl.kernels.arrays import Float

STEPS = 100
CONVERGED = 1e-4  # change of the mean log likelihood an image
FLOOR = 1e-6  # of the mean variance, added to each


def mixture_posterior(points: Float, gaussians: int, random: np.random.Generator) -> Float:
    """Return how probably each point is of each Gaussian, shape (n, g); rows sum to 1.

    Args:
        points: shape (n, d).
        gaussians: how many, 1..n.
        random: draws the points that the means start from, far ones with preference.

    Raises:
        ValueError: if there are no points, or `gaussians` is not in 1..n.
    """
    if points.ndim != 2 or not 1 <= gaussians <= len(points):
        raise ValueError(f"gaussians must be in 1..{len(points)}, got {gaussians} for points {points.shape}")
    spread = points.var(axis=0)
    floor = FLOOR * (float(spread.mean()) or 1.0)
    means = _far_apart(points, gaussians, random)
    variances = np.tile(spread + floor, (gaussians, 1))
    shares = np.full(gaussians, 1 / gaussians)
    before = -np.inf
    for _ in range(STEPS):
        posterior, now = _posterior(points, means, variances, shares)
        if now - before < CONVERGED:
            break
        before = now
        weight = posterior.sum(axis=0) + 10 * np.finfo(np.float64).eps
        means = posterior.T @ points / weight[:, None]
        variances = np.maximum(posterior.T @ points**2 / weight[:, None] - means**2, 0) + floor
        shares = weight / weight.sum()
    return posterior


def _far_apart(points: Float, count: int, random: np.random.Generator) -> Float:
    """Draw points to start from, far ones with preference: by the square of the distance from those drawn."""
    chosen = [int(random.integers(len(points)))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        total = nearest.sum()
        odds = nearest / total if total > 0 else np.full(len(points), 1 / len(points))
        chosen.append(int(random.choice(len(points), p=odds)))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]


def _posterior(points: Float, means: Float, variances: Float, shares: Float) -> tuple[Float, float]:
    """Return the posterior, and the mean log likelihood but for a constant."""
    inverse = 1 / variances
    square = points**2 @ inverse.T - 2 * points @ (means * inverse).T + (means**2 * inverse).sum(axis=1)
    logs = np.log(shares) - (square + np.log(variances).sum(axis=1)) / 2
    top = logs.max(axis=1, keepdims=True)
    raised = np.exp(logs - top)
    total = raised.sum(axis=1, keepdims=True)
    return np.asarray(raised / total), float((top + np.log(total)).mean())
