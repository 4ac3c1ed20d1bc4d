"""Which weights should the answers of several models have, and what are temperatures from labels worth?

Takes a hub that `mllctl demo build` made (its embeddings are needed) and the demo tasks. Every model answers every
task once; all else is arithmetic on these answers:

    MLL          k = 1 to 6 models a class, selected by name and domain
    average      the k models that are best on average over the very tasks of a table, for all classes
    weights      entropy (Eq 9 of MLL as printed), confidence (its inverse), uniform
    temperature  plain (1); calibrated (`reuse.calibrating`: from labels, no image of the task is seen); common (of the
                 task's calibrated ones the geometric mean, for all models); bare (cosines without the model's scale,
                 which is how Eq 8 is printed)

    python benchmarks/weighting.py --hub HUB [--json]

Of all tasks, and of the reported half: on that nothing was tuned. Intervals hold 90 % of a bootstrap over tasks. The
first run shows each model every task's images (minutes).
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

import mllctl
from mllctl.backends import load_model
from mllctl.backends.remembering import RememberingEncoder
from mllctl.demo import demo_tasks
from mllctl.evaluate import RESAMPLES, Task, answer_tasks
from mllctl.hub import Hub, cache_folder
from mllctl.images import open_image
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.calibration import fit_temperature
from mllctl.kernels.ensemble import WEIGHTINGS, Weighting, ensemble_confidence, entropy, softmax
from mllctl.kernels.measures import calibration_error, reliability
from mllctl.reuse.calibrating import node_logits, temperatures, weighed_images
from mllctl.select import Selection, select_models

MOST = 6  # models a class
SHOWN = 3  # models a class where a table has no room for all
TEMPERATURES = ("plain", "calibrated", "common", "bare")
SMALLEST = 1e-300  # probability, before its logarithm is taken
FEWEST = 5  # images on which just one of two models is right, for the two to be compared
EDGES = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 1.001)
CLOCKED, ROUNDS = 32, 5  # images, times
SEED, DRAWS = 0, 100


@dataclass(frozen=True)
class Asked:
    """One task, what was selected for it, and what every model answers.

    Attributes:
        task: the task.
        selection: with all models ranked for each class.
        divided: temperature of each model by the names of `TEMPERATURES`, shape (m,).
        plain: P(c | x) of each model, shape (m, i, c).
        last: k -> a temperature for the answer of k calibrated models together, weighed alike, from the same labels.
    """

    task: Task
    selection: Selection
    divided: dict[str, Float]
    plain: Float
    last: dict[int, float]

    @cached_property
    def probability(self) -> dict[str, Float]:
        """P(c | x) at each of the temperatures; logits are known up to what cancels in the softmax."""
        logits = np.log(np.maximum(self.plain, SMALLEST))
        return {name: softmax(logits / divided[:, None, None]) for name, divided in self.divided.items()}

    @cached_property
    def right(self) -> Bool:
        """Whether each model alone has each image right, shape (m, i)."""
        return np.asarray(self.plain.argmax(axis=2) == self.task.truth)

    def answer(self, members: Int, weighting: Weighting, temperature: str) -> Float:
        """Return what models chosen for each class, shape (c, k), answer together, shape (i, c)."""
        return ensemble_confidence(self.probability[temperature], members, weighting)

    def top1(self, members: Int, weighting: Weighting, temperature: str) -> float:
        """Return how much of that is right, in [0, 1]."""
        answer = self.answer(members, weighting, temperature)
        return float((answer.argmax(axis=1) == self.task.truth).mean())


# -- what is asked once ---------------------------------------------------------------------------------


def ask(hub: Hub) -> tuple[list[Asked], Float]:
    """Ask every task of the hub, and how long its models take for an image, in ms, shape (m,)."""
    tasks, models = demo_tasks(), [model for model in hub.models() if model.labelled]
    answers = answer_tasks(models, tasks, cache_folder(), load_model)
    made = hub.manifest.index
    encoder = RememberingEncoder(mllctl.sentence_encoder(made.encoder, cache=cache_folder()), cache_folder())
    asked = []
    for n, task in enumerate(tasks):
        selection = select_models(hub, task.classes, task.domain_text, k=len(models), encoder=encoder)
        if selection.names != tuple(model.card.name for model in models):
            raise SystemExit("models with the same weights, or stale labels: nothing to compare")
        found = temperatures(hub, selection)
        calibrated = np.array([found[name] for name in selection.names])
        divided = {
            "plain": np.ones(len(models)),
            "calibrated": calibrated,
            "common": np.full(len(models), np.exp(np.log(calibrated).mean())),
            "bare": np.array([model.card.logit_scale for model in models]),
        }
        last = answer_temperatures(hub, selection, calibrated)
        asked.append(Asked(task, selection, divided, np.stack([answer[n] for answer in answers]), last))
    return asked, clock([model.card.source for model in models], tasks)


def answer_temperatures(hub: Hub, selection: Selection, divided: Float) -> dict[int, float]:
    """Fit a temperature to what calibrated models answer together for the images of the selected nodes, by k.

    A node is answered by the models of the class it speaks most for.
    """
    images, truth, weight = weighed_images(hub, selection)
    probability = np.stack(
        [
            softmax(node_logits(hub, selection, model, images) / temperature)
            for model, temperature in zip(selection.models, divided, strict=True)
        ]
    )
    members = selection.members[selection.transfer.argmax(axis=1)]
    return {
        k: fit_temperature(_log_shares(ensemble_confidence(probability, members[:, :k], "uniform")), truth, weight)
        for k in range(1, MOST + 1)
    }


def _log_shares(confidence: Float) -> Float:
    """Return the logarithms of confidence that is made to sum to 1."""
    return np.log(np.maximum(confidence / confidence.sum(axis=1, keepdims=True), SMALLEST))


def clock(sources: Sequence[str], tasks: Sequence[Task]) -> Float:
    """Return the ms of each model for one image of a batch, its transform included: medians, models taking turns."""
    pictures = [open_image(uri) for uri in tasks[0].uris[:CLOCKED]]
    models = [load_model(source) for source in sources]
    spent: list[list[float]] = [[] for _ in models]
    for model in models:
        model.encode_images(pictures)
    for _ in range(ROUNDS):
        for model, times in zip(models, spent, strict=True):
            begin = time.perf_counter()
            model.encode_images(pictures)
            times.append(1000 * (time.perf_counter() - begin) / len(pictures))
    return np.array([statistics.median(times) for times in spent])


# -- top-1 and its price --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Half:
    """Some tasks, and who is best on average over them."""

    name: str
    asked: list[Asked]
    ms: Float

    @cached_property
    def by_average(self) -> Int:
        """Models by their mean top-1 over these tasks, best first: known only afterwards."""
        alone = np.array([asked.right.mean(axis=1) for asked in self.asked])
        return np.argsort(-alone.mean(axis=0), kind="stable")

    def members(self, asked: Asked, arm: str, k: int) -> Int:
        """Return the models of each class in one arm of the comparison, shape (c, k)."""
        if arm == "MLL":
            return asked.selection.members[:, :k]
        return np.tile(self.by_average[:k], (len(asked.task.classes), 1))

    def top1(self, arm: str, k: int, weighting: Weighting, temperature: str) -> Float:
        """Return top-1 on each task, in [0, 1]."""
        return np.array([a.top1(self.members(a, arm, k), weighting, temperature) for a in self.asked])

    def alone(self, choose: Callable[[Asked], int]) -> Float:
        """Return the top-1 on each task of one model that is chosen for it, in [0, 1]."""
        return np.array([asked.right[choose(asked)].mean() for asked in self.asked])

    @cached_property
    def single(self) -> dict[str, Float]:
        """Top-1 on each task of one model, by how it was chosen."""
        return {
            "best on average": self.alone(lambda _: int(self.by_average[0])),
            "best on the hub": self.alone(lambda asked: asked.selection.overall),
            "MLL, one model": self.alone(lambda asked: asked.selection.single),
            "oracle": self.alone(lambda asked: int(asked.right.mean(axis=1).argmax())),
        }

    def price(self, arm: str, k: int) -> tuple[float, float]:
        """Return how many models look at an image, and the ms they take: means over tasks."""
        used = [np.unique(self.members(asked, arm, k)) for asked in self.asked]
        return float(np.mean([len(few) for few in used])), float(np.mean([self.ms[few].sum() for few in used]))

    def table(self, arm: str) -> list[dict[str, Any]]:
        """Return a row for each k: top-1 by weights and temperature, and the price against that of k = 1."""
        rows = []
        first = self.price(arm, 1)
        for k in range(1, MOST + 1):
            models, ms = self.price(arm, k)
            row: dict[str, Any] = {"k": k, "models": models, "models_ratio": models / first[0]}
            row["time_ratio"] = ms / first[1]
            for temperature in TEMPERATURES:
                for weighting in WEIGHTINGS:
                    row[f"{weighting}, {temperature}"] = float(self.top1(arm, k, weighting, temperature).mean())
            rows.append(row)
        return rows

    def differences(self) -> list[dict[str, Any]]:
        """Return what choices change on the same tasks, for each k."""
        rows = []
        for k in range(1, MOST + 1):
            top1 = {(w, t): self.top1("MLL", k, w, t) for w in WEIGHTINGS for t in TEMPERATURES}
            base, average = top1["uniform", "plain"], self.top1("average", k, "uniform", "plain")
            compared = {
                "entropy - uniform": (top1["entropy", "plain"], base),
                "confidence - uniform": (top1["confidence", "plain"], base),
                "entropy - uniform, calibrated": (top1["entropy", "calibrated"], top1["uniform", "calibrated"]),
                "confidence - uniform, calibrated": (top1["confidence", "calibrated"], top1["uniform", "calibrated"]),
                "calibrated - plain, entropy": (top1["entropy", "calibrated"], top1["entropy", "plain"]),
                "calibrated - plain, confidence": (top1["confidence", "calibrated"], top1["confidence", "plain"]),
                "calibrated - plain, uniform": (top1["uniform", "calibrated"], base),
                "calibrated - common, uniform": (top1["uniform", "calibrated"], top1["uniform", "common"]),
                "MLL - average, uniform": (base, average),
                "MLL, uniform - oracle": (base, self.single["oracle"]),
                "MLL, uniform, calibrated - oracle": (top1["uniform", "calibrated"], self.single["oracle"]),
            }
            rows += [{"k": k, "what": what, **paired(one, other)} for what, (one, other) in compared.items()]
        return rows


def paired(one: Float, other: Float, mass: float = 0.9) -> dict[str, float]:
    """Return the mean difference over tasks, and the ends of a bootstrap interval."""
    apart = one - other
    drawn = apart[np.random.default_rng(SEED).integers(0, len(apart), (RESAMPLES, len(apart)))].mean(axis=1)
    low, high = np.quantile(drawn, [(1 - mass) / 2, (1 + mass) / 2])
    return {"mean": float(apart.mean()), "low": float(low), "high": float(high)}


# -- how far confidence can be believed -----------------------------------------------------------------


def believed(half: Half) -> list[dict[str, Any]]:
    """Return calibration errors of one model and of several together: means of those of tasks, and of all images.

    `by_chance` is the mean of tasks if confidence were exactly right: few images in 15 bins never agree with it.
    """
    told: dict[tuple[str, str], list[tuple[Float, Asked]]] = defaultdict(list)
    for asked in half.asked:
        for temperature in ("plain", "calibrated"):
            told["one model", temperature].append((asked.probability[temperature][asked.selection.single], asked))
            for k in range(1, MOST + 1):
                answer = asked.answer(half.members(asked, "MLL", k), "uniform", temperature)
                told[f"k = {k}", temperature].append((answer, asked))
                if temperature == "calibrated":
                    together = softmax(_log_shares(answer) / asked.last[k])
                    told[f"k = {k}", "calibrated, and the answer too"].append((together, asked))
    return [{"answer": who, "temperature": how, **_believed(answers)} for (who, how), answers in told.items()]


def _believed(answers: list[tuple[Float, Asked]]) -> dict[str, float]:
    sure = [np.clip(answer.max(axis=1), 0, 1) for answer, _ in answers]
    right = [answer.argmax(axis=1) == asked.task.truth for answer, asked in answers]
    of_tasks = [calibration_error(reliability(one, other)) for one, other in zip(sure, right, strict=True)]
    together = reliability(np.concatenate(sure), np.concatenate(right))
    random = np.random.default_rng(SEED)
    by_chance = [calibration_error(reliability(one, random.random(len(one)) < one)) for one in sure * DRAWS]
    return {
        "mean_of_tasks": float(np.mean(of_tasks)),
        "by_chance": float(np.mean(by_chance)),
        "all_images": calibration_error(together),
        "confidence": float(together.confidence_sum.sum() / together.count.sum()),
        "right": float(together.correct.sum() / together.count.sum()),
    }


# -- where entropy helps, and where it hurts ------------------------------------------------------------


def where(half: Half) -> list[dict[str, Any]]:
    """Return, for each task, what weights change with three models a class, and how often the surer model is right."""
    rows = []
    for asked in half.asked:
        members = half.members(asked, "MLL", SHOWN)
        row: dict[str, Any] = {"task": asked.task.name, "domain": asked.task.domain}
        row["area"] = asked.task.name.partition("-")[0]
        for temperature in ("plain", "calibrated"):
            top1 = {weighting: asked.top1(members, weighting, temperature) for weighting in WEIGHTINGS}
            few = np.unique(members)
            compared = [surer_is_right(asked, pair, temperature) for pair in combinations(few.tolist(), 2)]
            row[temperature] = {
                "entropy": top1["entropy"] - top1["uniform"],
                "confidence": top1["confidence"] - top1["uniform"],
                "surer_is_right": sum(won for won, _ in compared) / max(1, sum(of for _, of in compared)),
            }
        rows.append(row)
    return rows


def surer_is_right(asked: Asked, pair: tuple[int, int], temperature: str) -> tuple[int, int]:
    """Of the images that just one of two models has right, count those where it is the one of less entropy."""
    disorder = entropy(asked.probability[temperature][list(pair)])
    right = asked.right[list(pair)]
    apart = right[0] != right[1]
    won = np.where(right[0], disorder[0] < disorder[1], disorder[1] < disorder[0])
    return int(won[apart].sum()), int(apart.sum())


def pairs(half: Half, temperature: str) -> list[dict[str, Any]]:
    """Let any two models answer all classes of a task, and sort by how often the surer of them is right."""
    found = []
    for asked in half.asked:
        for pair in combinations(range(len(asked.plain)), 2):
            won, of = surer_is_right(asked, pair, temperature)
            if of >= FEWEST:
                members = np.tile(pair, (len(asked.task.classes), 1))
                top1 = {weighting: asked.top1(members, weighting, temperature) for weighting in WEIGHTINGS}
                alone = asked.right[list(pair)].mean()
                by_weight = top1["entropy"] - top1["uniform"], top1["confidence"] - top1["uniform"]
                found.append((won / of, alone, *by_weight))
    share, alone, by_entropy, by_confidence = np.array(found).T
    rows = []
    for low, high in pairwise(EDGES):
        inside = (share >= low) & (share < high)
        if inside.any():
            row: dict[str, Any] = {"low": low, "high": min(high, 1.0), "pairs": int(inside.sum())}
            row["right"] = float(alone[inside].mean())
            row |= {"entropy": float(by_entropy[inside].mean()), "confidence": float(by_confidence[inside].mean())}
            row["entropy_helps"] = float((by_entropy[inside] > 0).mean())
            rows.append(row | {"entropy_hurts": float((by_entropy[inside] < 0).mean())})
    return rows


# -- printing -------------------------------------------------------------------------------------------


def measure(half: Half) -> dict[str, Any]:
    """Return all that is said of some tasks."""
    return {
        "tasks": len(half.asked),
        "single": {name: float(top1.mean()) for name, top1 in half.single.items()},
        **{arm: half.table(arm) for arm in ("MLL", "average")},
        "differences": half.differences(),
        "believed": believed(half),
        "where": where(half),
        "pairs": {temperature: pairs(half, temperature) for temperature in ("plain", "calibrated")},
    }


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def report(name: str, found: dict[str, Any]) -> None:
    """Print what was measured on some tasks."""
    print(f"\n## {name}: {found['tasks']}\n")
    print(", ".join(f"{who} {100 * top1:.1f}" for who, top1 in found["single"].items()))
    _report_top1("MLL, k models a class", found["MLL"], ("plain", "calibrated"))
    _report_top1("the k models best on average", found["average"], ("plain", "calibrated"))
    _report_top1("MLL, k models a class", found["MLL"], ("common", "bare"))
    by_what: dict[str, list[str]] = defaultdict(list)
    for row in found["differences"]:
        by_what[row["what"]].append(f"{100 * row['mean']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})")
    show(["points", *(f"k = {k}" for k in range(1, MOST + 1))], [[what, *cells] for what, cells in by_what.items()])
    columns = ["mean_of_tasks", "by_chance", "all_images", "confidence", "right"]
    rows = [
        [row["answer"], row["temperature"], *(f"{100 * row[column]:.1f}" for column in columns)]
        for row in found["believed"]
    ]
    show(["answer", "temperatures", "ECE, mean of tasks", "by chance", "ECE, all images", "confidence", "right"], rows)
    for weighting in ("entropy", "confidence"):
        lead = np.array([row["plain"][weighting] for row in found["where"]])
        print(f"\n{weighting}, plain, k = {SHOWN}: {np.sum(lead > 0)} tasks better than uniform, ", end="")
        print(f"{np.sum(lead == 0)} alike, {np.sum(lead < 0)} worse")
    for field in ("domain", "area"):
        _report_where(found["where"], field)
    for temperature, told in found["pairs"].items():
        rows = [
            [
                f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %",
                str(row["pairs"]),
                f"{100 * row['right']:.0f} %",
                *(f"{100 * row[name]:+.1f}" for name in ("entropy", "confidence")),
                *(f"{100 * row[name]:.0f} %" for name in ("entropy_helps", "entropy_hurts")),
            ]
            for row in told
        ]
        head = [f"two models, {temperature}: the surer is right in", "pairs", "right alone", "entropy", "confidence"]
        show([*head, "entropy helps", "entropy hurts"], rows)


def _report_top1(title: str, told: list[dict[str, Any]], temperatures: Sequence[str]) -> None:
    columns = [f"{weighting}, {temperature}" for temperature in temperatures for weighting in WEIGHTINGS]
    rows = [
        [str(row["k"]), f"{row['models']:.1f}", f"{row['models_ratio']:.2f}", f"{row['time_ratio']:.2f}"]
        + [f"{100 * row[column]:.1f}" for column in columns]
        for row in told
    ]
    show([f"{title}: k", "models run", "times k = 1", "time", *columns], rows)


def _report_where(rows: list[dict[str, Any]], field: str) -> None:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row[field]].append(row)
    lines = []
    for name, few in sorted(groups.items()):
        line = [name, str(len(few))]
        for temperature in ("plain", "calibrated"):
            told = {column: np.mean([row[temperature][column] for row in few]) for column in few[0][temperature]}
            line += [f"{100 * told['entropy']:+.1f}", f"{100 * told['confidence']:+.1f}"]
            line.append(f"{100 * told['surer_is_right']:.0f} %")
        lines.append(line)
    weights = ["entropy", "confidence", "the surer is right"]
    show([f"{field}, k = {SHOWN}", "tasks", *weights, *(f"{name}, calibrated" for name in weights)], lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hub", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Hub.open(options.hub) as hub:
        asked, ms = ask(hub)
    halves = [Half("all tasks", asked, ms), Half("reported tasks", asked[1::2], ms)]
    found = {half.name: measure(half) for half in halves}
    if options.json:
        print(json.dumps({**found, "ms": ms.tolist()}))
        return
    for name, told in found.items():
        report(name, told)


if __name__ == "__main__":
    main()
