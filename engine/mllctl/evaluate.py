"""Measure the road: how good is the model that selection picks, on tasks whose truth is known?

Every model of a hub answers every task; each method of choosing is then a lookup in that table.
`read_tasks` reads a task file, `evaluate_hub` runs it. Image embeddings are kept in the user's
cache by weights and images, and so are those of texts: a second run only selects.

    random            the mean over all models: what picking blindly gives on average
    best on average   the one model with the best mean over these very tasks, known only afterwards
    best on the hub   the one model that is best in typical tasks of the hub, known before
    paper             one model a task as the paper has it: by captions, Eq 5-7, all domains alike
    paper, k = 3      three models a class of the same, weighed by entropy (Eq 9)
    ModelGPT          one model a task, by INB and what models make of captions and synonyms (LOVM)
    MLL, names        one model a task, selected from class names
    MLL, domain       one model a task, selected from class names and the domain in words
    MLL, 2 models     at most two models a task, each class answered by one of them
    MLL, k = 1        a model a class, by name and domain
    MLL, k = 3        three models a class, weighed alike
    oracle            the best single model of each task, known only afterwards
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remembered
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mllctl.backends import load_model
from mllctl.backends.protocol import Encoder, Float32, VisionLanguageModel
from mllctl.backends.remembering import remembered as kept_texts
from mllctl.backends.sharing import one_batch, same_texts
from mllctl.captions import class_prompts
from mllctl.errors import ModelNotLoadable, SourceUnreadable, StageMissing
from mllctl.hub import Hub, StoredModel
from mllctl.images import open_image, read_bytes
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.bootstrap import central_interval, resample_mean
from mllctl.kernels.ensemble import softmax
from mllctl.kernels.text_scores import classification_scores, granularity_scores
from mllctl.methods import ENSEMBLE_SIZE, Afterwards, Asked
from mllctl.methods import METHODS as WAYS
from mllctl.select import select_models
from mllctl.senses import plain_name
from mllctl.stand_ins import StandIns, find_stand_ins

if TYPE_CHECKING:
    from PIL import Image

Progress = Callable[[str, int, int], None]  # (model, images done, images in all)

BATCH = 64
TOGETHER = 400_000_000  # parameters of models that are held in memory together: 1.6 GB
TEXTS = 512  # encoded at a time: enough of one length for a tower to be busy
UNIVERSAL = "photo"  # the domain whose sample images stand for what ImageNet does
# What is shown here -> which of `methods` it is. Random picks are told exactly, by their expectation.
_WAYS = {
    "best on average": "hindsight",
    "best on the hub": "best-on-hub",
    "paper": "mll-paper",
    f"paper, k = {ENSEMBLE_SIZE}": "mll-paper-k3",
    "ModelGPT": "modelgpt",
    "MLL, names": "mll-names",
    "MLL, domain": "mll",
    "MLL, 2 models": "mll-2",
    "MLL, k = 1": "mll-k1",
    f"MLL, k = {ENSEMBLE_SIZE}": "mll-k3",
    "oracle": "oracle",
}
METHODS = ("random", *_WAYS)
RESAMPLES = 10_000


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
        kind: of task, in words, such as `scene classification`; may be empty.
    """

    name: str
    domain: str
    domain_text: str
    classes: tuple[str, ...]
    uris: tuple[str, ...]
    truth: Int
    kind: str = ""


@dataclass(frozen=True)
class Pick:
    """What `MLL, domain` said of its own choice.

    Attributes:
        beats_overall, beats_runner_up: probabilities, in [0, 1].
        runner_up: name of that model; None if there is no other.
        advice: the verdict.
    """

    beats_overall: float
    beats_runner_up: float
    runner_up: str | None
    advice: str


@dataclass(frozen=True)
class TaskResult:
    """One task's outcome.

    Attributes:
        task: the task.
        accuracy: top-1 of each model, in [0, 1], by the order of `Evaluation.models`.
        chosen: method -> the model it chose; methods that choose several are not in it.
        top1: method -> top-1, in [0, 1].
        pick: what selection said of its choice.
    """

    task: Task
    accuracy: Float
    chosen: dict[str, str]
    top1: dict[str, float]
    pick: Pick


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

    def interval(self, method: str, of: str | None = None, mass: float = 0.9, seed: int = 0) -> tuple[float, float]:
        """Return the ends of a bootstrap interval over tasks: of a mean top-1, or of its ratio to that of `of`."""
        top1 = np.array([[result.top1[method], result.top1[of] if of else 1.0] for result in self.results])
        drawn = resample_mean(top1, RESAMPLES, np.random.default_rng(seed))
        return central_interval(drawn[:, 0] / drawn[:, 1], mass)

    @property
    def reported(self) -> "Evaluation":
        """Every second task: those on which nothing was tuned (docs/decisions.md)."""
        return Evaluation(self.models, self.results[1::2])

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
                kind=task.get("task_text", ""),
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
    probability = answer_tasks(models, tasks, cache, load, progress)
    accuracy = np.array([[_top1(answers[n], task.truth) for answers in probability] for n, task in enumerate(tasks)])
    names = tuple(model.card.name for model in models)
    known = typical_top1(hub, models), universal_top1(hub, models, UNIVERSAL)
    texts = text_scores_of(models, tasks, cache, load)
    results = [
        _choose(hub, encoder, task, names, known, texts, np.stack([answers[n] for answers in probability]), accuracy, n)
        for n, task in enumerate(tasks)
    ]
    return Evaluation(names, tuple(results))


def answer_tasks(
    models: Sequence[StoredModel],
    tasks: Sequence[Task],
    cache: Path,
    load: Callable[[str], VisionLanguageModel] = load_model,
    progress: Progress | None = None,
) -> list[list[Float]]:
    """Return each model's class probabilities on each task: by model, by task, of shape (i, c).

    Raises:
        ModelNotLoadable: if a model's weights are missing or not those that were labelled.
    """
    content = contents(tasks)
    paths = [_answers_file(model, tasks, content, cache) for model in models]
    waiting = [(model, path) for model, path in zip(models, paths, strict=True) if not path.is_file()]
    for few in _together(waiting):
        _answer(few, tasks, content, cache, load, progress)
    return [_read_answers(path, len(tasks)) for path in paths]


def task_features(
    models: Sequence[StoredModel],
    tasks: Sequence[Task],
    images: Sequence[Int],
    cache: Path,
    load: Callable[[str], VisionLanguageModel] = load_model,
    progress: Progress | None = None,
) -> list[list[Float]]:
    """Return each model's embeddings of some images of each task: by model, by task, of shape (n, d).

    Args:
        models: labelled ones.
        tasks: all that `answer_tasks` was asked: embeddings are kept together.
        images: of each task, places among its images, shape (n,).
        cache, load, progress: as of `evaluate_hub`.

    Raises:
        ModelNotLoadable: if a model's weights are missing or not those that were labelled.
    """
    content = contents(tasks)
    row = {uri: n for n, uri in enumerate(content)}
    rows = [[row[task.uris[i]] for i in few.tolist()] for task, few in zip(tasks, images, strict=True)]
    features = []
    for model in models:
        embedding = _embeddings(model, content, cache, load, progress)
        features.append([embedding[of].astype(np.float64) for of in rows])
    return features


def text_scores_of(
    models: Sequence[StoredModel],
    tasks: Sequence[Task],
    cache: Path,
    load: Callable[[str], VisionLanguageModel] = load_model,
    captions: Mapping[str, Sequence[str]] | None = None,
) -> Float:
    """Return what each model makes of texts that stand in for the images of each task, shape (t, m, f).

    Features are those of `kernels.text_scores`, classification before granularity. No image is looked at.

    Args:
        models: labelled ones.
        tasks: whose classes and domains are read.
        cache: folder for embeddings of texts.
        load: as of `evaluate_hub`.
        captions: of classes by name, instead of made ones.

    Raises:
        ModelNotLoadable: if a model's weights are missing or not those that were labelled.
    """
    stand_ins = [find_stand_ins(task.classes, task.domain_text, captions) for task in tasks]
    prompts = [class_prompts([plain_name(class_) for class_ in task.classes]) for task in tasks]
    spoken = {text for of_task in stand_ins for one in of_task for text in (*one.captions, *one.synonyms)}
    # Towers go through texts of one length at a time.
    texts = sorted(spoken.union(*prompts), key=lambda text: (len(text.split()), text))
    scores = []
    with same_texts():
        for model in models:
            vectors = kept_texts(cache / "texts" / model.card.identity, texts, partial(_encode_texts, model, load))
            embedding = dict(zip(texts, vectors.astype(np.float64), strict=True))
            scores.append([_text_scores(embedding, *asked) for asked in zip(prompts, stand_ins, strict=True)])
    return np.array(scores).transpose(1, 0, 2)


def typical_top1(hub: Hub, models: Sequence[StoredModel]) -> Float:
    """Return what each model reaches in typical tasks of the hub, as `best on the hub` has it, in [0, 1], shape (m,).

    Means over unlike nodes do not compare: where some labels are complete, models whose label is stale have nan.
    """
    typical = hub.typical_precision([model.model for model in models])
    known = ~np.isnan(typical)
    mean = np.where(known, typical, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    complete = np.array([model.state == "complete" for model in models])
    return np.where(known.any(axis=1) & (complete | ~complete.any()), mean, np.nan)


def universal_top1(hub: Hub, models: Sequence[StoredModel], domain: str) -> Float:
    """Return each model's share of right sample images of a domain, all nodes competing, in [0, 1], shape (m,).

    It stands for what a model reaches on ImageNet, which a hub need not have. nan for a model that was shown none.

    Args:
        hub: open for reading.
        models: labelled ones, by ordinal.
        domain: its name; all domains if the hub has none of that name.
    """
    evidence = hub.hits(np.flatnonzero(hub.evidence_nodes()), [model.model for model in models])
    names = [known.name for known in hub.domains()]
    columns = [names.index(domain)] if domain in names else list(range(len(names)))
    hits, images = (counts[:, :, columns].sum(axis=(1, 2)) for counts in (evidence.hits, evidence.images))
    return np.where(images > 0, hits / np.maximum(images, 1), np.nan)


def contents(tasks: Sequence[Task]) -> dict[str, str]:
    """Return the digest of each image of any of the tasks."""
    uris = sorted({uri for task in tasks for uri in task.uris})
    return {uri: hashlib.sha256(read_bytes(uri)).hexdigest() for uri in uris}


def _choose(
    hub: Hub,
    encoder: Encoder,
    task: Task,
    names: tuple[str, ...],
    known: tuple[Float, Float],
    texts: Float,
    probability: Float,
    accuracy: Float,
    n: int,
) -> TaskResult:
    """Let every method choose for the task of row `n`, and look up what it gets."""
    select = remembered(partial(select_models, hub, task.classes, encoder=encoder))
    typical, universal = known
    asked = Asked(
        name=task.name,
        classes=task.classes,
        domain=task.domain_text,
        models=names,
        parameters=np.full(len(names), np.nan),
        universal=universal,
        random=np.random.default_rng(0),
        select=select,
        typical=typical,
        texts=texts[n],
    )
    others = np.delete(accuracy, n, axis=0)
    afterwards = Afterwards(others, accuracy[n], probability, task.truth, np.delete(texts, n, axis=0))
    choices = {shown: WAYS[way](asked, afterwards) for shown, way in _WAYS.items()}
    top1 = {shown: float(choice.answered(probability, task.truth).mean()) for shown, choice in choices.items()}
    top1["random"] = float(accuracy[n].mean())
    by_domain = select(domain=task.domain_text or None, k=ENSEMBLE_SIZE)
    pick = Pick(
        by_domain.doubt.beats_overall,
        by_domain.doubt.beats_runner_up,
        None if by_domain.doubt.runner_up is None else by_domain.names[by_domain.doubt.runner_up],
        by_domain.verdict.advice,
    )
    chosen = {shown: names[choice.chosen[0]] for shown, choice in choices.items() if choice.members is None}
    return TaskResult(task, accuracy[n], chosen, {method: top1[method] for method in METHODS}, pick)


def _top1(confidence: Float, truth: Int) -> float:
    return float((confidence.argmax(axis=1) == truth).mean())


def _answers_file(stored: StoredModel, tasks: Sequence[Task], content: Mapping[str, str], cache: Path) -> Path:
    """Return where a model's answers are kept: by the model, its scale, the prompts and the images."""
    prompts = [class_prompts([plain_name(class_) for class_ in task.classes]) for task in tasks]
    asked = [(prompts[n], [content[uri] for uri in task.uris]) for n, task in enumerate(tasks)]
    facts = json.dumps([stored.card.identity, stored.card.logit_scale, asked])
    return cache / "answers" / f"{hashlib.sha256(facts.encode()).hexdigest()}.npz"


def _read_answers(path: Path, tasks: int) -> list[Float]:
    with np.load(path, allow_pickle=False) as kept:
        return [np.asarray(kept[f"arr_{n}"], dtype=np.float64) for n in range(tasks)]


def _together(waiting: Sequence[tuple[StoredModel, Path]]) -> Iterator[list[tuple[StoredModel, Path]]]:
    """Yield groups of models that are held in memory together; what they have in common is then done once."""
    group: list[tuple[StoredModel, Path]] = []
    for model, path in waiting:
        if group and sum(one.card.parameters for one, _ in group) + model.card.parameters > TOGETHER:
            yield group
            group = []
        group.append((model, path))
    if group:
        yield group


def _keep(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file of the cache; what is there under its name is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as out:
        write(out)
    unfinished.replace(path)


def _answer(
    few: Sequence[tuple[StoredModel, Path]],
    tasks: Sequence[Task],
    content: Mapping[str, str],
    cache: Path,
    load: Callable[[str], VisionLanguageModel],
    progress: Progress | None,
) -> None:
    """Let models answer all tasks, and keep each one's class probabilities on each task, of shape (i, c)."""
    loaded = {stored.card.name: _same_model(stored, load) for stored, _ in few}
    _embed([stored for stored, _ in few], content, cache, loaded, progress)
    with same_texts():
        for stored, path in few:
            model = loaded[stored.card.name]
            embedding = dict(
                zip(content, np.load(_embedding_file(stored, content, cache), allow_pickle=False), strict=True)
            )
            answers = []
            for task in tasks:
                images = np.array([embedding[uri] for uri in task.uris], dtype=np.float64)
                prompts = model.encode_texts(class_prompts([plain_name(class_) for class_ in task.classes]))
                answers.append(softmax(model.card.logit_scale * (images @ prompts.astype(np.float64).T)))
            _keep(path, partial(_save_all, arrays=answers))


def _save_all(out: BinaryIO, arrays: Sequence[Float]) -> None:
    np.savez(out, *arrays)


def _encode_texts(stored: StoredModel, load: Callable[[str], VisionLanguageModel], texts: Sequence[str]) -> Float32:
    model = _same_model(stored, load)
    return np.concatenate([model.encode_texts(texts[n : n + TEXTS]) for n in range(0, len(texts), TEXTS)])


def _text_scores(embedding: Mapping[str, Float], prompts: Sequence[str], stand_ins: Sequence[StandIns]) -> Float:
    """Return the features of one model on one task, shape (f,)."""
    classes = np.array([embedding[prompt] for prompt in prompts])
    captions = _rows_by_class(embedding, [one.captions for one in stand_ins])
    synonyms = _rows_by_class(embedding, [one.synonyms for one in stand_ins])
    return np.concatenate(
        [classification_scores(classes, *captions), granularity_scores(classes, *captions, *synonyms)]
    )


def _rows_by_class(embedding: Mapping[str, Float], texts: Sequence[Sequence[str]]) -> tuple[Float, Int]:
    """Return the embeddings of the texts of all classes, shape (t, d), and the class of each, shape (t,)."""
    width = len(next(iter(embedding.values())))
    rows = [embedding[text] for of_class in texts for text in of_class]
    return np.array(rows).reshape(-1, width), np.repeat(np.arange(len(texts)), [len(of_class) for of_class in texts])


def _same_model(stored: StoredModel, load: Callable[[str], VisionLanguageModel]) -> VisionLanguageModel:
    """Load a model that a hub has labelled."""
    model = load(stored.card.source)
    if model.card.fingerprint != stored.card.fingerprint:
        raise ModelNotLoadable(stored.card.name, "its weights are not those that were labelled; label it again")
    return model


def _embeddings(
    stored: StoredModel,
    content: Mapping[str, str],
    cache: Path,
    load: Callable[[str], VisionLanguageModel],
    progress: Progress | None,
) -> Float32:
    """Encode images, named with the digest of each, or take their embeddings from the cache, shape (i, d)."""
    path = _embedding_file(stored, content, cache)
    if not path.is_file():
        _embed([stored], content, cache, {stored.card.name: _same_model(stored, load)}, progress)
    return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)


def _opened(uri: str) -> "Image.Image":
    try:
        return open_image(uri)
    except SourceUnreadable as error:
        reason = f"{error.reason}; take it out of the task, then give the command again"
        raise SourceUnreadable(uri, reason) from error


def _embedding_file(stored: StoredModel, content: Mapping[str, str], cache: Path) -> Path:
    key = hashlib.sha256("\n".join([stored.card.identity, *content.values()]).encode()).hexdigest()
    return cache / "embeddings" / f"{key}.npy"


def _embed(
    models: Sequence[StoredModel],
    content: Mapping[str, str],
    cache: Path,
    loaded: Mapping[str, VisionLanguageModel],
    progress: Progress | None,
) -> None:
    """Show images to models that have not seen them, batch by batch, and keep what they make of them."""
    paths = {stored.card.name: _embedding_file(stored, content, cache) for stored in models}
    parts: dict[str, list[Float32]] = {name: [] for name, path in paths.items() if not path.is_file()}
    uris = list(content)
    for start in range(0, len(uris), BATCH) if parts else ():
        images = [_opened(uri) for uri in uris[start : start + BATCH]]
        with one_batch():
            for name, made in parts.items():
                made.append(loaded[name].encode_images(images))
                if progress:
                    progress(name, start + len(images), len(uris))
    for name, made in parts.items():
        _keep(paths[name], partial(np.save, arr=np.concatenate(made), allow_pickle=False))
