"""What a model was shown waits in a hub's `staging/` until it is committed, and is taken up by the same command.

Any kind of model: a vision-language model's embeddings of images and captions, an expert's outputs.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

from mllctl.backends.protocol import ExpertCard, ModelCard
from mllctl.backends.sharing import one_batch
from mllctl.errors import HubBusy
from mllctl.hub import Features, LabelInput
from mllctl.hub.features import Float16, map_batches, write_features
from mllctl.images import Skipped
from mllctl.images.feeding import picture_batches

Item = TypeVar("Item")
Progress = Callable[[int, int], None]  # (images done, images in all but for those that could not be read)
See = Callable[[Sequence[Image.Image]], Float16]

BATCHES_PER_PART = 16  # embeddings are put down every 1,024 images; at most that many are lost
WRITER_WAIT = 600.0  # seconds; another writer's commit must not cost hours of labelling
CARD = "card.json"  # in a folder of staging: whose embeddings wait there


def staging_of(path: Path, card: ModelCard | ExpertCard) -> Path:
    """Return the folder in which a model's embeddings wait for the commit; of another precision in another one."""
    return path / "staging" / f"label-{card.identity[:16]}"


def staged_cards(path: Path) -> list[ModelCard]:
    """Return the cards of the models of which embeddings wait in a hub's staging, by folder."""
    cards = []
    for file in sorted((path / "staging").glob(f"label-*/{CARD}")):
        try:
            cards.append(ModelCard(**json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue  # just committed, cut off, of another mllctl or an expert: its images are counted as to be shown
    return cards


def put_card(staging: Path, card: ModelCard | ExpertCard) -> None:
    """Put down whose embeddings wait here: a model that is new is in no hub yet."""
    (staging / "unfinished").write_text(json.dumps(asdict(card)), encoding="utf-8")
    (staging / "unfinished").replace(staging / CARD)


@dataclass(frozen=True)
class Viewer:
    """A model that is shown images.

    Attributes:
        see: what it makes of a batch of images, shape (i, d).
        staging: where that is put down.
        todo: rows of the images that it is to be shown.
    """

    see: See
    staging: Path
    todo: NDArray[np.int64]


def show_images(
    viewers: Sequence[Viewer],
    batch: int,
    given: LabelInput,
    order: list[int],
    progress: Progress | None,
    workers: int,
) -> dict[int, Skipped]:
    """Show models images in one pass, put down what they make of them, and return those that cannot be read, by row.

    What models have in common, such as a tower, is worked out once for an image (`backends.sharing`).

    Args:
        viewers: the models, each with its own rows.
        batch: images at once.
        given: all images.
        order: rows of those that are to be shown to any, in the order in which they are.
        progress: called before the first batch and after each.
        workers: threads that decode ahead.
    """
    skipped: dict[int, Skipped] = {}
    fresh: list[dict[int, Float16]] = [{} for _ in viewers]
    done, total = len(given.images) - len(order), len(given.images)
    if progress and order:
        progress(done, total)
    wanted = [set(viewer.todo.tolist()) for viewer in viewers]
    rows = list(in_parts(order, batch))
    with closing(picture_batches([given.uris[row] for row in order], batch, workers)) as batches:
        for number, (few, pictures) in enumerate(zip(rows, batches, strict=True), start=1):
            readable: dict[int, Image.Image] = {}
            for row, picture in zip(few, pictures, strict=True):
                if isinstance(picture, Skipped):
                    skipped[row] = picture
                else:
                    readable[row] = picture
            with one_batch():
                for viewer, mine, kept in zip(viewers, wanted, fresh, strict=True):
                    kept.update(_see_some(viewer.see, given, {n: p for n, p in readable.items() if n in mine}))
            done += len(readable)
            if progress:
                progress(done, total - len(skipped))
            if number % BATCHES_PER_PART == 0 or number == len(rows):
                for viewer, kept in zip(viewers, fresh, strict=True):
                    put_down(viewer.staging, "image", kept)
                    kept.clear()
    return skipped


def _see_some(see: See, given: LabelInput, pictures: dict[int, Image.Image]) -> dict[int, Float16]:
    """Return what a model makes of pictures by row, by the images' ordinals."""
    if not pictures:
        return {}
    return dict(zip(given.images[list(pictures)].tolist(), see(list(pictures.values())), strict=True))


def staged(staging: Path, kind: str) -> Features:
    """Return the embeddings that wait in `staging`."""
    batches: list[pa.RecordBatch] = []
    for path in sorted(staging.glob(f"{kind}-*.arrow")):
        try:
            batches += map_batches(path)
        except pa.ArrowInvalid:
            # A power cut may leave a part that is empty; its images are shown again.
            continue
    return Features(batches)


def put_down(staging: Path, kind: str, fresh: dict[int, Float16]) -> None:
    """Put down a part under its final name only when it is whole."""
    if fresh:
        ordinals, vectors = np.array(list(fresh), dtype=np.uint32), np.array(list(fresh.values()), dtype=np.float16)
        write_features(staging / "unfinished", [(ordinals, vectors)])
        (staging / "unfinished").replace(staging / f"{kind}-{ordinals.min():010d}.arrow")


@contextmanager
def hold(staging: Path, hub: Path) -> Iterator[None]:
    """Let one process at a time label this model on this hub."""
    lock = FileLock(staging / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise HubBusy(hub) from error
    try:
        yield
    finally:
        (staging / "lock").unlink(missing_ok=True)
        lock.release()


def in_parts(items: list[Item], size: int) -> Iterator[list[Item]]:
    """Yield items so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
