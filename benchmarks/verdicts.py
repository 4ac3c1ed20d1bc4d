"""How often is the verdict right? On tasks whose truth is known, with evidence taken away until picks go wrong.

Takes a hub that `mllctl demo build` made (its embeddings are needed) and the demo tasks, of which every second is
reported: nothing was tuned on those. Each task is asked of small hubs that are made from the large one:

    models     six at random (specialists); `big`, the mean of all twelve, and five; two means of six, and four
    evidence   all; without the nodes of the classes themselves; without all nodes within three steps of them;
               a fifth of the images; a fifth of the images without the nodes of the classes

    python benchmarks/verdicts.py HUB [--json]

Prints how often the pick is ahead of the runner-up and of the best-overall model, by the chance it was given, and the
recall and precision of `prefer the best-overall model`. The first run shows each model every task's images (minutes).
"""

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import mllctl
import mllctl_data
from mllctl.backends import load_model
from mllctl.backends.remembering import RememberingEncoder
from mllctl.demo import demo_tasks
from mllctl.evaluate import answer_tasks
from mllctl.hub import Evidence, Hub, StoredModel, Winners, cache_folder
from mllctl.select import select_models
from mllctl.select.matching import Kin
from mllctl.wordnet import wordnet

SEED = 100
REPEATS = 2
CLOSE = 0.02  # a task is lost to the best-overall model where that is ahead by as much
BINS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.001)


@dataclass(frozen=True)
class Model:
    """A model, or the mean of several: scaled similarities to all nodes, and log-confidences on each task's images."""

    name: str
    images: np.ndarray[Any, np.dtype[np.float32]]
    tasks: list[np.ndarray[Any, np.dtype[np.float64]]]


class SmallHub:
    """What selection asks of a hub, answered from dense similarities: some models, some nodes, some images."""

    def __init__(self, hub: Hub, facts: "Facts", models: list[Model], usable: Any, kept: Any) -> None:
        self._hub, self._facts, self._dense = hub, facts, models
        held = np.zeros(len(usable), dtype=bool)
        held[facts.truth[kept]] = True
        self._usable, self._kept = usable & held, kept
        card = hub.models()[0]
        self._models = [
            replace(card, model=n, card=replace(card.card, name=model.name, fingerprint=model.name))
            for n, model in enumerate(models)
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    def models(self) -> list[StoredModel]:
        """The candidates."""
        return self._models

    def evidence_nodes(self) -> Any:
        """Which nodes have an image left."""
        return self._usable

    def unseen_nodes(self, _: Any) -> set[int]:
        """No label is stale here."""
        return set()

    def hits(self, nodes: Any, models: Any) -> Evidence:
        """Hits by a dense argmax."""
        nodes = np.unique(nodes)
        images = self._of(nodes)
        at = np.searchsorted(nodes, self._facts.truth[images]), self._facts.domain[images]
        shape = (len(models), len(nodes), len(self._hub.domains()))
        hits, count = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for n, m in enumerate(models):
            taken = (self._dense[m].images[np.ix_(images, nodes)] > self._own(m)[images, None]).any(axis=1)
            np.add.at(hits[n], at, ~taken)
            np.add.at(count[n], at, 1)
        return Evidence(np.asarray(models), nodes, hits, count)

    def winners(self, model: int, nodes: Any) -> Winners:
        """Winners by a dense argmax."""
        nodes = np.unique(nodes)
        images = self._of(nodes)
        winner = nodes[self._dense[model].images[np.ix_(images, nodes)].argmax(axis=1)]
        return Winners(images, self._facts.truth[images], self._facts.domain[images], winner)

    def typical_precision(self, models: Any, classes: int = 30) -> Any:
        """The like of `Hub.typical_precision`, over the nodes that are left."""
        nodes = np.flatnonzero(self._usable)
        images = self._of(nodes)
        found = np.full((len(models), len(self._usable)), np.nan)
        others = len(nodes) - 1
        for n, m in enumerate(models):
            rank = (self._dense[m].images[np.ix_(images, nodes)] > self._own(m)[images, None]).sum(axis=1)
            # None of the rivals is among the others that are drawn, one after another.
            hit = np.ones(len(images))
            for drawn in range(min(classes, len(nodes)) - 1):
                hit *= np.clip((others - rank - drawn) / (others - drawn), 0, 1)
            total, count = np.zeros(len(self._usable)), np.zeros(len(self._usable))
            np.add.at(total, self._facts.truth[images], hit)
            np.add.at(count, self._facts.truth[images], 1)
            found[n, count > 0] = total[count > 0] / count[count > 0]
        return found

    def _of(self, nodes: Any) -> Any:
        return np.flatnonzero(self._kept & np.isin(self._facts.truth, nodes))

    def _own(self, model: int) -> Any:
        return np.take_along_axis(self._dense[model].images, self._facts.truth[:, None], axis=1)[:, 0]


@dataclass(frozen=True)
class Facts:
    """Truth (a node) and domain of each sample image, and the nodes of each task's classes."""

    truth: Any
    domain: Any
    own: dict[str, list[int]]


@dataclass(frozen=True)
class Case:
    """One answer, and how the models it named did on the task: a rival, what it was given, and both their top-1."""

    task: str
    reported: bool
    evidence: str
    verdict: str
    rivals: dict[str, tuple[float, float]]
    pick: float


def read_facts(hub: Hub) -> Facts:
    """Return what is true of a hub's images and of the demo tasks."""
    rows = hub.query("SELECT node, domain FROM image JOIN block USING (block, node) ORDER BY image").rows
    truth, domain = np.array(rows, dtype=np.int64).T
    node = {stored.synset: stored.node for stored in hub.nodes()}
    told = json.loads(mllctl_data.path("demo", "tasks.json").read_text(encoding="utf-8"))
    tasks = told["tasks"] if isinstance(told, dict) else told
    return Facts(truth, domain, {t["name"]: [node[c["synset"]] for c in t["classes"]] for t in tasks})


def read_models(hub: Hub) -> list[Model]:
    """Return the models of a hub, and the means of several."""
    answers = answer_tasks(hub.models(), demo_tasks(), cache_folder(), load_model)
    ordinals = np.array([image.image for image in hub.images()])
    models = []
    for stored, told in zip(hub.models(), answers, strict=True):
        images, captions = hub.features(stored.model)
        similarity = np.full((len(ordinals), len(hub.nodes())), -np.inf, dtype=np.float32)
        vectors = captions.take(captions.ordinals).astype(np.float32)
        similarity[:, captions.ordinals] = (
            stored.card.logit_scale * images.take(ordinals).astype(np.float32) @ vectors.T
        )
        models.append(Model(stored.card.name, similarity, [np.log(np.maximum(each, 1e-300)) for each in told]))
    groups = {
        "big": models,
        "mid-colour": [model for model in models if "colour" in model.name],
        "mid-ink": [model for model in models if "ink" in model.name],
        "mid-even": models[::2],
        "mid-odd": models[1::2],
    }
    return models + [_mean(name, few) for name, few in groups.items()]


def _mean(name: str, models: list[Model]) -> Model:
    images = np.mean([model.images for model in models], axis=0)
    return Model(name, images, [np.mean(each, axis=0) for each in zip(*(m.tasks for m in models), strict=True)])


def ask(hub: Hub, facts: Facts, models: list[Model]) -> list[Case]:
    """Ask every task of every small hub."""
    nouns = wordnet()
    made = hub.manifest.index
    encoder = RememberingEncoder(mllctl.sentence_encoder(made.encoder, cache=cache_folder()), cache_folder())
    every = hub.evidence_nodes()
    kin = Kin([node for node in hub.nodes() if every[node.node]], nouns)
    single, means = models[: len(hub.models())], models[len(hub.models()) + 1 :]
    big = models[len(hub.models())]
    cases = []
    for n, task in enumerate(demo_tasks()):
        random = np.random.default_rng(SEED + n)
        without_own, without_kin = every.copy(), every.copy()
        without_own[facts.own[task.name]] = without_kin[facts.own[task.name]] = False
        for node in facts.own[task.name]:
            without_kin[kin.of(nouns.senses(hub.nodes()[node].synset)[0])[0]] = False

        def some(of: list[Model], count: int, random: Any = random) -> list[Model]:
            return [of[place] for place in random.choice(len(of), count, replace=False)]

        for _ in range(REPEATS):
            few = random.random(len(facts.truth)) < 0.2
            whole = np.ones(len(facts.truth), dtype=bool)
            for pool in (some(single, 6), [big, *some(single, 5)], [*some(means, 2), *some(single, 4)]):
                for name, usable, kept in (
                    ("all", every, whole),
                    ("no own nodes", without_own, whole),
                    ("no kin", without_kin, whole),
                    ("few images", every, few),
                    ("few images, no own nodes", without_own, few),
                ):
                    small: Any = SmallHub(hub, facts, pool, usable, kept)
                    selection = select_models(small, task.classes, task.domain_text, encoder=encoder)
                    top1 = [float((model.tasks[n].argmax(axis=1) == task.truth).mean()) for model in pool]
                    told = selection.doubt
                    rivals = {"runner-up": (told.beats_runner_up, top1[told.runner_up or 0])}
                    if selection.single != selection.overall:
                        rivals["best overall"] = (told.beats_overall, top1[selection.overall])
                    advice = selection.verdict.advice
                    cases.append(Case(task.name, n % 2 == 1, name, advice, rivals, top1[selection.single]))
    return cases


def reliability(cases: list[Case], rival: str) -> list[tuple[str, int, float, float]]:
    """Return (chance given, cases, mean chance, how often the pick was ahead), ties counting half."""
    told = [(*case.rivals[rival], case.pick) for case in cases if rival in case.rivals]
    rows = []
    for low, high in pairwise(BINS):
        inside = [(given, (pick > other) + 0.5 * (pick == other)) for given, other, pick in told if low <= given < high]
        if inside:
            given, ahead = np.mean(inside, axis=0).tolist()
            rows.append((f"{low:.1f} to {min(high, 1):.1f}", len(inside), given, ahead))
    return rows


def verdicts(cases: list[Case]) -> dict[str, int]:
    """Count how `prefer the best-overall model` did where the pick is another."""
    known = [(case, case.rivals["best overall"][1] - case.pick) for case in cases if "best overall" in case.rivals]
    given = [lead for case, lead in known if case.verdict.startswith("prefer")]
    lost = [case for case, lead in known if lead >= CLOSE]
    return {
        "cases": len(known),
        "lost": len(lost),
        "flagged": sum(case.verdict.startswith("prefer") for case in lost),
        "given": len(given),
        "right": sum(lead > 0 for lead in given),
        "tied": sum(lead == 0 for lead in given),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hub", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Hub.open(options.hub) as hub:
        cases = ask(hub, read_facts(hub), read_models(hub))
    halves = {"reported": [c for c in cases if c.reported], "tuned on": [c for c in cases if not c.reported]}
    by_evidence: dict[str, list[Case]] = defaultdict(list)
    for case in halves["reported"]:
        by_evidence[case.evidence].append(case)
    found = {
        half: {"verdicts": verdicts(few), **{rival: reliability(few, rival) for rival in ("runner-up", "best overall")}}
        for half, few in halves.items()
    }
    if options.json:
        print(json.dumps({**found, "by evidence": {name: verdicts(few) for name, few in by_evidence.items()}}))
        return
    for half, told in found.items():
        print(f"\n{half} tasks")
        for rival in ("runner-up", "best overall"):
            print(f"\n| ahead of the {rival}: chance given | cases | mean chance | ahead |\n|---|---|---|---|")
            for bin_, count, given, ahead in told[rival]:
                print(f"| {bin_} | {count} | {100 * given:.0f} % | {100 * ahead:.0f} % |")
        print("\n| evidence | cases | lost by 2 points | of them flagged | given | right | tied |")
        print("|---|---|---|---|---|---|---|")
        parts = by_evidence if half == "reported" else {}
        for name, few in [*parts.items(), ("together", halves[half])]:
            print(f"| {name} | {' | '.join(map(str, verdicts(few).values()))} |")


if __name__ == "__main__":
    main()
