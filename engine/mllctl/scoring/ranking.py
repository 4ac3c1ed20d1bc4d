"""`rank_models`: a table of models and scores, how well each score agrees with the truth and with the others."""

import time
from collections.abc import Callable, Mapping, Sequence
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


def _emms(given: _Given) -> float | None:
    f_labels, features = given.task.f_labels, given.model.features
    if f_labels is None or len(features) <= features.shape[1]:
        return None
    if given.task.by_class:
        return kernels.emms_of(given.summary, f_labels).score
    return kernels.emms(features, f_labels).score


def _logme_f(given: _Given) -> float | None:
    f_labels = given.task.f_labels
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
    return lambda given: None if given.task.labels is None else score(given)


# Name -> the score of a model, None where it lacks what the score needs.
SCORES: Mapping[str, Callable[[_Given], float | None]] = MappingProxyType(
    {
        "logme": _of_labels(lambda given: kernels.logme_of(given.summary)),
        "emms": _emms,
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
LABELS = "labels, a category an image; of texts and boxes emms and logme_f tell, of numbers logme_regression"
NEEDS = {
    "emms": "f_labels.npz or --encoders, and more images than features",
    "logme_f": "f_labels.npz or --encoders",
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
    """

    models: tuple[str, ...]
    scores: tuple[str, ...]
    values: Float
    seconds: Float
    summing: Float
    truth: Float | None
    tau: Float
    agreement: Float

    def best_first(self, score: int = 0) -> list[int]:
        """Return the models by a score, ties to the first, those without last."""
        values = np.where(np.isnan(self.values[:, score]), -np.inf, self.values[:, score])
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
    return weighted_tau(one[both], other[both])
