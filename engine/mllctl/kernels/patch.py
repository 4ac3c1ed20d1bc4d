"""Experts and a general model answer one task together: the interim patch of MLL for experts, on one scale.

An expert's confidence in a class is the part of its own heads' probability that was given to that class; a general
model's is a softmax over all classes. They are not of one scale, and the paper does not say how they meet.
"""

from typing import Literal, get_args

import numpy as np

from mllctl.kernels.arrays import Bool, Float

Scale = Literal["blend", "mass", "plain"]
SCALES: tuple[Scale, ...] = get_args(Scale)


def patched_confidence(general: Float, experts: Float, served: Bool, scale: Scale = "blend") -> Float:
    """Let experts answer for the classes they serve, and a general model for all others.

        mass    the general model says how probable it is that an image is of a served class at all; experts say of
                which:  P(c | x) = M(x) E(c | x) / sum of E(c' | x),  M(x) = sum of G(c' | x),  over served c'
        blend   both say of which, as their geometric mean: sqrt(E G) in place of E
        plain   E and G stand side by side as they are

    Rows of `mass` and `blend` sum to 1 as the general model's do, and what it answers between the two parts of the task
    is not touched: if the served classes are told apart better than by it alone, no image is lost (Proposition 4.1).
    `mass` is the nearest to the paper's words; `blend` is the default, as it was the only one with which that held on
    the demo's tasks (docs/decisions.md): two models that err on different images are better together than either.

    Args:
        general: G, the general model's softmax over all classes, shape (i, c).
        experts: E, what `combine_experts` returned, at least 0, shape (i, c).
        served: which classes experts answer for, shape (c,).
        scale: one of the three.

    Returns:
        confidence, shape (i, c). Where what is shared out is 0 for all served classes the general model's stays.

    Raises:
        ValueError: on shapes that do not agree or an unknown scale.
    """
    if general.shape != experts.shape or general.shape[1:] != served.shape:
        raise ValueError(f"general {general.shape}, experts {experts.shape} and served {served.shape} must agree")
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    if scale == "plain":
        return np.where(served, experts, general)
    said = np.where(served, np.sqrt(experts * general) if scale == "blend" else experts, 0.0)
    total, mass = said.sum(axis=1, keepdims=True), np.where(served, general, 0.0).sum(axis=1, keepdims=True)
    shares = np.divide(said, total, out=np.zeros(said.shape), where=total > 0)
    return np.where(served & (total > 0), mass * shares, general)
