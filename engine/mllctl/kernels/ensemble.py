"""Let several models answer one task: Eq 8-10 of MLL (arXiv 2501.18271).

What is answered for an image depends on nothing but that image, to the last bit: not on those beside it, nor on the
order in which members of a class are named.
"""

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
    _check(probability, members, weighting)
    return weighted_confidence(probability, _strength(probability, weighting), members)


def weighted_confidence(probability: Float, strength: Float, members: Int) -> Float:
    """Combine, for each class, the answers of the models chosen for it, by how loudly each speaks on an image.

    Args:
        probability: what each model answers for each class, shape (m, i, c).
        strength: at least 0; weights are its shares among the members of a class, equal where all are 0, shape (m, i).
        members: models chosen for each class, shape (c, k); -1 pads.

    Returns:
        confidence, shape (i, c); 0 for a class without members.
    """
    votes = _votes(members, len(probability))
    # Gathering the members of each class would copy P k times (benchmarks/ensemble.py). `strength.T @ votes` is slower
    # than this einsum, and BLAS adds in an order that depends on shapes: ties would hang on how many images there are.
    total = np.einsum("mi,mc->ic", strength, votes)
    summed = np.einsum("mic,mi,mc->ic", probability, strength, votes)
    confidence = np.divide(summed, total, out=np.zeros(total.shape), where=total > 0)
    silent = np.flatnonzero(((total <= 0) & votes.any(axis=0)).any(axis=1))
    if len(silent):
        alike = weighted_confidence(probability[:, silent], np.ones((len(probability), len(silent))), members)
        confidence[silent] = np.where(total[silent] > 0, confidence[silent], alike)
    return np.asarray(confidence)


def answer_weight(probability: Float, members: Int, answer: Int, weighting: Weighting = "entropy") -> Float:
    """Return how much of the answer for one class of each image is each model's: w[m, x, answer[x]] of Eq 8-10.

    Args:
        probability: P, each model's softmax over the classes, shape (m, i, c).
        members: models chosen for each class, shape (c, k); -1 pads.
        answer: one class of each image, shape (i,).
        weighting: one of the three, as in `ensemble_confidence`.

    Returns:
        weight, shape (m, i), in [0, 1]; over models it sums to 1, or to 0 for a class without members.

    Raises:
        ValueError: as `ensemble_confidence`, or if `answer` is not one class an image.
    """
    _check(probability, members, weighting)
    if answer.shape != probability.shape[1:2] or not ((answer >= 0) & (answer < len(members))).all():
        raise ValueError(f"answer must be a class 0..{len(members) - 1} of each of {probability.shape[1]} images")
    votes = _votes(members, len(probability))[:, answer]
    loud = _strength(probability, weighting) * votes
    weight = np.where(loud.sum(axis=0) > 0, loud, votes)
    total = weight.sum(axis=0)
    return np.asarray(np.divide(weight, total, out=np.zeros(weight.shape), where=total > 0))


def _check(probability: Float, members: Int, weighting: Weighting) -> None:
    if probability.ndim != 3 or members.ndim != 2 or members.shape[0] != probability.shape[2]:
        raise ValueError(f"probability {probability.shape} and members {members.shape} must share their classes")
    if members.size and not (members.min() >= -1 and members.max() < probability.shape[0]):
        raise ValueError(f"members must be models 0..{probability.shape[0] - 1} or -1")
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}, got {weighting!r}")


def _votes(members: Int, models: int) -> Float:
    """Return how often each model stands among the members of each class, shape (m, c)."""
    votes = np.zeros((models, len(members)))
    class_, place = np.nonzero(members >= 0)
    np.add.at(votes, (members[class_, place], class_), 1)
    return votes


def _strength(probability: Float, weighting: Weighting) -> Float:
    """Return how loudly each model speaks on each image, shape (m, i), before normalisation."""
    if weighting == "uniform":
        return np.ones(probability.shape[:2])
    disorder = entropy(probability)
    return disorder if weighting == "entropy" else 1 / np.maximum(disorder, SMALLEST_ENTROPY)
