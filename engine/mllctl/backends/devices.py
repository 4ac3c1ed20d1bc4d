"""Where a model runs, in how many bits it computes, and what it says when memory runs out.

    choose_device("auto")          cuda, else mps, else cpu
    in_precision(model, "bfloat16", "cuda")    the model under torch's autocast, with a card that says so
    memory_of(device)              bytes there are for models
    is_out_of_memory(error)        whether a smaller batch may help

Embeddings of different precision are of different models as far as a label is concerned: the precision is part of the
card's `preprocess`, and with it of its identity. That of float32 is as it always was.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mllctl.backends.protocol import Float32, ModelCard, VisionLanguageModel
from mllctl.errors import InvalidTask

if TYPE_CHECKING:
    from PIL import Image

FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "bfloat16", "float16")
_IN = "; computed in "  # between the words of a transform and a precision

# What torch, CUDA's libraries, the C library and onnxruntime say, in lower case; `torch.OutOfMemoryError` is a
# RuntimeError that says the first.
_NO_MEMORY = ("out of memory", "allocate memory", "alloc_failed")


def choose_device(wanted: str = "auto") -> str:
    """Return the device that torch is to use.

    Args:
        wanted: `cpu`, `cuda`, `mps`, or one of several as in `cuda:1`; `auto` is the first there is of cuda, mps
            and cpu.

    Raises:
        InvalidTask: if it is not there, or is no device.
    """
    kind, colon, number = wanted.partition(":")
    known = kind in ("auto", "cpu", "cuda", "mps") and (not colon or (number.isdecimal() and kind != "auto"))
    if not known:
        raise InvalidTask(
            f"--device {wanted}: no such device; give auto, cpu, cuda, mps or one of several as in cuda:1"
        )
    if kind == "cpu":
        return "cpu"
    count = _count_devices()
    if kind == "auto":
        return next((other for other in ("cuda", "mps") if count[other]), "cpu")
    if not count[kind]:
        raise InvalidTask(f"--device {wanted}: torch finds no {kind} here; give --device auto or --device cpu")
    if colon and int(number) >= count[kind]:
        last = f"{kind}:0" if count[kind] == 1 else f"{kind}:0 to {kind}:{count[kind] - 1}"
        raise InvalidTask(f"--device {wanted}: there is only {last}; give one of them or --device auto")
    return wanted


def _count_devices() -> dict[str, int]:
    import torch

    return {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }


def check_precision(precision: str, device: str) -> None:
    """Refuse a precision in which a device cannot compute.

    Raises:
        InvalidTask: as it says.
    """
    if precision not in PRECISIONS:
        raise InvalidTask(f"--precision {precision}: no such precision; it is one of {', '.join(PRECISIONS)}")
    if precision == FLOAT32:
        return
    import torch

    try:
        ones = torch.ones(8, 8, device=device)
        with torch.autocast(torch.device(device).type, getattr(torch, precision)):
            fits = (ones @ ones).dtype == getattr(torch, precision)
    except (RuntimeError, TypeError):
        fits = False
    if not fits:
        raise InvalidTask(f"--precision {precision}: {device} does not compute in it; give --precision {FLOAT32}")


def in_precision(model: VisionLanguageModel, precision: str, device: str) -> VisionLanguageModel:
    """Return a model that computes in `precision`: itself for float32."""
    return model if precision == FLOAT32 else AutocastModel(model, precision, device)


class Prepared(Protocol):
    """What says in words how images are prepared: a card, or what was kept of one."""

    @property
    def preprocess(self) -> str:
        """The image transform, and the precision if it is not float32."""


def precision_of(card: Prepared) -> str:
    """Return the precision that a card tells of."""
    _, told, precision = card.preprocess.rpartition(_IN)
    return precision if told and precision in PRECISIONS else FLOAT32


def card_in(card: ModelCard, precision: str) -> ModelCard:
    """Return the card of the same model in another precision."""
    plain = card.preprocess.removesuffix(f"{_IN}{precision_of(card)}")
    return replace(card, preprocess=plain if precision == FLOAT32 else f"{plain}{_IN}{precision}")


class AutocastModel:
    """A model whose large products are computed in fewer bits; what it gives is of length 1 in float32 again."""

    def __init__(self, model: VisionLanguageModel, precision: str, device: str) -> None:
        self._model = model
        self._precision = precision
        self._kind = device.partition(":")[0]
        self._card = card_in(model.card, precision)

    @property
    def card(self) -> ModelCard:
        return self._card

    def encode_images(self, images: "Sequence[Image.Image]") -> Float32:
        """Return unit vectors, shape (i, d)."""
        import torch

        with torch.autocast(self._kind, getattr(torch, self._precision)):
            return _unit(self._model.encode_images(images))

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""
        import torch

        with torch.autocast(self._kind, getattr(torch, self._precision)):
            return _unit(self._model.encode_texts(texts))


def _unit(vectors: Float32) -> Float32:
    """Scale rows to length 1: in bfloat16 a length is a 256th off, which would favour some captions over others."""
    wide = vectors.astype(np.float32)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: Float32 = wide / np.maximum(length, np.finfo(np.float32).tiny)
    return unit


def memory_of(device: str) -> int:
    """Return how many bytes of memory a device has: of a graphics card those that are free, else all of this machine's.

    A container's limit counts as the machine's.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdecimal() else whole


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that a smaller batch might have fitted."""
    if isinstance(error, MemoryError):
        return True
    # By its module: onnxruntime's errors are none of Python's, and naming them would import it.
    known = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")
    return known and any(words in str(error).lower() for words in _NO_MEMORY)


def release_memory() -> None:
    """Give back what torch keeps of a graphics card's memory for later; without torch there is nothing."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
