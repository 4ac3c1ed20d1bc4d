"""Any open_clip model as a `VisionLanguageModel`.

Images go through the model's own evaluation transform and texts through its own tokenizer; what
comes out are open_clip's embeddings, normalised. A batch is what is handed in: choosing its size,
rounding and storing are the caller's.

    open_model("ViT-B-32", "laion2b_s34b_b79k")               downloads unless it is cached
    open_model("ViT-B-32", "/weights/mine.safetensors")       a checkpoint of an architecture that open_clip knows
    open_configured("config.json", "mine.safetensors")        a checkpoint of any architecture
    open_folder("/path"), open_repository("org/name")         a configuration with weights, here or at Hugging Face
    build_model("name", config, preprocess, weights)          a configuration and tensors in memory

Of checkpoints tensors alone are read; no pickle is run, and no code that a configuration or a tokenizer brings. What
weights do not say of themselves is not guessed: a checkpoint comes with a configuration that says how images are
prepared and what the architecture is, down to what no tensor shows (activation, heads, pooling), or is refused.
"""

import hashlib
import json
import logging
import math
import re
import tempfile
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mllctl.backends.hugging_face import TOKENIZER_FILES, cached_file, check_files, weight_names
from mllctl.backends.names import CONFIG, absolute, clean_tag, find_checkpoints, known_prefixes, near_names, suggest
from mllctl.backends.protocol import Float32, ModelCard
from mllctl.backends.sharing import shared, shared_texts, shares_images, shares_texts
from mllctl.errors import ModelNotLoadable

if TYPE_CHECKING:
    import torch

# Whatever can change an embedding in its last digits.
_LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "pillow")

# What a configuration may say of the transform, the usual first. At random it is bicubic but for training.
_CHOICES = {
    "interpolation": ("bicubic", "bilinear", "random"),
    "resize_mode": ("shortest", "longest", "squash"),
    "mode": ("RGB",),
}
# Of a configuration, what does not change an embedding.
_TRAINING = {
    *("patch_dropout", "timm_drop", "timm_drop_path", "timm_model_pretrained", "hf_model_pretrained"),
    "init_logit_scale",
}


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
        # What decides a prepared batch; of models that say so in the same words it is the same.
        key = (self._card.preprocess, self._card.image_size, self._device)
        batch = shared(key, images, lambda: self._prepare(images))
        with torch.inference_mode():
            if not shares_images() or not self._has_trunk:
                return _to_array(self.module.encode_image(batch, normalize=True))
            tower = self.module.visual
            seen = shared((self._image_trunk, *key), images, lambda: tower.trunk(batch))
            return _to_array(torch.nn.functional.normalize(tower.head(seen), dim=-1))

    @property
    def _has_trunk(self) -> bool:
        """Whether the image tower is a network of timm with a layer behind it, as open_clip composes them."""
        from open_clip.timm_model import TimmModel

        return isinstance(self.module.visual, TimmModel)

    @cached_property
    def _image_trunk(self) -> str:
        """SHA-256 over what decides what the image tower makes of pixels, but for what is behind its trunk."""
        return _digest_module(self.module.visual.trunk, "")

    def _prepare(self, images: Sequence[Image.Image]) -> "torch.Tensor":
        """Return the batch that the model sees."""
        import torch

        pixels = torch.stack([self.transform(image.convert("RGB")) for image in images])
        return pixels.to(self._device, memory_format=torch.channels_last)

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
        open_clip's own towers read padding as any other token, and get it all.
        """
        import torch

        padding = getattr(getattr(getattr(self.module, "text", None), "config", None), "pad_token_id", None)
        if padding is None:
            vectors: torch.Tensor = self.module.encode_text(tokens, normalize=True)
            return vectors
        # Up to the last token: some tokenizers pad on the left, and a text may hold the padding's name.
        places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        lengths = ((tokens != padding) * places).amax(dim=1).clamp(min=1)
        groups = [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]
        parts = [self._encode_alike(tokens[rows, : lengths[rows[0]]], padding) for rows in groups]
        return torch.cat(parts)[torch.cat(groups).argsort()]

    def _encode_alike(self, tokens: "torch.Tensor", padding: int) -> "torch.Tensor":
        """Encode texts of one length; where texts are shared, what the tower makes of them is."""
        import torch

        if not shares_texts():
            vectors: torch.Tensor = self.module.encode_text(tokens, normalize=True)
            return vectors
        tower = self.module.text

        def pool() -> "torch.Tensor":
            mask = (tokens != padding).long()
            pooled: torch.Tensor = tower.pooler(tower.transformer(input_ids=tokens, attention_mask=mask), mask)
            return pooled

        key = (self._text_tower, self._device, tuple(tokens.shape), tokens.cpu().numpy().tobytes())
        return torch.nn.functional.normalize(tower.proj(shared_texts(key, pool)), dim=-1)

    @cached_property
    def _text_tower(self) -> str:
        """SHA-256 over what decides what the text tower makes of tokens, but for its last layer."""
        tower = self.module.text
        return _digest_module(tower.transformer, repr((tower.transformer.config, tower.pooler)))


def _digest_module(module: "torch.nn.Module", facts: str) -> str:
    """Return SHA-256 over the layers of a module, its tensors, and what else is to be said of it."""
    digest = hashlib.sha256(f"{facts}\n{module!r}".encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def open_model(arch: str, weights: str, device: str = "cpu") -> OpenClipModel:
    """Load an architecture that open_clip knows with pretrained or local weights.

    Args:
        arch: open_clip's name, such as `ViT-B-32`.
        weights: a pretrained tag of that architecture, or the path of a checkpoint; a tag goes first.
        device: where torch runs it.

    Raises:
        ModelNotLoadable: if architecture or tag are unknown, the file does not fit or has no configuration beside
            it, the weights are of another architecture (such as another activation), or nothing can be downloaded.
    """
    import open_clip

    source = f"{arch}/{weights}"
    if open_clip.get_model_config(arch) is None:
        raise no_architecture(source, arch, _pretrained())
    tags = open_clip.list_pretrained_tags_by_model(arch)
    tag = clean_tag(weights)
    if tag in tags:
        source = f"{arch}/{tag}"
        _check_tag_activation(arch, tag)
        return _open(source, source, arch, *_find_tag(source, arch, tag), device)
    path = absolute(weights)
    if not path.is_file():
        raise no_weights(source, arch, weights, [f"{arch}/{known}" for known in tags])
    source = f"{arch}/{path}"
    preprocess = _preprocess_beside(source, arch, path)
    return _open_own(f"{arch}/{path.stem}", source, arch, path, preprocess, device)


def open_configured(config: str, checkpoint: str, device: str = "cpu") -> OpenClipModel:
    """Load a checkpoint by a configuration as open_clip saves it: `model_cfg` and `preprocess_cfg`.

    The key in the hub is `CONFIG/CHECKPOINT` without their endings; for open_clip_config.json, its folder's name.

    Raises:
        ModelNotLoadable: if either file is missing, says too little, or they do not fit together.
    """
    path, weights = absolute(config), absolute(checkpoint)
    architecture, preprocess = read_configured(path, weights)
    arch = _register_content(architecture)
    family = path.parent.name if path.name == CONFIG else path.stem
    return _open_own(f"{family}/{weights.stem}", f"{path},{weights}", arch, weights, preprocess, device)


def read_configured(path: Path, weights: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a configuration says of the architecture and of how images are prepared; nothing is loaded.

    Raises:
        ModelNotLoadable: as `open_configured` does, if either file is missing or the configuration says too little.
    """
    source = f"{path},{weights}"
    content = _read_config(source, path)
    if not weights.is_file():
        raise ModelNotLoadable(source, f"there is no checkpoint {weights}; name a .safetensors file")
    return _model_config(source, path, content), _preprocess(source, path, content)


def open_folder(folder: str, device: str = "cpu") -> OpenClipModel:
    """Load a folder with open_clip_config.json and a checkpoint, as open_clip's own `local-dir:`.

    The key in the hub is `local-dir/` and the folder's name; tokenizers that are not open_clip's own lie in it, too.

    Raises:
        ModelNotLoadable: if the folder or one of its files is missing, or says too little.
    """
    path = absolute(folder)
    source = f"local-dir:{path}"
    checkpoint, preprocess = read_folder(path)
    return _open_own(f"local-dir/{path.resolve().name}", source, source, checkpoint, preprocess, device)


def read_folder(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the checkpoint of a folder and how images are prepared for it; nothing is loaded.

    Raises:
        ModelNotLoadable: as `open_folder` does, if the folder or one of its files is missing, or says too little.
    """
    source = f"local-dir:{path}"
    if not path.is_dir():
        raise ModelNotLoadable(source, f"there is no folder {path}; check the path")
    content = _read_config(source, path / CONFIG)
    _model_config(source, path / CONFIG, content)
    preprocess = _preprocess(source, path / CONFIG, content)
    checkpoints = find_checkpoints(path)
    if not checkpoints:
        raise ModelNotLoadable(source, "the folder holds no checkpoint; put open_clip_model.safetensors into it")
    return checkpoints[0], preprocess


def open_repository(name: str, device: str = "cpu") -> OpenClipModel:
    """Load a Hugging Face repository with open_clip_config.json and a checkpoint, named as open_clip does.

    Downloads what is not in Hugging Face's cache. The key in the hub is `hf-hub:ORG/NAME`.

    Raises:
        ModelNotLoadable: if there is no such repository, it cannot be reached, or its configuration says too little.
    """
    source = f"hf-hub:{name}"
    check_repository_name(name)
    path = _fetch(source, name, CONFIG, (CONFIG,))
    content = _read_config(source, path)
    arch = _register_content(_model_config(source, path, content))
    preprocess = _preprocess(source, path, content)
    return _open_own(source, source, arch, _fetch(source, name, "", weight_names("")), preprocess, device)


def check_repository_name(name: str) -> None:
    """Refuse what cannot be the name of a Hugging Face repository."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ModelNotLoadable(f"hf-hub:{name}", "a repository is named hf-hub:ORG/NAME")


def _open_own(
    name: str, source: str, arch: str, checkpoint: Path, preprocess: Mapping[str, Any], device: str
) -> OpenClipModel:
    """Open a checkpoint that is not of open_clip's table, if it is whole and as its configuration says."""
    import open_clip

    stored = _stored_shapes(source, checkpoint)
    if "logit_bias" in stored and open_clip.get_model_config(arch).get("init_logit_bias") is None:
        cure = "add init_logit_bias to its model_cfg; any number, it is overwritten"
        raise ModelNotLoadable(source, f"its weights have a logit_bias and its configuration has none; {cure}")
    model = _open(name, source, arch, str(checkpoint), preprocess, device)
    _check_positions(source, model.module, stored)
    return model


def _open(name: str, source: str, arch: str, weights: str, preprocess: Mapping[str, Any], device: str) -> OpenClipModel:
    """Let open_clip's factory load a model and its tokenizer.

    Args:
        name: key in the hub.
        source: what `load_model` was given.
        arch: one that open_clip knows, or its own `local-dir:PATH`, which finds the weights by itself.
        weights: the path of a checkpoint, or a tag.
        preprocess: how images are prepared.
        device: where torch runs it.
    """
    import open_clip

    try:
        _check_text(source, arch)
        with _quietly(), _without_foreign_code():
            model = open_clip.create_model(
                arch,
                weights,
                require_pretrained=True,
                weights_only=True,
                pretrained_text=False,
                force_preprocess_cfg=dict(preprocess),
            )
            return OpenClipModel(model, open_clip.get_tokenizer(arch), name, source, device)
    except _unloadable() as error:
        raise ModelNotLoadable(source, _reason(error)) from error


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
    with _quietly():
        model = open_clip.create_model(arch, pretrained_text=False, force_preprocess_cfg=dict(preprocess))
    model.load_state_dict(dict(weights), strict=True)
    return OpenClipModel(model, open_clip.get_tokenizer(arch), name, source, device)


def hash_state(state: Mapping[str, "torch.Tensor"]) -> str:
    """Return the SHA-256 over the names, types, shapes and bytes of all tensors, in the order of their names.

    Taken of a model that was built and loaded: in which kind of file its numbers lay does not count, nor of which type
    they were there, if none was rounded. It differs for a checkpoint that was saved again in float16, and where tensors
    have other names, as in CLIP with and without `custom_text`. It says nothing of what is no tensor, such as an
    activation. A file with a tensor more or less than its architecture has is not loaded, and has none.
    """
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
    """Name the class, the length, and the vocabulary by its hash: paths and hub names say less.

    Of what else is done to a text only what is not the tokenizer's usual way is named.
    """
    inner: Any = getattr(tokenizer, "tokenizer", None)
    vocabulary = inner.get_vocab() if hasattr(inner, "get_vocab") else getattr(tokenizer, "encoder", {})
    digest = hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest()[:16]
    words = f"{type(tokenizer).__name__}; length {tokenizer.context_length}; vocabulary {digest}"
    clean = getattr(getattr(tokenizer, "clean_fn", None), "__name__", "").removeprefix("_clean_")
    usual = "whitespace" if type(tokenizer).__name__ == "HFTokenizer" else "lower"
    more = [f"clean {clean}"] if clean not in ("", usual) else []
    more += ["strip_sep_token"] if getattr(tokenizer, "strip_sep_token", False) else []
    mode = getattr(tokenizer, "tokenizer_mode", "")
    return "; ".join([words, *more, *([f"mode {mode}"] if mode else [])])


def _pretrained() -> list[str]:
    import open_clip

    return [f"{arch}/{tag}" for arch, tag in open_clip.list_pretrained()]


# -- what weights do not say of themselves --------------------------------------------------------------


def quickgelu_name(arch: str, tag: str) -> str | None:
    """Return the name under which weights that were trained with QuickGELU get it; None where `arch/tag` is right.

    Only this way round: of one tag, roberta-ViT-B-32/laion2b_s12b_b32k, open_clip's table says nothing while its
    architecture has QuickGELU, and the architecture is what was trained.
    """
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    if not get_pretrained_cfg(arch, tag).get("quick_gelu") or open_clip.get_model_config(arch).get("quick_gelu"):
        return None
    return f"{arch}-quickgelu/{tag}"


def _check_tag_activation(arch: str, tag: str) -> None:
    """Refuse a tag that open_clip would load with a warning and wrong embeddings."""
    right = quickgelu_name(arch, tag)
    if right:
        raise other_activation(arch, tag, right)


def other_activation(arch: str, tag: str, right: str) -> ModelNotLoadable:
    """Return the error for a tag whose weights want the activation of the architecture in `right`."""
    reason = f"these weights were trained with QuickGELU, which {arch} does not have; type {right}"
    return ModelNotLoadable(f"{arch}/{tag}", reason)


def no_architecture(source: str, arch: str, known: Iterable[str]) -> ModelNotLoadable:
    """Return the error for an architecture that open_clip does not know; `known` are models to suggest from."""
    reason, names = f"open_clip has no architecture {arch!r}", list(known)
    if re.fullmatch(r"[a-z]+(-[a-z]+)*", arch):
        # `:` is as good as `/`, so a prefix that nobody answers to comes to here.
        reason += f", and {arch}: is none of the prefixes {', '.join(f'{name}:' for name in known_prefixes())}"
        if not near_names(source, names):
            return ModelNotLoadable(source, f"{reason}; `mllctl model list --pretrained` shows open_clip's models")
    return ModelNotLoadable(source, f"{reason}{suggest(source, names)}")


def no_weights(source: str, arch: str, weights: str, known: Iterable[str]) -> ModelNotLoadable:
    """Return the error for what is neither weights nor a tag; `known` are the architecture's models."""
    return ModelNotLoadable(source, f"{weights!r} is neither a file nor a tag of {arch}{suggest(source, known)}")


def read_beside(source: str, checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    """Return the configuration beside a checkpoint of a known architecture, its path first; nothing is loaded.

    Raises:
        ModelNotLoadable: if there is none, or it says too little.
    """
    config = checkpoint.parent / CONFIG
    if not config.is_file():
        raise ModelNotLoadable(
            source,
            "a checkpoint does not say how its images are prepared, nor which activation it was trained with; "
            f"put open_clip's {CONFIG} beside it, or type CONFIG.json,{checkpoint}",
        )
    content = _read_config(source, config)
    _model_config(source, config, content)
    return config, content


def _preprocess_beside(source: str, arch: str, checkpoint: Path) -> dict[str, Any]:
    """Return how images are prepared for a checkpoint of a known architecture, from the configuration beside it."""
    import open_clip

    config, content = read_beside(source, checkpoint)
    unlike = _unlike(_model_config(source, config, content), open_clip.get_model_config(arch))
    if unlike:
        raise ModelNotLoadable(
            source, f"{config} is of another architecture than {arch}: {unlike}; type {config},{checkpoint}"
        )
    return _preprocess(source, config, content)


def _unlike(trained: Mapping[str, Any], built: Mapping[str, Any]) -> str:
    """Say by what two configurations differ, weights or not: heads, pooling and activation are in no tensor."""
    ours, theirs = _settings(built), _settings(trained)
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return ", ".join(f"{name} is {theirs.get(name)} and not {ours.get(name)}" for name in names[:3])


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a configuration sets, by name, with open_clip's defaults; without what is for training only."""
    from open_clip import CLIPTextCfg, CLIPVisionCfg

    settings = {"vision_cfg": asdict(CLIPVisionCfg()), "text_cfg": asdict(CLIPTextCfg()), "multimodal_cfg": {}}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        group = {**settings[key], **value} if key in settings and isinstance(value, dict) else {"": value}
        for name, setting in group.items():
            # What is false, empty or left out is off, whichever way it is written.
            is_off = setting is None or setting is False or setting == ""
            if not is_off and {key, name}.isdisjoint(_TRAINING):
                flat[f"{key}.{name}".rstrip(".")] = setting
    return flat


def _read_config(source: str, path: Path) -> dict[str, Any]:
    """Read a configuration as open_clip saves it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotLoadable(source, f"there is no {path}; open_clip saves it with a model's weights") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelNotLoadable(source, f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelNotLoadable(source, f"{path} is no JSON object; it needs model_cfg and preprocess_cfg")
    return content


def _model_config(source: str, path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    config = content.get("model_cfg")
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
        raise ModelNotLoadable(source, f"{path} needs model_cfg with embed_dim, vision_cfg and text_cfg")
    # open_clip hands `tokenizer_kwargs` on to transformers, which would run what lies beside the tokenizer.
    if "trust_remote_code" in json.dumps(config):
        raise ModelNotLoadable(source, f"{path} asks to run code that comes with it; take trust_remote_code out of it")
    return config


def _preprocess(source: str, path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return how images are prepared; their size is the model's."""
    config = content.get("preprocess_cfg")
    told = {key: value for key, value in config.items() if value is not None} if isinstance(config, dict) else {}
    if not {"mean", "std"} <= set(told):
        raise ModelNotLoadable(
            source,
            f"{path} does not say how images are prepared; add preprocess_cfg with the mean, std, interpolation and "
            "resize_mode the model was trained with",
        )
    for key in ("mean", "std"):
        # A single number is for all colours; open_clip would take a single 0 for none, and its own mean instead.
        colours = told[key] if isinstance(told[key], list) else [told[key]] * 3
        least = " above 0" if key == "std" else ""
        if not _are_colours(colours, above_zero=bool(least)):
            raise ModelNotLoadable(source, f"{key} in {path} is {told[key]!r}; it must be three numbers{least}")
        told[key] = colours
    for key, known in _CHOICES.items():
        if told.get(key, known[0]) not in known:
            raise ModelNotLoadable(source, f"{key} in {path} is {told[key]!r}; it must be {' or '.join(known)}")
    return {key: value for key, value in told.items() if key != "size"}


def _are_colours(values: Sequence[Any], above_zero: bool) -> bool:
    numbers = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return len(numbers) == len(values) == 3 and not (above_zero and min(numbers) <= 0)


# -- checkpoints ----------------------------------------------------------------------------------------


def _find_tag(source: str, arch: str, tag: str) -> tuple[str, dict[str, Any]]:
    """Return the checkpoint of a tag, downloaded unless it is cached, and how its images are prepared."""
    from open_clip.pretrained import get_pretrained_cfg

    known = get_pretrained_cfg(arch, tag)
    repository, _, name = known.get("hf_hub", "").rpartition("/")
    if not repository:
        return tag, {}  # at an address of its own: open_clip's factory downloads it
    preprocess = {key: known[key] for key in ("mean", "std", *_CHOICES) if key in known}
    return str(_fetch(source, repository, name, weight_names(name))), preprocess


def _fetch(source: str, repository: str, name: str, names: Sequence[str]) -> Path:
    """Return a file of a Hugging Face repository, downloaded by open_clip unless it is cached.

    Args:
        source: the model that is asked for.
        repository: as `org/name`.
        name: the file as open_clip's table names it; empty where it does not.
        names: what it may be called, the first that is there.
    """
    from open_clip.pretrained import download_pretrained_from_hf

    check_files(source, repository, names)
    cached = cached_file(repository, names)
    if cached:
        return cached
    try:
        return Path(download_pretrained_from_hf(repository, filename=name or None))
    except _unloadable() as error:
        raise ModelNotLoadable(source, _reason(error)) from error


def _check_text(source: str, arch: str) -> None:
    """See that tokenizer and text tower can be had: transformers would try for half a minute a file."""
    import open_clip

    text = open_clip.get_model_config(arch)["text_cfg"]
    tower, tokenizer = text.get("hf_model_name"), text.get("hf_tokenizer_name")
    if tower and not Path(tower).is_dir():
        check_files(source, tower, ("config.json",))
    if tokenizer and arch.startswith("local-dir:"):  # where open_clip takes only what lies there
        if not any(Path(arch.removeprefix("local-dir:"), name).is_file() for name in TOKENIZER_FILES):
            raise ModelNotLoadable(source, f"the folder holds no tokenizer; put the files of {tokenizer} into it")
    elif tokenizer and not Path(tokenizer).is_dir():
        check_files(source, tokenizer, TOKENIZER_FILES)


def _stored_shapes(source: str, checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a checkpoint's tensors by the names that open_clip gives them."""
    from open_clip.factory import load_state_dict
    from safetensors import safe_open

    try:
        if checkpoint.suffix == ".safetensors":
            with safe_open(checkpoint, "pt") as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        elif checkpoint.suffix in (".npz", ".npy"):
            return {}  # of big_vision, which open_clip converts
        else:
            with _quietly():
                state = load_state_dict(str(checkpoint), device="meta")
            shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    except _unloadable() as error:
        raise ModelNotLoadable(source, f"{checkpoint} cannot be read: {_reason(error)}") from error
    if not shapes:
        raise ModelNotLoadable(source, f"{checkpoint} holds no tensors; save the model's state dict in it")
    return {name.removeprefix("module."): shape for name, shape in shapes.items()}


def _check_positions(source: str, model: Any, stored: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights of another image size or text length: open_clip would stretch them without a word."""
    for name, tensor in model.state_dict().items():
        # A text tower may have been saved without its prefix.
        shape = stored.get(name, stored.get(name.removeprefix("text.")))
        if name.endswith("positional_embedding") and shape and shape != tuple(tensor.shape):
            what = "image_size" if name.startswith("visual.") else "context_length"
            raise ModelNotLoadable(
                source,
                f"its weights have {shape[0]} positions and its configuration {tensor.shape[0]} ({name}); "
                f"give the {what} they were trained with",
            )


def _unloadable() -> tuple[type[Exception], ...]:
    """What open_clip, torch, safetensors, transformers and Hugging Face raise when weights are missing or do not fit.

    A configuration with a field too many is a TypeError, one that timm cannot build an AssertionError, one without
    heads a ZeroDivisionError; a checkpoint that is no dictionary is an AttributeError, one that holds nothing an
    EOFError or a StopIteration; a tokenizer may want a package.
    """
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    built = (RuntimeError, OSError, ValueError, LookupError, TypeError, AssertionError, ArithmeticError, AttributeError)
    return (*built, EOFError, StopIteration, ImportError, UnpicklingError, SafetensorError)


def _reason(error: Exception) -> str:
    """Say in one line why weights cannot be loaded."""
    from pickle import UnpicklingError

    said = textwrap.shorten(str(error), 300, placeholder=" ...")
    if isinstance(error, UnpicklingError) or "weights_only" in said:
        # torch's own messages, also of TorchScript, advise to run whatever the file holds.
        return "the checkpoint is not made of tensors alone; save its state dict as .safetensors"
    if "trust_remote_code" in said:
        return (
            "its text tower or tokenizer brings code of its own, which is not run; write a plugin, see docs/backends.md"
        )
    if said.startswith("Error(s) in loading state_dict"):
        return f"its weights are not of the architecture that its configuration describes: {said}"
    # Of these the message alone may be no more than a word.
    bare = isinstance(error, LookupError | AttributeError | TypeError | ArithmeticError)
    return f"{type(error).__name__}: {said}" if bare and said else said or type(error).__name__


@contextmanager
def _without_foreign_code() -> Iterator[None]:
    """Keep transformers from asking on the terminal whether to run code that comes with a model."""
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # how long it waits for an answer; at 0 it refuses
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep open_clip from saying what is raised, what was looked at or, of a model without weights, soon untrue."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "QuickGELU mismatch")
            warnings.filterwarnings("ignore", ".*TorchScript archive")
            yield
    finally:
        logging.disable(before)


def _register_content(config: Mapping[str, Any]) -> str:
    """Make a configuration known to open_clip and return its name.

    Named by its content: open_clip keeps one configuration of each name, and guesses tokenizers by some.
    """
    arch = f"configured-{hashlib.sha256(json.dumps(config).encode()).hexdigest()[:16]}"
    _register_config(arch, config)
    return arch


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
