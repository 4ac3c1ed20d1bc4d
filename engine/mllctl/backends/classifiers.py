"""Any image classifier as a vision-language model, by ConSE: a network, its weights and the names of its classes.

    conse:timm/resnet18@/weights/mine.safetensors         names in /weights/mine.txt, one a line
    conse:torchvision/resnet50@/weights/mine.pth,labels=/weights/names.txt
    conse:onnx//models/mine.onnx,labels=imagenet,size=224,normalise=half,top=5

`load_model` calls `load_classifier` with what follows `conse:`; the arithmetic is in `conse`. Weights are read from
this machine only, as tensors: nothing is downloaded and no pickle is run.
"""

import difflib
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mllctl.backends.conse import (
    Classifier,
    ClassifierModel,
    TorchClassifier,
    class_names,
    packaged_encoder,
)
from mllctl.backends.names import absolute
from mllctl.backends.open_clip_models import _reason, _unloadable, describe_preprocess, image_transform
from mllctl.backends.protocol import Float32
from mllctl.errors import ModelNotLoadable

PREFIX = "conse:"
TOP = 10  # as many as the paper's best on ImageNet, and as the bundled model has
SCALE = 20.0  # of the bundled model; the heads that were trained over the same encoder found 20 to 21

_FORM = "conse:timm/NAME@WEIGHTS, conse:torchvision/NAME@WEIGHTS or conse:onnx/FILE, then ,labels=FILE"
_OPTIONS = ("labels", "top", "size", "normalise")
IMAGENET = "imagenet"  # as a list of labels, and as a way to normalise pixels
_NORMALISE: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    # mean and std of what torchvision's recipes train with, TensorFlow's, and pixels in [0, 1] as they are
    IMAGENET: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
_DEFAULT_SIZE = 224  # of an ONNX file that leaves it open


@dataclass(frozen=True)
class Spec:
    """What the user asked for.

    Attributes:
        source: all of it, as `load_model` takes it; paths in it hold in any folder.
        library: `timm`, `torchvision` or `onnx`.
        network: architecture; for ONNX, the file's stem.
        weights: the file.
        options: by name, as text.
    """

    source: str
    library: str
    network: str
    weights: Path
    options: Mapping[str, str]

    def refuse(self, reason: str) -> ModelNotLoadable:
        """Return the error that says why this cannot be loaded."""
        return ModelNotLoadable(self.source, reason)


def load_classifier(spec: str, device: str = "cpu") -> ClassifierModel:
    """Load a classifier of the user's own and make a vision-language model of it.

    Args:
        spec: `timm/NAME@WEIGHTS`, `torchvision/NAME@WEIGHTS` or `onnx/FILE`, then options, each after a comma:
            `labels=FILE` with one class a line in the order of the outputs, of which the name before the first comma
            counts (else the file beside the weights that ends in `.txt`; `labels=imagenet` for the 1,000 classes in
            the order of their wnids); `top=N` classes an image is a mean of (10); and for ONNX `size=PIXELS` where
            the file leaves it open (224) and `normalise=imagenet|half|none` (imagenet).
        device: where torch or onnxruntime runs it.

    Raises:
        ModelNotLoadable: if the spec cannot be understood, a file is missing, or network, weights and labels do not
            fit each other.
    """
    asked = read_spec(spec)
    labels = read_labels(asked)
    top = read_number(asked, "top", min(TOP, len(labels)))
    if top > len(labels):
        raise asked.refuse(f"top={top} is more than the {len(labels)} classes; give top=N of at most {len(labels)}")
    classifier = LOADERS[asked.library](asked, labels, device)
    arch = asked.library if asked.library == "onnx" else asked.network
    weights = asked.weights.stem + (f"-top{top}" if "top" in asked.options else "")
    return ClassifierModel(classifier, packaged_encoder(device), f"conse-{arch}/{weights}", asked.source, top, SCALE)


def read_spec(spec: str, prefix: str = PREFIX, known: Sequence[str] = _OPTIONS) -> Spec:
    """Take apart what follows a prefix.

    Args:
        spec: as `load_classifier` takes it.
        prefix: with its colon.
        known: options that there are.

    Raises:
        ModelNotLoadable: if it cannot be understood, or names a file that is not there.
    """
    source = f"{prefix}{spec}"
    body, *given = spec.split(",")
    library, _, rest = body.partition("/")
    network, at, file = rest.partition("@") if library != "onnx" else (Path(rest).stem, "@", rest)
    if library not in LOADERS or not (network and at and file):
        raise ModelNotLoadable(source, f"a classifier is named {_FORM.replace(PREFIX, prefix)}")
    options = dict(option.partition("=")[::2] for option in given)
    for name in options:
        if name not in known:
            raise ModelNotLoadable(source, f"no option {name!r}; there are {', '.join(known)}, as in ,{known[1]}=5")
    weights = absolute(file)
    if not weights.is_file():
        raise ModelNotLoadable(source, f"there is no file {file}; give the path of the weights")
    if options.get("labels", IMAGENET) != IMAGENET:
        options["labels"] = str(absolute(options["labels"]))
    place = f"onnx/{weights}" if library == "onnx" else f"{library}/{network}@{weights}"
    whole = ",".join([place, *(f"{name}={value}" for name, value in options.items())])
    return Spec(f"{prefix}{whole}", library, network, weights, options)


# -- labels -------------------------------------------------------------------------------------------


def read_labels(spec: Spec) -> list[str]:
    """Return the names of the classes, in the order of the outputs.

    Raises:
        ModelNotLoadable: if they cannot be read, or an output has no name.
    """
    if spec.options.get("labels") == IMAGENET:
        return class_names()
    path = Path(spec.options.get("labels") or spec.weights.with_suffix(".txt"))
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"its labels cannot be read from {path}"
        raise spec.refuse(f"{reason}; give ,labels=FILE with a class a line, or ,labels=imagenet") from error
    names = [line.split(",")[0].strip() for line in lines]
    if not names:
        raise spec.refuse(f"{path} names no class; write one a line, in the order of the outputs")
    if "" in names:
        raise spec.refuse(f"line {names.index('') + 1} of {path} names no class; every output needs a name")
    return names


def _of_labels(labels: Sequence[str]) -> str:
    """Say in a few words which labels these are: equal weights with other names make other embeddings."""
    digest = hashlib.sha256("\n".join(labels).encode()).hexdigest()[:16]
    return f"{len(labels)} classes {digest}"


def read_number(spec: Spec, option: str, default: int) -> int:
    """Return an option that is a number from 1."""
    text = spec.options.get(option, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise spec.refuse(f"{option}={text} is not a number from 1; give one, as in ,{option}={default}")
    return int(text)


# -- torch --------------------------------------------------------------------------------------------


def _load_timm(spec: Spec, labels: Sequence[str], device: str) -> Classifier:
    import timm
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    _refuse_pixel_options(spec)
    if not timm.is_model(spec.network):
        raise _unknown_network(spec, timm.list_models())
    try:
        network = timm.create_model(spec.network, pretrained=False, num_classes=len(labels))
    except RuntimeError as error:  # a tag that it does not know
        tagged = timm.list_pretrained(f"{spec.network.partition('.')[0]}.*")
        raise spec.refuse(f"{_reason(error)} timm has {', '.join(tagged) or 'none with a tag'}") from error
    _load_tensors(spec, network, labels)
    config = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    preprocess = f"timm; {describe_preprocess(config)}; {_of_labels(labels)}"
    transform = create_transform(**config, is_training=False)
    return TorchClassifier(network.eval(), transform, labels, max(config["input_size"][1:]), preprocess, device)


def _load_torchvision(spec: Spec, labels: Sequence[str], device: str) -> Classifier:
    from torchvision import models

    _refuse_pixel_options(spec)
    known = models.list_models(module=models)
    if spec.network not in known:
        raise _unknown_network(spec, known)
    # These two would else draw random weights for a minute, to be overwritten. And they shift the colours that the
    # transform gives them, wherever torchvision loads their weights itself.
    old = spec.network in ("googlenet", "inception_v3")
    options = {"init_weights": False, "transform_input": True} if old else {}
    network = models.get_model(spec.network, weights=None, num_classes=len(labels), **options)
    _load_tensors(spec, network, labels)
    transform = models.get_model_weights(spec.network).DEFAULT.transforms()
    words = " ".join(str(transform).split())
    preprocess = f"torchvision; {words}; {_of_labels(labels)}"
    return TorchClassifier(network.eval(), transform, labels, max(transform.crop_size), preprocess, device)


def _refuse_pixel_options(spec: Spec) -> None:
    """Refuse options that only ONNX has: timm and torchvision know how their networks see."""
    for option in ("size", "normalise"):
        if option in spec.options:
            raise spec.refuse(f"{option}= is for ONNX files only; {spec.library} knows it, leave it out")


def _load_tensors(spec: Spec, network: Any, labels: Sequence[str]) -> None:
    """Load a checkpoint of tensors into a network; every one must be there and fit."""
    try:
        network.load_state_dict(read_tensors(spec))
    except _unloadable() as error:
        whose = f"{spec.weights} does not fit {spec.network} with {len(labels)} classes"
        raise spec.refuse(f"{whose}; {_reason(error)}") from error


def read_tensors(spec: Spec) -> Any:
    """Return the tensors of a checkpoint by name; nothing but tensors is read."""
    import torch
    from safetensors.torch import load_file

    if spec.weights.suffix == ".safetensors":
        tensors: Any = load_file(spec.weights)
    else:
        tensors = torch.load(spec.weights, map_location="cpu", weights_only=True)
    # Training scripts put the weights beside other things.
    for key in ("state_dict", "model"):
        tensors = tensors.get(key, tensors)
    # As torch names them that trained on several devices.
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def count_outputs(spec: Spec) -> int:
    """Return how many outputs a classifier has, from its weights: as many as the tensor of its last layer has rows.

    Raises:
        ModelNotLoadable: if they cannot be read, or do not say.
    """
    if spec.library == "onnx":
        shape = open_session(spec, "cpu").get_outputs()[0].shape
    else:
        try:
            found = read_tensors(spec).get(_last_tensor(spec))
        except _unloadable() as error:
            raise spec.refuse(f"{spec.weights} cannot be read; {_reason(error)}") from error
        shape = () if found is None else tuple(found.shape)[:1]
    if not (shape and isinstance(shape[-1], int)):
        cure = "give ,heads=N, or ,labels=FILE with a name a line"
        raise spec.refuse(f"{spec.weights} does not say how many outputs it has; {cure}")
    return int(shape[-1])


def _last_tensor(spec: Spec) -> str:
    """Return the name of the last tensor of a network, which has shapes and no weights here."""
    import torch

    with torch.device("meta"):
        if spec.library == "timm":
            import timm

            if not timm.is_model(spec.network):
                raise _unknown_network(spec, timm.list_models())
            network = timm.create_model(spec.network, pretrained=False)
        else:
            from torchvision import models

            if spec.network not in models.list_models(module=models):
                raise _unknown_network(spec, models.list_models(module=models))
            old = spec.network in ("googlenet", "inception_v3")
            network = models.get_model(spec.network, weights=None, **({"init_weights": False} if old else {}))
    return str(list(network.state_dict())[-1])


def _unknown_network(spec: Spec, known: Sequence[str]) -> ModelNotLoadable:
    near = difflib.get_close_matches(spec.network, known, n=3, cutoff=0.4)
    cure = f"; did you mean {' or '.join(near)}?" if near else ""
    return spec.refuse(f"{spec.library} has no network {spec.network!r}{cure}")


# -- ONNX ---------------------------------------------------------------------------------------------


class OnnxClassifier:
    """An ONNX file with one input of pixels, shape (i, 3, size, size), and one output a class, shape (i, classes).

    Channels may come last, as Keras has it.

    Whether its outputs are probabilities or logits is seen once, from images that are always the same.

    Args:
        spec: what the user asked for.
        labels: names of its outputs.
        device: `cuda` runs it on a graphics card if onnxruntime can; all else on the processor.

    Raises:
        ModelNotLoadable: if the file is none, or has other inputs or outputs.
    """

    def __init__(self, spec: Spec, labels: Sequence[str], device: str = "cpu") -> None:
        self.classes = tuple(labels)
        self._session = open_session(spec, device)
        self._input, self._batch, self.image_size = self._read_input(spec)
        config = self._pixel_config(spec)
        self._transform = image_transform(config)
        self.fingerprint, self.parameters = weigh_onnx(spec)
        self.libraries = {"onnxruntime": version("onnxruntime"), "torchvision": version("torchvision")}
        self._probabilities = self._check_output(spec)
        outputs = "probabilities" if self._probabilities else "logits"
        self.preprocess = f"onnx; {describe_preprocess(config)}; {_of_labels(labels)}; {outputs}"

    def most_probable(self, images: Sequence[Image.Image], top: int) -> tuple[Float32, NDArray[np.int64]]:
        probability = self._probability(np.stack([self._transform(image.convert("RGB")).numpy() for image in images]))
        # A stable sort: of equally probable classes, the first.
        classes = np.argsort(-probability, axis=1, kind="stable")[:, :top]
        return np.take_along_axis(probability, classes, axis=1), classes

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        outputs = self._run(np.stack([self._transform(image.convert("RGB")).numpy() for image in images]))
        if self._probabilities:
            # A probability of 0 is one that float32 has no room for.
            return np.log(np.maximum(outputs, np.finfo(np.float32).tiny))
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        answers: Float32 = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return answers

    def _probability(self, pixels: Float32) -> Float32:
        outputs = self._run(pixels)
        if self._probabilities:
            return outputs
        exponents = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        softmax: Float32 = exponents / exponents.sum(axis=1, keepdims=True)
        return softmax

    def _run(self, pixels: Float32) -> Float32:
        """Run pixels of shape (i, 3, size, size), in batches of the file's own size if it fixes one."""
        step = self._batch or len(pixels)
        parts = []
        for start in range(0, len(pixels), step):
            few = pixels[start : start + step]
            padded = np.concatenate([few, np.zeros((step - len(few), *few.shape[1:]), np.float32)])
            laid_out = padded.transpose(0, 2, 3, 1) if self._channels_last else padded
            (outputs,) = self._session.run([self._session.get_outputs()[0].name], {self._input: laid_out})
            parts.append(np.asarray(outputs, np.float32)[: len(few)])
        return np.concatenate(parts)

    def _read_input(self, spec: Spec) -> tuple[str, int | None, int]:
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        # As Keras has it: channels come last.
        self._channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
        channels = shape[3] if self._channels_last else shape[1] if len(shape) == 4 else 0
        if channels not in (3, None) and not isinstance(channels, str):
            wanted = "(images, 3, height, width) or (images, height, width, 3)"
            raise spec.refuse(f"it must have one input of shape {wanted}; export the classifier alone")
        if inputs[0].type != "tensor(float)":
            raise spec.refuse(f"its input is {inputs[0].type}, not float32 pixels; export it with float32 inputs")
        sides = shape[1:3] if self._channels_last else shape[2:]
        fixed = [side for side in sides if isinstance(side, int)]
        asked = read_number(spec, "size", fixed[0] if fixed else _DEFAULT_SIZE)
        if any(side != asked for side in fixed):
            raise spec.refuse(f"it takes {' x '.join(map(str, sides))} pixels, not {asked} x {asked}")
        return inputs[0].name, shape[0] if isinstance(shape[0], int) else None, asked

    def _pixel_config(self, spec: Spec) -> dict[str, Any]:
        way = spec.options.get("normalise", IMAGENET)
        if way not in _NORMALISE:
            raise spec.refuse(f"normalise={way} is none of {', '.join(_NORMALISE)}")
        mean, std = _NORMALISE[way]
        size = self.image_size
        return {"size": size, "mean": mean, "std": std, "interpolation": "bicubic", "resize_mode": "shortest"}

    def _check_output(self, spec: Spec) -> bool:
        """Return whether outputs are probabilities; refuse those that are not one number a class."""
        size = self.image_size
        noise = np.random.default_rng(0).normal(size=(2, 3, size, size)).astype(np.float32)
        try:
            outputs = self._run(noise)
        except _onnx_errors() as error:
            raise spec.refuse(f"it cannot be run on {size} x {size} pixels; {_reason(error)}") from error
        if outputs.shape != (2, len(self.classes)):
            wanted = f"(images, {len(self.classes)}), one number for each label"
            raise spec.refuse(f"its output has shape {outputs.shape} for 2 images, not {wanted}")
        return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3))


def open_session(spec: Spec, device: str) -> Any:
    """Open an ONNX file; on a graphics card if that was asked for and onnxruntime can."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(str(spec.weights), options, providers=[*providers, "CPUExecutionProvider"])
    except _onnx_errors() as error:
        raise spec.refuse(f"{spec.weights} cannot be opened as ONNX; {_reason(error)}") from error


def _onnx_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises of a file that is none, is incomplete, or does not run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
        RuntimeError,
        ValueError,
    )


def weigh_onnx(spec: Spec) -> tuple[str, int]:
    """Return the SHA-256 over the file and all that it keeps its weights in, and the number of weights."""
    import onnx

    model = onnx.load(str(spec.weights), load_external_data=False)
    tensors = model.graph.initializer
    beside = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    digests = []
    for file in [spec.weights, *(spec.weights.parent / name for name in sorted(beside))]:
        with file.open("rb") as content:
            digests.append(hashlib.file_digest(content, "sha256").hexdigest())
    fingerprint = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return fingerprint, sum(math.prod(tensor.dims) for tensor in tensors)


LOADERS = {"timm": _load_timm, "torchvision": _load_torchvision, "onnx": OnnxClassifier}
