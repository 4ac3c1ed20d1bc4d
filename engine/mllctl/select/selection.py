"""The answer to a task: frozen, and whole enough to be asked why."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mllctl.errors import InvalidTask
from mllctl.hub import StoredModel, StoredNode
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.examples import Blend
from mllctl.kernels.shrinkage import Belief, combined
from mllctl.senses import Meaning

if TYPE_CHECKING:
    from mllctl.images import Skipped

Matching = Literal["wordnet", "caption"]
MATCHINGS: tuple[Matching, ...] = ("wordnet", "caption")
Estimator = Literal["shrunk", "paper"]
ESTIMATORS: tuple[Estimator, ...] = ("shrunk", "paper")
Ruling = Literal["use", "use with care", "prefer the best-overall model"]
Breadth = Literal["one", "few", "each"]
BREADTHS: tuple[Breadth, ...] = ("one", "few", "each")


@dataclass(frozen=True)
class Options:
    """How a selection is made.

    Attributes:
        k: models per class, at least 1.
        alpha: weight of the class itself against the task's mean, in [0, 1].
        nodes_per_class: nodes each class is matched to, at least 1.
        matching: `wordnet` or `caption`.
        estimator: `shrunk` or `paper`.
        max_models: at most so many models over the whole task; None for no limit.

    Raises:
        InvalidTask: if one is out of its range.
    """

    k: int
    alpha: float
    nodes_per_class: int
    matching: Matching
    estimator: Estimator
    max_models: int | None

    def __post_init__(self) -> None:
        counts = {"k": self.k, "nodes per class": self.nodes_per_class, "max models": self.max_models}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise InvalidTask(f"{name} must be at least 1, got {count}")
        if not 0 <= self.alpha <= 1:
            raise InvalidTask(f"alpha must be in [0, 1], got {self.alpha:g}")
        if self.matching not in MATCHINGS:
            raise InvalidTask(f"matching must be one of {', '.join(MATCHINGS)}, got {self.matching!r}")
        if self.estimator not in ESTIMATORS:
            raise InvalidTask(f"estimator must be one of {', '.join(ESTIMATORS)}, got {self.estimator!r}")


@dataclass(frozen=True)
class DomainWeight:
    """How much an image of one sample domain counts.

    Attributes:
        name: of the domain.
        similarity: cosine of its description and the user's words; None without such words.
        weight: of an image of this domain, in [0, 1]; all weights sum to 1.
    """

    name: str
    similarity: float | None
    weight: float


@dataclass(frozen=True)
class Answer:
    """One way to answer the task: the best model, the best few together, or the best of each class.

    Attributes:
        breadth: `one`, `few` (at most so many models over the whole task) or `each`.
        members: models of each class, best first, shape (c, k).
        models: those that are used, ascending.
        precision: what the models of the classes are believed to reach, mean over covered classes, in [0, 1].
        exact: whether no other choice of as many models has a better mean reuse metric; if not, greedy found it.
        bound: the mean reuse metric that no choice can pass.
    """

    breadth: Breadth
    members: Int
    models: tuple[int, ...]
    precision: float
    exact: bool
    bound: float


@dataclass(frozen=True)
class Doubt:
    """How sure it is that the one model for the task is better than another.

    Attributes:
        runner_up: the model with the next best mean precision; None if there is no other.
        beats_runner_up, beats_overall: probabilities, in [0, 1]; 1 against itself.
    """

    runner_up: int | None
    beats_runner_up: float
    beats_overall: float


@dataclass(frozen=True)
class Verdict:
    """What to make of the answer, in words.

    Attributes:
        advice: `use`, `use with care` or `prefer the best-overall model`.
        reason: half a sentence.
    """

    advice: Ruling
    reason: str


@dataclass(frozen=True)
class Shown:
    """Labelled images of the user's that the candidates were shown, and what is believed since.

    Attributes:
        images: of each class, shape (c,).
        hits: of each model on them, among the task's classes, shape (m, c).
        expected: what the names alone made one expect of each model on each class, in [0, 1], shape (m, c).
        worth: how many images what names say of a model on the whole task is worth.
        belief: what is believed of each model on each class.
        skipped: files that could not be used, and why.
    """

    images: Int
    hits: Int
    expected: Float
    worth: float
    belief: Blend
    skipped: "tuple[Skipped, ...]"


@dataclass(frozen=True)
class Selection:
    """The models of each class, best first, and what they were chosen by.

    Arrays have the axes of `models` (m), `classes` (c) and `nodes` (v, the selected nodes).

    Attributes:
        classes: as given, white space stripped.
        domain, task: the user's words, or None.
        options: how it was made.
        texts: what stood for each class when captions were compared.
        domains: weight of each sample domain.
        domain_matched: whether `domain` resembled any of them; if not, all weigh the same.
        nodes: V_sel.
        transfer: Z, shape (v, c).
        similarity: cosine of each class and its most similar node, shape (c,).
        steps: between each class and its nearest node in the graph, shape (c,).
        covered: whether there is evidence for a class, in the hub or among the examples; without, p = 0, shape (c,).
        meanings: which synset each class was taken to mean; empty when matched by captions.
        models: the candidates: every model whose label is complete for these nodes, and within the limits.
        left_out: (model, why not) of all others.
        belief: p[m, v] with what it is worth; the plain ratio with the paper's estimator.
        hits, images: behind it, all domains together, shape (m, v).
        class_precision: p[m, c] (Eq 6); unnormalised with the paper's estimator, a share otherwise.
        reuse: r[m, c] (Eq 7).
        answers: one model, few models, a model of each class.
        single: the one model for the whole task: best mean p over its classes; ties go to the first.
        overall: the model that is best in typical tasks of the hub, whatever the task at hand.
        doubt: how sure `single` is.
        verdict: what to make of it.
        hub_generation: which generation of the hub answered.
        weights_given: whether the weights of domains were given, and not made from words.
        examples: labelled images that were taken into account (`with_examples`), or None.
    """

    classes: tuple[str, ...]
    domain: str | None
    task: str | None
    options: Options
    texts: tuple[tuple[str, ...], ...]
    domains: tuple[DomainWeight, ...]
    domain_matched: bool
    nodes: tuple[StoredNode, ...]
    transfer: Float
    similarity: Float
    steps: Int
    covered: Bool
    meanings: tuple[Meaning, ...]
    models: tuple[StoredModel, ...]
    left_out: tuple[tuple[str, str], ...]
    belief: Belief
    hits: Int
    images: Int
    class_precision: Float
    reuse: Float
    answers: tuple[Answer, ...]
    single: int
    overall: int
    doubt: Doubt
    verdict: Verdict
    hub_generation: int
    weights_given: bool = False
    examples: Shown | None = None

    @property
    def members(self) -> Int:
        """Models of each class, best first: of at most `max_models` models if that was asked, shape (c, k)."""
        return self.answer("each" if self.options.max_models is None else "few").members

    @property
    def node_precision(self) -> Float:
        """What is believed of each model on each node, shape (m, v)."""
        return self.belief.mean

    @property
    def share(self) -> Float:
        """What is believed of each model on each class, in [0, 1]: the form people read, shape (m, c)."""
        if self.examples:
            return np.clip(self.examples.belief.mean, 0, 1)
        return self.belief.mean @ self.part

    @property
    def part(self) -> Float:
        """Each node's part in what is believed of each class, Z / sum Z, shape (v, c)."""
        return node_parts(self.transfer)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the candidate models, shape (m,)."""
        return tuple(model.card.name for model in self.models)

    def answer(self, breadth: Breadth) -> Answer:
        """Return the answer of this breadth."""
        return next(answer for answer in self.answers if answer.breadth == breadth)

    @property
    def class_belief(self) -> Belief:
        """What is believed of `share`, shape (m, c).

        Its intervals cover what so few images leave open; that the user's images differ from a node's, they cover only
        where there are examples.
        """
        if self.examples:
            return self.examples.belief.combined(np.eye(len(self.classes)))
        return combined(self.belief, self.part)

    @property
    def reuse_belief(self) -> Belief:
        """The like of r over shares, alpha p + (1 - alpha) mean p, shape (m, c)."""
        alpha, count = self.options.alpha, len(self.classes)
        if self.examples:
            return self.examples.belief.combined(alpha * np.eye(count) + (1 - alpha) / count)
        return combined(self.belief, alpha * self.part + (1 - alpha) * self._mean_part[:, None])

    @property
    def task_belief(self) -> Belief:
        """The like of each model's mean precision over the covered classes, shape (m,); without any, worth no image."""
        if self.examples:
            return self.examples.belief.combined(self.covered[:, None] / max(int(self.covered.sum()), 1))[:, 0]
        return combined(self.belief, self._mean_part[:, None])[:, 0]

    @property
    def _mean_part(self) -> Float:
        covered = self.part[:, self.covered]
        return covered.mean(axis=1) if covered.size else np.zeros(len(self.nodes))

    def nodes_of(self, class_: int) -> list[tuple[StoredNode, float]]:
        """Return a class's nodes with Z, greatest first."""
        column = self.transfer[:, class_]
        order = np.argsort(-column, kind="stable")
        return [(self.nodes[v], float(column[v])) for v in order if column[v] > 0]


def node_parts(transfer: Float) -> Float:
    """Return Z / sum Z: columns sum to 1, or are zero where a class has no node, shape (v, c)."""
    mass = transfer.sum(axis=0)
    return np.asarray(np.divide(transfer, mass, out=np.zeros(transfer.shape), where=mass > 0))
