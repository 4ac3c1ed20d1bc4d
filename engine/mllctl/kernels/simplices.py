"""Lower a quadratic where groups of variables are each at least 0 and sum to 1: what each step of `chco` is made of."""

from collections.abc import Iterator

import numpy as np

from mllctl.kernels.arrays import Bool, Float, Int

# Added to a curvature scaled to a diagonal of 1: identical heads make it singular.
RIDGE = 1e-9
LENGTHS = 1.0, 0.5, 0.25, 0.125  # of a step that is brought back to the simplices
ROUNDING = 1e-12  # relative: a slope smaller than this is none


def lower_quadratic(curvature: Float, slope: Float, point: Float, group: Int, passes: int) -> Float:
    """Return a point where a convex quadratic is lower, or least.

        q(y) = slope (y - x) + 1/2 (y - x)^T curvature (y - x),   y >= 0,   sum of each group of y = 1

    An active set method: in each group the largest variable is what the others leave of 1, some are held at 0, and
    the rest take Newton's step. Where that leaves the simplices it, or a part of it, is brought back, all groups at
    once, if q sinks by that, and else is stopped at the first variable that becomes 0. What became 0 is held, what
    would like to leave 0 is released. q never rises, so with too few passes the answer is still a step down.

    Args:
        curvature: symmetric, positive semidefinite, shape (n, n).
        slope: shape (n,).
        point: x, within the simplices, shape (n,).
        group: of each variable, 0, 1, .. without gaps, ascending, shape (n,).
        passes: how many systems of equations may be solved.

    Returns:
        y, shape (n,).
    """
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    found, value, pull = point, 0.0, slope
    held = (point <= 0) & (_lead(slope, point, group, starts)[0] >= 0)
    for _ in range(passes):
        lead, base = _lead(pull, found, group, starts)
        held[base] = False
        step = _newton_step(curvature, lead, held, base, group)
        inside = bool((found + step >= 0).all())
        for moved in _reachable(found, step, starts, group):
            new = _quadratic(curvature, slope, moved - point)
            if inside or new[0] < value:
                break
        held |= (moved <= 0) & (step < 0)
        found, (value, pull) = moved, new
        if inside:
            released = held & _eager(pull, found, group, starts)
            if not released.any():
                break
            held &= ~released
    return _onto_simplices(found, starts, group)


def _lead(pull: Float, point: Float, group: Int, starts: Int) -> tuple[Float, Int]:
    """Return the slope of moving weight from the largest variable of a group to each, and which is the largest."""
    largest = np.flatnonzero(point == np.maximum.reduceat(point, starts)[group])
    base = largest[np.unique(group[largest], return_index=True)[1]]
    return pull - pull[base][group], base


def _eager(pull: Float, point: Float, group: Int, starts: Int) -> Bool:
    """Return which variables q would sink by, if they grew."""
    lead, base = _lead(pull, point, group, starts)
    return np.asarray(lead < -ROUNDING * np.abs(pull[base])[group])


def _newton_step(curvature: Float, lead: Float, held: Bool, base: Int, group: Int) -> Float:
    """Return the step to the least q when variables that are held stay, and bases make up for the others."""
    step = np.zeros(len(lead))
    may_move = ~held
    may_move[base] = False
    free = np.flatnonzero(may_move)
    if len(free) == 0:
        return step
    its_base = base[group[free]]
    system = curvature[np.ix_(free, free)] + curvature[np.ix_(its_base, its_base)]
    crossed = curvature[np.ix_(free, its_base)]
    system -= crossed
    system -= crossed.T
    scale = 1 / np.sqrt(np.maximum(system.diagonal(), np.finfo(np.float64).tiny))
    system *= scale[:, None]
    system *= scale
    system.ravel()[:: len(free) + 1] += RIDGE
    step[free] = -scale * np.linalg.solve(system, scale * lead[free])
    step[base] = -np.bincount(group[free], step[free], len(base))
    return step


def _reachable(point: Float, step: Float, starts: Int, group: Int) -> Iterator[Float]:
    """Yield points within the simplices where a step may lead, the boldest first; the last is on the step itself."""
    for length in LENGTHS:
        yield _onto_simplices(point + length * step, starts, group)
    yield _to_the_edge(point, step)


def _onto_simplices(point: Float, starts: Int, group: Int) -> Float:
    """Cut at 0 and divide by the sum of each group; no projection, but near one where little is cut."""
    cut = np.maximum(point, 0)
    return np.asarray(cut / np.add.reduceat(cut, starts)[group])


def _to_the_edge(point: Float, step: Float) -> Float:
    """Go along a step until the first variables are 0."""
    shrinking = step < 0
    room = np.divide(point, -step, out=np.full(point.shape, np.inf), where=shrinking)
    moved = np.maximum(point + room.min() * step, 0)
    moved[room <= room.min()] = 0
    return np.asarray(moved)


def _quadratic(curvature: Float, slope: Float, change: Float) -> tuple[float, Float]:
    """Return q and its gradient."""
    bent = curvature @ change
    return float(change @ (slope + bent / 2)), slope + bent
