"""The beta distribution: its normaliser and its quantiles.

SciPy has both, but importing it takes longer than all else a selection computes.
"""

import numpy as np

from mllctl.kernels.arrays import Float

SHIFT = 8  # where Stirling's series is exact to 1e-13
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
POINTS = 256
DROP = 20.0  # the density is followed down to exp(-DROP) of its peak
FAR = 40.0  # and no further than this from it, where x or 1 - x is nothing in double precision
BEYOND = 500.0  # where x is 0 or 1
AT_ONCE = 1024


def log_beta(a: Float, b: Float) -> Float:
    """Return log B(a, b) for positive arguments of one shape, to 1e-12 of the larger of 1 and its summands."""
    return _log_gamma(a) + _log_gamma(b) - _log_gamma(a + b)


def beta_interval(a: Float, b: Float, low: float, high: float) -> tuple[Float, Float]:
    """Return two quantiles of beta distributions, to 1e-5.

    The density of t = log(x / (1 - x)) has one peak and falls off like exp(a t) and exp(-b t): it is summed over a
    grid that follows it down, the tails beyond are known, and two steps of Newton's end where the sum is a quantile.

    Args:
        a, b: positive, of one shape.
        low, high: masses below the two, in (0, 1).
    """
    flat_a, flat_b = np.ravel(a), np.ravel(b)
    found = np.empty((2, len(flat_a)))
    for start in range(0, len(flat_a), AT_ONCE):
        few = slice(start, start + AT_ONCE)
        found[:, few] = _quantiles(flat_a[few, None], flat_b[few, None], np.array([low, high])).T
    return found[0].reshape(np.shape(a)), found[1].reshape(np.shape(a))


def _log_gamma(x: Float) -> Float:
    """Return log gamma of positive numbers, up to log sqrt(2 pi), which cancels in log B up to itself."""
    low = np.ones_like(x)
    for n in range(SHIFT):
        low = low * (x + n)
    far = x + SHIFT
    series = sum(term / far ** (2 * n + 1) for n, term in enumerate(STIRLING))
    return np.asarray((far - 0.5) * np.log(far) - far + series - np.log(low) + 0.5 * np.log(2 * np.pi))


def _quantiles(a: Float, b: Float, masses: Float) -> Float:
    """Return the quantiles of n distributions, a and b of shape (n, 1), as shape (n, masses)."""
    peak, width = np.log(a / b), np.sqrt(2 * DROP * (a + b) / (a * b))
    first = peak - np.minimum(width + DROP / a, FAR)
    step = (peak + np.minimum(width + DROP / b, FAR) - first) / (POINTS - 1)
    t = first + step * np.arange(POINTS)
    top = _log_density(peak, a, b)
    density = np.exp(_log_density(t, a, b) - top)
    slope = density * (a - (a + b) * _logistic(t))
    between = step / 2 * (density[:, 1:] + density[:, :-1]) - step**2 / 12 * np.diff(slope, axis=1)
    below = np.cumsum(np.concatenate([density[:, :1] / a, between], axis=1), axis=1)
    wanted = masses * (below[:, -1:] + density[:, -1:] / b)
    quantiles = np.empty(wanted.shape)
    rows = np.arange(len(a))
    for n in range(len(masses)):
        at = np.clip((below < wanted[:, n : n + 1]).sum(axis=1) - 1, 0, POINTS - 2)
        start, mass, f, g = (part[rows, at] for part in (t, below, density, slope))
        x = start + np.clip((wanted[:, n] - mass) / (below[rows, at + 1] - mass), 0, 1) * step[:, 0]
        for _ in range(2):
            here = np.exp(_log_density(x[:, None], a, b) - top)[:, 0]
            turn = here * (a - (a + b) * _logistic(x[:, None]))[:, 0]
            reached = mass + (x - start) / 2 * (f + here) - (x - start) ** 2 / 12 * (turn - g)
            x = np.clip(x - (reached - wanted[:, n]) / here, start, start + step[:, 0])
        x = np.where(wanted[:, n] < below[:, 0], -BEYOND, np.where(wanted[:, n] > below[:, -1], BEYOND, x))
        quantiles[:, n] = _logistic(x)
    return quantiles


def _log_density(t: Float, a: Float, b: Float) -> Float:
    """Return log of x^a (1 - x)^b at x = logistic(t)."""
    return np.asarray(a * t - (a + b) * np.log1p(np.exp(t)))


def _logistic(t: Float) -> Float:
    return np.asarray(1 / (1 + np.exp(-t)))
