"""Experts on the demo tasks: what CHCO, single heads and chance get from the same hub, alone and with a general model.

    python benchmarks/experts.py HUB [--skip NAME ...] [--orders 30]

HUB is what `mllctl demo build` made. Outputs of experts and models on the task images are kept in the user's cache; the
first run shows them these. Printed are, as Markdown:

    tasks        rows methods, columns tasks, k = 2 (the paper's Table 1)
    threshold    what becomes of the task as fewer classes are given to experts; even tasks choose, odd ones tell
    budget       accuracy and number of experts against k (its Figure 3), experts-budget.svg
    growth       accuracy as experts come in random orders (its Figure 4), experts-growth.svg
    super-class  two classes made of ImageNet's heads, a pair of sister nodes each (its Table 2, DvC)

`mllctl.kernels.patch` says what blend, mass and plain are. Methods, of which each but the first has one head a class:

    CHCO         combined heads, least loss first
    HEU          the head with the least balanced cross entropy, least first
    LEEP, LogME  that head; experts by LEEP of their outputs, or LogME of their log-probabilities, on a test in which as
                 many other images are drawn as the class has
    random       an expert and a head
"""

import argparse
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from mllctl.backends import load_expert, load_model
from mllctl.backends.sentence import sentence_encoder
from mllctl.backends.sharing import one_batch
from mllctl.demo import demo_images, demo_tasks
from mllctl.evaluate import Task, answer_tasks
from mllctl.experts import ExpertSelection, select_experts
from mllctl.experts.selection import BUDGET, THRESHOLD
from mllctl.hub import Hub, StoredExpert, cache_folder
from mllctl.images import open_image
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.bootstrap import central_interval, resample_mean
from mllctl.kernels.chco import best_heads, certainty, combine_experts, head_answers, least_losses
from mllctl.kernels.patch import SCALES, patched_confidence
from mllctl.kernels.transferability import leep, logme
from mllctl.select import select_models
from mllctl.wordnet import wordnet

BATCH = 32
DRAWS = 10  # of experts and heads at random
ALL = 1e9  # a threshold that every loss is under
K = BUDGET
BUDGETS = (1, 2, 3, 4, 5)
THRESHOLDS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, ALL)
LEAST = 20  # images of a super-class, in the graph and to be answered
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Method:
    """What one method makes of the experts for one task.

    Attributes:
        answers: what each expert says for each class, shape (m, i, c).
        scores: by which it orders experts for a class, least first, shape (m, c).
    """

    answers: Float
    scores: Float


@dataclass(frozen=True)
class Asked:
    """A task with all that was answered to it.

    Attributes:
        task: classes, images and truth.
        found: what CHCO makes of the hub.
        general: what the general model says, shape (i, c).
        sureness: of each expert of each image, shape (m, i).
        methods: name -> its draws; one but for chance.
    """

    task: Task
    found: ExpertSelection
    general: Float
    sureness: Float
    methods: Mapping[str, list[Method]]

    def served(self, threshold: float) -> np.ndarray:
        """Say which classes are given to experts, shape (c,)."""
        return np.asarray((self.found.losses <= threshold).any(axis=0))


@dataclass(frozen=True)
class Measured:
    """What a method gets on a task: accuracies in [0, 1]; `covered` is nan where experts serve no class."""

    covered: float
    coverage: float
    scales: tuple[float, ...]
    experts: float


def outputs(experts: Sequence[StoredExpert], uris: list[str]) -> dict[int, Float]:
    """Return log-probabilities of experts on images, from the cache if they are there, each of shape (i, h)."""
    paths = {one.expert: cached(one, uris) for one in experts}
    missing = {one.expert: load_expert(one.card.source) for one in experts if not paths[one.expert].is_file()}
    parts: dict[int, list[Float]] = {expert: [] for expert in missing}
    for start in range(0, len(uris) if missing else 0, BATCH):
        images = [open_image(uri) for uri in uris[start : start + BATCH]]
        with one_batch():
            for expert, loaded in missing.items():
                parts[expert].append(loaded.log_probability(images))
        tell(f"{len(missing)} experts, {start + len(images)}/{len(uris)} images")
    for expert, some in parts.items():
        paths[expert].parent.mkdir(parents=True, exist_ok=True)
        np.save(paths[expert], np.concatenate(some))
    return {expert: np.load(path).astype(np.float64) for expert, path in paths.items()}


def cached(stored: StoredExpert, uris: list[str]) -> Path:
    """Return where the outputs of an expert on these images are kept."""
    key = hashlib.sha256("\n".join([stored.card.identity, *uris]).encode()).hexdigest()
    return cache_folder() / "benchmarks" / f"{key}.npy"


def tell(line: str) -> None:
    """Say how far it is."""
    print(f"\r{line:60}", end="", file=sys.stderr, flush=True)


# -- methods ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tests:
    """The images of the graph by class: those of its node, or of the nodes below one that has none, as tests.

    Attributes:
        log_probability: of each expert on all images, shapes (i, h).
        own: which images are of each class, shape (c, i).
    """

    log_probability: list[Float]
    own: np.ndarray

    def balanced(self, class_: int) -> tuple[Int, Int]:
        """Draw as many other images as the class has: rows, and whether each is the class's."""
        own, others = np.flatnonzero(self.own[class_]), np.flatnonzero(~self.own[class_])
        drawn = np.random.default_rng(class_).choice(others, min(len(own), len(others)), replace=False)
        return np.concatenate([own, drawn]), np.repeat([1, 0], [len(own), len(drawn)])


def single_heads(tests: Tests) -> tuple[list[Float], Float]:
    """Return of each expert and class its best single head as weights (h, c), and the heads' losses, shape (m, c)."""
    weights, losses = [], np.full((len(tests.log_probability), len(tests.own)), np.inf)
    for m, said in enumerate(tests.log_probability):
        probability, combination = np.exp(said), np.zeros((said.shape[1], len(tests.own)))
        for c, own in enumerate(tests.own):
            if own.any():
                heads, loss = best_heads(probability, np.where(own, 0, -1), 1)
                combination[heads[0], c], losses[m, c] = 1.0, loss[0]
        weights.append(combination)
    return weights, losses


def reusability(tests: Tests, score: Callable[[Float, Int], float]) -> Float:
    """Return minus what a reusability score says of each expert on the balanced test of each class, shape (m, c)."""
    scores = np.full((len(tests.log_probability), len(tests.own)), np.inf)
    for c in np.flatnonzero(tests.own.any(axis=1)):
        rows, is_own = tests.balanced(int(c))
        scores[:, c] = [-score(said[rows], is_own) for said in tests.log_probability]
    return scores


def at_random(shapes: list[tuple[int, int]], seed: int) -> tuple[list[Float], Float]:
    """Draw for each expert and class a head, and an order of experts."""
    random = np.random.default_rng(seed)
    weights = []
    for heads, classes in shapes:
        drawn = np.zeros((heads, classes))
        drawn[random.integers(heads, size=classes), np.arange(classes)] = 1
        weights.append(drawn)
    return weights, random.random((len(shapes), shapes[0][1]))


def all_methods(found: ExpertSelection, tests: Tests, said: list[Float]) -> dict[str, list[Method]]:
    """Return what every method makes of the experts."""
    single, losses = single_heads(tests)
    chosen = {
        "CHCO": [(list(found.combinations), found.losses)],
        "HEU": [(single, losses)],
        "LEEP": [(single, reusability(tests, lambda answers, own: leep(np.exp(answers), own)))],
        "LogME": [(single, reusability(tests, logme))],
        "random": [at_random([table.shape for table in found.combinations], seed) for seed in range(DRAWS)],
    }
    return {
        name: [Method(np.stack([head_answers(p, w) for p, w in zip(said, weights, strict=True)]), scores)]
        if len(draws) == 1
        else [Method(np.stack([head_answers(p, w) for p, w in zip(said, x, strict=True)]), s) for x, s in draws]
        for name, draws in chosen.items()
        for weights, scores in draws[:1]
    }


def tests_of(hub: Hub, found: ExpertSelection, labelled: Mapping[int, Float], nodes: Int) -> Tests:
    """Return the images of each class of a selection."""
    below = children_of(hub)
    own = np.zeros((len(found.classes), len(nodes)), dtype=bool)
    for c, node in enumerate(found.nodes):
        if node is not None:
            own[c] = nodes == node.node if node.images else np.isin(nodes, below.get(node.node, []))
    return Tests([labelled[one.expert] for one in found.experts], own)


@cache
def children_of(hub: Hub) -> dict[int, list[int]]:
    """Return the children of each node."""
    below: dict[int, list[int]] = {}
    for parent, child in hub.edges():
        below.setdefault(parent, []).append(child)
    return below


# -- measures -----------------------------------------------------------------------------------------


def measure(asked: Asked, method: Method, k: int, served: np.ndarray, among: np.ndarray | None = None) -> Measured:
    """Measure a method on a task.

    Args:
        asked: the task.
        method: one draw.
        k: experts a class.
        served: classes that are given to experts, shape (c,).
        among: experts that there are, shape (m,); all when None.
    """
    truth = asked.task.truth
    scores = method.scores if among is None else np.where(among[:, None], method.scores, np.inf)
    members = np.where(served[:, None], least_losses(scores, k, ALL), -1)
    confidence = combine_experts(method.answers, asked.sureness, members)
    own = served[truth]
    best = np.where(served, confidence, -1.0).argmax(axis=1)
    return Measured(
        covered=float((best == truth)[own].mean()) if own.any() else float("nan"),
        coverage=float(served.mean()),
        scales=tuple(
            float((patched_confidence(asked.general, confidence, served, scale).argmax(axis=1) == truth).mean())
            for scale in SCALES
        ),
        experts=float(len(np.unique(members[members >= 0]))),
    )


def mean(rows: Sequence[Measured]) -> Measured:
    """Average what draws of one task, or tasks of one method, got."""
    covered = [row.covered for row in rows if not np.isnan(row.covered)]
    return Measured(
        float(np.mean(covered)) if covered else float("nan"),
        float(np.mean([row.coverage for row in rows])),
        tuple(np.mean([row.scales for row in rows], axis=0).tolist()),
        float(np.mean([row.experts for row in rows])),
    )


def of_tasks(tasks: Sequence[Asked], name: str, k: int, threshold: float) -> list[Measured]:
    """Measure a method on each task."""
    return [mean([measure(one, draw, k, one.served(threshold)) for draw in one.methods[name]]) for one in tasks]


def percent(value: float) -> str:
    """Return a share as a number of a table."""
    return "" if np.isnan(value) else f"{100 * value:.1f}"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as Markdown."""
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


# -- tables -------------------------------------------------------------------------------------------


def general_alone(tasks: Sequence[Asked]) -> list[float]:
    """Return what the general model gets on each task."""
    return [float((one.general.argmax(axis=1) == one.task.truth).mean()) for one in tasks]


def print_tasks(tasks: Sequence[Asked], threshold: float) -> None:
    """Print Acc(c) and Acc(a) by method and task."""
    alone = general_alone(tasks)
    names = list(tasks[0].methods)
    measured = {name: of_tasks(tasks, name, K, threshold) for name in names}
    columns = ["method", *(str(n + 1) for n in range(len(tasks))), "mean"]

    def row(name: str, values: Sequence[float]) -> list[str]:
        return [name, *map(percent, values), percent(float(np.nanmean(values)))]

    limit = "none" if threshold == ALL else f"{threshold:g}"
    print_table(
        f"experts alone, on the classes they serve (threshold {limit}, k = {K})",
        columns,
        [
            row("served", [one.coverage for one in measured["CHCO"]]),
            row("general model", [covered_alone(one, threshold) for one in tasks]),
            *(row(name, [one.covered for one in measured[name]]) for name in names),
        ],
    )
    print_table(
        f"with the general model, blended (threshold {limit}, k = {K})",
        columns,
        [row("general model", alone), *(row(name, [one.scales[0] for one in measured[name]]) for name in names)],
    )
    for n, one in enumerate(tasks, start=1):
        print(f"{n}. {one.task.name}: {len(one.task.classes)} classes, {len(one.task.truth)} images, {one.task.domain}")
    random = np.random.default_rng(0)
    for name in names:
        gain = np.array([one.scales[0] for one in measured[name]]) - np.array(alone)
        low, high = central_interval(resample_mean(gain, 10_000, random), 0.95)
        better, worse = int((gain > 0).sum()), int((gain < 0).sum())
        print(
            f"Proposition 4.1, {name}: {100 * gain.mean():+.1f} points over the general model alone, 95 % of resampled "
            f"means in [{100 * low:+.1f}, {100 * high:+.1f}]; better on {better} tasks, worse on {worse}"
        )


def covered_alone(one: Asked, threshold: float) -> float:
    """Return what the general model gets on the classes that experts serve, among these."""
    served = one.served(threshold)
    own = served[one.task.truth]
    best = np.where(served, one.general, -1.0).argmax(axis=1)
    return float((best == one.task.truth)[own].mean()) if own.any() else float("nan")


def print_thresholds(tasks: Sequence[Asked]) -> None:
    """Print what becomes of accuracy and coverage, on even and on odd tasks."""
    rows = []
    for k in (1, K, 3):
        for threshold in THRESHOLDS:
            for which, some in (("even", tasks[::2]), ("odd", tasks[1::2])):
                m = mean(of_tasks(some, "CHCO", k, threshold))
                limit = "none" if threshold == ALL else f"{threshold:g}"
                rows.append([str(k), limit, which, percent(m.coverage), percent(m.covered), *map(percent, m.scales)])
    print_table("threshold, CHCO", ("k", "threshold", "tasks", "served", "Acc(c)", *SCALES), rows)


def print_budgets(tasks: Sequence[Asked], threshold: float) -> None:
    """Print and draw accuracy and number of experts against k."""
    names = [name for name in tasks[0].methods if name != "random"]
    measured = {name: [mean(of_tasks(tasks, name, k, threshold)) for k in BUDGETS] for name in names}
    alone = float(np.mean(general_alone(tasks)))
    columns = ("method", *(f"k = {k}" for k in BUDGETS))
    print_table("blended accuracy by k", columns, [[n, *(percent(m.scales[0]) for m in measured[n])] for n in names])
    print_table("Acc(c) by k", columns, [[n, *(percent(m.covered) for m in measured[n])] for n in names])
    print_table("experts used by k", columns, [[n, *(f"{m.experts:.1f}" for m in measured[n])] for n in names])
    curves = [
        ("top-1 %, experts alone", {n: [100 * m.covered for m in measured[n]] for n in names}, None),
        ("top-1 %, with the general model", {n: [100 * m.scales[0] for m in measured[n]] for n in names}, 100 * alone),
        ("experts used", {n: [m.experts for m in measured[n]] for n in names}, None),
    ]
    draw("experts-budget", "experts a class, k", list(BUDGETS), curves)


def print_growth(tasks: Sequence[Asked], orders: int, threshold: float) -> None:
    """Print and draw accuracy as experts come one after the other, in random orders.

    Which classes are given to experts follows from those that are there.
    """
    names = [name for name in tasks[0].methods if name != "random"]
    count = len(tasks[0].found.experts)
    sizes = sorted({0, 1, 2, 3, 4, 6, 8, 10, 12, count} & set(range(count + 1)))
    got = np.zeros((len(names), len(sizes), orders))
    spread = np.random.default_rng(0)
    for order in range(orders):
        shuffled = spread.permutation(count)
        for s, size in enumerate(sizes):
            among = np.isin(np.arange(count), shuffled[:size])
            for n, name in enumerate(names):
                values = []
                for one in tasks:
                    losses = np.where(among[:, None], one.found.losses, np.inf)
                    served = np.asarray((losses <= threshold).any(axis=0))
                    values.append(measure(one, one.methods[name][0], K, served, among).scales[0])
                got[n, s, order] = np.mean(values)
        tell(f"order {order + 1}/{orders}")
    columns = ("method", *(f"{size} experts" for size in sizes))
    rows = [
        [name, *(f"{100 * got[n, s].mean():.1f} ± {100 * got[n, s].std():.1f}" for s in range(len(sizes)))]
        for n, name in enumerate(names)
    ]
    print_table(f"growth: blended accuracy, mean and deviation over {orders} orders", columns, rows)
    curves = {name: (100 * got[n].mean(axis=1)).tolist() for n, name in enumerate(names)}
    draw("experts-growth", "experts in the hub", sizes, [("top-1 %, with the general model", curves, None)])


def draw(
    name: str,
    below: str,
    x: Sequence[int],
    panels: Sequence[tuple[str, Mapping[str, Sequence[float]], float | None]],
) -> None:
    """Draw curves into benchmarks/NAME.svg; of a panel its title, a curve a method, and a level."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mllctl"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), squeeze=False)
    for axis, (title, curves, level) in zip(axes[0], panels, strict=True):
        for (method, values), marker in zip(curves.items(), "osD^", strict=False):
            axis.plot(x, values, marker=marker, markersize=4, label=method)
        if level is not None:
            axis.axhline(level, color="grey", linestyle="--", label="general model")
        axis.set(xlabel=below, title=title, xticks=x)
        axis.grid(alpha=0.3)
    axes[0][-1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)


# -- super-classes ------------------------------------------------------------------------------------


def print_super_classes(hub: Hub) -> None:
    """Print CHCO against single heads on pairs of sister nodes, for experts with ImageNet's heads.

    A rule, not a choice, makes the tasks: all pairs of nodes with a common parent and nothing below both, each with at
    least `LEAST` images in the graph and as many to be answered; and dog against cat, as in the paper.
    """
    experts = [one for one in hub.experts() if len(one.card.heads) == 1000 and one.state == "complete"]
    images = demo_images("task")
    nouns, nodes, given = wordnet(), hub.nodes(), hub.label_input()
    place = {nouns.senses(node.synset)[0].wnid: node.node for node in nodes}
    truth = np.array([place[image.wnid] for image in images])
    said = outputs(experts, [image.uri for image in images])
    labelled = {one.expert: hub.features(one.expert)[0].take(given.images).astype(np.float64) for one in experts}
    barred = {one.card.name: "left out" for one in hub.experts() if one not in experts}
    pairs = sister_pairs(hub, truth, given.image_node)
    rows = []
    for one in experts:
        only = {**barred, **{other.card.name: "left out" for other in experts if other is not one}}
        got = np.array([super_task(hub, pair, only, labelled, said, truth, given.image_node) for pair in pairs])
        gain = got[:, 0] - got[:, 1]
        rows.append([one.card.name, *map(percent, got[0]), *map(percent, got[1:].mean(axis=0)), won(gain[1:])])
    columns = (
        "expert",
        "dog or cat: CHCO",
        "one head",
        f"mean of {len(pairs) - 1} pairs: CHCO",
        "one head",
        "better / worse",
    )
    print_table("super-classes of ImageNet's heads, balanced accuracy", columns, rows)


def won(gain: Float) -> str:
    """Say on how many tasks a difference is above and below 0."""
    return f"{int((gain > 0).sum())} / {int((gain < 0).sum())}"


def sister_pairs(hub: Hub, truth: Int, shown: Int) -> list[tuple[int, int]]:
    """Return dog and cat, then the pairs of the rule, by ordinal."""
    below = descendants(hub)
    parents: dict[int, set[int]] = defaultdict(set)
    for parent, child in hub.edges():
        parents[child].add(parent)
    asked, drawn = Counter(truth.tolist()), Counter(shown.tolist())
    large = [
        node
        for node, those in below.items()
        if min(sum(asked[n] for n in those), sum(drawn[n] for n in those)) >= LEAST
    ]
    names = {node.synset: node.node for node in hub.nodes()}
    pairs = [
        (a, b)
        for a in sorted(large)
        for b in sorted(large)
        if a < b and parents[a] & parents[b] and not below[a] & below[b]
    ]
    return [(names["dog.n.01"], names["cat.n.01"]), *pairs]


def descendants(hub: Hub) -> dict[int, frozenset[int]]:
    """Return each node with all below it."""
    children = children_of(hub)
    found: dict[int, frozenset[int]] = {}

    def visit(node: int) -> frozenset[int]:
        if node not in found:
            found[node] = frozenset({node}).union(*(visit(child) for child in children.get(node, [])))
        return found[node]

    for node in hub.nodes():
        visit(node.node)
    return found


def super_task(
    hub: Hub,
    pair: tuple[int, int],
    barred: Mapping[str, str],
    labelled: Mapping[int, Float],
    said: Mapping[int, Float],
    truth: Int,
    shown: Int,
) -> tuple[float, float]:
    """Return the balanced accuracy of combined heads and of single heads on two classes."""
    nodes, below = hub.nodes(), descendants(hub)
    classes = [f"{nodes[node].name}#{nodes[node].synset}" for node in pair]
    found = select_experts(hub, classes, None, 1, ALL, recursive=True, barred=barred)
    expert = found.experts[0].expert
    own = np.array([np.isin(shown, list(below[node])) for node in pair])
    # The single head sees the two classes alone, as combined ones do: against all other images it did worse.
    rows = own.any(axis=0)
    single, _ = single_heads(Tests([labelled[expert][rows]], own[:, rows]))
    right = []
    for weights in (found.combinations[0], single[0]):
        parts = []
        for c, node in enumerate(pair):
            asked = np.isin(truth, list(below[node]))
            parts.append((head_answers(np.exp(said[expert][asked]), weights).argmax(axis=1) == c).mean())
        right.append(float(np.mean(parts)))
    return right[0], right[1]


# -- the road -----------------------------------------------------------------------------------------


def ask_all(hub: Hub, skip: Sequence[str]) -> list[Asked]:
    """Ask all experts and the general model all tasks."""
    tasks, encoder, given = demo_tasks(), sentence_encoder(cache=cache_folder()), hub.label_input()
    barred = dict.fromkeys(skip, "left out")
    experts = [one for one in hub.experts() if one.card.name not in barred and one.state == "complete"]
    labelled = {one.expert: hub.features(one.expert)[0].take(given.images).astype(np.float64) for one in experts}
    vlms = [model for model in hub.models() if model.labelled]
    uris = sorted({uri for task in tasks for uri in task.uris})
    place = {uri: n for n, uri in enumerate(uris)}
    said = {expert: np.exp(answers) for expert, answers in outputs(experts, uris).items()}
    theirs = answer_tasks(vlms, tasks, cache_folder(), load_model)
    asked = []
    for n, task in enumerate(tasks):
        rows = [place[uri] for uri in task.uris]
        found = select_experts(hub, task.classes, task.domain_text, barred=barred, encoder=encoder)
        picked = select_models(hub, task.classes, task.domain_text, encoder=encoder)
        general = theirs[[model.card.name for model in vlms].index(picked.names[picked.single])][n]
        answers = [said[one.expert][rows] for one in found.experts]
        sureness = np.stack([certainty(probability) for probability in answers])
        tests = tests_of(hub, found, labelled, given.image_node)
        asked.append(Asked(task, found, general, sureness, all_methods(found, tests, answers)))
        tell(f"{n + 1}/{len(tasks)} tasks")
    return asked


def main() -> None:
    """Ask every expert and every method, print the tables and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hub", type=Path)
    parser.add_argument("--skip", nargs="*", default=[], help="experts that are left out of the demo tasks")
    parser.add_argument("--orders", type=int, default=30, help="random orders of growth")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="largest loss of a class for experts")
    options = parser.parse_args()
    with Hub.open(options.hub) as hub:
        tasks = ask_all(hub, options.skip)
        print(f"{len(tasks[0].found.experts)} experts: {', '.join(tasks[0].found.names)}")
        print_tasks(tasks, options.threshold)
        print_thresholds(tasks)
        print_budgets(tasks, options.threshold)
        print_growth(tasks, options.orders, options.threshold)
        print_super_classes(hub)


if __name__ == "__main__":
    main()
