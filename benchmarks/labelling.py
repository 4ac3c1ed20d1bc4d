"""What `mllctl label` costs beside the model: 20,000 picture files, against a bare loop over the same files.

    demo pictures, scaled and encoded anew ── 20,000 JPEG and PNG files ─┬─ hub, label_model ── images/s, profile
                                                                         └─ bare loop ───────── images/s

The bare loop opens a file, puts it through the model's own transform and calls `encode_image`, in batches of the same
size and with as many threads of torch. Loading the model and importing images are timed apart. The profile wraps what
`label_model` calls: its share is of the seconds between the first image and the committed label.

    python benchmarks/labelling.py --quick            2,000 files
    python benchmarks/labelling.py --model ViT-S-16   an architecture of open_clip with random weights

Bare loop and labelling take turns, `--rounds` times each, and their medians are compared: on a shared machine one run
of either may be a tenth off.
"""

import argparse
import io
import json
import shutil
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import mllctl_data
from mllctl import load_model
from mllctl.backends.protocol import Float32, VisionLanguageModel
from mllctl.graph import with_ancestors
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub
from mllctl.images import Domain, feeding, open_image, scan
from mllctl.label import showing
from mllctl.wordnet import wordnet

FULL, QUICK = 20_000, 2_000
NODES = 200
SIDES = (160, 560)  # pixels of the longer side: from a thumbnail to what the web has
SEED = 5
COUNTED = ("forward and transform", "captions", "decoding", "waiting for decoding")


def write_pictures(folder: Path, count: int) -> Path:
    """Write an ImageFolder of `count` files, three of four JPEG, unless it is there already."""
    if (folder / "whole").exists():
        return folder
    from pyarrow import parquet

    shutil.rmtree(folder, ignore_errors=True)
    table = parquet.read_table(mllctl_data.path("demo", "images.parquet"), columns=["picture", "synset"])
    rows = table.to_pylist()
    names = sorted({row["synset"] for row in rows})[:NODES]
    by_name = {name: [row["picture"] for row in rows if row["synset"] == name] for name in names}
    for name in names:
        (folder / name).mkdir(parents=True)
    random = np.random.default_rng(SEED)
    jobs = []
    for n in range(count):
        name = names[n % len(names)]
        pictures = by_name[name]
        ending = "png" if n % 4 == 3 else "jpg"
        side, quality = int(random.integers(*SIDES)), int(random.integers(70, 95))
        path = folder / name / f"{n:06d}.{ending}"
        jobs.append((pictures[n // len(names) % len(pictures)], path, side, quality))
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write_picture, jobs, chunksize=50))
    (folder / "whole").touch()
    return folder


def _write_picture(job: tuple[bytes, Path, int, int]) -> None:
    picture, path, side, quality = job
    with Image.open(io.BytesIO(picture)) as image:
        scale = side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    # Flat art compresses to nothing; grain makes decoding cost what a photograph's does.
    pixels = np.asarray(large, dtype=np.int16) + _grain()[: size[1], : size[0]]
    noisy = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    noisy.save(path, **({"quality": quality} if path.suffix == ".jpg" else {"compress_level": 1}))


@cache
def _grain() -> NDArray[np.int16]:
    return np.random.default_rng(SEED).normal(0, 6, (SIDES[1], SIDES[1], 3)).astype(np.int16)


def make_hub(path: Path, folder: Path) -> Path:
    """Make a hub of the pictures; no index, no models."""
    nouns = wordnet()
    Hub.create(path).close()
    found = scan(folder, "web", nouns).images
    with change_hub(path) as change:
        graph = with_ancestors((image.wnid for image in found), nouns)
        change.add_nodes(graph.synsets)
        change.add_domain(Domain("web", "a picture from the web"))
        change.add_images(found)
        change.set_graph(graph)
    return path


def any_model(name: str) -> VisionLanguageModel:
    """Load `demo:NAME` or any source; an architecture alone is given random weights."""
    if name.startswith("demo:") or "/" in name:
        return load_model(name)
    import open_clip
    import torch

    from mllctl.backends.open_clip_models import OpenClipModel

    torch.manual_seed(SEED)
    model = open_clip.create_model(name)
    return OpenClipModel(model, open_clip.get_tokenizer(name), f"{name}/random", name)


def bare_loop(model: Any, files: Sequence[str], batch: int) -> Float32:
    """Do what anyone would write: open, transform, encode."""
    import torch

    parts = []
    for start in range(0, len(files), batch):
        pictures = [Image.open(file).convert("RGB") for file in files[start : start + batch]]
        pixels = torch.stack([model.transform(picture) for picture in pictures])
        with torch.inference_mode():
            vectors = model.module.encode_image(pixels.to(memory_format=torch.channels_last), normalize=True)
        parts.append(vectors.float().numpy())
    return np.concatenate(parts)


class Profile:
    """Seconds spent in what was wrapped, by name; of the main thread and of others apart."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, timed."""

        def timed(*args: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                own = threading.current_thread() is threading.main_thread()
                with self._lock:
                    self.seconds[name if own else f"{name}, beside"] += time.perf_counter() - begin

        return timed


@contextmanager
def profiled(model: Any) -> Iterator[Profile]:
    """Wrap the model and the steps of `showing` for one labelling."""
    profile = Profile()
    places: list[tuple[Any, str, str]] = [
        (model, "encode_images", "forward and transform"),
        (model, "encode_texts", "captions"),
        (feeding, "_decode", "decoding"),
        (feeding._Ahead, "take", "waiting for decoding"),
        (showing, "_put_down", "embeddings put down"),
        (showing, "_commit", "label and commit"),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, called in places:
        setattr(owner, name, profile.wrapped(called, getattr(owner, name)))
    try:
        yield profile
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


@dataclass
class Times:
    """What several runs took: by the clock, and on all cores together, which a shared machine disturbs less."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, run: Callable[[], Any]) -> None:
        """Time one run."""
        wall, processor = time.perf_counter(), time.process_time()
        run()
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)


def label_once(hub: Path, work: Path, model: VisionLanguageModel, options: argparse.Namespace) -> tuple[Times, Profile]:
    """Label a copy of the hub; return what it took and what that went into."""
    copy = work / "labelled"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(hub, copy)
    times = Times()
    with profiled(model) as profile:
        times.add(lambda: showing.label_model(copy, model, batch=options.batch, workers=options.workers))
    return times, profile


def compare(hub: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Let labelling and the bare loop take turns."""
    begin = time.perf_counter()
    model = any_model(options.model)
    loaded = time.perf_counter() - begin
    with Hub.open(hub) as opened:
        given = opened.label_input()
    files = [given.uris[row] for row in np.lexsort((given.bit, given.block)).tolist()]
    model.encode_images([open_image(file) for file in files[: options.batch]])
    bare, labelled, shares, last = Times(), Times(), [], Profile()
    for _ in range(options.rounds):
        bare.add(lambda: bare_loop(model, files, options.batch))
        once, last = label_once(hub, work, model, options)
        labelled.wall += once.wall
        labelled.processor += once.processor
        # What is decoded beside the model costs nothing that the clock shows; waiting for it does.
        shares.append(sum(last.seconds[name] for name in COUNTED) / once.wall[0])
    median = statistics.median
    return {
        "images": len(files),
        "model": model.card.name,
        "batch": options.batch,
        "workers": options.workers,
        "load_s": loaded,
        "bare_images_per_s": len(files) / median(bare.wall),
        "label_images_per_s": len(files) / median(labelled.wall),
        "ratio": median(bare.wall) / median(labelled.wall),
        "ratio_of_processor_time": median(bare.processor) / median(labelled.processor),
        "share_of_forward_and_decoding": median(shares),
        "profile_s": dict(sorted(last.seconds.items())),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} files instead of {FULL}")
    parser.add_argument("--model", default="demo:generalist")
    parser.add_argument("--batch", type=int, default=showing.BATCH)
    parser.add_argument("--workers", type=int, default=feeding.WORKERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True, help="folder for files and hubs; kept and used again")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = QUICK if options.quick else FULL
    folder = write_pictures(options.work / f"pictures-{count}", count)
    hub = options.work / f"hub-{count}"
    begin = time.perf_counter()
    if not hub.exists():
        make_hub(hub, folder)
    imported = time.perf_counter() - begin
    found = compare(hub, options.work, options) | {"import_s": imported}
    if options.json:
        print(json.dumps(found))
        return
    print(f"{found['images']} images, {found['model']}, batch {found['batch']}, {found['workers']} workers")
    print(f"  bare loop  {found['bare_images_per_s']:8.1f} images/s")
    print(
        f"  label      {found['label_images_per_s']:8.1f} images/s, {found['ratio']:.3f} x the bare loop, "
        f"{found['ratio_of_processor_time']:.3f} by processor time"
    )
    print(f"  forward and decoding {100 * found['share_of_forward_and_decoding']:.1f} % of the time")
    for name, seconds in found["profile_s"].items():
        print(f"    {name:32} {seconds:8.2f} s")


if __name__ == "__main__":
    main()
