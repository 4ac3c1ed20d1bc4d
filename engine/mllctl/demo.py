"""The demo: the whole road on the images, heads and towers that are shipped.

`build_demo` makes a hub from them as a user would make one from their own, and `compare_labels`
says where its labels differ from the bundled hub's. `demo_tasks` are what `evaluate` runs on.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as compute
import pyarrow.parquet as parquet

import mllctl_data
from mllctl.backends import load_expert, load_model
from mllctl.backends.demo import demo_models
from mllctl.backends.experts import PREFIX
from mllctl.backends.packaged import by_tower, demo_experts
from mllctl.backends.protocol import Encoder
from mllctl.errors import HubExists
from mllctl.evaluate import Task, read_tasks
from mllctl.graph import with_ancestors
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub
from mllctl.images import SHIPPED, Domain, SampleImage
from mllctl.index import build_index
from mllctl.label import label_experts, label_model
from mllctl.wordnet import wordnet

PACK = f"{SHIPPED}demo/images.parquet"

Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]  # (model, images done, images in all)


@dataclass(frozen=True)
class Difference:
    """How far two labels of one model are apart.

    Attributes:
        model: its name.
        bits: (image, node) pairs in which one label has a rival and the other has not.
        compared: pairs in all.
    """

    model: str
    bits: int
    compared: int


def demo_domains() -> list[Domain]:
    """Return the visual styles of the demo's images."""
    facts = json.loads(mllctl_data.path("demo", "domains.json").read_text(encoding="utf-8"))
    return [Domain(domain["name"], domain["description"]) for domain in facts]


def demo_images(split: str) -> list[SampleImage]:
    """Return the images of one split (`train`, `graph` or `task`), in the order of the pack."""
    table = parquet.read_table(
        mllctl_data.path("demo", "images.parquet"), columns=["synset", "domain", "split", "picture"]
    )
    rows = np.flatnonzero(compute.equal(table.column("split").cast("string"), split).to_numpy())
    by_name = wordnet()
    images = []
    for row, facts in zip(rows.tolist(), table.take(rows).to_pylist(), strict=True):
        wnid = by_name.senses(facts["synset"])[0].wnid
        sha256 = hashlib.sha256(facts["picture"]).hexdigest()
        images.append(SampleImage(f"{PACK}#{row}", wnid, facts["domain"], sha256))
    return images


def demo_expert_sources() -> list[str]:
    """Return the experts that every installation has: those trained for the demo, and one with ImageNet's heads."""
    return [f"{PREFIX}demo/{one.name}" for one in demo_experts()] + [f"{PREFIX}package/efficientnet-lite0"]


def demo_tasks() -> list[Task]:
    """Return the tasks that the committed rule makes of the `task` images."""
    return read_tasks(mllctl_data.path("demo", "tasks.json"), PACK)


def build_demo(
    path: Path,
    encoder: Encoder,
    say: Say,
    progress: Progress,
    names: Sequence[str] | None = None,
    experts: Sequence[str] = (),
) -> None:
    """Make the demo hub at `path`, or finish one whose making was cut off.

    Args:
        path: an empty or new folder, or a demo hub that is not finished.
        encoder: for the caption index.
        say: called with a line at each step.
        progress: called after each batch of images.
        names: the demo models to label; all when None.
        experts: sources of the experts to label.

    Raises:
        HubExists: if the folder holds something else.
    """
    if (path / "manifest.json").is_file():
        _refuse_other(path)
    else:
        Hub.create(path).close()
    images = demo_images("graph")
    say(f"{len(images)} images in {len(demo_domains())} domains")
    nouns = wordnet()
    with change_hub(path, "demo build") as change:
        for domain in demo_domains():
            change.add_domain(domain)
        graph = with_ancestors((image.wnid for image in images), nouns)
        change.add_nodes(graph.synsets)
        change.add_images(images)
        change.set_graph(graph)
    report = build_index(path, encoder)
    say(f"{report.nodes} nodes in the graph and the index")
    for name in _unlabelled(path, demo_models() if names is None else names):
        model = load_model(f"demo:{name}")
        label = label_model(path, model, partial(progress, name))
        say(f"{name}: {label.hits} of {label.images} images go to their own node")
    for few in by_tower(_unlabelled_experts(path, experts)):
        name = few[0] if len(few) == 1 else f"{len(few)} experts"
        answered = label_experts(path, [load_expert(source) for source in few], partial(progress, name))
        for one in answered:
            say(f"{one.model}: {one.labelled} images answered by its heads")


def _refuse_other(path: Path) -> None:
    """Refuse to add the demo to a hub that holds other images."""
    with Hub.open(path) as hub:
        if any(not image.uri.startswith(PACK) for image in hub.images()):
            raise HubExists(path)


def compare_labels(one: Hub, other: Hub) -> list[Difference]:
    """Compare the labels of models that two hubs over the same images have in common, bit by bit."""
    theirs = {model.card.name: model.model for model in other.models()}
    size = int(one.evidence_nodes().sum()) - 1
    differences = []
    for model in one.models():
        if model.card.name in theirs:
            bits = _differing_bits(one.rival_masks(model.model), other.rival_masks(theirs[model.card.name]))
            differences.append(Difference(model.card.name, bits, model.labelled * size))
    return differences


def _differing_bits(
    one: tuple[np.ndarray[tuple[int], np.dtype[np.uint64]], np.ndarray[tuple[int], np.dtype[np.uint64]]],
    other: tuple[np.ndarray[tuple[int], np.dtype[np.uint64]], np.ndarray[tuple[int], np.dtype[np.uint64]]],
) -> int:
    places = np.union1d(one[0], other[0])
    spread = []
    for place, mask in (one, other):
        full = np.zeros(len(places), dtype=np.uint64)
        full[np.searchsorted(places, place)] = mask
        spread.append(full)
    return int(np.bitwise_count(spread[0] ^ spread[1]).sum())


def _unlabelled_experts(path: Path, sources: Sequence[str]) -> list[str]:
    with Hub.open(path) as hub:
        complete = {expert.card.source for expert in hub.experts() if expert.state == "complete"}
    return [source for source in sources if source not in complete]


def _unlabelled(path: Path, names: Sequence[str]) -> list[str]:
    """Return the demo models whose label is not complete yet."""
    with Hub.open(path) as hub:
        complete = {model.card.source for model in hub.models() if model.state == "complete"}
    return [name for name in names if f"demo:{name}" not in complete]
