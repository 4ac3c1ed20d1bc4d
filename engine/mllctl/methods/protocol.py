"""What a method of choosing is: what it may see, and what it says."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.ensemble import Weighting, ensemble_confidence
from mllctl.kernels.reuse import best_models
from mllctl.select import Selection

# What a method looks at: facts on models, a hub's labels, a few images of the task, with their truth or without it,
# what models reach on the other tasks, or on this one.
Sight = Literal["facts", "hub", "unlabelled images", "few images", "other tasks", "truth"]
OF_IMAGES: tuple[Sight, ...] = ("unlabelled images", "few images")
# Sizes of models, what they reach on the universal sample set, what they make of stand-in texts, a hub's embeddings.
Need = Literal["parameters", "universal", "texts", "embeddings"]
Select = Callable[..., Selection]
Blend = Callable[[Selection, Bool, Int], Selection]
Liken = Callable[[tuple[Float, ...]], Selection]


@dataclass(frozen=True)
class FewImages:
    """Images of the task that a method may see; what it chooses is measured on others.

    Attributes:
        truth: class of each image, shape (n,); -1 of all for a method that may not know it.
        probability: what each model answers, shape (m, n, c).
        features: what each model makes of them, of shape (n, d).
    """

    truth: Int = field(repr=False)
    probability: Float = field(repr=False)
    features: tuple[Float, ...] = field(repr=False)


@dataclass(frozen=True)
class Asked:
    """A task as it is put to a method, with all that may be known before a model has answered it.

    Attributes:
        name: of the task.
        classes: their names.
        domain: what the images look like, in words; may be empty.
        models: names of those that can be chosen, the order of every score, shape (m,).
        parameters: of each model, nan where not known, shape (m,).
        universal: what each reaches on the sample set that stands for all tasks, nan where not known, shape (m,).
        random: of this task and method, seeded.
        select: `select_models` for these classes on the hub; None where there is no hub.
        typical: what each reaches in typical tasks of the hub, nan where not known, shape (m,); None without a hub.
        few: of the task's images, those a method may see; None where it may see none.
        blend: puts a selection right by which model has which image right, and the truth; None where there is no hub.
        liken: selects with domains weighed by what models make of images without truth; None where there is no hub, or
            it has no embeddings.
        texts: what each makes of texts that stand in for the task's images, nan where not known, shape (m, f); None
            where models were not asked.
    """

    name: str
    classes: tuple[str, ...]
    domain: str
    models: tuple[str, ...]
    parameters: Float = field(repr=False)
    universal: Float = field(repr=False)
    random: np.random.Generator = field(repr=False)
    select: Select | None = field(repr=False, default=None)
    typical: Float | None = field(repr=False, default=None)
    few: FewImages | None = field(repr=False, default=None)
    blend: Blend | None = field(repr=False, default=None)
    liken: Liken | None = field(repr=False, default=None)
    texts: Float | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Afterwards:
    """What is known once models have answered; only methods that see other tasks or the truth are handed it.

    Attributes:
        others: what models reach on the other tasks, nan where not known, shape (t, m).
        reached: what they reach on this one, shape (m,); nan for a method that sees no more than other tasks.
        probability: what they answer, shape (m, i, c); None where only `reached` is known, and to such a method.
        truth: class of each image, shape (i,); None likewise.
        texts: as of `Asked`, of the other tasks, shape (t, m, f).
    """

    others: Float = field(repr=False)
    reached: Float = field(repr=False)
    probability: Float | None = field(repr=False, default=None)
    truth: Int | None = field(repr=False, default=None)
    texts: Float | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Choice:
    """What a method says: an order of models, or models for each class.

    Attributes:
        score: what it thinks each model is worth for the task, of each of its draws; finite, shape (draws, m). The
            model it chooses is the first best one. A method that is not random draws once.
        members: models of each class, best first; None if one model answers all of them, shape (c, k).
        worth: what it thinks each model is worth for each class, shape (m, c); None where it cannot say.
        weighting: how members answer together.
    """

    score: Float
    members: Int | None = None
    worth: Float | None = None
    weighting: Weighting = "uniform"

    @property
    def chosen(self) -> Int:
        """The one best model of each draw, shape (draws,)."""
        return np.asarray(self.score.argmax(axis=1))

    @property
    def models(self) -> int:
        """How many models are used."""
        return 1 if self.members is None else len(np.unique(self.members))

    def answered(self, probability: Float, truth: Int) -> Float:
        """Say which images it has right: 0 or 1, of several draws their mean, shape (i,).

        Args:
            probability: what each model answers, shape (m, i, c).
            truth: class of each image, shape (i,).
        """
        if self.members is not None:
            confidence = ensemble_confidence(probability, self.members, self.weighting)
            return np.asarray(confidence.argmax(axis=1) == truth, dtype=np.float64)
        drawn, times = np.unique(self.chosen, return_counts=True)
        right = probability[drawn].argmax(axis=2) == truth
        return np.asarray(times @ right / times.sum())

    def among(self, models: Int) -> "Choice":
        """Return what the method says where only these models can be chosen, by their places here.

        Raises:
            ValueError: if it chooses models of classes and cannot say what others are worth.
        """
        if self.members is None:
            return Choice(self.score[:, models])
        if self.worth is None:
            raise ValueError("a choice of models for classes among fewer models needs `worth`")
        worth = self.worth[models]
        return Choice(self.score[:, models], best_models(worth, self.members.shape[1]), worth, self.weighting)


@dataclass(frozen=True)
class Method:
    """A way of choosing.

    Attributes:
        name: as commands name it.
        about: what it does, in half a sentence.
        sees: the most it looks at.
        choose: the choice for a task; gets `Afterwards` only if it sees other tasks or the truth.
        per_class: whether classes get models of their own.
        need: what else must be known, that not every task or hub has; None if nothing is.
    """

    name: str
    about: str
    sees: Sight
    choose: Callable[[Asked, Afterwards | None], Choice] = field(repr=False)
    per_class: bool = False
    need: Need | None = None

    @property
    def sees_images(self) -> bool:
        """Whether it is handed images of the task, and is to be measured on others."""
        return self.sees in OF_IMAGES

    def __call__(self, asked: Asked, afterwards: Afterwards) -> Choice:
        """Choose, with no more to look at than it may."""
        if self.sees not in ("hub", *OF_IMAGES):
            asked = replace(asked, select=None, typical=None, blend=None, liken=None)
        if self.need not in ("universal", "texts"):
            asked = replace(asked, universal=np.full(asked.universal.shape, np.nan))
        if self.need != "texts":
            asked = replace(asked, texts=None)
        if not self.sees_images:
            asked = replace(asked, few=None)
        elif asked.few is not None and self.sees != "few images":
            asked = replace(asked, few=replace(asked.few, truth=np.full_like(asked.few.truth, -1)))
        if self.sees == "truth":
            return self.choose(asked, afterwards)
        if self.sees != "other tasks":
            return self.choose(asked, None)
        reached = np.full(afterwards.reached.shape, np.nan)
        return self.choose(asked, replace(afterwards, reached=reached, probability=None, truth=None))


def known(afterwards: Afterwards | None) -> Afterwards:
    """Return what a method that sees it was handed."""
    assert afterwards is not None
    return afterwards


def as_score(value: Float) -> Float:
    """Return one draw of a score, models of which nothing is known being last, shape (1, m)."""
    unknown = np.isnan(value)
    lowest = value[~unknown].min() if not unknown.all() else 0.0
    return np.where(unknown, lowest - 1, value)[None, :]
