"""Whether one method is better than another over the same tasks: an exact test by flipping signs."""

import numpy as np

from mllctl.kernels.arrays import Float

EXACT_UP_TO = 20  # tasks: 2^19 sums, 4 MB
DRAWS = 100_000
AT_ONCE = 1_000_000  # signs drawn at a time
ROUNDING = 1e-12  # of the sum of all differences: sums nearer than this are equal


def sign_flip(difference: Float, random: np.random.Generator, draws: int = DRAWS) -> float:
    """Return how often tasks that favour neither method differ by as much in the mean, in (0, 1].

        p = |{s in {-1, 1}^t : |sum_t s[t] d[t]| >= |sum_t d[t]|}| / 2^t
        p = (1 + |{such among n drawn s}|) / (1 + n)     with more than `EXACT_UP_TO` tasks

    Two-sided. Source: Fisher, The Design of Experiments (1935), section 21; for drawn signs Phipson and Smyth (2010),
    which never says 0. It supposes that a difference is as likely as its negative, and tasks that do not depend on one
    another.

    Args:
        difference: d, of two methods on each task, shape (t,).
        random: where signs come from; not asked where the test is exact.
        draws: n, at least 1.

    Returns:
        p; 1 where all differences are 0.

    Raises:
        ValueError: if there is no task, a difference is not finite, or `draws` < 1.
    """
    if difference.ndim != 1 or len(difference) == 0:
        raise ValueError(f"difference must have shape (tasks,) with at least one, got {difference.shape}")
    if not np.isfinite(difference).all():
        raise ValueError("difference must be finite; leave tasks without a value out")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    seen = abs(difference.sum()) - ROUNDING * np.abs(difference).sum()
    if len(difference) <= EXACT_UP_TO:
        return float((np.abs(_all_sums(difference)) >= seen).mean())
    step = max(1, AT_ONCE // len(difference))
    extreme = sum(
        np.count_nonzero(np.abs(_drawn_sums(difference, random, min(step, draws - start))) >= seen)
        for start in range(0, draws, step)
    )
    return (1 + extreme) / (1 + draws)


def _all_sums(difference: Float) -> Float:
    """Return the sum of every choice of signs, the first being +: the other half only has the other sign."""
    sums = difference[:1]
    for d in difference[1:]:
        sums = np.concatenate([sums + d, sums - d])
    return sums


def _drawn_sums(difference: Float, random: np.random.Generator, draws: int) -> Float:
    return np.asarray((2 * random.integers(0, 2, (draws, len(difference)), dtype=np.int8) - 1) @ difference)
