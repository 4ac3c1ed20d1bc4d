"""Weigh a few labelled images of the user's against what labels make one expect of each model on each class.

Labels say how models fare on the nodes of a hub, images how they fare on the task itself, but few of them. What a
model does better or worse than expected is in part the same for all classes, in part a class's own, in part chance.
"""

import math
from dataclasses import dataclass

import numpy as np

from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.shrinkage import EDGE, LEAST, Belief

# docs/decisions.md says how these were measured.
WORTH = 16.0  # images that names are worth where nodes have nothing in common with the classes but their graph
NEAREST = 0.25  # distance of the nodes below which nothing was measured
UNCOVERED = 2.0  # distance of a class for which no node speaks
STRENGTH = 2.0  # images that what is expected of a class is worth, once the model's mean is put right
ALIKE = 10.0  # images that it is worth to suppose that two models have nothing in common


@dataclass(frozen=True)
class Blend:
    """What is believed of each model on each class of a task.

    Attributes:
        mean: q, shape (m, c).
        own: variance of what is a class's own, shape (m, c).
        shared: variance of what is common to the classes of a model, shape (m,).
        held: how much of that a class's belief takes over, in [0, 1], shape (c,).
    """

    mean: Float
    own: Float
    shared: Float
    held: Float

    def combined(self, coefficient: Float) -> Belief:
        """Return the belief about weighted means of classes: a beta of equal mean and variance, shape (m, k).

        Args:
            coefficient: of each class in each mean, non-negative, columns sum to 1, shape (c, k).
        """
        mean = np.clip(self.mean, 0, 1) @ coefficient
        inside = np.clip(mean, EDGE, 1 - EDGE)
        variance = self.own @ coefficient**2 + self.shared[:, None] * (self.held @ coefficient) ** 2
        return Belief(mean, np.maximum(inside * (1 - inside) / variance - 1, LEAST))


def worth_of_names(similarity: Float, covered: Bool) -> float:
    """Return how many labelled images what names say of a model on a whole task is worth.

        w = 16 / max(mean_c d[c], 0.25),   d[c] = 1 - Z[c], or 2 where no node speaks for c

    What models do better or worse than names have it varies the more, the further the nodes are from the classes.

    Args:
        similarity: Z of the node that says most of each class, shape (c,).
        covered: whether any does, shape (c,).
    """
    distance = np.where(covered, 1 - np.clip(similarity, 0, 1), UNCOVERED)
    return WORTH / max(float(distance.mean()), NEAREST)


def blended_precision(prior: Float, hits: Int, images: Int, worth: float, strength: float = STRENGTH) -> Blend:
    """Put right what is expected of each model on each class by its hits on labelled images.

        e[m,c] = hits[m,c] / n[c] - p[m,c]                               better than expected, where n[c] > 0
        u[c]   = n[c] s / (n[c] + s)                                     images that c is worth for all classes
        d[m]   = sum_c u[c] e[m,c] / (sum_c u[c] + w)                    better on the whole task
        q[m,c] = p[m,c] + d[m] + n[c] / (n[c] + s) (e[m,c] - d[m])

    The best linear estimate where e[m,c] is the sum of what m does better on the task, of variance v / w, on the class,
    of variance v / s, and of chance, v / n[c]: `shrunk_precision` with labels in the place of a node's kin. Without
    images q = p to the bit; with ever more of each class q tends to hits / n. All models see the same images, so that
    how hard these are moves all alike; v is q (1 - q). Where a model does far better or worse than expected, q
    may leave [0, 1] on a class that has no image; it is not cut off, which would make ties of unequal models.

    Args:
        prior: p, shape (m, c), in [0, 1].
        hits: integer, shape (m, c), 0 <= hits <= images.
        images: n, integer, shape (c,).
        worth: w, in images, above 0; see `worth_of_names`.
        strength: s, in images, above 0.

    Raises:
        ValueError: if the shapes do not agree, counts are not whole, or s or w is not above 0.
    """
    _check(prior, hits, images, strength, worth)
    seen = images > 0
    own = np.where(seen, hits / np.maximum(images, 1) - prior, 0.0)
    says = images * strength / (images + strength)
    better = (own @ says / (says.sum() + worth))[:, None]
    weight = images / (images + strength)
    mean = prior + better + weight * (own - better)
    inside = np.clip(mean, EDGE, 1 - EDGE)
    whole = np.clip(inside.mean(axis=1), EDGE, 1 - EDGE)
    return Blend(
        mean,
        inside * (1 - inside) / (images + strength + 1),
        whole * (1 - whole) / (says.sum() + worth),
        1 - weight,
    )


def chance_better(
    blend: Blend, right: Bool, images: Int, one: int, other: int, worth: float, strength: float = STRENGTH
) -> float:
    """Return how sure it is that one model is better than another over the classes of a task, in [0, 1].

        v    = (sum_x (a[x] - b[x])^2 - (sum_x (a[x] - b[x]))^2 / n + K v0) / (n + K)
        v0   = q_a (1 - q_a) + q_b (1 - q_b)
        P    = Phi(lead / deviation),  deviation^2 = v ((mean h)^2 / (sum u + w) + sum_c 1 / (n[c] + s + 1) / C^2)

    a and b being hits of the two on the same images: what is hard for both does not part them. v0 is what v would be if
    they had nothing in common, and is worth K = 10 images.

    Args:
        blend: of `blended_precision`, with the same `strength` and `worth`.
        right: whether each model has each image right, shape (m, i).
        images: n, shape (c,).
        one, other: models.
    """
    mean = blend.mean.mean(axis=1)
    lead = float(mean[one] - mean[other])
    inside = np.clip(mean[[one, other]], EDGE, 1 - EDGE)
    apart = right[one].astype(np.float64) - right[other]
    spread = float((apart**2).sum() - apart.sum() ** 2 / max(len(apart), 1))
    variance = (spread + ALIKE * float((inside * (1 - inside)).sum())) / (len(apart) + ALIKE)
    says = images * strength / (images + strength)
    shared = float(blend.held.mean()) ** 2 / float(says.sum() + worth)
    of_classes = float((1 / (images + strength + 1)).sum()) / len(images) ** 2
    return 0.5 * math.erfc(-lead / math.sqrt(2 * variance * (shared + of_classes)))


def _check(prior: Float, hits: Int, images: Int, strength: float, worth: float) -> None:
    if prior.ndim != 2 or hits.shape != prior.shape or images.shape != prior.shape[1:]:
        raise ValueError(f"prior {prior.shape}, hits {hits.shape} and images {images.shape} do not agree")
    for name, counts in (("hits", hits), ("images", images)):
        if not np.issubdtype(counts.dtype, np.integer):
            raise ValueError(f"{name} must be whole numbers, got {counts.dtype}")
    if not ((hits >= 0) & (hits <= images)).all():
        raise ValueError("hits must be between 0 and images")
    for name, value in (("strength", strength), ("worth", worth)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value:g}")
