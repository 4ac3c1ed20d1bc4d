"""Choose among models where quality is not all that counts: few models for many classes, and quality against cost."""

from dataclasses import dataclass
from itertools import chain, combinations
from math import comb, e

import numpy as np

from mllctl.kernels.arrays import Float, Int

# Measured at 100 classes on two cores.
FEW = 20_000  # sets, such as any three of 49 models: looking at all takes 0.02 s, as long as leaving models out first
MANY = 250_000  # sets: 0.2 s
AT_ONCE = 1 << 20  # maxima held at a time: 8 MB

# Of 72 tables of up to 121 models and 1,000 classes, drawn from a few factors and noise, so many rounds of such steps
# solved all but two, in 0.07 s each; twice as many rounds solved no more.
ROUNDS = 300
STEP, SHRINK = 2.0, 0.98

ALIKE = 1e-6  # of the greatest f there could be: sets closer than that are equally good, whatever the order of sums


@dataclass(frozen=True)
class Subset:
    """Models chosen together.

    Attributes:
        models: ascending, at least one, shape (s,).
        value: f of them.
        bound: f of no set that was allowed is greater.
        exact: whether these models are known to be the best; then bound = value, up to `ALIKE`.
    """

    models: Int
    value: float
    bound: float
    exact: bool


def best_subset(quality: Float, size: int) -> Subset:
    """Choose at most `size` models so that each class has a good one among them.

        f(S) = sum_c max over m in S of q[m, c]

    is greatest. f is monotone and submodular (facility location). For any prices u[c] >= 0 and |S| <= size

        f(S) <= sum_c u[c] + sum over m in S of sum_c max(q[m, c] - u[c], 0)

    so a model is in no best set if this, with the best others, is less than what some set is worth. Prices that leave
    few models are sought in steps down the bound, and all sets of those that are left are looked at. Where they are
    too many, the answer is the best set that was seen, at least as good as the greedy one, and `bound` the least of

        f(greedy) / (1 - 1/e),   the bound above at the best prices,   sum_c max_m q[m, c]

    At the prices u[c] = max over m in S of q[m, c] it is f(S) and the `size` largest gains f(S + m) - f(S).

    Where each class can have its best model (the lowest of those that tie), these are chosen: a limit that binds
    nothing changes nothing. Else, of sets of `size` models that were looked at and are equally good, the
    lexicographically lowest is taken, and those of it that are best for no class are left out.

    Source: Cornuejols, Fisher and Nemhauser, Location of bank accounts to optimize float, Management Science 23
    (1977); for the first bound Nemhauser, Wolsey and Fisher, Mathematical Programming 14 (1978). No integer program:
    on tables of noise, the only ones that are left open here, HiGHS took 10 to 180 s.

    Args:
        quality: q, non-negative, finite, at least one model and one class, shape (m, c).
        size: how many models at most, >= 1.

    Raises:
        ValueError: on a wrong shape, negative or not finite quality, or `size` < 1.
    """
    if quality.ndim != 2 or quality.size == 0:
        raise ValueError(f"quality must have shape (models, classes) with one of each, got {quality.shape}")
    if not np.isfinite(quality).all() or (quality < 0).any():
        raise ValueError("quality must be finite and not negative")
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    everyone = np.arange(len(quality))
    best = _used(quality, everyone)
    if len(best) <= size:
        return _exact(quality, best)
    if comb(len(quality), size) <= FEW:
        return _exact(quality, _enumerate(quality, everyone, size))
    return _choose_by_price(quality, size)


def pareto_front(quality: Float, cost: Float) -> Int:
    """Return the models that no other beats, ascending by cost, and so by quality, shape (f,).

    A model beats another if it is at least as good and costs no more, and differs in one of the two. Of models that
    are equal in both, the lowest stays.

    Args:
        quality: the more the better, shape (n,).
        cost: the less the better, shape (n,).

    Raises:
        ValueError: if the shapes are not the same (n,), or on NaN.
    """
    if quality.ndim != 1 or quality.shape != cost.shape:
        raise ValueError(f"quality {quality.shape} and cost {cost.shape} must have the same shape (n,)")
    if np.isnan(quality).any() or np.isnan(cost).any():
        raise ValueError("quality and cost must not contain NaN")
    # Stable: of equal models the lowest comes first.
    order = np.lexsort((-quality, cost))
    best_so_far = np.maximum.accumulate(quality[order])
    return np.asarray(order[np.unique(best_so_far, return_index=True)[1]])


def _worth(quality: Float, models: Int) -> float:
    """Return f of some models."""
    return float(quality[models].max(axis=0).sum())


def _used(quality: Float, models: Int) -> Int:
    """Return those of some models, ascending, that are the lowest best of a class."""
    return np.asarray(models[np.unique(quality[models].argmax(axis=0))])


def _exact(quality: Float, models: Int) -> Subset:
    value = _worth(quality, models)
    return Subset(_used(quality, models), value, value, exact=True)


def _slack(quality: Float) -> float:
    """Return how far apart two sets may be that are equally good."""
    return ALIKE * float(quality.max(axis=0).sum())


def _enumerate(quality: Float, models: Int, size: int) -> Int:
    """Return the lexicographically first of the best sets of `size` of some models, by looking at all."""
    members = chain.from_iterable(combinations(models.tolist(), size))
    sets = np.fromiter(members, dtype=np.int64).reshape(-1, size)
    step = max(1, AT_ONCE // quality.shape[1])
    values = np.concatenate([_worths(quality, sets[at : at + step]) for at in range(0, len(sets), step)])
    return np.asarray(sets[np.argmax(values >= values.max() - _slack(quality))])


def _worths(quality: Float, sets: Int) -> Float:
    """Return f of each row of models, shape (n,)."""
    best = quality[sets[:, 0]]
    for models in sets.T[1:]:
        np.maximum(best, quality[models], out=best)
    return np.asarray(best.sum(axis=1))


def _choose_by_price(quality: Float, size: int) -> Subset:
    """Look at all sets of the models that prices do not rule out; where they are too many, take the best one seen."""
    greedy = _choose_greedily(quality, size)
    price, found = _lower_prices(quality, size, greedy)
    value = _worth(quality, found)
    ceiling = _ceilings(quality, price, size)
    left = np.flatnonzero(ceiling >= value - _slack(quality))
    if comb(len(left), size) <= MANY:
        return _exact(quality, _enumerate(quality, left, size))
    bound = min(_worth(quality, greedy) / (1 - 1 / e), float(ceiling.max()), float(quality.max(axis=0).sum()))
    return Subset(_used(quality, found), value, bound, exact=bound - value <= _slack(quality))


def _choose_greedily(quality: Float, size: int) -> Int:
    """Add the model that gains most, the lowest of those, until there are `size`; return them ascending.

    Gains only sink as models are added, so one is computed again only while it may be the greatest.
    """
    best = np.zeros(quality.shape[1])
    gain = np.full(len(quality), np.inf)
    chosen: list[int] = []
    for _ in range(size):
        fresh = np.zeros(len(quality), dtype=np.bool_)
        while not fresh[top := int(gain.argmax())]:
            gain[top] = np.maximum(quality[top] - best, 0).sum()
            fresh[top] = True
        chosen.append(top)
        gain[top] = -np.inf
        best = np.maximum(best, quality[top])
    return np.array(sorted(chosen))


def _lower_prices(quality: Float, size: int, found: Int) -> tuple[Float, Int]:
    """Return the prices with the lowest bound, and the best set seen on the way: (u, ascending models).

    A class pays too much where no model that the prices favour is worth it, and too little where several are. Steps
    in that direction, as long as the bound is away from a set's value (Polyak), are made ever shorter.
    """
    price = best_price = quality[found].max(axis=0)
    value, lowest = _worth(quality, found), np.inf
    for n in range(ROUNDS):
        profit = np.maximum(quality - price, 0)
        gain = profit.sum(axis=1)
        favoured = np.argsort(-gain, kind="stable")[:size]
        bound = float(price.sum() + gain[favoured].sum())
        if bound < lowest:
            lowest, best_price = bound, price
        if (worth := _worth(quality, favoured)) > value:
            value, found = worth, np.sort(favoured)
        slope = 1 - (profit[favoured] > 0).sum(axis=0)
        if not slope.any():
            break
        step = STEP * SHRINK**n * max(bound - value, 0) / (slope**2).sum()
        price = np.maximum(price - step * slope, 0)
    return best_price, found


def _ceilings(quality: Float, price: Float, size: int) -> Float:
    """Bound f of the sets that each model is in, shape (m,)."""
    gain = np.maximum(quality - price, 0).sum(axis=1)
    largest = np.sort(gain)[::-1]
    # A model among the `size` best has those beside it; any other has all but the last of them.
    return np.asarray(price.sum() + largest[: size - 1].sum() + np.minimum(gain, largest[size - 1]))
