"""The demo hub's models: packaged towers and a shipped head, composed into ordinary open_clip models.

    image tower   EfficientNet-lite0 on ImageNet, frozen  ──  linear ──┐
                                                                       ├── one space, cosine x scale
    text tower    all-MiniLM-L6-v2, frozen                ──  linear ──┘

The linear layers are the head: `assets/train.py` trained it on some concepts in some styles, so
each model is good at something else. ConSE models need no head and come from `conse`.
`load_model("demo:NAME")` leads here; the list of names is `mllctl_data/demo/models.json`.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mllctl_data
from mllctl.backends import towers
from mllctl.backends.open_clip_models import OpenClipModel, build_model
from mllctl.backends.protocol import VisionLanguageModel
from mllctl.errors import ModelNotLoadable

if TYPE_CHECKING:
    import torch

ARCH = "lite0-minilm"

# open_clip pads every text to this length; 99 % of WordNet's noun captions are shorter.
CONTEXT = 64


@dataclass(frozen=True)
class DemoModel:
    """One entry of `mllctl_data/demo/models.json`.

    Attributes:
        name: what follows `demo:`.
        kind: `open_clip` or `conse`.
        trained_on: concepts and styles, in words.
        image_size: side of the square that the image tower sees, in pixels.
        width: d of the embedding.
        scale: what cosines are multiplied by.
        seed: of the training; None if there was none.
        top: how many ImageNet classes ConSE averages; None for a head.
    """

    name: str
    kind: str
    trained_on: str
    image_size: int
    width: int
    scale: float
    seed: int | None = None
    top: int | None = None


def demo_models() -> list[str]:
    """Return the names of the demo hub's models, in the order in which they join it."""
    return [model.name for model in read_catalogue()]


def load_demo(name: str, device: str = "cpu") -> VisionLanguageModel:
    """Load one model of the demo hub; nothing is downloaded.

    Raises:
        ModelNotLoadable: if there is no such model, or a package with weights is missing.
    """
    facts = find_model(name)
    if facts.top is not None:
        from mllctl.backends.conse import ConseModel

        return ConseModel(name, facts.top, facts.image_size, facts.scale, device)
    from safetensors.torch import load_file

    head = load_file(mllctl_data.path("demo", "heads", f"{name}.safetensors"))
    return compose_model(name, head, facts.image_size, device)


@cache
def read_catalogue() -> tuple[DemoModel, ...]:
    """Return the facts on all models of the demo hub."""
    entries = json.loads(mllctl_data.path("demo", "models.json").read_text())
    return tuple(DemoModel(**entry) for entry in entries)


def compose_model(name: str, head: Mapping[str, "torch.Tensor"], image_size: int, device: str = "cpu") -> OpenClipModel:
    """Join the packaged towers with a head in open_clip's own factory.

    Args:
        name: what follows `demo:`.
        head: `visual.head.proj.weight` (d, 1280), `text.proj.weight` (d, 384) and `logit_scale` ();
            any floating type, computed in float32.
        image_size: side of the square that the image tower sees, in pixels.
        device: where torch runs it.
    """
    tensors = {key: tensor.float() for key, tensor in head.items()}
    width = tensors["text.proj.weight"].shape[0]
    return build_model(
        f"{ARCH}/{name}",
        configure(width, image_size, towers.text_folder()),
        towers.preprocess(image_size),
        {**_tower_weights(), **tensors},
        f"demo:{name}",
        device,
    )


def configure(width: int, image_size: int, text_folder: Path) -> dict[str, Any]:
    """Return open_clip's configuration of such a model."""
    return {
        "embed_dim": width,
        "vision_cfg": {
            "timm_model_name": towers.IMAGE_TOWER,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "timm_proj_bias": False,
            "image_size": image_size,
        },
        "text_cfg": {
            "hf_model_name": str(text_folder),
            "hf_tokenizer_name": str(text_folder),
            "hf_model_pretrained": False,
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": "linear",
            "context_length": CONTEXT,
        },
    }


def _tower_weights() -> "dict[str, torch.Tensor]":
    """Return both towers' tensors under open_clip's names."""
    image = {
        f"visual.trunk.{name}": tensor
        for name, tensor in towers.image_network().state_dict().items()
        if not name.startswith("classifier.")
    }
    return image | {f"text.transformer.{name}": tensor for name, tensor in towers.text_weights().items()}


def find_model(name: str) -> DemoModel:
    """Return the facts on one model.

    Raises:
        ModelNotLoadable: if there is none of that name; near ones are suggested.
    """
    for model in read_catalogue():
        if model.name == name:
            return model
    near = difflib.get_close_matches(name, demo_models(), n=3, cutoff=0.4)
    cure = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(demo_models())}"
    raise ModelNotLoadable(f"demo:{name}", f"no such demo model; {cure}")
