"""Estimate precision from few images: what a model shows elsewhere speaks for a node that shows little.

The paper divides hits by images (Eq 5), so a node with one image says 0 or 1. Here a model's precision on a node is
drawn from a beta distribution round what it shows on the node's kin, and the node's own images are weighed against
that (empirical Bayes). All counts are weighed by domain first.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.beta import beta_interval, log_beta

# Prior strengths that are tried, in images: from "nodes have nothing in common" to "all are alike".
STRENGTHS = np.geomspace(0.5, 256, 10)
# How many times more kin is held to what is above it than a node to its kin. Hits are likeliest at 1, but the models
# chosen on the demo tasks are best at 64: what kin shares is above all how hard it is, for all models alike.
TIE = 64.0
LEAST = 0.1  # images a belief is worth at least: a spread beyond that is no beta distribution
EDGE = 1e-3  # a mean of exactly 0 or 1 has no beta distribution


@dataclass(frozen=True)
class Belief:
    """What is known of each precision: a beta distribution.

    Attributes:
        mean: in (0, 1), any shape.
        images: how many images it is worth, prior included; > 0, the same shape.
    """

    mean: Float
    images: Float

    def __getitem__(self, index: Any) -> "Belief":
        return Belief(self.mean[index], self.images[index])

    @property
    def variance(self) -> Float:
        """Variance of the precision."""
        inside = np.clip(self.mean, EDGE, 1 - EDGE)
        return np.asarray(inside * (1 - inside) / (self.images + 1))

    def interval(self, mass: float = 0.9) -> tuple[Float, Float]:
        """Return the ends of the central interval that holds `mass` of the belief; 0 and 1 where no image speaks.

        Where nearly all mass lies at an end, the interval is widened up to the mean.
        """
        told = self.images > 0
        mean, images = np.where(told, np.clip(self.mean, EDGE, 1 - EDGE), 0.5), np.where(told, self.images, 1.0)
        low, high = beta_interval(mean * images, (1 - mean) * images, (1 - mass) / 2, (1 + mass) / 2)
        return np.where(told, np.minimum(low, mean), 0.0), np.where(told, np.maximum(high, mean), 1.0)


def shrunk_precision(
    hits: Int, images: Int, weights: Float, lineage: Int, strength: float | None = None, tie: float = TIE
) -> Belief:
    """Weigh each node's own images against what the model shows on the node's kin.

        e[v]    = (sum_d w[d] n[v,d])^2 / sum_d w[d]^2 n[v,d]      images that the weighed ones are worth
        o[m,v]  = sum_d w[d] hits[m,v,d] / sum_d w[d] n[v,d]       Eq 5 of MLL, weighed
        t[m,a]  = (sum u[v] o[m,v] + r s t[m,parent of a]) / (sum u[v] + r s),  over the nodes v under ancestor a
        p[m,v]  ~ beta of mean (e o + s t) / (e + s)

    u = e s / (e + s) is what one node, however many images it has, can say of its kin. At the top stands the model's
    mean over all nodes. A belief is worth e + s images, less what is lost because t is itself only estimated, from
    sum u images. The strength s is common to all models and nodes; where it is not given, it is the one of `STRENGTHS`
    that makes the hits likeliest, beta-binomial round t.

    Args:
        hits: shape (m, v, domains), 0 <= hits <= images.
        images: shape (m, v, domains).
        weights: of the domains, non-negative, shape (domains,).
        lineage: a number for each ancestor that several of the nodes share, from the most general down, -1 where a
            node has no more, shape (v, levels).
        strength: s, in images.
        tie: r; infinity leaves kin out.

    Returns:
        the belief, shape (m, v).

    Raises:
        ValueError: if the shapes do not agree, or `strength` or `tie` is not positive.
    """
    if hits.shape != images.shape or hits.ndim != 3 or weights.shape != hits.shape[2:]:
        raise ValueError(f"hits {hits.shape}, images {images.shape} and weights {weights.shape} do not agree")
    if lineage.ndim != 2 or len(lineage) != hits.shape[1]:
        raise ValueError(f"lineage must have shape ({hits.shape[1]}, levels), got {lineage.shape}")
    for name, value in (("strength", strength), ("tie", tie)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, got {value:g}")
    shown = images @ weights
    own = np.divide(hits @ weights, shown, out=np.zeros(shown.shape), where=shown > 0)
    worth = np.divide(shown**2, images @ weights**2, out=np.zeros(shown.shape), where=shown > 0)
    if strength is None:
        strength = max(STRENGTHS, key=lambda s: _log_likelihood(own, worth, _kin(own, worth, lineage, s, tie)[0], s))
    prior, told = _kin(own, worth, lineage, strength, tie)
    mean = (worth * own + strength * prior) / (worth + strength)
    of_prior = (strength / (worth + strength)) ** 2 * prior * (1 - prior) / (told + 1)
    variance = mean * (1 - mean) / (worth + strength + 1) + of_prior
    return Belief(mean, np.maximum(mean * (1 - mean) / variance - 1, LEAST))


def combined(belief: Belief, coefficient: Float) -> Belief:
    """Return the belief about weighted means of independent precisions: a beta of equal mean and variance.

    Args:
        belief: shape (m, v).
        coefficient: of each node in each mean, non-negative, columns sum to 1 or are zero, shape (v, c).

    Returns:
        shape (m, c); where a column is zero the mean is 0, worth no image.
    """
    mean, variance = belief.mean @ coefficient, belief.variance @ coefficient**2
    empty = coefficient.sum(axis=0) == 0
    spread = np.where(empty, 1.0, variance)
    inside = np.clip(mean, EDGE, 1 - EDGE)
    images = np.where(empty, 0.0, np.maximum(inside * (1 - inside) / spread - 1, LEAST))
    return Belief(mean, images)


def _kin(own: Float, worth: Float, lineage: Int, strength: float, tie: float) -> tuple[Float, Float]:
    """Return t of each node's nearest shared ancestor, and how many images speak for it, both of shape (m, v)."""
    says = worth * strength / (worth + strength)
    total = says.sum(axis=1, keepdims=True)
    start = np.divide((says * own).sum(axis=1, keepdims=True), total, out=np.full(total.shape, 0.5), where=total > 0)
    prior, told = np.tile(np.clip(start, EDGE, 1 - EDGE), own.shape[1]), np.tile(total, own.shape[1])
    if np.isinf(tie):
        return prior, told
    for level in lineage.T:
        inside = np.flatnonzero(level >= 0)
        _, first, member, count = np.unique(level[inside], return_index=True, return_inverse=True, return_counts=True)
        if len(inside) == 0:
            continue
        by_group, edges = inside[np.argsort(member, kind="stable")], np.cumsum(count) - count
        # All nodes of a group have the same parent, so their priors are the same.
        above, held = prior[:, inside[first]], tie * strength
        spoken, won = (np.add.reduceat(part[:, by_group], edges, axis=1) for part in (says, says * own))
        mean = (won + held * above) / (spoken + held)
        prior[:, inside] = np.clip(mean, EDGE, 1 - EDGE)[:, member]
        told[:, inside] = (spoken + held * told[:, inside[first]] / (told[:, inside[first]] + held))[:, member]
    return prior, told


def _log_likelihood(own: Float, worth: Float, prior: Float, strength: float) -> float:
    """Return the log-probability of the hits, beta-binomial round `prior`, up to what `strength` does not change."""
    won, lost = worth * own, worth * (1 - own)
    a, b = strength * prior, strength * (1 - prior)
    return float((log_beta(a + won, b + lost) - log_beta(a, b)).sum())
