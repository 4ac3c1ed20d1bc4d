"""CLIP-like models of sentence-transformers: images and texts in one space.

    load_sentence_model("clip-ViT-B-32")        downloads unless it is cached
    load_sentence_model("/models/mine")         a folder that sentence-transformers saved

`load_model` calls this with what follows `st:`. Weights are read from safetensors, and a model that brings code of
its own is refused. Encoders of texts alone are in `sentence`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mllctl.backends.hugging_face import check_files
from mllctl.backends.names import absolute, is_path
from mllctl.backends.open_clip_models import _reason, _unloadable, hash_state
from mllctl.backends.protocol import Float32, ModelCard
from mllctl.backends.sentence import _model_folder, packaged_folder
from mllctl.errors import ModelNotLoadable

PREFIX = "st:"
ARCH = "sentence-transformers"
SCALE = 100.0  # where a model has none: CLIP's, at which its training is clipped

_LIBRARIES = ("torch", "torchvision", "sentence_transformers", "transformers", "pillow")
# What a processor of images does, as far as an embedding depends on it.
_STEPS = ("do_", "size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std", "image_processor_type")


def load_sentence_model(name_or_folder: str, device: str = "cpu") -> "SentenceModel":
    """Load a sentence-transformers model that embeds images and texts in one space.

    Args:
        name_or_folder: a folder, or an id such as `clip-ViT-B-32`.
        device: where torch runs it, such as `cpu` or `cuda:1`.

    Raises:
        ModelNotLoadable: if there is no such model here or, when online, on the Hugging Face hub; if it embeds no
            images, or has code of its own.
    """
    asked = read_name(name_or_folder)
    source = f"{PREFIX}{asked}"
    if not Path(asked).is_dir() and packaged_folder(asked) is None:
        repository = asked if "/" in asked else f"{ARCH}/{asked}"
        check_files(source, repository, ("modules.json", "config.json"), "st:PATH")
    folder = _model_folder(asked)
    _refuse_code(folder, source)
    model = _open_folder(folder, source, device)
    name = Path(asked).resolve().name if Path(asked).is_absolute() else asked.rpartition("/")[2]
    return SentenceModel(model, f"{ARCH}/{name}", source)


def read_name(name_or_folder: str) -> str:
    """Return an id as it is, and a folder as a path that holds in any folder; nothing is loaded.

    Raises:
        ModelNotLoadable: if there is nothing, or a path to no folder.
    """
    asked = name_or_folder.strip()
    if not asked:
        raise ModelNotLoadable(PREFIX, "a model of sentence-transformers is named st:ID or st:FOLDER")
    if absolute(asked).is_dir():
        return str(absolute(asked))  # the hub loads it again from any folder
    if is_path(asked):
        raise ModelNotLoadable(f"{PREFIX}{asked}", f"there is no folder {absolute(asked)}; check the path")
    return asked


class SentenceModel:
    """A sentence-transformers model of images and texts, ready to embed.

    Args:
        model: what sentence-transformers loaded, in evaluation mode.
        name: key in the hub, `arch/weights`.
        source: what `load_model` was given.

    Raises:
        ModelNotLoadable: if it embeds no images, or in another width than texts.
    """

    def __init__(self, model: Any, name: str, source: str) -> None:
        self._model = model
        self._processor = getattr(_first(model).processor, "image_processor", None)
        if self._processor is None:
            raise ModelNotLoadable(
                source, "it embeds texts only; give a model of images and texts, as st:clip-ViT-B-32"
            )
        with _as_unloadable(source):
            width = self._embed(["a"]).shape[1]
            seen = self._embed([Image.new("RGB", (32, 32))]).shape[1]
        if seen != width:
            raise ModelNotLoadable(source, f"its images have width {seen} and its texts {width}: not one space")
        self._card = self._describe(name, source, width)

    @property
    def card(self) -> ModelCard:
        return self._card

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        """Return unit vectors, shape (i, d)."""
        return self._embed([image.convert("RGB") for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d).

        Only texts of equally many tokens share a batch: no vector depends on its neighbours' padding.
        """
        vectors = np.empty((len(texts), self._card.embedding_width), np.float32)
        length = [len(ids) for ids in self._tokenizer(list(texts), truncation=True)["input_ids"]] if texts else []
        by_length = sorted(range(len(texts)), key=length.__getitem__)
        for _, alike in groupby(by_length, key=length.__getitem__):
            rows = list(alike)
            vectors[rows] = self._embed([texts[row] for row in rows])
        return vectors

    @property
    def _tokenizer(self) -> Any:
        return self._model.tokenizer

    def _embed(self, inputs: Sequence[Any]) -> Float32:
        if not inputs:
            return np.empty((0, self._card.embedding_width), np.float32)
        rows = self._model.encode(
            list(inputs), batch_size=len(inputs), normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(rows, np.float32)

    def _describe(self, name: str, source: str, width: int) -> ModelCard:
        state = self._model.state_dict()
        scale, bias = _find(state, "logit_scale"), _find(state, "logit_bias")
        return ModelCard(
            name=name,
            kind="sentence_transformers",
            fingerprint=hash_state(state),
            parameters=sum(tensor.numel() for tensor in self._model.parameters()),
            image_size=_image_size(self._processor),
            embedding_width=width,
            logit_scale=SCALE if scale is None else float(np.exp(scale)),
            logit_bias=0.0 if bias is None else bias,
            preprocess=_describe_processor(self._processor),
            tokenizer=_describe_tokenizer(self._tokenizer),
            source=source,
            libraries={library: version(library) for library in _LIBRARIES},
        )


def _open_folder(folder: Path, source: str, device: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with _as_unloadable(source):
        return SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},  # never a pickle
        ).eval()


def _refuse_code(folder: Path, source: str) -> None:
    """Refuse a folder whose modules are not of sentence-transformers: before 6.0 it ran them without asking."""
    path = folder / "modules.json"
    if not path.is_file():
        return
    try:
        kinds = [str(module["type"]) for module in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelNotLoadable(source, f"{path} cannot be understood; save the model again") from error
    for kind in kinds:
        if not kind.startswith("sentence_transformers."):
            reason = f"it brings code of its own ({kind}), which is not run"
            raise ModelNotLoadable(source, f"{reason}; write a plugin for it, see docs/backends.md")


@contextmanager
def _as_unloadable(source: str) -> Iterator[None]:
    """Say in one line what sentence-transformers raises of a model that is incomplete or of another kind."""
    try:
        yield
    except _unloadable() as error:
        raise ModelNotLoadable(source, _reason(error)) from error


def _first(model: Any) -> Any:
    return next(iter(model))


def _find(state: Any, name: str) -> float | None:
    """Return a scalar of the model by the end of its name, or None."""
    return next((float(state[key].reshape(-1)[0]) for key in state if key.rpartition(".")[2] == name), None)


def _image_size(processor: Any) -> int:
    """Return the longer side of what the model sees, in pixels."""
    facts = processor.to_dict()
    size = facts.get("crop_size") if facts.get("do_center_crop") else facts.get("size")
    sides = [side for side in size.values() if side] if isinstance(size, dict) else [size]
    return max(int(side) for side in sides if side)


def _describe_processor(processor: Any) -> str:
    facts = {key: fact for key, fact in processor.to_dict().items() if key.startswith(_STEPS)}
    return "; ".join(f"{key} {json.dumps(facts[key], sort_keys=True, default=str)}" for key in sorted(facts))


def _describe_tokenizer(tokenizer: Any) -> str:
    """Name the class, the length, and the vocabulary by its hash."""
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items()))
    digest = hashlib.sha256(vocabulary.encode()).hexdigest()[:16]
    return f"{type(tokenizer).__name__}; length {tokenizer.model_max_length}; vocabulary {digest}"
