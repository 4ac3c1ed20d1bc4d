"""Experts for a task: frozen, and whole enough to be asked why."""

from dataclasses import dataclass

import numpy as np

from mllctl.errors import InvalidTask
from mllctl.hub import StoredExpert, StoredNode
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.select.selection import MATCHINGS, DomainWeight, Matching

# docs/decisions.md says how it was chosen.
THRESHOLD = 1.0
BUDGET = 2  # experts a class, as in the paper's Table 1
DISCOUNT = 0.5


@dataclass(frozen=True)
class ExpertOptions:
    """How experts are selected.

    Attributes:
        k: experts per class, at least 1.
        threshold: largest loss at which a class is given to an expert, above 0.
        discount: weight of a node's own images against its children's (Eq 2), in [0, 1].
        recursive: whether children pass on what they have from theirs.
        matching: `wordnet` or `caption`.

    Raises:
        InvalidTask: if one is out of its range.
    """

    k: int
    threshold: float
    discount: float
    recursive: bool
    matching: Matching

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidTask(f"k must be at least 1, got {self.k}")
        if not self.threshold > 0:
            raise InvalidTask(f"threshold must be above 0, got {self.threshold:g}")
        if not 0 <= self.discount <= 1:
            raise InvalidTask(f"discount must be in [0, 1], got {self.discount:g}")
        if self.matching not in MATCHINGS:
            raise InvalidTask(f"matching must be one of {', '.join(MATCHINGS)}, got {self.matching!r}")


@dataclass(frozen=True)
class ExpertSelection:
    """The experts of each class, best first, and what they were chosen by.

    Arrays have the axes of `experts` (m) and `classes` (c); h is the number of an expert's heads.

    Attributes:
        classes: as given, white space stripped.
        domain: the user's words, or None.
        options: how it was made.
        domains: weight of each sample domain.
        domain_matched: whether `domain` resembled any of them.
        nodes: the one node that stands for each class; None where none does.
        similarity: cosine of each class and that node, 0 without one, shape (c,).
        experts: the candidates: every expert whose label is complete for these nodes.
        left_out: (expert, why not) of all others.
        labels: each expert's label on the nodes, logits of shape (h, c); nan for a class without a node.
        combinations: how much of each head counts for each class (X), each of shape (h, c); 0 for a class without.
        losses: L_c, shape (m, c); infinite for a class without a node.
        gaps: by how much the sum of an expert's losses may be above the least there can be, shape (m,).
        members: experts of each class with a loss within the threshold, best first, -1 pads, shape (c, k).
        hub_generation: which generation of the hub answered.
    """

    classes: tuple[str, ...]
    domain: str | None
    options: ExpertOptions
    domains: tuple[DomainWeight, ...]
    domain_matched: bool
    nodes: tuple[StoredNode | None, ...]
    similarity: Float
    experts: tuple[StoredExpert, ...]
    left_out: tuple[tuple[str, str], ...]
    labels: tuple[Float, ...]
    combinations: tuple[Float, ...]
    losses: Float
    gaps: Float
    members: Int
    hub_generation: int

    @property
    def served(self) -> Bool:
        """Whether an expert answers for each class, shape (c,); the others are for a general model."""
        return np.asarray((self.members >= 0).any(axis=1))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the candidates, shape (m,)."""
        return tuple(expert.card.name for expert in self.experts)

    @property
    def used(self) -> tuple[int, ...]:
        """Experts that answer for some class, ascending."""
        return tuple(sorted({int(m) for m in self.members.ravel() if m >= 0}))
