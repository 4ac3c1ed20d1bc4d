"""Why an expert answers for a class: which heads make it up, and what they answer where.

Names of heads are told where they are known; nothing was chosen by them.
"""

from dataclasses import dataclass

import numpy as np

from mllctl.errors import InvalidTask, NotInHub
from mllctl.experts.selection import ExpertSelection
from mllctl.hub import StoredNode
from mllctl.kernels.arrays import Float
from mllctl.kernels.chco import head_probability


@dataclass(frozen=True)
class HeadShare:
    """One head of a class.

    Attributes:
        head: its number.
        name: what it is called, an empty text if that is not known.
        weight: how much of it counts for the class, in (0, 1].
        probability: what it answers on the class's node, in [0, 1].
        elsewhere: the other class on whose node it answers most, None if there is no other.
        elsewhere_probability: what it answers there, in [0, 1].
    """

    head: int
    name: str
    weight: float
    probability: float
    elsewhere: str | None
    elsewhere_probability: float


@dataclass(frozen=True)
class ExpertExplanation:
    """What an expert is to a class.

    Attributes:
        class_: its name.
        node: what stands for it.
        expert: name.
        chosen: whether it answers for the class.
        rank: among all candidates, by loss, from 1.
        loss: L_c, at least 0.
        threshold: largest loss that is taken.
        own: what its heads together answer on the class's node, Q[c, c], in [0, 1].
        mistaken: (other class, what they answer on its node), most first.
        heads: those of the class, by what they add to `own`, most first.
    """

    class_: str
    node: StoredNode
    expert: str
    chosen: bool
    rank: int
    loss: float
    threshold: float
    own: float
    mistaken: tuple[tuple[str, float], ...]
    heads: tuple[HeadShare, ...]


def explain_expert(selection: ExpertSelection, class_: str, expert: str | None = None) -> ExpertExplanation:
    """Say why an expert answers for a class, or why it does not.

    Args:
        selection: what `select_experts` returned.
        class_: one of its classes.
        expert: one of its candidates; the best for the class when None.

    Raises:
        InvalidTask: if it is none of the classes, or no node stands for it.
        NotInHub: if there is no such candidate.
    """
    if class_ not in selection.classes:
        raise InvalidTask(f"{class_!r} is none of the classes; give one of {', '.join(selection.classes[:5])}")
    c = selection.classes.index(class_)
    node = selection.nodes[c]
    if node is None:
        raise InvalidTask(f"no node of the hub stands for {class_!r}; a general model answers for it")
    order = np.argsort(selection.losses[:, c], kind="stable").tolist()
    if expert is not None and expert not in selection.names:
        raise NotInHub("expert", expert, cure="`mllctl model list` shows all")
    m = order[0] if expert is None else selection.names.index(expert)
    there = np.flatnonzero([one is not None for one in selection.nodes])
    probability = np.zeros(selection.labels[m].shape)
    probability[:, there] = head_probability(selection.labels[m][:, there])
    answers = selection.combinations[m][:, c] @ probability
    others = [o for o in there.tolist() if o != c]
    mistaken = sorted(((selection.classes[o], float(answers[o])) for o in others), key=lambda pair: -pair[1])
    return ExpertExplanation(
        class_=class_,
        node=node,
        expert=selection.names[m],
        chosen=m in selection.members[c],
        rank=order.index(m) + 1,
        loss=float(selection.losses[m, c]),
        threshold=selection.options.threshold,
        own=float(answers[c]),
        mistaken=tuple(mistaken),
        heads=_heads(selection, m, c, probability, others),
    )


def _heads(selection: ExpertSelection, m: int, c: int, probability: Float, others: list[int]) -> tuple[HeadShare, ...]:
    weight = selection.combinations[m][:, c]
    used = np.flatnonzero(weight > 0)
    order = used[np.argsort(-(weight * probability[:, c])[used], kind="stable")]
    names = selection.experts[m].card.heads
    shares = []
    for head in order.tolist():
        # Ties go to the first.
        most = others[int(np.argmax(probability[head, others]))] if others else None
        shares.append(
            HeadShare(
                head=head,
                name=names[head],
                weight=float(weight[head]),
                probability=float(probability[head, c]),
                elsewhere=None if most is None else selection.classes[most],
                elsewhere_probability=0.0 if most is None else float(probability[head, most]),
            )
        )
    return tuple(shares)
