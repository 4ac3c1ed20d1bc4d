"""A canary: what a model makes of a few fixed images and captions, by which one sees that it is no longer the same.

    take_canary(model)                     run it on seven drawings and eight shipped pictures, each with a caption
    watch_model(model, stored)             compare with what the hub has, and keep the canary on the card
    compare_canaries(kept, taken, card)    the comparison alone

A card names weights, transform and tokenizer; a library that is updated may change embeddings all the same, and a
label made of both would mix two models. The canary lies in the card's `libraries` under a key of its own: that field
is no part of the card's identity, so hubs of before have none and are read as ever. The first one taken is kept, with
the versions it was taken under: small drifts do not add up unseen.

A canary says by a hash what was shown: one taken of other images, as before a renewal of the shipped ones, is compared
with nothing.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import mllctl_data
from mllctl.backends.devices import FLOAT32, precision_of
from mllctl.backends.protocol import Float32, ModelCard, VisionLanguageModel
from mllctl.errors import ModelNotLoadable

if TYPE_CHECKING:
    from PIL import Image

KEY = "canary"  # in the `libraries` of a card

# Largest difference of a number of an embedding that rounding may make; bfloat16 has numbers that are a 256th apart.
DRIFT = 1e-3
DRIFT_IN_FEWER_BITS = 1e-2
# How much further a cosine may go: where all numbers of two unit vectors move at random by up to x, their cosine moves
# by 0.8 x in the mean of squares, and the largest of 435 by 2 x to 3 x.
IN_COSINES = 5

SIDE = 224  # pixels
KEPT = 32  # numbers of each embedding that are kept; what changes elsewhere alone shows in the cosines

DRAWINGS = (
    "a red square",
    "a green square",
    "a blue square",
    "a black circle",
    "black and white stripes",
    "a chessboard",
    "a yellow star in the night sky",
)
# Of the demo's images, the first of each synset in this domain.
DOMAIN = "render3d"
SHIPPED = {
    "cat.n.01": "a cat",
    "elephant.n.01": "an elephant",
    "butterfly.n.01": "a butterfly",
    "airplane.n.01": "an airplane",
    "house.n.01": "a house",
    "strawberry.n.01": "a strawberry",
    "tree.n.01": "a tree",
    "umbrella.n.01": "an umbrella",
}
CAPTIONS = (*DRAWINGS, *SHIPPED.values())
# Images that find their own caption by chance: one in the mean, whatever their number, and three in 8 % of cases. A
# model of animals alone finds few more.
IN_ORDER = 3


@dataclass(frozen=True, eq=False)
class Canary:
    """What a model made of the images and captions.

    Attributes:
        shown: SHA-256 over the images and captions.
        sha256: over all embeddings, rounded to float16.
        start: the first numbers of each embedding, images before captions, float16, shape (30, up to 32).
        cosines: of every pair of different embeddings, float16, shape (435,).
        in_order: how many images are most similar to their own caption.
        versions: of the libraries under which it was taken.
    """

    shown: str
    sha256: str
    start: NDArray[np.float16]
    cosines: NDArray[np.float16]
    in_order: int
    versions: Mapping[str, str]

    @property
    def order_holds(self) -> bool:
        """Whether some images are most similar to their own caption; of random weights that is seldom true."""
        return self.in_order >= IN_ORDER


def canary_images() -> "list[Image.Image]":
    """Return the images, in the order of `CAPTIONS`."""
    return [*_draw_images(), *_shipped_images()]


def _draw_images() -> "list[Image.Image]":
    """Draw in whole numbers only, so that drawings are the same everywhere."""
    from PIL import Image

    row, column = np.mgrid[0:SIDE, 0:SIDE]
    y, x = row - SIDE // 2, column - SIDE // 2
    square = (np.abs(x) < 72) & (np.abs(y) < 72)
    # Four points of light: where the product of the distances to both axes is small.
    star = (np.abs(x * y) < 300) & (np.abs(x) < 90) & (np.abs(y) < 90)
    white, black, night = (255, 255, 255), (0, 0, 0), (8, 8, 60)
    return [
        Image.fromarray(np.where(shape[..., None], *colours).astype(np.uint8))
        for shape, colours in (
            (square, _colours((220, 20, 20), white)),
            (square, _colours((20, 170, 40), white)),
            (square, _colours((20, 40, 220), white)),
            (x * x + y * y < 80 * 80, _colours(black, white)),
            (column // 16 % 2 == 0, _colours(black, white)),
            ((column // 28 + row // 28) % 2 == 0, _colours(black, white)),
            (star, _colours((250, 220, 40), night)),
        )
    ]


def _shipped_images() -> "list[Image.Image]":
    import pyarrow.parquet as parquet
    from PIL import Image

    rows = parquet.read_table(
        mllctl_data.path("demo", "images.parquet"),
        columns=["synset", "picture"],
        filters=[("synset", "in", list(SHIPPED)), ("domain", "=", DOMAIN)],
    ).to_pylist()
    first = {row["synset"]: row["picture"] for row in reversed(rows)}
    return [_on_white(Image.open(BytesIO(first[synset]))) for synset in SHIPPED]


def _on_white(picture: "Image.Image") -> "Image.Image":
    """Return a picture as RGB; what is transparent may have any colour beneath."""
    from PIL import Image

    clear = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


@cache
def _shown() -> str:
    """Return the SHA-256 over the pixels of all images and over the captions."""
    digest = hashlib.sha256("\n".join(CAPTIONS).encode())
    for image in canary_images():
        digest.update(f"{image.size}".encode() + image.tobytes())
    return digest.hexdigest()


def take_canary(model: VisionLanguageModel) -> Canary:
    """Run a model on the images and captions.

    Raises:
        ModelNotLoadable: if what it returns is not numbers of the width its card says.
    """
    # One at a time: a batch of another size could change the last bits.
    images = np.concatenate([model.encode_images([image]) for image in canary_images()])
    texts = np.concatenate([model.encode_texts([caption]) for caption in CAPTIONS])
    return measure(images, texts, model.card)


def measure(images: Float32, texts: Float32, card: ModelCard) -> Canary:
    """Make a canary of embeddings.

    Args:
        images: of the images, shape (15, d).
        texts: of their captions, shape (15, d).
        card: of the model.

    Raises:
        ModelNotLoadable: if their shape is another, or they are not finite.
    """
    wanted = (len(CAPTIONS), card.embedding_width)
    if images.shape != wanted or texts.shape != wanted:
        reason = f"its embeddings have shapes {images.shape} and {texts.shape}, where its card says {wanted}"
        raise ModelNotLoadable(card.name, f"{reason}; its weights are of another model")
    both = np.concatenate([images, texts]).astype(np.float64)
    if not np.isfinite(both).all():
        raise ModelNotLoadable(card.name, "it gives embeddings that are not numbers; its weights are damaged")
    rounded = both.astype("<f2")
    upper = np.triu_indices(len(both), k=1)
    own = both[: len(images)] @ both[len(images) :].T
    return Canary(
        shown=_shown(),
        sha256=hashlib.sha256(rounded.tobytes()).hexdigest(),
        start=rounded[:, :KEPT],
        cosines=(both @ both.T)[upper].astype("<f2"),
        in_order=int((own.argmax(axis=1) == np.arange(len(own))).sum()),
        versions=versions_of(card),
    )


# -- on a card ----------------------------------------------------------------------------------------


def versions_of(card: ModelCard) -> dict[str, str]:
    """Return the versions of a card's libraries, without its canary."""
    return {name: text for name, text in card.libraries.items() if name != KEY}


def with_canary(card: ModelCard, canary: Canary | None) -> ModelCard:
    """Return a card that keeps `canary`, or none."""
    kept = {KEY: _to_text(canary)} if canary else {}
    return replace(card, libraries={**versions_of(card), **kept})


def canary_of(card: ModelCard) -> Canary | None:
    """Return the canary that a card keeps, None if there is none that this mllctl can read."""
    try:
        return _from_text(card.libraries[KEY])
    except (KeyError, ValueError, TypeError, struct.error):
        # Of another mllctl, which drew or kept other things: it can be compared with nothing.
        return None


# -- comparing ----------------------------------------------------------------------------------------


def compare_canaries(kept: Canary, taken: Canary, card: ModelCard) -> str | None:
    """Compare what a model makes now with what it made when its canary was kept.

    Args:
        kept, taken: of one model, of the same images.
        card: of the model.

    Returns:
        A line to show, if embeddings have drifted by no more than rounding; else None.

    Raises:
        ModelNotLoadable: if they have changed: what is labelled now would not fit what was labelled before.
    """
    if kept.sha256 == taken.sha256:
        return None
    moved = _difference(kept, taken)
    changed = _changed_versions(kept.versions, taken.versions)
    limit = DRIFT if precision_of(card) == FLOAT32 else DRIFT_IN_FEWER_BITS
    if moved <= limit:
        why = changed or "with the same libraries, so by another machine or device"
        # Nothing where only what is not kept differs.
        far = f"by at most {moved:.0e}" if moved else "in their last bits"
        return f"{card.name}: embeddings differ {far} from those its canary was taken of ({why}); going on"
    versions = f"changed: {changed}" if changed else "no library has another version"
    restore = "restore those versions, or " if changed else ""
    cure = f"{restore}label it under another name, or `mllctl model remove {card.name}` and label it anew"
    reason = f"it gives other embeddings than when its canary was taken, by {moved:.2g} ({versions})"
    raise ModelNotLoadable(card.name, f"{reason}; {cure}")


def watch_model(model: VisionLanguageModel, stored: ModelCard | None) -> tuple[VisionLanguageModel, list[str]]:
    """Take a model's canary, compare it with the hub's, and return the model with a card that keeps it.

    Args:
        model: as it was loaded.
        stored: its card in the hub, None if it is not there. One of another identity is of another model, and is
            compared with nothing.

    Returns:
        The same model with its card, and lines to show: of a drift, or of a first canary whose order does not hold.

    Raises:
        ModelNotLoadable: as `compare_canaries` does, and if embeddings are not numbers.
    """
    taken = take_canary(model)
    kept = _comparable(stored, model.card)
    if kept is None:
        return WatchedModel(model, taken), [] if taken.order_holds else [_disorder(taken, model.card)]
    said = compare_canaries(kept, taken, model.card)
    return WatchedModel(model, kept), [said] if said else []


class WatchedModel:
    """A model whose card keeps a canary."""

    def __init__(self, model: VisionLanguageModel, canary: Canary) -> None:
        self._model = model
        self._card = with_canary(model.card, canary)

    @property
    def card(self) -> ModelCard:
        return self._card

    def encode_images(self, images: "Sequence[Image.Image]") -> Float32:
        """Return unit vectors, shape (i, d)."""
        return self._model.encode_images(images)

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""
        return self._model.encode_texts(texts)


def _comparable(stored: ModelCard | None, card: ModelCard) -> Canary | None:
    if stored is None or stored.identity != card.identity:
        return None
    kept = canary_of(stored)
    # Of other images, or of another width, nothing can be compared number by number.
    same = kept and kept.shown == _shown() and kept.start.shape[1] == min(KEPT, card.embedding_width)
    return kept if same else None


def _difference(kept: Canary, taken: Canary) -> float:
    """Return the largest difference of a number of an embedding, or a fifth of that of a cosine if it is more."""
    numbers, cosines = (
        float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
        for a, b in ((kept.start, taken.start), (kept.cosines, taken.cosines))
    )
    return max(numbers, cosines / IN_COSINES)


def _changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    names = sorted(before.keys() | now.keys())
    return ", ".join(
        f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in names
        if before.get(name) != now.get(name)
    )


def _disorder(canary: Canary, card: ModelCard) -> str:
    found = f"it finds the captions of {canary.in_order} of {len(CAPTIONS)} images"
    return f"{card.name}: {found}, as a model without training might; see that these are the right weights"


def _colours(inside: tuple[int, int, int], outside: tuple[int, int, int]) -> tuple[NDArray[np.int64], ...]:
    return np.array(inside), np.array(outside)


def _to_text(canary: Canary) -> str:
    facts = {
        "shown": canary.shown,
        "sha256": canary.sha256,
        "in_order": canary.in_order,
        "width": canary.start.shape[1],
        "numbers": base64.b85encode(canary.start.tobytes() + canary.cosines.tobytes()).decode(),
        "versions": dict(canary.versions),
    }
    return json.dumps(facts, sort_keys=True)


def _from_text(text: str) -> Canary:
    facts = json.loads(text)
    numbers = np.frombuffer(base64.b85decode(facts["numbers"]), "<f2")
    rows, width = 2 * len(CAPTIONS), int(facts["width"])
    start, cosines = numbers[: rows * width], numbers[rows * width :]
    if len(cosines) != rows * (rows - 1) // 2:
        raise ValueError(f"a canary of {rows} images and captions has {rows * (rows - 1) // 2} cosines")
    return Canary(
        facts["shown"], facts["sha256"], start.reshape(rows, width), cosines, facts["in_order"], facts["versions"]
    )
