"""Measure the road: how good is the model that selection picks, on tasks whose truth is known?

Every model of a hub answers every task; each method of choosing is then a lookup in that table.
`read_tasks` reads a task file, `evaluate_hub` runs it. Image embeddings are kept in the user's
cache by weights and images, so a second run only selects.

    random            the mean over all models: what picking blindly gives on average
    best on average   the one model with the best mean over these very tasks, known only afterwards
    best on the hub   the one model with the best mean precision over all nodes, known before
    MLL, names        one model a task, selected from class names
    MLL, domain       one model a task, selected from class names and the domain in words
    MLL, k = 3        three models a class, by name and domain, weighed alike
    oracle            the best single model of each task, known only afterwards
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mllctl.backends import load_model
from mllctl.backends.protocol import Encoder, VisionLanguageModel
from mllctl.captions import class_prompts
from mllctl.errors import ModelNotLoadable, SourceUnreadable, StageMissing
from mllctl.hub import Hub, StoredModel
from mllctl.images import open_image, read_bytes
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ensemble import ensemble_confidence, softmax
from mllctl.select import select_models

Progress = Callable[[str, int, int], None]  # (model, images done, images in all)

BATCH = 64
ENSEMBLE_SIZE = 3
METHODS = ("random", "best on average", "best on the hub", "MLL, names", "MLL, domain", "MLL, k = 3", "oracle")


@dataclass(frozen=True)
class Task:
    """Classes with images whose truth is known.

    Attributes:
        name: such as `animal-photo`.
        domain: name of the hub's domain the images are from; never shown to the selection.
        domain_text: what a user would say the images look like.
        classes: their names.
        uris: the images.
        truth: class of each image, shape (i,).
    """

    name: str
    domain: str
    domain_text: str
    classes: tuple[str, ...]
    uris: tuple[str, ...]
    truth: Int


@dataclass(frozen=True)
class TaskResult:
    """One task's outcome.

    Attributes:
        task: the task.
        accuracy: top-1 of each model, in [0, 1], by the order of `Evaluation.models`.
        chosen: method -> the model it chose; methods that choose several are not in it.
        top1: method -> top-1, in [0, 1].
    """

    task: Task
    accuracy: Float
    chosen: dict[str, str]
    top1: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """The outcome of all tasks.

    Attributes:
        models: names, the order of every `accuracy`.
        results: one a task.
    """

    models: tuple[str, ...]
    results: tuple[TaskResult, ...]

    def mean_top1(self) -> dict[str, float]:
        """Return each method's mean top-1 over the tasks, in [0, 1]."""
        return {method: float(np.mean([result.top1[method] for result in self.results])) for method in METHODS}

    def wins(self) -> dict[str, float]:
        """Return how many tasks each model is best at; a tie is shared."""
        accuracy = np.array([result.accuracy for result in self.results])
        best = accuracy == accuracy.max(axis=1, keepdims=True)
        return dict(zip(self.models, (best / best.sum(axis=1, keepdims=True)).sum(axis=0).tolist(), strict=True))


def read_tasks(path: Path, images: str) -> list[Task]:
    """Read a task file: JSON as `assets/README.md` describes, its images being rows of the pack `images`.

    Raises:
        SourceUnreadable: if the file is missing or holds something else.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return [
            Task(
                name=task["name"],
                domain=task["domain"],
                domain_text=task["domain_text"],
                classes=tuple(class_["name"] for class_ in task["classes"]),
                uris=tuple(f"{images}#{image}" for image, _ in task["images"]),
                truth=np.array([class_ for _, class_ in task["images"]], dtype=np.int64),
            )
            for task in (facts["tasks"] if isinstance(facts, dict) else facts)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceUnreadable(path, f"not a task file ({type(error).__name__}: {error})") from error


def evaluate_hub(
    hub: Hub,
    tasks: Sequence[Task],
    encoder: Encoder,
    cache: Path,
    load: Callable[[str], VisionLanguageModel] = load_model,
    progress: Progress | None = None,
) -> Evaluation:
    """Run every labelled model of `hub` on every task, and every method of choosing.

    Args:
        hub: open for reading.
        tasks: at least one.
        encoder: the one the hub's index was built with.
        cache: folder for image embeddings.
        load: makes a model from what the hub recorded as its source.
        progress: called after each batch of images.

    Raises:
        ModelNotLoadable: if a model's weights are missing or not those that were labelled.
        StageMissing: if no model is labelled, or selection lacks something.
    """
    models = [model for model in hub.models() if model.labelled]
    if not models:
        raise StageMissing("no model of the hub is labelled", "mllctl label --all")
    probability = [_answers(model, tasks, cache, load, progress) for model in models]
    accuracy = np.array([[_top1(answers[n], task.truth) for answers in probability] for n, task in enumerate(tasks)])
    names = tuple(model.card.name for model in models)
    average = int(np.argmax(accuracy.mean(axis=0)))
    results = []
    for n, task in enumerate(tasks):
        answers = {name: answer[n] for name, answer in zip(names, probability, strict=True)}
        results.append(_choose(hub, encoder, task, answers, accuracy[n], names[average]))
    return Evaluation(names, tuple(results))


def _choose(
    hub: Hub, encoder: Encoder, task: Task, answers: Mapping[str, Float], accuracy: Float, average: str
) -> TaskResult:
    """Let every method choose for one task, and look up what it gets."""
    by_name = select_models(hub, task.classes, encoder=encoder)
    by_domain = select_models(hub, task.classes, task.domain_text, k=ENSEMBLE_SIZE, encoder=encoder)
    names = tuple(answers)
    of = dict(zip(names, accuracy.tolist(), strict=True))
    chosen = {
        "best on average": average,
        "best on the hub": by_name.names[by_name.overall],
        "MLL, names": by_name.names[by_name.single],
        "MLL, domain": by_domain.names[by_domain.single],
        "oracle": names[int(np.argmax(accuracy))],
    }
    probability = np.stack([answers[name] for name in by_domain.names])
    together = ensemble_confidence(probability, by_domain.members, "uniform")
    top1 = {method: of[model] for method, model in chosen.items()}
    top1["random"] = float(accuracy.mean())
    top1[f"MLL, k = {ENSEMBLE_SIZE}"] = _top1(together, task.truth)
    return TaskResult(task, accuracy, chosen, top1)


def _top1(confidence: Float, truth: Int) -> float:
    return float((confidence.argmax(axis=1) == truth).mean())


def _answers(
    stored: StoredModel,
    tasks: Sequence[Task],
    cache: Path,
    load: Callable[[str], VisionLanguageModel],
    progress: Progress | None,
) -> list[Float]:
    """Return one model's class probabilities on each task, each of shape (i, c)."""
    model = load(stored.card.source)
    if model.card.fingerprint != stored.card.fingerprint:
        raise ModelNotLoadable(stored.card.name, "its weights are not those that were labelled; label it again")
    uris = sorted({uri for task in tasks for uri in task.uris})
    embedding = dict(zip(uris, _embeddings(model, uris, cache, progress), strict=True))
    answers = []
    for task in tasks:
        images = np.array([embedding[uri] for uri in task.uris])
        prompts = model.encode_texts(class_prompts(task.classes)).astype(np.float64)
        answers.append(softmax(model.card.logit_scale * (images @ prompts.T)))
    return answers


def _embeddings(model: VisionLanguageModel, uris: Sequence[str], cache: Path, progress: Progress | None) -> Float:
    """Encode images, or take their embeddings from the cache, shape (i, d)."""
    contents = (hashlib.sha256(read_bytes(uri)).hexdigest() for uri in uris)
    key = hashlib.sha256("\n".join([model.card.identity, *contents]).encode()).hexdigest()
    path = cache / "embeddings" / f"{key}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    parts = []
    for start in range(0, len(uris), BATCH):
        few = uris[start : start + BATCH]
        parts.append(model.encode_images([open_image(uri) for uri in few]))
        if progress:
            progress(model.card.name, start + len(few), len(uris))
    embedding = np.concatenate(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as out:
        np.save(out, embedding, allow_pickle=False)
    unfinished.replace(path)
    return np.asarray(embedding, dtype=np.float64)
