"""What answering with k models costs beside their forward passes, and whether memory stays flat over many images.

    picture files ── answering (k models together) ── answers.csv ─┬─ seconds, peak memory
                  └─ each model alone, three ways ─────────────────┘

The sum over the k models is taken of three things: the forward pass alone, on batches that are ready; with its
transform, on pictures in memory; and the bare loop that anyone would write for one model: open, transform, encode.
Models are loaded before the clock starts. Answering includes decoding, putting down, combining and writing a CSV file.

    python benchmarks/reuse.py --work DIR             cost of k = 1 to 6, then 20,000 files with 2 % damaged
    python benchmarks/reuse.py --work DIR --quick     fewer of both
    python benchmarks/reuse.py --work DIR --images DIR --models ViT-B-32 ViT-S-16    architectures with random weights

All take turns, `--rounds` times each, and medians are compared.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelling import any_model, bare_loop, write_pictures
from mllctl.backends.protocol import VisionLanguageModel
from mllctl.images import open_image
from mllctl.images.listing import list_images
from mllctl.reuse.answering import Answering, Manner
from mllctl.reuse.saved import SavedModel, SavedSelection, Told
from mllctl.reuse.writing import answer_records, open_writer

MODELS = [
    "demo:generalist",
    "demo:food-colour",
    "demo:animal-ink",
    "demo:tool-colour",
    "demo:home-ink",
    "demo:place-ink",
]
CLASSES = ["dog", "cat", "car", "apple", "hammer", "house", "ship", "tree", "guitar", "chair"]
FULL, QUICK = 20_000, 2_000
DAMAGED = 0.02
SEED = 6


def selection_of(models: Sequence[VisionLanguageModel], sources: Sequence[str]) -> SavedSelection:
    """Make a selection in which all models answer all classes."""
    members = np.tile(np.arange(len(models)), (len(CLASSES), 1))
    kept = [SavedModel.of(model.card) for model in models]
    kept = [SavedModel(**{**vars(one), "source": source}) for one, source in zip(kept, sources, strict=True)]
    told = Told(None, None, (), "each", {}, 0, 0.0, (True,) * len(CLASSES), "use", "a benchmark")
    prompts = tuple((f"a photo of {class_}",) for class_ in CLASSES)
    return SavedSelection(tuple(CLASSES), ("a photo of {}",), prompts, tuple(kept), members, "uniform", told)


def answer(saved: SavedSelection, files: Sequence[str], work: Path, load: Callable[..., Any], batch: int) -> int:
    """Answer files as `mllctl predict --out answers.csv` does; return how many were answered."""
    shutil.rmtree(work, ignore_errors=True)
    answered = 0
    with Answering(work, saved, list_images(files)) as work_on:
        work_on.ask(Manner(batch=batch, memory=1e12, load=load))
        with open_writer(work / "out", ".csv") as writer:
            for part in work_on.parts():
                writer.write(answer_records(saved, part))
                answered += len(part.names)
    return answered


def clock(run: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def forward_alone(model: Any, batches: Sequence[Any]) -> None:
    """Put ready batches through the model."""
    import torch

    with torch.inference_mode():
        for batch in batches:
            model.module.encode_image(batch, normalize=True)


def with_transform(model: VisionLanguageModel, pictures: Sequence[Image.Image], batch: int) -> None:
    """Let the model embed pictures that are in memory."""
    for start in range(0, len(pictures), batch):
        model.encode_images(pictures[start : start + batch])


def compare(files: Sequence[str], options: argparse.Namespace) -> list[dict[str, float]]:
    """Let answering with k models and each model alone take turns."""
    import torch

    sources = options.models
    models = dict(zip(sources, (any_model(source) for source in sources), strict=True))
    pictures = [open_image(file) for file in files]
    batches = {
        source: [
            torch.stack([model.transform(picture) for picture in pictures[start : start + options.batch]]).to(
                memory_format=torch.channels_last
            )
            for start in range(0, len(pictures), options.batch)
        ]
        for source, model in models.items()
    }
    ways: dict[str, Callable[[str], None]] = {
        "forward": lambda source: forward_alone(models[source], batches[source]),
        "with_transform": lambda source: with_transform(models[source], pictures, options.batch),
    }
    ways["bare_loop"] = lambda source: (bare_loop(models[source], files, options.batch), None)[1]
    alone: dict[str, dict[str, list[float]]] = {way: {source: [] for source in sources} for way in ways}
    together: dict[int, list[float]] = {k: [] for k in range(1, len(sources) + 1)}
    work = options.work / "answering"
    for source in sources:
        forward_alone(models[source], batches[source][:1])
    for _ in range(options.rounds):
        for way, run in ways.items():
            for source in sources:
                alone[way][source].append(clock(lambda run=run, source=source: run(source)))
        for k, seconds in together.items():
            saved = selection_of([models[source] for source in sources[:k]], sources[:k])
            load = lambda source, device: models[source]  # noqa: E731, ARG005
            seconds.append(clock(lambda saved=saved, load=load: answer(saved, files, work, load, options.batch)))
    rows = []
    for k, seconds in together.items():
        row: dict[str, float] = {"k": k, "seconds": statistics.median(seconds)}
        for way in ways:
            total = sum(statistics.median(alone[way][source]) for source in sources[:k])
            row |= {way: total, f"{way}_ratio": row["seconds"] / total}
        rows.append(row)
    return rows


def damage(folder: Path, target: Path) -> set[str]:
    """Link all files into another folder, of which every fiftieth is cut off, empty or no image; return those."""
    shutil.rmtree(target, ignore_errors=True)
    random = np.random.default_rng(SEED)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    bad = set(random.choice(len(files), round(DAMAGED * len(files)), replace=False).tolist())
    named = set()
    for n, path in enumerate(files):
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if n in bad:
            content = path.read_bytes()
            copy.write_bytes((content[: len(content) // 2], b"", b"no image at all")[n % 3])
            named.add(str(copy))
        else:
            os.link(path, copy)
    return named


def many(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run `mllctl predict` on a folder in a process of its own, and watch its memory."""
    target = options.work / "damaged"
    bad = damage(folder, target)
    file, out = options.work / "selection.json", options.work / "answers.csv"
    sources = options.models[:2]
    saved = selection_of([any_model(source) for source in sources], sources)
    saved.write(file, replace=True)
    shutil.rmtree(options.work / f".{out.name}.unfinished", ignore_errors=True)
    command = [sys.executable, "-m", "mllctl_cli.main", "predict", "--selection", str(file), "--images", str(target)]
    begin = time.perf_counter()
    with (options.work / "predict.err").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen([*command, "--out", str(out), "--force"], stderr=said)
        memory = []
        while process.poll() is None:
            memory.append(_resident(process.pid))
            time.sleep(2)
        seconds = time.perf_counter() - begin
        said.seek(0)
        lines = said.read().splitlines()
    skipped = {line.removeprefix("mllctl: skipped ").rpartition(": ")[0] for line in lines if " skipped " in line}
    with out.open(newline="") as rows:
        paths = [row["path"] for row in csv.DictReader(rows)]
    good = sorted(path for path in target.rglob("*") if path.suffix in (".jpg", ".png") and str(path) not in bad)
    tenth = max(1, len(memory) // 10)
    return {
        "images": len(good) + len(bad),
        "damaged": len(bad),
        "code": process.returncode,
        "answered_all_good_in_order": paths == [str(path) for path in good],
        "named_all_bad": skipped == bad,
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "mb_after_a_fifth": statistics.median(memory[2 * tenth : 3 * tenth]) / 1e6,
        "mb_at_the_end": statistics.median(memory[-2 * tenth : -tenth]) / 1e6,
    }


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process has; Linux only."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="an eighth of the images")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--images", type=int, default=512, help="for the comparison of costs")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["cost", "many"])
    parser.add_argument("--work", type=Path, required=True, help="folder for files; kept and used again")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    if options.only != "many":
        folder = write_pictures(options.work / f"pictures-{QUICK}", QUICK)
        files = (str(path) for path in sorted(folder.rglob("*")) if path.suffix in (".jpg", ".png"))
        found["cost"] = compare(list(islice(files, options.images // (8 if options.quick else 1))), options)
    if options.only != "cost":
        count = QUICK if options.quick else FULL
        found["many"] = many(write_pictures(options.work / f"pictures-{count}", count), options)
    if options.json:
        print(json.dumps(found))
        return
    for row in found.get("cost", []):
        print(
            f"k = {row['k']}: {row['seconds']:6.2f} s, {row['forward_ratio']:.3f} x the forward passes, "
            f"{row['with_transform_ratio']:.3f} with their transforms, {row['bare_loop_ratio']:.3f} x the bare loops"
        )
    for name, value in found.get("many", {}).items():
        print(f"{name:28} {value:.1f}" if isinstance(value, float) else f"{name:28} {value}")


if __name__ == "__main__":
    main()
