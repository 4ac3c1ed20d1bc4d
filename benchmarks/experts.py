"""Experts on the demo tasks: what CHCO, single heads and chance get from the same hub, alone and patched by a VLM.

    python benchmarks/experts.py HUB [--k 1 2 3] [--thresholds 0.5 1 1.5 2]

HUB is what `mllctl demo build` made, with labelled experts. Tasks with an even number choose the threshold, those with
an odd one are reported. Outputs of experts on the task images are kept in the user's cache.

    Acc(c)   top-1 over the images of classes that experts serve, among these classes alone
    Cvr      share of the classes that experts serve
    Acc(a)   top-1 over all images, with the general model for the rest; `mass` and `plain` are two scales
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mllctl.backends import load_expert, load_model
from mllctl.backends.protocol import Expert
from mllctl.backends.sentence import sentence_encoder
from mllctl.demo import demo_tasks
from mllctl.evaluate import Task, answer_tasks
from mllctl.experts import ExpertSelection, select_experts
from mllctl.hub import Hub, StoredExpert, cache_folder
from mllctl.images import open_image
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.chco import best_heads, certainty, combine_experts, head_answers, least_losses
from mllctl.kernels.patch import patched_confidence
from mllctl.select import select_models

BATCH = 32
DRAWS = 10  # of experts and heads at random
ALL = 1e9  # a threshold that every loss is under


@dataclass(frozen=True)
class Chosen:
    """Experts of each class, and how much of each of their heads counts: members (c, k), weights of each (h, c)."""

    members: Int
    weights: list[Float]


@dataclass(frozen=True)
class Measured:
    """What one method gets on one task; `covered` is None where experts serve no class."""

    covered: float | None
    coverage: float
    mass: float
    plain: float
    experts: int


def outputs(stored: StoredExpert, expert: Expert | None, uris: list[str]) -> Float:
    """Return log-probabilities of an expert on images, from the cache if they are there, shape (i, h)."""
    key = hashlib.sha256("\n".join([stored.card.identity, *uris]).encode()).hexdigest()
    path = cache_folder() / "benchmarks" / f"{key}.npy"
    if not path.is_file():
        expert = expert or load_expert(stored.card.source)
        parts = []
        for start in range(0, len(uris), BATCH):
            parts.append(expert.log_probability([open_image(uri) for uri in uris[start : start + BATCH]]))
            print(f"\r{stored.card.name} {start + len(parts[-1])}/{len(uris)}", end="", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.concatenate(parts))
    return np.load(path).astype(np.float64)


def single_heads(hub: Hub, found: ExpertSelection, images: dict[int, Float], nodes: Int) -> tuple[list[Float], Float]:
    """HEU: of each expert and class the best single head (`best_heads`), and its loss, (m, c).

    Positive are the images of the class's node, or of those below it; negative all other images of the graph.
    """
    below: dict[int, list[int]] = {}
    for parent, child in hub.edges():
        below.setdefault(parent, []).append(child)
    weights, losses = [], np.full(found.losses.shape, np.inf)
    for m, stored in enumerate(found.experts):
        combination = np.zeros(found.combinations[m].shape)
        for c, node in enumerate(found.nodes):
            if node is None:
                continue
            own = nodes == node.node if node.images else np.isin(nodes, below.get(node.node, []))
            heads, loss = best_heads(images[stored.expert], np.where(own, 0, -1), 1)
            combination[heads[0], c], losses[m, c] = 1.0, loss[0]
        weights.append(combination)
    return weights, losses


def at_random(found: ExpertSelection, k: int, seed: int) -> Chosen:
    """Draw k experts for each class that has a node, and of each one head."""
    random = np.random.default_rng(seed)
    weights = [np.zeros(table.shape) for table in found.combinations]
    members = np.full((len(found.classes), k), -1)
    for c, node in enumerate(found.nodes):
        if node is not None:
            members[c] = random.permutation(len(weights))[:k]
            for m in members[c]:
                weights[m][random.integers(len(weights[m])), c] = 1.0
    return Chosen(members, weights)


def measure(chosen: Chosen, served: np.ndarray, said: list[Float], general: Float, task: Task) -> Measured:
    """Measure experts for the classes that are `served`, with the general model for all others."""
    members = np.where(served[:, None], chosen.members, -1)
    answers = np.stack([head_answers(p, w) for p, w in zip(said, chosen.weights, strict=True)])
    confidence = combine_experts(answers, np.stack([certainty(p) for p in said]), members)
    own = served[task.truth]
    among = np.where(served, confidence, -1.0).argmax(axis=1)
    return Measured(
        covered=float((among == task.truth)[own].mean()) if own.any() else None,
        coverage=float(served.mean()),
        mass=float((patched_confidence(general, confidence, served).argmax(axis=1) == task.truth).mean()),
        plain=float((patched_confidence(general, confidence, served, "plain").argmax(axis=1) == task.truth).mean()),
        experts=len({m for m in members.ravel().tolist() if m >= 0}),
    )


def methods(
    hub: Hub, found: ExpertSelection, k: int, images: dict[int, Float], nodes: Int
) -> Iterator[tuple[str, list[Chosen]]]:
    """Yield the methods with what they choose; chance is drawn several times."""
    yield "CHCO", [Chosen(least_losses(found.losses, k, ALL), list(found.combinations))]
    weights, losses = single_heads(hub, found, images, nodes)
    yield "HEU", [Chosen(least_losses(losses, k, ALL), weights)]
    yield "random", [at_random(found, k, seed) for seed in range(DRAWS)]


def mean(rows: list[Measured]) -> Measured:
    """Average what draws of one task, or tasks of one method, got."""
    covered = [row.covered for row in rows if row.covered is not None]
    return Measured(
        float(np.mean(covered)) if covered else None,
        *(float(np.mean([getattr(row, name) for row in rows])) for name in ("coverage", "mass", "plain", "experts")),
    )


def main() -> None:
    """Ask every expert and every method, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hub", type=Path)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, ALL])
    parser.add_argument("--skip", nargs="*", default=[], help="experts that are left out")
    options = parser.parse_args()
    tasks, encoder = demo_tasks(), sentence_encoder(cache=cache_folder())
    with Hub.open(options.hub) as hub:
        given = hub.label_input()
        barred = dict.fromkeys(options.skip, "left out")
        experts = [one for one in hub.experts() if one.card.name not in barred and one.state == "complete"]
        images = {
            one.expert: np.exp(hub.features(one.expert)[0].take(given.images).astype(np.float64)) for one in experts
        }
        vlms = [model for model in hub.models() if model.labelled]
        uris = sorted({uri for task in tasks for uri in task.uris})
        place = {uri: n for n, uri in enumerate(uris)}
        said = {one.expert: np.exp(outputs(one, None, uris)) for one in experts}
        theirs = answer_tasks(vlms, tasks, cache_folder(), load_model)
        results: dict[tuple[str, int, float], list[Measured]] = {}
        alone = []
        for n, task in enumerate(tasks):
            rows = [place[uri] for uri in task.uris]
            found = select_experts(hub, task.classes, task.domain_text, barred=barred, encoder=encoder)
            picked = select_models(hub, task.classes, task.domain_text, encoder=encoder)
            name = picked.names[picked.single]
            general = theirs[[model.card.name for model in vlms].index(name)][n]
            alone.append(float((general.argmax(axis=1) == task.truth).mean()))
            answers = [said[one.expert][rows] for one in found.experts]
            for k in options.k:
                for method, draws in methods(hub, found, k, images, given.image_node):
                    for threshold in options.thresholds:
                        served = (found.losses <= threshold).any(axis=0)
                        few = [measure(one, served, answers, general, task) for one in draws]
                        results.setdefault((method, k, threshold), []).append(mean(few))
            print(f"\r{n + 1}/{len(tasks)} tasks", end="", file=sys.stderr)
    report(results, alone)


def report(results: dict[tuple[str, int, float], list[Measured]], alone: list[float]) -> None:
    """Print the tables."""
    print(f"\ngeneral VLM alone: {100 * np.mean(alone):.1f} all tasks, {100 * np.mean(alone[1::2]):.1f} reported\n")
    print("| method | k | threshold | tasks | Acc(c) | Cvr | Acc(a), mass | Acc(a), plain | experts |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (method, k, threshold), rows in results.items():
        for which, some in (("even", rows[::2]), ("odd", rows[1::2])):
            m = mean(some)
            covered = "" if m.covered is None else f"{100 * m.covered:.1f}"
            limit = "none" if threshold == ALL else f"{threshold:g}"
            print(
                f"| {method} | {k} | {limit} | {which} | {covered} | {m.coverage:.2f} | {100 * m.mass:.1f} | "
                f"{100 * m.plain:.1f} | {m.experts:.1f} |"
            )


if __name__ == "__main__":
    main()
