"""What is true: what each model reaches on each task, from the answers of a hub's models or from published results."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache as remembered
from functools import partial
from pathlib import Path

import numpy as np

from mllctl.backends import load_model
from mllctl.backends.facts import known_models
from mllctl.backends.latency import known_latency
from mllctl.backends.protocol import Encoder, VisionLanguageModel
from mllctl.bench.suites import Suite
from mllctl.errors import InvalidTask, NotPublished, StageMissing
from mllctl.evaluate import (
    Progress,
    Task,
    answer_tasks,
    contents,
    task_features,
    text_scores_of,
    typical_top1,
    universal_top1,
)
from mllctl.hub import Hub, StoredModel
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.methods import Afterwards, Asked, FewImages, Method
from mllctl.methods.protocol import Blend, Liken, Need, Select
from mllctl.published import Result, matrix, paper_models
from mllctl.reuse.examples import blended
from mllctl.reuse.unlabelled import best_teller, likeness
from mllctl.select import Selection, select_models

Teller = Callable[[], tuple[StoredModel, Float, Int]]

FEWEST = 4  # images of a task that is dealt into two halves
FEW = 10  # images of a class that a method may see, at most


@dataclass(frozen=True)
class Answered:
    """What models answer to the images of a task.

    Attributes:
        probability: of each class, shape (m, i, c).
        truth: class of each image, shape (i,).
        known: images of which there are features, ascending, shape (n,).
        features: what each model makes of them, of shape (n, d).
    """

    probability: Float = field(repr=False)
    truth: Int = field(repr=False)
    known: Int = field(repr=False)
    features: tuple[Float, ...] = field(repr=False)

    def of(self, images: Int) -> FewImages:
        """Return what is known of some of the images of which there are features."""
        rows = np.searchsorted(self.known, images)
        few = tuple(features[rows] for features in self.features)
        return FewImages(self.truth[images], self.probability[:, images], few)


def folds(truth: Int, seed: int) -> list[tuple[Int, Int]]:
    """Deal images into two halves; return for each what a method may see, and what it is measured on.

    Every image is measured on once, so that methods that see images and those that see none have the same images to
    be right on. Images of a class are dealt in turns; of what falls into one half, `FEW` of each class are seen.

    Args:
        truth: class of each image, shape (i,).
        seed: of the order in which they are dealt.

    Returns:
        two pairs of ascending places.
    """
    order = np.random.default_rng([seed, len(truth)]).permutation(len(truth))
    dealt = order[np.argsort(truth[order], kind="stable")]
    halves = [np.sort(dealt[0::2]), np.sort(dealt[1::2])]
    return [(_few(dealt[n::2], truth), halves[1 - n]) for n in range(2)]


def _few(images: Int, truth: Int) -> Int:
    """Return at most `FEW` images of each class, of those that are together by class."""
    classes = truth[images]
    first = np.searchsorted(classes, classes)
    return np.sort(images[np.arange(len(images)) - first < FEW])


@dataclass(frozen=True)
class GroundTask:
    """A task with all that may be known of it, beforehand and afterwards.

    Attributes:
        name: of the task.
        classes: their names; empty of published results.
        domain: what its images look like, in words.
        models: names of the models that have a value, the order of everything here.
        reached: what each reaches by `metric`, in [0, 1], shape (m,).
        parameters, universal: as of `Asked`, shape (m,).
        others: what they reach on the other tasks, nan where unknown, shape (t, m).
        answered: the answers; None of published results.
        milliseconds: that each takes for an image on this machine, nan where it was not timed, shape (m,).
        typical, select, blend, liken, texts: as of `Asked`.
        other_texts: as of `Afterwards`.
        metric: what `reached` is: top-1, or what the source of published results calls it.
    """

    name: str
    classes: tuple[str, ...]
    domain: str
    models: tuple[str, ...]
    reached: Float = field(repr=False)
    parameters: Float = field(repr=False)
    universal: Float = field(repr=False)
    others: Float = field(repr=False)
    milliseconds: Float = field(repr=False)
    answered: Answered | None = field(repr=False, default=None)
    typical: Float | None = field(repr=False, default=None)
    select: Select | None = field(repr=False, default=None)
    blend: Blend | None = field(repr=False, default=None)
    liken: Liken | None = field(repr=False, default=None)
    texts: Float | None = field(repr=False, default=None)
    other_texts: Float | None = field(repr=False, default=None)
    metric: str = "top-1"

    def asked(self, seed: int, method: Method, few: FewImages | None = None) -> Asked:
        """Return the task as it is put to a method."""
        said = hashlib.sha256(f"{seed}\n{self.name}\n{method.name}".encode()).digest()
        return Asked(
            name=self.name,
            classes=self.classes,
            domain=self.domain,
            models=self.models,
            parameters=self.parameters,
            universal=self.universal,
            random=np.random.default_rng(np.frombuffer(said, dtype=np.uint32)),
            select=self.select,
            typical=self.typical,
            few=few,
            blend=self.blend,
            liken=self.liken,
            texts=self.texts,
        )

    def afterwards(self) -> Afterwards:
        """Return what is known once models have answered."""
        probability, truth = (None, None) if self.answered is None else (self.answered.probability, self.answered.truth)
        return Afterwards(self.others, self.reached, probability, truth, self.other_texts)

    def lacks(self, method: Method) -> str:
        """Say what a method needs that is not known of this task; empty if nothing is."""
        if method.sees == "hub" and self.select is None:
            return "labels of a hub"
        if (method.sees_images or method.per_class) and self.answered is None:
            return "answers of models"
        if method.sees_images and self.answered and len(self.answered.truth) < FEWEST:
            return f"{FEWEST} images"
        if method.sees == "other tasks" and not len(self.others):
            return "other tasks"
        absent: dict[Need, tuple[bool, str]] = {
            "parameters": (bool(np.isnan(self.parameters).all()), "sizes of models"),
            "universal": (bool(np.isnan(self.universal).all()), "a universal sample set"),
            "texts": (self.texts is None, "text scores of models"),
            "embeddings": (self.liken is None, "embeddings of a hub's images"),
        }
        if method.need and absent[method.need][0]:
            return absent[method.need][1]
        return ""


@dataclass(frozen=True)
class Ground:
    """The truth of a suite.

    Attributes:
        tasks: in the order of the suite.
        models: names of all models.
        digest: of all that it was made of.
        about: what it was made of, in words, by name.
        missing: what the suite asks for and is not there.
    """

    tasks: tuple[GroundTask, ...]
    models: tuple[str, ...]
    digest: str
    about: dict[str, str]
    missing: tuple[str, ...]

    @property
    def metrics(self) -> dict[str, int]:
        """Of how many tasks the values are of which metric, the most frequent first."""
        return dict(Counter(task.metric for task in self.tasks).most_common())


def hub_ground(
    suite: Suite,
    hub: Hub,
    tasks: Sequence[Task],
    encoder: Encoder,
    cache: Path,
    seeds: Sequence[int] = (0,),
    missing: Sequence[str] = (),
    texts: bool = True,
    load: Callable[[str], VisionLanguageModel] = load_model,
    progress: Progress | None = None,
) -> Ground:
    """Let the labelled models of a hub answer the tasks.

    Args:
        suite: of kind `hub`.
        hub: open for reading, for as long as the ground is used.
        tasks: those that are present, at least one.
        encoder: the one the hub's index was built with.
        cache: folder for answers and embeddings.
        seeds: that will be asked for: what few images methods see hangs on them.
        missing: what is known to be missing.
        texts: whether models are asked about texts that stand in for images, which some methods need.
        load: makes a model from what the hub recorded as its source.
        progress: called after each batch of images.

    Raises:
        InvalidTask: if there is no task.
        ModelNotLoadable: if a model's weights are missing or not those that were labelled.
        StageMissing: if no model that the suite asks for is labelled.
    """
    if not tasks:
        raise InvalidTask(f"no task of {suite.name} is on this machine; put FOLDER/CLASS/*.jpg of one below --data DIR")
    labelled = [model for model in hub.models() if model.labelled]
    models = [model for model in labelled if not suite.paper_models or model.card.name in paper_models()]
    if suite.paper_models:
        absent = sorted(set(paper_models()) - {model.card.name for model in models})
        missing = [*missing, *(f"{name}: not labelled in this hub" for name in absent)]
    missing = [*missing, *_missing_samples(suite, hub)]
    if not models:
        wanted = " of the paper's" if suite.paper_models else ""
        first = shown if suite.paper_models and (shown := paper_models()[0]) else "--all"
        raise StageMissing(f"no model{wanted} is labelled in this hub", f"mllctl label {first}")
    answers = answer_tasks(models, tasks, cache, load, progress)
    seen = [np.unique(np.concatenate([few for s in seeds for few, _ in folds(task.truth, s)])) for task in tasks]
    features = task_features(models, tasks, seen, cache, load, progress)
    scores = text_scores_of(models, tasks, cache, load) if texts else None
    names = tuple(model.card.name for model in models)
    probability = [np.stack([answer[n] for answer in answers]) for n in range(len(tasks))]
    reached = np.array(
        [(p.argmax(axis=2) == task.truth).mean(axis=1) for p, task in zip(probability, tasks, strict=True)]
    )
    parameters = np.array([float(model.card.parameters) for model in models])
    times = [known_latency(model.card, cache) for model in models]
    milliseconds = np.array([np.nan if time is None else time for time in times])
    typical, universal = typical_top1(hub, models), universal_top1(hub, models, suite.universal)
    selects = [partial(_select, hub, task.classes, encoder, frozenset(names)) for task in tasks]
    teller = remembered(partial(best_teller, hub, names))
    digests = [suite.digest, _manifest_digest(hub), *names, *map(str, times), *map(_task_digest, tasks)]
    digests += contents(tasks).values()
    return Ground(
        tasks=tuple(
            GroundTask(
                name=task.name,
                classes=task.classes,
                domain=task.domain_text,
                models=names,
                reached=reached[n],
                parameters=parameters,
                universal=universal,
                others=np.delete(reached, n, axis=0),
                milliseconds=milliseconds,
                answered=Answered(probability[n], task.truth, seen[n], tuple(of_model[n] for of_model in features)),
                typical=typical,
                select=remembered(selects[n]),
                blend=partial(_blended, hub),
                liken=partial(_likened, selects[n], hub, teller, names) if hub.manifest.image_features else None,
                texts=None if scores is None else scores[n],
                other_texts=None if scores is None else np.delete(scores, n, axis=0),
            )
            for n, task in enumerate(tasks)
        ),
        models=names,
        digest=_digest(digests),
        about={"hub": str(hub.path), "generation": str(hub.manifest.generation), "encoder": encoder.name},
        missing=tuple(missing),
    )


def published_ground(
    suite: Suite,
    results: Sequence[Result],
    source: str | None = None,
    metric: str | None = None,
    protocol: str | None = None,
) -> Ground:
    """Look up what models reach in imported results.

    A task is a data set on which at least two of the models have a value; the others do not take part in it.

    Args:
        suite: of kind `published`.
        results: of any sources, metrics and protocols.
        source, metric, protocol: which of them; those that the suite names when None.

    Raises:
        InvalidTask: if no data set is left as a task.
        NotPublished: if the results have not the universal data set, or none of the models.
        ResultsMixed: if results are of several sources, protocols or metrics of a data set, and none is named.
    """
    if not results:
        raise InvalidTask(
            f"{suite.name} is about published results, and none are here; `mllctl bench import FILE` first"
        )
    asked = {"source": source, "metric": metric, "protocol": protocol}
    named = {kind: getattr(suite, kind) if name is None else name for kind, name in asked.items()}
    table = matrix(results, **named)
    if suite.universal not in table.datasets:
        raise NotPublished("dataset", suite.universal, ())
    rows = [m for m, name in enumerate(table.models) if not suite.paper_models or name in paper_models()]
    if not rows:
        raise NotPublished("model", paper_models()[0], ())
    names = tuple(table.models[m] for m in rows)
    universal = table.of(suite.universal)[rows]
    columns = [n for n, name in enumerate(table.datasets) if name not in (suite.universal, *suite.leave_out)]
    reached = table.value[np.ix_(rows, columns)].T
    known = known_models()
    size = [known[name].parameters if name in known else None for name in names]
    parameters = np.array([np.nan if count is None else float(count) for count in size])
    tasks = []
    for n, column in enumerate(columns):
        has = np.flatnonzero(~np.isnan(reached[n]))
        if len(has) > 1:
            tasks.append(
                GroundTask(
                    name=table.datasets[column],
                    classes=(),
                    domain="",
                    models=tuple(names[m] for m in has),
                    reached=reached[n, has],
                    parameters=parameters[has],
                    universal=universal[has],
                    others=np.delete(reached, n, axis=0)[:, has],
                    milliseconds=np.full(len(has), np.nan),
                    metric=table.metrics[column],
                )
            )
    if not tasks:
        raise InvalidTask(f"{suite.name}: no data set has values of two of its models; import more with `bench import`")
    absent = sorted(set(paper_models()) - set(names)) if suite.paper_models else []
    values = hashlib.sha256(np.ascontiguousarray(table.value).tobytes()).hexdigest()
    return Ground(
        tasks=tuple(tasks),
        models=names,
        digest=_digest([suite.digest, values, table.source, *table.models, *table.datasets, *table.metrics]),
        about={"source": table.source, "protocol": table.protocol or "not said"},
        missing=tuple(f"{name}: has no results" for name in absent),
    )


def _missing_samples(suite: Suite, hub: Hub) -> list[str]:
    """Say which sample sets the hub has not, and what stands for the universal one."""
    domains = {domain.name for domain in hub.domains()}
    missing = [f"sample set {name}: no domain of this hub" for name in suite.sample_sets if name not in domains]
    if suite.universal and suite.universal not in domains:
        missing.append(f"universal {suite.universal}: no domain of this hub; all of them stand for it (inb)")
    return missing


def _select(
    hub: Hub, classes: tuple[str, ...], encoder: Encoder, among: frozenset[str], **options: object
) -> Selection:
    others = {model.card.name: "not in the suite" for model in hub.models() if model.card.name not in among}
    return select_models(hub, classes, encoder=encoder, barred=others, **options)  # type: ignore[arg-type]


def _blended(hub: Hub, selection: Selection, right: Bool, truth: Int) -> Selection:
    return blended(hub, selection, right, truth)


def _likened(
    select: Callable[..., Selection], hub: Hub, teller: Teller, models: tuple[str, ...], features: tuple[Float, ...]
) -> Selection:
    model, known, domain = teller()
    return select(domain_weights=likeness(known, domain, features[models.index(model.card.name)], hub))


def _manifest_digest(hub: Hub) -> str:
    return _digest([json.dumps(asdict(hub.manifest), sort_keys=True)])


def _task_digest(task: Task) -> str:
    return _digest([task.name, task.domain_text, *task.classes, *task.uris, *map(str, task.truth.tolist())])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()
