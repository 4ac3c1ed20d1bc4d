"""`rank_models`: a table of models and scores, how well each score agrees with the truth and with the others."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from mllctl.errors import InvalidTask
from mllctl.kernels import transferability as kernels
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ranking import weighted_tau
from mllctl.scoring.reading import FeatureTask, ModelFeatures


@dataclass(frozen=True)
class _Given:
    """What a score may look at."""

    task: FeatureTask
    model: ModelFeatures

    @property
    def labels(self) -> Int:
        assert self.task.labels is not None  # `_of_labels` asks no score of classes for a task without
        return self.task.labels

    @cached_property
    def summary(self) -> kernels.FeatureSummary:
        return kernels.FeatureSummary.of(self.model.features, self.labels)

    @property
    def f_labels(self) -> Float | None:
        """F-labels; None where there are none, or all images have the same: then there is nothing to be told."""
        f_labels = self.task.f_labels
        return None if f_labels is None or (f_labels == f_labels[0]).all() else f_labels

    @cached_property
    def emms(self) -> kernels.Emms | None:
        f_labels, features = self.f_labels, self.model.features
        if f_labels is None or len(features) <= features.shape[1]:
            return None
        return kernels.emms_of(self.summary, f_labels) if self.task.by_class else kernels.emms(features, f_labels)


def _logme_f(given: _Given) -> float | None:
    f_labels = given.f_labels
    if f_labels is None:
        return None
    by_image = f_labels[given.labels] if given.task.by_class else f_labels
    return kernels.logme_regression(given.model.features, by_image.reshape(len(by_image), -1))


def _logme_regression(given: _Given) -> float | None:
    targets = given.task.boxes if given.task.targets is None else given.task.targets
    return None if targets is None else kernels.logme_regression(given.model.features, targets)


def _leep(given: _Given) -> float | None:
    return None if given.model.outputs is None else kernels.leep(given.model.outputs, given.labels)


def _nce(given: _Given) -> float | None:
    outputs = given.model.outputs
    return None if outputs is None else kernels.nce(outputs.argmax(axis=1), given.labels)


def _parc(given: _Given) -> float | None:
    return kernels.parc(given.model.features, given.labels) if len(given.labels) > 1 else None


def _of_labels(score: Callable[[_Given], float | None]) -> Callable[[_Given], float | None]:
    """A score of classes, which a task of texts, boxes or targets alone does not have."""
    return lambda given: None if given.task.labels is None or len(given.task.classes) < 2 else score(given)


# Name -> the score of a model, None where it lacks what the score needs.
SCORES: Mapping[str, Callable[[_Given], float | None]] = MappingProxyType(
    {
        "logme": _of_labels(lambda given: kernels.logme_of(given.summary)),
        "emms": lambda given: None if given.emms is None else given.emms.score,
        "h_score": _of_labels(lambda given: kernels.h_score_of(given.summary)),
        "regularized_h_score": _of_labels(lambda given: kernels.regularized_h_score_of(given.summary)),
        "transrate": _of_labels(lambda given: kernels.transrate_of(given.summary)),
        "gbc": _of_labels(lambda given: kernels.gbc(given.model.features, given.labels)),
        "sfda": _of_labels(lambda given: kernels.sfda(given.model.features, given.labels)),
        "parc": _of_labels(_parc),
        "n_leep": _of_labels(
            lambda given: kernels.n_leep(given.model.features, given.labels, np.random.default_rng(0))
        ),
        "leep": _of_labels(_leep),
        "nce": _of_labels(_nce),
        "logme_f": _logme_f,
        "logme_regression": _logme_regression,
    }
)
OF_F_LABELS = ("emms", "logme_f")
# Of features as many as images, and more, they say how many there are.
OF_FEW_FEATURES = ("h_score", "transrate", "sfda")
LABELS = "labels of two categories at least; of texts and boxes emms and logme_f tell, of numbers logme_regression"
NEEDS = {
    "emms": "F-labels of f_labels.npz or --encoders, not the same of all images, and more images than features",
    "logme_f": "F-labels of f_labels.npz or --encoders, not the same of all images",
    "logme_regression": "targets (n, t), or boxes",
    "leep": f"outputs and {LABELS}",
    "nce": f"outputs and {LABELS}",
    "parc": f"two images and {LABELS}",
}


@dataclass(frozen=True)
class Ranking:
    """Models and scores.

    Attributes:
        models: names, in the order of `values`.
        scores: names.
        values: nan where a model lacks what a score needs, shape (m, s); the greater the better.
        seconds: what each took, shape (m, s).
        summing: seconds for what the scores share, shape (m,).
        truth: what each model really reached, shape (m,); None if not known.
        tau: weighted Kendall tau of each score with the truth over the models it has, shape (s,); nan where undefined.
        agreement: of each two scores with each other, shape (s, s).
        weights: of each model the weights that EMMS gave the encoders of the F-labels, shape (m, k), nan where it has
            no score; None if it was not asked.
        notes: which models lack what a score needs, and which scores say little of them, a sentence each.
    """

    models: tuple[str, ...]
    scores: tuple[str, ...]
    values: Float
    seconds: Float
    summing: Float
    truth: Float | None
    tau: Float
    agreement: Float
    weights: Float | None
    notes: tuple[str, ...]

    @property
    def without(self) -> tuple[tuple[str, ...], ...]:
        """Of each score, the models that have none."""
        none = np.isnan(self.values)
        return tuple(tuple(self.models[m] for m in np.flatnonzero(none[:, s])) for s in range(len(self.scores)))

    def best_first(self, score: int = 0) -> list[int]:
        """Return the models by a score, ties to the first, those without last; what rounding parts is a tie."""
        values = np.where(np.isnan(self.values[:, score]), -np.inf, _rounded(self.values[:, score]))
        return [int(m) for m in np.argsort(-values, kind="stable")]


def rank_models(
    task: FeatureTask,
    scores: Sequence[str],
    truth: Float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Ranking:
    """Score every model.

    Args:
        task: features and labels.
        scores: names in `SCORES`, distinct.
        truth: what each model reached, shape (m,).
        progress: told the model, the part of the scores that is done as a number of images, and the images.

    Raises:
        InvalidTask: on an unknown or repeated score, or one that no model has what it needs for.
    """
    check_scores(scores)
    values = np.full((len(task.models), len(scores)), np.nan)
    weights = None
    if "emms" in scores and task.f_labels is not None:
        weights = np.full((len(task.models), task.f_labels.shape[2]), np.nan)
    seconds, summing = np.zeros(values.shape), np.zeros(len(task.models))
    for m, model in enumerate(task.models):
        begin = time.perf_counter()
        given = _Given(task, model)
        if task.labels is not None:
            _ = given.summary  # here, so that no score is blamed for its time
        summing[m] = time.perf_counter() - begin
        for s, name in enumerate(scores):
            begin = time.perf_counter()
            found = SCORES[name](given)
            seconds[m, s] = time.perf_counter() - begin
            values[m, s] = np.nan if found is None else found
            if progress:
                progress(model.name, task.images * (s + 1) // len(scores), task.images)
        if weights is not None and given.emms is not None:
            weights[m] = given.emms.weights
    for s, name in enumerate(scores):
        if np.isnan(values[:, s]).all():
            raise InvalidTask(f"no model has what {name} needs: {NEEDS.get(name, LABELS)}; leave it out")
    columns = list(values.T)
    return Ranking(
        models=tuple(model.name for model in task.models),
        scores=tuple(scores),
        values=values,
        seconds=seconds,
        summing=summing,
        truth=truth,
        tau=np.array([np.nan if truth is None else _tau(column, truth) for column in columns]),
        agreement=np.array([[_tau(one, other) for other in columns] for one in columns]),
        weights=weights,
        notes=tuple(_notes(task, scores, values)),
    )


def _notes(task: FeatureTask, scores: Sequence[str], values: Float) -> Iterator[str]:
    """Say where a table is not what it looks like."""
    many = len(task.models)
    for s, name in enumerate(scores):
        if lacking := int(np.isnan(values[:, s]).sum()):
            need = NEEDS.get(name, LABELS)
            yield f"{name}: none for {lacking} of {many} models, which stand last unranked; it needs {need}"
    wide = [model for model in task.models if model.features.shape[1] >= task.images]
    if wide and (few := [name for name in scores if name in OF_FEW_FEATURES]):
        yield (
            f"{', '.join(few)}: {len(wide)} of {many} models have no more images ({task.images}) than features; "
            "it is these that are counted then, more than how good they are: logme or regularized_h_score is better"
        )


def check_scores(scores: Sequence[str]) -> None:
    """Refuse names that are no scores.

    Raises:
        InvalidTask: on an unknown or repeated score, or none.
    """
    if not scores:
        raise InvalidTask(f"name a score; there are {', '.join(SCORES)}")
    for n, name in enumerate(scores):
        if name not in SCORES:
            raise InvalidTask(f"no score {name!r}; there are {', '.join(SCORES)}")
        if name in scores[:n]:
            raise InvalidTask(f"the score {name} is named twice")


def _tau(one: Float, other: Float) -> float:
    both = ~np.isnan(one) & ~np.isnan(other)
    return weighted_tau(_rounded(one[both]), _rounded(other[both]))


def _rounded(values: Float) -> Float:
    """Round to nine digits of the largest: an order must not be that of rounding errors."""
    largest = np.max(np.abs(values), initial=0, where=np.isfinite(values))
    return np.round(values / largest, 9) if largest > 0 else values
