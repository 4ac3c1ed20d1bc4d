"""How long a model takes for one image on this machine: measured on request, kept in the user's cache.

    CACHE/latency/MACHINE/IDENTITY.json    MACHINE from processor and number of cores, IDENTITY of the model's card

A figure of another machine is never read: a cache that moves with a home folder has a folder for each.
"""

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np

from mllctl.backends.protocol import ModelCard, VisionLanguageModel

WARM_UP = 3  # the first runs allocate memory and choose algorithms
FEWEST, MOST = 5, 30  # runs that count
ENOUGH = 5_000.0  # ms in all, after which no more runs than the fewest are made


def measure_latency(model: VisionLanguageModel, cache: Path, clock: Callable[[], float] = time.perf_counter) -> float:
    """Measure how long one image takes, and keep it.

    The median of single images, the model's transform included. The picture is noise of the size that the model sees:
    reading and scaling a photograph comes on top.

    Args:
        model: loaded.
        cache: the user's cache folder; made if it is missing.
        clock: in seconds.

    Returns:
        ms an image.
    """
    # Imported here: `known_latency` is asked on the query path, which sees no picture.
    from PIL import Image

    side = model.card.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    picture = [Image.fromarray(pixels)]
    runs: list[float] = []
    for _ in range(WARM_UP):
        model.encode_images(picture)
    while len(runs) < FEWEST or (len(runs) < MOST and sum(runs) < ENOUGH):
        start = clock()
        model.encode_images(picture)
        runs.append(1000 * (clock() - start))
    _write(_note(model.card, cache), model.card.name, median(runs))
    return median(runs)


def known_latency(card: ModelCard, cache: Path) -> float | None:
    """Return what `measure_latency` found for a model on this machine, in ms; None if it never did."""
    note = _note(card, cache)
    return float(json.loads(note.read_text(encoding="utf-8"))["latency_ms"]) if note.is_file() else None


@cache
def machine() -> str:
    """Name what decides how fast a model runs: the processor, and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {_processor()}, {cores} cores"


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", facts.read_text(), re.MULTILINE) if facts.is_file() else None
    return named[1] if named else platform.processor()


def _note(card: ModelCard, cache: Path) -> Path:
    key = hashlib.sha256(machine().encode()).hexdigest()[:16]
    return cache / "latency" / key / f"{card.identity}.json"


def _write(note: Path, model: str, latency: float) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    facts = {"model": model, "machine": machine(), "latency_ms": latency}
    # Renamed into place, so that a reader never sees half of it.
    work = note.with_suffix(f".{os.getpid()}")
    work.write_text(json.dumps(facts, indent=2), encoding="utf-8")
    work.replace(note)
