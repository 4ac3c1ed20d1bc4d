"""Let several models answer one task: Eq 8-10 of MLL (arXiv 2501.18271)."""

from typing import Literal, get_args

import numpy as np

from mllctl.kernels.arrays import Float, Int

Weighting = Literal["entropy", "confidence", "uniform"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)

SMALLEST_ENTROPY = 1e-12  # nats; a one-hot answer would otherwise weigh infinitely


def softmax(logits: Float) -> Float:
    """Return softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def entropy(probability: Float) -> Float:
    """Return H over the last axis, in nats, with x log x = 0 at 0."""
    log = np.log(probability, out=np.zeros(probability.shape), where=probability > 0)
    return np.asarray(-(probability * log).sum(axis=-1)) + 0.0


def ensemble_confidence(probability: Float, members: Int, weighting: Weighting = "entropy") -> Float:
    """Combine, for each class, the answers of the models chosen for it.

        confidence[x, c] = sum over m chosen for c of w[m, x, c] P[m, x, c]

    with weights that sum to 1 over the members of c:

        entropy     w = H(P_m(x)) / sum H          Eq 9 as printed; all H = 0: equal
        confidence  w = (1/H) / sum(1/H)           the direction of the released code
        uniform     w = 1 / number of members

    Args:
        probability: P, each model's softmax over the classes, shape (m, i, c).
        members: models chosen for each class, shape (c, k); -1 pads.
        weighting: one of the three.

    Returns:
        confidence, shape (i, c); 0 for a class without members.

    Raises:
        ValueError: on shapes that do not agree, a member that does not exist or an unknown weighting.
    """
    if probability.ndim != 3 or members.ndim != 2 or members.shape[0] != probability.shape[2]:
        raise ValueError(f"probability {probability.shape} and members {members.shape} must share their classes")
    if members.size and not (members.min() >= -1 and members.max() < probability.shape[0]):
        raise ValueError(f"members must be models 0..{probability.shape[0] - 1} or -1")
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}, got {weighting!r}")
    strength = _strength(probability, weighting)
    total = np.zeros(probability.shape[1:])
    confidence = np.zeros(probability.shape[1:])
    votes = np.zeros(probability.shape[1:])
    plain = np.zeros(probability.shape[1:])
    for member in members.T:
        chosen = np.flatnonzero(member >= 0)
        models = member[chosen]
        answer = probability[models, :, chosen].T
        weight = strength[models].T
        total[:, chosen] += weight
        confidence[:, chosen] += weight * answer
        votes[:, chosen] += 1
        plain[:, chosen] += answer
    equal = np.divide(plain, votes, out=np.zeros(plain.shape), where=votes > 0)
    return np.asarray(np.divide(confidence, total, out=equal, where=total > 0))


def _strength(probability: Float, weighting: Weighting) -> Float:
    """Return how loudly each model speaks on each image, shape (m, i), before normalisation."""
    if weighting == "uniform":
        return np.ones(probability.shape[:2])
    disorder = entropy(probability)
    return disorder if weighting == "entropy" else 1 / np.maximum(disorder, SMALLEST_ENTROPY)
