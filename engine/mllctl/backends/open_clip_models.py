"""Any open_clip model as a `VisionLanguageModel`.

Images go through the model's own evaluation transform and texts through its own tokenizer; what
comes out are open_clip's embeddings, normalised. A batch is what is handed in: choosing its size,
rounding and storing are the caller's.

    open_model("ViT-B-32", "laion2b_s34b_b79k")           downloads unless it is cached
    open_model("ViT-B-32", "/weights/mine.safetensors")   reads tensors only, never runs a pickle
    build_model("name", config, preprocess, weights)      a configuration and tensors in memory
"""

import difflib
import hashlib
import json
import logging
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mllctl.backends.protocol import Float32, ModelCard
from mllctl.errors import ModelNotLoadable

if TYPE_CHECKING:
    import torch

# Whatever can change an embedding in its last digits.
_LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "pillow")


class OpenClipModel:
    """An open_clip model with its transform and tokenizer, ready to embed.

    Args:
        model: what open_clip's factory returned, weights loaded.
        tokenizer: open_clip's tokenizer of that model.
        name: key in the hub, `arch/weights`.
        source: what `load_model` was given.
        device: where torch runs it, such as `cpu` or `cuda:1`.

    Attributes:
        module: the open_clip model itself.
        transform: from a picture to a tensor.
        tokenizer: from texts to token numbers.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, source: str, device: str = "cpu") -> None:
        import torch

        # Faster for depthwise convolutions on a processor (312 against 215 images/s of 96 px on two cores).
        self.module = model.eval().to(device, memory_format=torch.channels_last)
        self.transform = image_transform(model.visual.preprocess_cfg)
        self.tokenizer = tokenizer
        self._device = device
        self._card = _describe_model(model, tokenizer, name, source)

    @property
    def card(self) -> ModelCard:
        return self._card

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        """Return unit vectors, shape (i, d)."""
        import torch

        if not images:
            return np.empty((0, self._card.embedding_width), np.float32)
        pixels = torch.stack([self.transform(image.convert("RGB")) for image in images])
        with torch.inference_mode():
            batch = pixels.to(self._device, memory_format=torch.channels_last)
            return _to_array(self.module.encode_image(batch, normalize=True))

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""
        import torch

        if not texts:
            return np.empty((0, self._card.embedding_width), np.float32)
        tokens = self.tokenizer(list(texts)).to(self._device)
        with torch.inference_mode():
            return _to_array(self._encode_tokens(tokens))

    def _encode_tokens(self, tokens: "torch.Tensor") -> "torch.Tensor":
        """Encode token numbers of shape (n, length).

        Towers from transformers mask their padding, so each group of equally long texts goes in
        without it: a class name is a tenth of the full length, and no vector depends on its neighbours.
        """
        import torch

        padding = getattr(getattr(getattr(self.module, "text", None), "config", None), "pad_token_id", None)
        if padding is None:
            vectors: torch.Tensor = self.module.encode_text(tokens, normalize=True)
            return vectors
        lengths = (tokens != padding).sum(dim=1)
        groups = [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]
        parts = [self.module.encode_text(tokens[rows, : lengths[rows[0]]], normalize=True) for rows in groups]
        return torch.cat(parts)[torch.cat(groups).argsort()]


def open_model(arch: str, weights: str, device: str = "cpu") -> OpenClipModel:
    """Load an architecture that open_clip knows with pretrained or local weights.

    Args:
        arch: open_clip's name, such as `ViT-B-32`.
        weights: a pretrained tag of that architecture, or the path of a checkpoint.
        device: where torch runs it.

    Raises:
        ModelNotLoadable: if architecture or tag are unknown, the file does not fit, or nothing can
            be downloaded.
    """
    import open_clip

    source = f"{arch}/{weights}"
    _check_known(source, arch, weights)
    try:
        with _without_logging():
            model = open_clip.create_model(arch, weights, require_pretrained=True, weights_only=True)
            tokenizer = open_clip.get_tokenizer(arch)
    except _unloadable() as error:
        raise ModelNotLoadable(source, _reason(error)) from error
    name = f"{arch}/{Path(weights).stem}" if Path(weights).is_file() else source
    return OpenClipModel(model, tokenizer, name, source, device)


def build_model(
    name: str,
    config: Mapping[str, Any],
    preprocess: Mapping[str, Any],
    weights: Mapping[str, "torch.Tensor"],
    source: str,
    device: str = "cpu",
) -> OpenClipModel:
    """Build a model by open_clip's factory from a configuration and tensors in memory.

    Args:
        name: key in the hub, `arch/weights`.
        config: what open_clip keeps in `model_configs/ARCH.json`.
        preprocess: fields of open_clip's `PreprocessCfg`, such as mean and std.
        weights: every tensor of the model by its name; none may be missing or left over.
        source: what `load_model` was given.
        device: where torch runs it.
    """
    import open_clip

    arch = name.replace("/", "-")
    _register_config(arch, config)
    with _without_logging():
        model = open_clip.create_model(arch, pretrained_text=False, force_preprocess_cfg=dict(preprocess))
    model.load_state_dict(dict(weights), strict=True)
    return OpenClipModel(model, open_clip.get_tokenizer(arch), name, source, device)


def hash_state(state: Mapping[str, "torch.Tensor"]) -> str:
    """Return the SHA-256 over the names, types, shapes and bytes of all tensors, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _describe_model(model: Any, tokenizer: Any, name: str, source: str) -> ModelCard:
    bias = getattr(model, "logit_bias", None)
    size = model.visual.preprocess_cfg["size"]
    return ModelCard(
        name=name,
        kind="open_clip",
        fingerprint=hash_state(model.state_dict()),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        image_size=size if isinstance(size, int) else max(size),
        embedding_width=_embedding_width(model, tokenizer),
        logit_scale=model.logit_scale.exp().item(),
        logit_bias=0.0 if bias is None else bias.item(),
        preprocess=describe_preprocess(model.visual.preprocess_cfg),
        tokenizer=_describe_tokenizer(tokenizer),
        source=source,
        libraries={library: version(library) for library in _LIBRARIES},
    )


def image_transform(config: Mapping[str, Any]) -> Any:
    """Return the transform from a picture to a tensor that open_clip makes of its `PreprocessCfg`, for evaluation."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**config), is_train=False)


def describe_preprocess(config: Mapping[str, Any]) -> str:
    """Say a transform in words that change when it changes."""
    return "; ".join(f"{key} {value}" for key, value in sorted(config.items()))


def _embedding_width(model: Any, tokenizer: Any) -> int:
    """Return d; not every architecture has it as an attribute, so one text is embedded."""
    import torch

    with torch.inference_mode():
        tokens = tokenizer(["a"]).to(next(model.parameters()).device)
        return int(model.encode_text(tokens).shape[-1])


def _describe_tokenizer(tokenizer: Any) -> str:
    """Name the class, the length, and the vocabulary by its hash: paths and hub names say less."""
    inner: Any = getattr(tokenizer, "tokenizer", None)
    vocabulary = inner.get_vocab() if hasattr(inner, "get_vocab") else getattr(tokenizer, "encoder", {})
    digest = hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest()[:16]
    return f"{type(tokenizer).__name__}; length {tokenizer.context_length}; vocabulary {digest}"


def _check_known(source: str, arch: str, weights: str) -> None:
    """Refuse what open_clip does not know, in one line and with the nearest names."""
    import open_clip

    if arch not in open_clip.list_models():
        raise ModelNotLoadable(source, f"open_clip has no architecture {arch!r}{_close(arch, open_clip.list_models())}")
    tags = open_clip.list_pretrained_tags_by_model(arch)
    if weights not in tags and not Path(weights).is_file():
        raise ModelNotLoadable(source, f"{weights!r} is neither a file nor a tag of {arch}{_close(weights, tags)}")


def _close(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, words, n=3, cutoff=0.4) or list(words)[:3]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _unloadable() -> tuple[type[Exception], ...]:
    """What open_clip, torch, safetensors and Hugging Face raise when weights are missing or do not fit."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    return (RuntimeError, OSError, ValueError, KeyError, UnpicklingError, SafetensorError)


def _reason(error: Exception) -> str:
    """Say in one line why weights cannot be loaded."""
    from pickle import UnpicklingError

    if isinstance(error, UnpicklingError):
        # torch's own message advises to run whatever the file holds.
        return "the checkpoint is not made of tensors alone; save its state dict as .safetensors"
    return textwrap.shorten(str(error), 300, placeholder=" ...") or type(error).__name__


@contextmanager
def _without_logging() -> Iterator[None]:
    """Keep open_clip from logging what is raised or, as of a model without weights yet, soon untrue."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _register_config(arch: str, config: Mapping[str, Any]) -> None:
    """Make a configuration known to open_clip, which reads it from a file and then keeps it."""
    import open_clip

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{arch}.json")
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)


def _to_array(vectors: "torch.Tensor") -> Float32:
    """Unit rows in float32, whatever the model computed in."""
    rows: Float32 = vectors.float().cpu().numpy()
    return rows
