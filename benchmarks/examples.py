"""What are a few labelled images worth beside names? Selected top-1 by method, with 1, 2, 5 and 10 images a class.

Takes a hub that `mllctl demo build` made (its embeddings are needed). Of the images of each class at most half are
drawn as examples, of an odd number the one in the middle by a coin; top-1 is measured on the rest. Tasks are the
demo's, of which every second is reported, and `areas`, the same images with all domains of an area in one task, where
classes have more images. Evidence is taken away as in `verdicts.py`, until names are a poor guide.

    names      what `select` says without examples
    examples   the model with most hits on them; a class that has none follows the others
    blend      what `select --examples` says
    oracle     the model that is best on the images that are measured

    python benchmarks/examples.py HUB [--seeds N] [--json]

The first run shows each model every task's images (minutes).
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mllctl
from mllctl.backends.remembering import RememberingEncoder
from mllctl.demo import demo_tasks
from mllctl.evaluate import Task, answer_tasks
from mllctl.hub import Hub, cache_folder
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.bootstrap import central_interval, resample_mean
from mllctl.kernels.paired import sign_flip
from mllctl.kernels.reuse import best_models, reuse_metric
from mllctl.reuse.examples import blended
from mllctl.select import Selection, select_models
from mllctl.select.matching import Kin
from mllctl.wordnet import wordnet
from verdicts import Facts, Model, SmallHub, read_facts

COUNTS = (1, 2, 5, 10)
SEEDS = 20
SEED = 0
RESAMPLES = 10_000
METHODS = ("names", "examples", "blend", "oracle")
BREADTHS = ("one", "each")


@dataclass(frozen=True)
class Case:
    """One task under one kind of evidence, and what was selected for it by names."""

    evidence: str
    place: int
    task: Task
    hub: Any
    selection: Selection
    probability: Float

    @property
    def right(self) -> Bool:
        """Whether each model has each image right, shape (m, i)."""
        return np.asarray(self.probability.argmax(axis=2) == self.task.truth)


@dataclass(frozen=True)
class Outcome:
    """Means over seeds of one case with so many images a class."""

    evidence: str
    place: int
    count: int
    top1: dict[tuple[str, str], float]
    drawn: float
    full: int
    chances: list[tuple[float, float]]


def draw(truth: Int, classes: int, count: int, random: np.random.Generator) -> Bool:
    """Draw at most `count` images of each class, and at most half of them; return which were, shape (i,)."""
    drawn = np.zeros(len(truth), dtype=np.bool_)
    for c in range(classes):
        images = random.permutation(np.flatnonzero(truth == c))
        half = len(images) // 2 + int(len(images) % 2 and random.random() < 0.5)
        drawn[images[: min(count, half)]] = True
    return drawn


def areas(tasks: list[Task]) -> list[Task]:
    """Return the tasks of an area as one, all domains together, where there are several."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.name.partition("-")[0], []).append(task)
    found = []
    for name, few in groups.items():
        if len(few) > 1:
            classes = tuple(dict.fromkeys(class_ for task in few for class_ in task.classes))
            place = {class_: c for c, class_ in enumerate(classes)}
            truth = [place[task.classes[c]] for task in few for c in task.truth]
            uris = tuple(uri for task in few for uri in task.uris)
            found.append(Task(name, "", "", classes, uris, np.array(truth)))
    return found


def cases(hub: Hub) -> Iterator[Case]:
    """Yield every task under every kind of evidence."""
    tasks = demo_tasks()
    together = areas(tasks)
    answers = answer_tasks(hub.models(), [*tasks, *together], cache_folder())
    probability = [np.stack(of_models) for of_models in zip(*answers, strict=True)]
    made = hub.manifest.index
    encoder = RememberingEncoder(mllctl.sentence_encoder(made.encoder, cache=cache_folder()), cache_folder())
    facts, models = read_facts(hub), similarities(hub)
    every, nouns = hub.evidence_nodes(), wordnet()
    kin = Kin([node for node in hub.nodes() if every[node.node]], nouns)
    for n, task in enumerate(tasks):
        for evidence, small in poorer(hub, facts, models, kin, task, n):
            selection = select_models(small, task.classes, task.domain_text, encoder=encoder)
            yield Case(evidence, n, task, small, selection, probability[n])
    for n, task in enumerate(together):
        selection = select_models(hub, task.classes, encoder=encoder)
        yield Case("areas", n, task, hub, selection, probability[len(tasks) + n])


def similarities(hub: Hub) -> list[Model]:
    """Return what models see in sample images, as `verdicts` has it, without answers to tasks."""
    ordinals = np.array([image.image for image in hub.images()])
    models = []
    for stored in hub.models():
        images, captions = hub.features(stored.model)
        similarity = np.full((len(ordinals), len(hub.nodes())), -np.inf, dtype=np.float32)
        named = captions.take(captions.ordinals).astype(np.float32)
        similarity[:, captions.ordinals] = stored.card.logit_scale * images.take(ordinals).astype(np.float32) @ named.T
        models.append(Model(stored.card.name, similarity, []))
    return models


def poorer(hub: Hub, facts: Facts, models: list[Model], kin: Kin, task: Task, number: int) -> Iterator[tuple[str, Any]]:
    """Yield the hub, and the like of it with evidence taken away."""
    every, nouns = hub.evidence_nodes(), wordnet()
    without_own, without_kin = every.copy(), every.copy()
    without_own[facts.own[task.name]] = without_kin[facts.own[task.name]] = False
    for node in facts.own[task.name]:
        without_kin[kin.of(nouns.senses(hub.nodes()[node].synset)[0])[0]] = False
    few = np.random.default_rng(SEED + number).random(len(facts.truth)) < 0.2
    whole = np.ones(len(facts.truth), dtype=np.bool_)
    yield "all", hub
    yield "no own nodes", SmallHub(hub, facts, models, without_own, whole)
    yield "few images", SmallHub(hub, facts, models, every, few)
    yield "few images, no own nodes", SmallHub(hub, facts, models, without_own, few)
    yield "no kin", SmallHub(hub, facts, models, without_kin, whole)


def measure(case: Case, count: int, seeds: int) -> Outcome:
    """Draw examples again and again, choose, and measure on the other images."""
    classes = len(case.task.classes)
    found: dict[tuple[str, str], list[float]] = {}
    drawn, chances = [], []
    for seed in range(seeds):
        shown = draw(case.task.truth, classes, count, np.random.default_rng([SEED, seed, case.place]))
        drawn.append(int(shown.sum()))
        right, truth = case.right[:, shown], case.task.truth[shown]
        blend = blended(case.hub, case.selection, right, truth)
        rest = case.right[:, ~shown].mean(axis=1)
        chances.append((blend.doubt.beats_runner_up, _ahead(rest, blend)))
        single, each = by_examples(right, truth, classes, case.selection.options.alpha)
        best = int(rest.argmax())
        chosen = {
            "names": (case.selection.single, case.selection.answer("each").members[:, 0]),
            "examples": (single, each),
            "blend": (blend.single, blend.answer("each").members[:, 0]),
            "oracle": (best, np.full(classes, best)),
        }
        for method, (one, members) in chosen.items():
            found.setdefault((method, "one"), []).append(float(rest[one]))
            confidence = case.probability[members, :, np.arange(classes)].T[~shown]
            hit = confidence.argmax(axis=1) == case.task.truth[~shown]
            found.setdefault((method, "each"), []).append(float(hit.mean()))
    full = int((np.bincount(case.task.truth, minlength=classes) >= 2 * count).sum())
    top1 = {key: float(np.mean(values)) for key, values in found.items()}
    return Outcome(case.evidence, case.place, count, top1, float(np.mean(drawn)), full, chances)


def _ahead(rest: Float, blend: Selection) -> float:
    other = rest[blend.doubt.runner_up or 0]
    return 0.5 * float(rest[blend.single] >= other) + 0.5 * float(rest[blend.single] > other)


def by_examples(right: Bool, truth: Int, classes: int, alpha: float) -> tuple[int, Int]:
    """Return the model with most hits on labelled images, and that of each class by its reuse metric."""
    images = np.bincount(truth, minlength=classes)
    hits = np.array([np.bincount(truth[of], minlength=classes) for of in right])
    mean = right.mean(axis=1)
    precision = np.where(images > 0, hits / np.maximum(images, 1), mean[:, None])
    return int(mean.argmax()), best_models(reuse_metric(precision, alpha), 1)[:, 0]


# -- printing -------------------------------------------------------------------------------------------


def compared(outcomes: list[Outcome], breadth: str) -> dict[str, Any]:
    """Return mean top-1 by method, and how far the blend is ahead of each part, with 90 % of a bootstrap over tasks."""
    top1 = {method: np.array([o.top1[method, breadth] for o in outcomes]) for method in METHODS}
    told: dict[str, Any] = {method: float(values.mean()) for method, values in top1.items()}
    random = np.random.default_rng(SEED)
    for part in ("names", "examples"):
        apart = top1["blend"] - top1[part]
        low, high = central_interval(resample_mean(apart, RESAMPLES, random))
        told[f"blend - {part}"] = {"mean": float(apart.mean()), "low": low, "high": high, "p": sign_flip(apart, random)}
    return told


def table(outcomes: list[Outcome], breadth: str) -> list[dict[str, Any]]:
    """Return a row for each kind of evidence and number of images."""
    rows = []
    for evidence in dict.fromkeys(outcome.evidence for outcome in outcomes):
        for count in COUNTS:
            few = [o for o in outcomes if (o.evidence, o.count) == (evidence, count)]
            row = {"evidence": evidence, "count": count, "tasks": len(few), **compared(few, breadth)}
            row |= {"drawn": float(np.mean([o.drawn for o in few])), "full": sum(o.full for o in few)}
            rows.append(row)
    return rows


def report(title: str, rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    head = ("evidence", "images a class", "drawn a task", "classes with so many", *METHODS)
    head += ("blend - names", "blend - examples", "worse?")
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        cells = [row["evidence"], str(row["count"]), f"{row['drawn']:.0f}", str(row["full"])]
        cells += [f"{100 * row[method]:.1f}" for method in METHODS]
        better = max(("names", "examples"), key=lambda part: row[part])
        for part in ("names", "examples"):
            apart = row[f"blend - {part}"]
            cells.append(f"{100 * apart['mean']:+.1f} ({100 * apart['low']:+.1f} to {100 * apart['high']:+.1f})")
        cells.append("yes" if row[f"blend - {better}"]["high"] < 0 else "no")
        print(f"| {' | '.join(cells)} |")


def reliability(outcomes: list[Outcome]) -> list[tuple[str, int, float, float]]:
    """Return (chance given, cases, mean chance, how often the pick was ahead of the runner-up), ties counting half."""
    told = np.array([pair for outcome in outcomes for pair in outcome.chances])
    rows = []
    edges = (0.5, 0.6, 0.7, 0.8, 0.9, 1.001)
    for low, high in itertools.pairwise(edges):
        inside = (told[:, 0] >= low) & (told[:, 0] < high)
        if inside.any():
            rows.append((f"{low:.1f} to {min(high, 1):.1f}", int(inside.sum()), *told[inside].mean(axis=0).tolist()))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hub", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Hub.open(options.hub) as hub:
        outcomes = []
        for case in cases(hub):
            outcomes += [measure(case, count, options.seeds) for count in COUNTS]
            print(f"{case.evidence}: {case.task.name}", file=sys.stderr)
    halves = {
        "tuned on": [o for o in outcomes if o.evidence != "areas" and o.place % 2 == 0],
        "reported": [o for o in outcomes if o.evidence == "areas" or o.place % 2 == 1],
    }
    if options.json:
        print(json.dumps({half: {b: table(few, b) for b in BREADTHS} for half, few in halves.items()}))
        return
    for half, few in halves.items():
        for breadth, title in (("one", "one model a task"), ("each", "a model a class")):
            report(f"{half} tasks, {title}", table(few, breadth))
    print("\n| ahead of the runner-up, reported tasks: chance given | cases | mean chance | ahead |\n|---|---|---|---|")
    for name, count, mean, ahead in reliability(halves["reported"]):
        print(f"| {name} | {count} | {100 * mean:.0f} % | {100 * ahead:.0f} % |")


if __name__ == "__main__":
    main()
