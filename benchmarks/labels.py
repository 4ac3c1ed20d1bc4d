"""Measure labels at the paper's scale: exactness, bytes, extraction, selection, growth.

    python benchmarks/labels.py             all of it: 49 models, 9,055 nodes, 679,125 images; two hours, 55 GB of disk
    python benchmarks/labels.py --quick     a slice, under a minute
    ... --json                              ends with one line of figures

Hubs are kept in --work and used again. Every time is the median of ten (of three with --quick) on a machine that
should be idle; read ratios, not seconds. What the figures were when they were last looked at is in
benchmarks/README.md.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import mllctl
from dense import DenseLabel, median
from mllctl.hub import Hub, cache_folder
from mllctl.hub.features import map_batches
from mllctl.hub.parts import LABEL, ORDER, PAGE_BYTES, quoted
from mllctl.hub.writing import change_hub
from mllctl.images import SampleImage
from mllctl.kernels.order import NodeVectors, lay_out, order_nodes, taken
from mllctl.kernels.precision import node_hits
from mllctl.label.growing import Label, write_part
from mllctl.select import select_models
from synthetic import (
    HARD,
    PAPER,
    REFERENCE,
    Case,
    Size,
    StreamedFeatures,
    SyntheticModel,
    graph_of,
    label_hub,
    make_hub,
)

CLASSES = (10, 30, 100, 300, 1000)
QUICK = Size(800, 8, 3)


@dataclass(frozen=True)
class Plan:
    """What is measured: all of it, or a slice.

    Attributes:
        size: of the hubs.
        models: in the hub of many; `distinct` of them are, the others are copies under other names.
        classes: numbers of classes of the tasks.
        width: of the reference model's embeddings.
        random_cases: small worlds compared with a dense argmax.
        repeats: runs whose median a time is.
    """

    size: Size
    models: int
    distinct: int
    classes: tuple[int, ...]
    width: int
    random_cases: int
    repeats: int


MAIN_CLASSES = 100
FULL_PLAN = Plan(PAPER, 49, 16, CLASSES, 512, 5000, 10)
QUICK_PLAN = Plan(QUICK, 49, 2, (30, MAIN_CLASSES), 128, 1000, 3)


class Remembering:
    """A sentence encoder that encodes a text once a run: hubs of all sizes share captions. Not for what is timed."""

    def __init__(self, encoder: Any) -> None:
        self.name, self.fingerprint = encoder.name, encoder.fingerprint
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts, shape (n, d)."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.array([self._known[text] for text in texts])


class Bench:
    """The hubs of a run and the figures it has found."""

    def __init__(self, work: Path, plan: Plan) -> None:
        self.work, self.plan = work, plan
        self.figures: dict[str, Any] = {}
        self.encoder = mllctl.sentence_encoder(cache=cache_folder())
        self._remembering = Remembering(self.encoder)
        self.graph = graph_of(plan.size.nodes)

    def hub(self, name: str, size: Size) -> Path:
        """Return a hub of a size without models, made if it is not there."""
        path = self.work / name
        if not indexed(path):
            shutil.rmtree(path, ignore_errors=True)
            graph = self.graph if size.nodes == self.plan.size.nodes else graph_of(size.nodes)
            make_hub(path, size, graph, self._remembering)
        return path

    def one(self) -> Path:
        """Return a hub with the reference model in full, its embeddings with it."""
        path = self.hub("one", self.plan.size)
        if not labelled(path):
            model = SyntheticModel(0, self.plan.size, self.graph, REFERENCE, self.plan.width)
            features = StreamedFeatures(model)
            note("embedding the images of the reference model")
            with change_hub(path, "embeddings") as change:
                ordinal = change.add_model(model.card)
                change.put_features(ordinal, "image", features.parts(features.ordinals, 7500))
                nodes = np.arange(self.plan.size.nodes, dtype=np.uint32)
                change.put_features(ordinal, "caption", [(nodes, model.captions())])
            seconds = self.extract(path)
            self.figures["extraction_images_per_s"] = self.plan.size.nodes * self.plan.size.per_node / seconds
        return path

    def extract(self, path: Path) -> float:
        """Label the one model of a hub from its embeddings; return the seconds, from the map to the commit."""
        begin = time.perf_counter()
        with Hub.open(path) as hub:
            [model] = hub.models()
            images, captions = hub.features(model.model)
            folder = path / "staging" / "part"
            write_part(folder, hub.label_input(), model.card, Label.empty(), images, captions)
        with change_hub(path, "label") as change:
            change.put_label(model.model, folder, whole=True)
        return time.perf_counter() - begin

    def many(self) -> Path:
        """Return the hub of all models: labels in full, of narrower embeddings, which are not kept."""
        path = self.hub("many", self.plan.size)
        for number in range(len(labelled(path)), self.plan.distinct):
            note(f"labelling model {number + 1} of {self.plan.distinct}")
            label_hub(path, SyntheticModel(number, self.plan.size, self.graph))
        if len(labelled(path)) < self.plan.models:
            note(f"copying labels to {self.plan.models} models")
            others = range(self.plan.distinct, self.plan.models)
            copy_labels(path, [(n % self.plan.distinct, SyntheticModel(n, self.plan.size, self.graph)) for n in others])
        return path

    def case(self, name: str, size: Size, case: Case) -> Path:
        """Return a hub with one model of a case."""
        path = self.hub(name, size)
        if not labelled(path):
            note(f"labelling {name}")
            graph = self.graph if size.nodes == self.plan.size.nodes else graph_of(size.nodes)
            label_hub(path, SyntheticModel(0, size, graph, case))
        return path

    def task(self, hub: Hub, classes: int, seed: int = 0) -> tuple[list[str], NDArray[np.int64]]:
        """Return class names, drawn from the nodes' own, and V_sel for them."""
        names = list(dict.fromkeys(node.name for node in hub.nodes()))
        drawn = [names[n] for n in np.random.default_rng(seed).permutation(len(names))[:classes]]
        nodes = select_models(hub, drawn, encoder=self._remembering).nodes
        return drawn, np.array([node.node for node in nodes])


# -- sections -------------------------------------------------------------------------------------------


def measure_extraction(bench: Bench) -> None:
    """Label again from stored embeddings, and compare with the plain way on a slice."""
    path = bench.one()
    seconds = bench.extract(path)
    images = bench.plan.size.nodes * bench.plan.size.per_node
    with Hub.open(path) as hub:
        [model] = hub.models()
        features, captions = hub.features(model.model)
        few = features.take(features.ordinals[:512])
        nodes = captions.take(captions.ordinals)
    truth = np.arange(512) // bench.plan.size.per_node

    def plainly() -> None:
        similarity = few.astype(np.float64) @ nodes.astype(np.float64).T
        order = np.argsort(-similarity, axis=1, kind="stable")
        (order == truth[:, None]).argmax(axis=1)

    def only_comparing() -> None:
        order_nodes(few, NodeVectors.of(nodes), truth, 3)

    plain, comparing = warm(plainly, 3), warm(only_comparing, 3)
    bench.figures["extraction_images_per_s"] = images / seconds
    table(
        "extraction, from embeddings to a committed label",
        ("", "images/s"),
        [
            (f"whole label: {images:,} images, {seconds:.0f} s, {WORKERS_SAID}", f"{images / seconds:,.0f}"),
            ("comparing alone, one thread of ours on top of BLAS, 512 images", f"{512 / comparing:,.0f}"),
            ("the plain way: float64 similarities, full stable sort", f"{512 / plain:,.0f}"),
        ],
    )


WORKERS_SAID = "two workers"


def measure_ranks(bench: Bench) -> None:
    """Say how hard the synthetic models have it."""
    rows = []
    for name, path in (
        ("reference, wide", bench.one()),
        ("reference", bench.many()),
        ("hard", bench.case("hard", bench.plan.size, HARD)),
    ):
        with Hub.open(path) as hub:
            top1, median_, mean, p99 = hub.query(
                """SELECT avg((rank = 0)::INTEGER), median(rank), avg(rank), quantile_cont(rank, 0.99)
                     FROM image_label"""
            ).rows[0]
        rows.append((name, f"{100 * top1:.1f}", f"{median_:.0f}", f"{mean:.0f}", f"{p99:,.0f}"))
    table("rank of the true node", ("model", "top-1 %", "median", "mean", "p99"), rows)


def measure_exactness(bench: Bench) -> None:
    """Compare hits and winners with a dense argmax: the full-size model, and random cases full of ties."""
    same_hits = same_winners = True
    compared = 0
    with Hub.open(bench.one()) as hub:
        [model] = hub.models()
        features, captions = hub.features(model.model)
        for classes in bench.plan.classes:
            _, nodes = bench.task(hub, classes, seed=classes)
            hits, winners = hub.hits(nodes, [0]).hits.sum(axis=2)[0], hub.winners(0, nodes)
            truth = winners.truth
            winner = np.empty(len(truth), dtype=np.int64)
            columns = captions.take(nodes).astype(np.float64)
            for start in range(0, len(truth), 8192):
                part = slice(start, start + 8192)
                similarity = features.take(winners.image[part]).astype(np.float64) @ columns.T
                winner[part] = nodes[similarity.argmax(axis=1)]
            dense = np.bincount(np.searchsorted(nodes, truth[winner == truth]), minlength=len(nodes))
            same_hits &= bool(
                (dense == hits).all() and (hub.hits_by_masks(nodes, [0]).hits.sum(axis=2)[0] == hits).all()
            )
            same_winners &= bool((winner == winners.winner).all())
            compared += len(truth)
    agree = sum(random_case(seed) for seed in range(bench.plan.random_cases))
    bench.figures |= {"identical": same_hits and agree == bench.plan.random_cases, "winners_identical": same_winners}
    table(
        "against a dense float64 argmax, lowest node first",
        ("", "identical"),
        [
            (f"hits, by order and by masks: {compared:,} images over {bench.plan.classes} classes", same_hits),
            ("winners of the same", same_winners),
            (f"random cases full of ties, of {bench.plan.random_cases:,}", f"{agree:,}"),
        ],
    )


def copy_labels(path: Path, copies: list[tuple[int, SyntheticModel]]) -> None:
    """Give each model the label of another one, in files of its own, all in one commit."""
    with Hub.open(path) as hub:
        kinds = (hub.manifest.labels, hub.manifest.orders)
    with change_hub(path, "copies") as change:
        for of, model in copies:
            folder = path / "staging" / "copy"
            folder.mkdir()
            for kind, name in zip(kinds, (LABEL, ORDER), strict=True):
                shutil.copyfile(path / next(file.path for file in kind if file.model == of), folder / name)
            change.put_label(change.add_model(model.card), folder, whole=True)
            folder.rmdir()


def random_case(seed: int) -> bool:
    """Compare hits in one small world in which most similarities tie."""
    random = np.random.default_rng(seed)
    nodes, images = int(random.integers(1, 30)), int(random.integers(1, 40))
    values = np.array([-1, -0.5, 0, 0, 0.5], dtype=np.float16)
    embedding, captions = random.choice(values, (images, 3)), random.choice(values, (nodes, 3))
    truth = random.integers(0, nodes, images)
    chosen = np.flatnonzero(random.random(nodes) < random.random())
    similarity = embedding.astype(np.float64) @ captions.astype(np.float64).T
    near, _ = lay_out(order_nodes(embedding, NodeVectors.of(captions), truth, 3), np.arange(nodes, dtype=np.uint16))
    selected = np.zeros(nodes + 1, dtype=np.bool_)
    selected[chosen] = True
    free = ~taken(near, selected)
    expected = node_hits(similarity, truth, chosen)[0]
    return [int(free[truth == v].sum()) for v in chosen] == expected.tolist()


def measure_bytes(bench: Bench) -> None:
    """Weigh what is stored against dense float32, and against other ways of storing it."""
    size = bench.plan.size
    rows = []
    for name, path, of in (
        ("reference, five domains", bench.one(), size),
        ("hard, five domains", bench.case("hard", size, HARD), size),
        (
            "reference, one domain",
            bench.case("one-domain", Size(size.nodes, size.per_node, 1), REFERENCE),
            Size(size.nodes, size.per_node, 1),
        ),
    ):
        dense = of.nodes * of.per_node * of.nodes * 4
        with Hub.open(path) as hub:
            label, order = hub.path / hub.manifest.labels[0].path, hub.manifest.orders[0].size
        masks = alone(label, "rival_mask")
        whole = label.stat().st_size + order
        rows.append((name, *(f"{n / 1e6:,.1f}" for n in (dense, masks, label.stat().st_size - masks, order, whole))))
        rows[-1] += (f"{dense / masks:.0f}", f"{dense / whole:.0f}")
        if path == bench.one():
            bench.figures |= {"mask_ratio": dense / masks, "label_ratio": dense / whole}
        elif name.startswith("hard"):
            bench.figures |= {"hard_mask_ratio": dense / masks, "hard_label_ratio": dense / whole}
    columns = ("MB", "dense f32", "rival_mask", "other tables", "order.arrow", "label", "dense/mask", "dense/label")
    table("bytes of a label", columns, rows)
    with Hub.open(bench.one()) as hub:
        measure_alternatives(hub.path / hub.manifest.labels[0].path, hub)


def measure_alternatives(label: Path, hub: Hub) -> None:
    """Write the same content in other ways."""
    masks = "FROM old.rival_mask"
    ways = [
        ("masks by node, block, mask, rival; 32 KB pages (kept)", masks, PAGE_BYTES),
        ("masks by node, block, rival", f"{masks} ORDER BY node, block, rival", PAGE_BYTES),
        ("masks by node, rival, block", f"{masks} ORDER BY node, rival, block", PAGE_BYTES),
        ("kept order, 256 KB pages", masks, 262144),
        ("kept order, 16 KB pages", masks, 16384),
        (
            "a list of rivals for each block and mask",
            f"SELECT node, block, mask, list(rival ORDER BY rival) {masks} GROUP BY ALL ORDER BY node, block, mask",
            PAGE_BYTES,
        ),
    ]
    first = alone(label, "rival_mask")
    rows = [(name, f"{alone(label, query, page) / first:.2f}") for name, query, page in ways]
    order = hub.manifest.orders[0]
    in_duckdb = alone(
        label, "SELECT image, list_filter(near || far, lambda r: r <> 65535) FROM mapped", also=order.path
    )
    rivals = int(hub.query("SELECT sum(rank) FROM image_label").rows[0][0])
    rows.append(("order.arrow (kept)", "1.00"))
    rows.append(("the same lists as a column of DuckDB", f"{in_duckdb / order.size:.2f}"))
    rows.append(("besides, the similarity of every rival, as float16", f"{rivals * 2 / order.size + 1:.2f}"))
    bits = sum(node.images for node in hub.nodes()) * len(hub.nodes()) / 8
    rows.append(("a bit for each image and node, mapped", f"{bits / order.size:.2f}"))
    table("other ways to store it, against what is kept", ("", "bytes, times"), rows)


def measure_selection(bench: Bench) -> None:
    """Time selection for all models, and against dense labels of one."""
    with Hub.open(bench.many()) as hub:
        models = [model.model for model in hub.models()]
        rows, repeats = [], bench.plan.repeats
        for classes in bench.plan.classes:
            names, nodes = bench.task(hub, classes)
            whole = warm(lambda names=names: select_models(hub, names, "a photograph", encoder=bench.encoder), repeats)
            hits = warm(lambda nodes=nodes: hub.hits(nodes, models), repeats)
            masks = warm(lambda nodes=nodes: hub.hits_by_masks(nodes, models), min(3, bench.plan.repeats))
            rows.append((classes, len(nodes), *(f"{n:.3f}" for n in (whole, hits, masks))))
            bench.figures[f"select_{len(models)}x{classes}_s"] = whole
            if classes == MAIN_CLASSES:
                ours = hits / len(models)
        table(
            f"selection over {len(models)} models, seconds, warm",
            ("classes", "nodes", "select_models", "hits by order", "hits by masks (SQL)"),
            rows,
        )
    with Hub.open(bench.one()) as hub:
        _, nodes = bench.task(hub, MAIN_CLASSES)
        dense = DenseLabel(bench.work, hub, bench.plan.size)
        times = dense.time(nodes)
    bench.figures |= {
        "speed_vs_load": times["load, warm"] / ours,
        "speed_vs_scan": times["scan alone"] / ours,
        "speed_vs_ram": times["V_sel in memory"] / ours,
    }
    rows = [(name, f"{seconds:.4f}", f"{seconds / ours:,.1f}") for name, seconds in times.items()]
    title = f"one model, {MAIN_CLASSES} classes: dense float32 against {1000 * ours:.2f} ms a model"
    table(title, ("dense", "seconds", "times ours"), rows)
    print(f"    {dense.said}")


def measure_memory(bench: Bench) -> None:
    """Run `mllctl select` in a process of its own."""
    path = bench.many()
    rows = []
    with Hub.open(path) as hub:
        tasks = {classes: bench.task(hub, classes)[0] for classes in bench.plan.classes}
    for classes, names in tasks.items():
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(names))
            file.flush()
            command = [sys.executable, "-m", "mllctl_cli.main", "select", "--classes", file.name]
            command += ["--domain", "a photograph", "--hub", str(path), "--json"]
            # A process of its own for each, so that the greatest of the children is this one.
            script = (
                "import resource, subprocess, sys, time; begin = time.perf_counter();"
                "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, time.perf_counter() - begin)"
            )
            done = subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True, text=True)
        peak, seconds = map(float, done.stdout.split())
        rows.append((classes, f"{peak / 2**20:.2f}", f"{seconds:.2f}"))
        bench.figures[f"peak_gib_{classes}"] = peak / 2**20
    table("`mllctl select`, a process of its own", ("classes", "peak GiB", "seconds in all"), rows)


def measure_growth_law(bench: Bench) -> None:
    """Time and bytes against models, images, nodes and classes."""
    points: dict[str, list[tuple[float, float, float]]] = {"models": [], "classes": [], "images": [], "nodes": []}
    with Hub.open(bench.many()) as hub:
        models = [model.model for model in hub.models()]
        _, nodes = bench.task(hub, MAIN_CLASSES)
        for count in sorted({max(1, round(len(models) * share)) for share in (0, 0.12, 0.25, 0.5, 1)}):
            seconds = warm(lambda few=models[:count]: hub.hits(nodes, few), bench.plan.repeats)
            files = [*hub.manifest.labels, *hub.manifest.orders]
            points["models"].append((count, seconds, sum(f.size for f in files if f.model in models[:count])))
        for classes in bench.plan.classes:
            _, chosen = bench.task(hub, classes)
            points["classes"].append(
                (classes, warm(lambda chosen=chosen: hub.hits(chosen, models), bench.plan.repeats), 0)
            )
    full = bench.plan.size
    for images in sorted({max(1, full.images // part) for part in (15, 5, 3, 1)}):
        points["images"].append(bench_point(bench, replace(full, images=images), images * full.domains))
    for count in sorted({max(50, full.nodes // part) for part in (27, 9, 3, 1)}):
        points["nodes"].append(bench_point(bench, replace(full, nodes=count), count))
    for what, rows in points.items():
        shown = [
            (f"{at:g}", f"{1000 * seconds:.1f}", f"{size / 1e6:.1f}" if size else "") for at, seconds, size in rows
        ]
        table(f"against {what}", (what, "hits, ms", "label, MB"), shown)
        law = [f"time ~ {what}^{slope(rows, 1):.2f}"] + ([f"bytes ~ {what}^{slope(rows, 2):.2f}"] if rows[0][2] else [])
        print(f"    {', '.join(law)}")
        bench.figures[f"law_{what}"] = law
    bench.figures["points"] = points
    if bench.plan is FULL_PLAN:
        plot(points)


def plot(points: dict[str, list[tuple[float, float, float]]]) -> None:
    """Draw the points into benchmarks/growth.svg."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(13, 5.6), sharey="row")
    meanings = {
        "models": "models",
        "classes": "classes of the task",
        "images": "images a node",
        "nodes": "nodes, 75 images each",
    }
    for column, (what, rows) in enumerate(points.items()):
        at, seconds, size = (np.array(values) for values in zip(*rows, strict=True))
        axes[0, column].loglog(at, 1000 * seconds, "o-")
        axes[0, column].set_xlabel(meanings[what])
        if size.any():
            axes[1, column].loglog(at, size / 1e6, "s-", color="tab:green")
            axes[1, column].set_xlabel(meanings[what])
        else:
            axes[1, column].text(
                0.5, 0.5, "bytes do not depend\non the task", ha="center", transform=axes[1, column].transAxes
            )
            axes[1, column].set_axis_off()
        for axis in axes[:, column]:
            axis.set_xticks(at, [f"{value:g}" for value in at])
            axis.minorticks_off()
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("hits by order, ms")
    axes[1, 0].set_ylabel("label, MB")
    figure.suptitle("Time to count hits, and bytes of labels: all models or one, 100 classes where not said otherwise")
    figure.tight_layout()
    figure.savefig(Path(__file__).parent / "growth.svg")


def bench_point(bench: Bench, size: Size, at: int) -> tuple[float, float, float]:
    """Return (where, seconds, bytes) of one model of another size."""
    path = bench.case(f"size-{size.nodes}-{size.images}", size, REFERENCE)
    with Hub.open(path) as hub:
        _, nodes = bench.task(hub, min(MAIN_CLASSES, size.nodes // 2))
        seconds = warm(lambda: hub.hits(nodes, [0]), bench.plan.repeats)
        return at, seconds, hub.manifest.labels[0].size + hub.manifest.orders[0].size


def measure_growth(bench: Bench) -> None:
    """Add a node to the reference model and take it away again; merge the parts."""
    grown = bench.work / "grown"
    shutil.rmtree(grown, ignore_errors=True)
    # Files of a hub never change: links will do, but for the manifest.
    shutil.copytree(bench.one(), grown, copy_function=os.link)
    per_node = bench.plan.size.per_node
    random = np.random.default_rng(5)
    with Hub.open(grown) as hub:
        last = hub.label_input().images.max() + 1
        captions = hub.features(0)[1]
        nodes = len(hub.nodes())
    rows = []
    new = next(s for s in graph_of(bench.plan.size.nodes + 50).synsets if s.wnid not in {*wnids(grown)})
    with change_hub(grown) as change:
        change.add_nodes([new])
        change.add_images([SampleImage(f"/new/{n}", new.wnid, "photo", f"new{n}") for n in range(per_node)])
        near = captions.take(random.permutation(nodes)[:1])
        vectors = unit(near + random.normal(size=(per_node, near.shape[1])) * 0.03)
        change.put_features(0, "image", [(np.arange(last, last + per_node, dtype=np.uint32), vectors)])
        change.put_features(0, "caption", [(np.array([nodes], dtype=np.uint32), unit(near + 0.01))])
    for name, step in (
        ("label a new node and its images", lambda: grow(grown)),
        ("remove them again", lambda: remove(grown, range(int(last), int(last) + per_node))),
        ("merge the parts", lambda: mllctl.label.compact_labels(grown)),
    ):
        before = {path.name for path in (grown / "labels").iterdir()}
        begin = time.perf_counter()
        step()
        seconds = time.perf_counter() - begin
        fresh = sum(path.stat().st_size for path in (grown / "labels").iterdir() if path.name not in before)
        rows.append((name, f"{seconds:.1f}", f"{fresh / 1e6:.2f}"))
    table("growth of one label", ("", "seconds", "MB written"), rows)
    shutil.rmtree(grown)


def wnids(path: Path) -> list[str]:
    """Return the nodes of a hub."""
    with Hub.open(path) as hub:
        return [wnid for (wnid,) in hub.query("SELECT wnid FROM node").rows]


def grow(path: Path) -> None:
    """Do what `label_model` does when there is nothing to show."""
    with Hub.open(path) as hub:
        [model] = hub.models()
        images, captions = hub.features(0)
        part = path / "staging" / "part"
        write_part(part, hub.label_input(), model.card, Label.read(hub, 0), images, captions)
    with change_hub(path) as change:
        change.put_label(0, part, whole=False)


def remove(path: Path, images: Iterable[int]) -> None:
    """Remove images, and with the last of them their node."""
    mllctl.label.remove_images(path, list(images))


# -- small things ---------------------------------------------------------------------------------------


def indexed(path: Path) -> bool:
    """Say whether there is a hub that was made to its end."""
    if not (path / "manifest.json").is_file():
        return False
    with Hub.open(path) as hub:
        return hub.manifest.index is not None


def labelled(path: Path) -> list[str]:
    """Return the models of a hub that have a label."""
    with Hub.open(path) as hub:
        return [model.card.name for model in hub.models() if model.labelled]


def alone(label: Path, source: str, page: int = PAGE_BYTES, also: str = "") -> int:
    """Return the bytes of a table, or of a query over a label's tables, in a file of its own.

    Args:
        label: the label file, seen as `old`.
        source: name of a table, or a query.
        page: bytes of a page.
        also: an Arrow file of the same hub, seen as `mapped`.
    """
    with tempfile.TemporaryDirectory(dir=label.parents[1] / "staging") as folder:
        path = Path(folder) / "alone.duckdb"
        with duckdb.connect(":memory:") as db:
            db.execute(f"ATTACH {quoted(label)} AS old (READ_ONLY)")
            db.execute(f"ATTACH {quoted(path)} AS made (BLOCK_SIZE {page})")
            if also:
                db.register("mapped", pa.Table.from_batches(map_batches(label.parents[1] / also)))
            query = source if " " in source else f"FROM old.{source}"
            db.execute(f"CREATE TABLE made.alone AS {query}").fetchall()
            db.execute("CHECKPOINT made").fetchall()
            db.execute("DETACH made")
        return path.stat().st_size


def warm(work: Callable[[], Any], repeats: int) -> float:
    """Return the median seconds of some runs, after one that does not count."""
    work()
    return median(work, repeats)


def slope(rows: list[tuple[float, float, float]], column: int) -> float:
    """Return the exponent that fits the upper half of the points: small ones show what does not grow."""
    upper = np.log(np.array(rows[-max(2, (len(rows) + 1) // 2) :])[:, [0, column]])
    return float(np.polyfit(upper[:, 0], upper[:, 1], 1)[0])


def unit(rows: NDArray[Any]) -> NDArray[np.float16]:
    """Return float16 unit vectors."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def table(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print a Markdown table, as benchmarks/README.md shows it."""
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    print(flush=True)


def note(message: str) -> None:
    """Say on stderr what is being done."""
    print(f"labels.py: {message}", file=sys.stderr, flush=True)


SECTIONS = {
    "extraction": measure_extraction,
    "ranks": measure_ranks,
    "exactness": measure_exactness,
    "bytes": measure_bytes,
    "selection": measure_selection,
    "memory": measure_memory,
    "law": measure_growth_law,
    "growth": measure_growth,
}


def main() -> None:
    """Run the sections."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="a slice, under a minute")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    parser.add_argument("--work", type=Path, help="folder for the hubs; else one that is deleted at the end")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mllctl-bench-") as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(work, QUICK_PLAN if options.quick else FULL_PLAN)
        for name in options.only:
            note(name)
            SECTIONS[name](bench)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        bench.figures["bench_peak_gib"] = peak
        if options.json:
            print(json.dumps(bench.figures))


if __name__ == "__main__":
    main()
