"""How sure it is that one model is ahead of another on a task that neither was tested on.

Evidence from sample images says how far ahead a model is on nodes like the classes; the rest of the hub says how far
it is ahead on the average, and how much that changes from one area of the graph to the next. The two are put together
as normal beliefs.
"""

import math

import numpy as np

from mllctl.kernels.arrays import AnyArray, Float

LEAST_NODES = 5  # an area of fewer says little of its mean


def area_spread(difference: Float, area: AnyArray) -> float:
    """Return how much a mean difference changes from area to area, beyond what its few nodes explain.

        spread^2 = sum_a n[a] (d[a] - d)^2 / sum_a n[a] - sum_a n[a] s[a]^2 / n[a] / sum_a n[a],  at least 0

    Args:
        difference: of two models on each node, NaN where either is unknown, shape (v,).
        area: of each node, shape (v,); areas of fewer than `LEAST_NODES` nodes are left out.

    Returns:
        a standard deviation; 0 where there are not two areas.
    """
    known = ~np.isnan(difference)
    parts = [difference[known & (area == name)] for name in np.unique(area[known])]
    parts = [part for part in parts if len(part) >= LEAST_NODES]
    if len(parts) < 2:
        return 0.0
    count = np.array([len(part) for part in parts])
    mean = np.array([part.mean() for part in parts])
    within = np.array([part.var(ddof=1) / len(part) for part in parts])
    between = np.average((mean - difference[known].mean()) ** 2, weights=count)
    return math.sqrt(max(float(between - np.average(within, weights=count)), 0.0))


def chance_ahead(lead: float, deviation: float, usual: float, spread: float) -> float:
    """Return the probability that a model is ahead, in [0, 1].

    The lead on the task is drawn from N(usual, spread^2); it was seen to be `lead`, give or take `deviation`:

        Phi((lead / deviation^2 + usual / spread^2) / sqrt(1 / deviation^2 + 1 / spread^2))

    Args:
        lead: what the evidence shows.
        deviation: its standard deviation, >= 0; at 0 the evidence decides, a tie being even odds.
        usual: the lead to be expected without this evidence.
        spread: > 0.
    """
    if deviation == 0:
        return 0.5 if lead == 0 else float(lead > 0)
    seen, before = deviation**-2, spread**-2
    deviations = (lead * seen + usual * before) / math.sqrt(seen + before)
    return 0.5 * (1 + math.erf(deviations / math.sqrt(2)))
