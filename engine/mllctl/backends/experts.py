"""Experts: classifiers asked for what each of their outputs, or heads, answers, whatever it stands for.

    expert:timm/resnet18@/weights/mine.safetensors         heads are counted in the weights
    expert:torchvision/resnet50@/weights/mine.pth,labels=/weights/names.txt
    expert:onnx//models/mine.onnx,size=224,normalise=half
    expert:hf//models/folder                               as save_pretrained of transformers writes it
    expert:package/open-nsfw, expert:demo/animals          see `packaged`

`load_expert` calls `open_expert` with what follows `expert:`. Weights are read as tensors from this machine: no pickle
is run, and no code that lies beside them.
"""

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from PIL import Image

from mllctl.backends.classifiers import LOADERS, Spec, count_outputs, read_labels, read_number, read_spec
from mllctl.backends.conse import Outputs
from mllctl.backends.hugging_face import cached_file
from mllctl.backends.names import absolute
from mllctl.backends.open_clip_models import hash_state
from mllctl.backends.protocol import Expert, ExpertCard, Float32
from mllctl.errors import ModelNotLoadable

PREFIX = "expert:"
KINDS = ("timm", "torchvision", "onnx", "hf", "package", "demo")
OPTIONS = ("labels", "heads", "size", "normalise")


class ClassifierExpert:
    """A classifier as an expert.

    Args:
        classifier: what answers.
        heads: names of its outputs, empty texts where they are not known.
        name: key in the hub, `arch/weights`.
        kind: which library.
        source: what `load_expert` was given.
    """

    def __init__(self, classifier: Outputs, heads: Sequence[str], name: str, kind: str, source: str) -> None:
        self._classifier = classifier
        self._card = ExpertCard(
            name=name,
            kind=kind,
            fingerprint=classifier.fingerprint,
            parameters=classifier.parameters,
            image_size=classifier.image_size,
            heads=tuple(heads),
            preprocess=classifier.preprocess,
            source=source,
            libraries=dict(classifier.libraries),
        )

    @property
    def card(self) -> ExpertCard:
        return self._card

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        """Return log softmax over the heads, shape (i, h)."""
        return self._classifier.log_probability(images)


def open_expert(spec: str, device: str = "cpu") -> Expert:
    """Load an expert.

    Args:
        spec: `timm/NAME@WEIGHTS`, `torchvision/NAME@WEIGHTS` or `onnx/FILE`, then options, each after a comma:
            `labels=FILE` with the name of a head a line (else the file beside the weights that ends in `.txt`, if it is
            there; `labels=imagenet`), `heads=N` where the weights do not say, and for ONNX `size=` and `normalise=`;
            `hf/FOLDER` or `hf/ORG/NAME` in Hugging Face's cache; `package/NAME`; `demo/NAME`.
        device: where torch or onnxruntime runs it.

    Raises:
        ModelNotLoadable: if the spec cannot be understood, a file or package is missing, or its weights do not fit.
    """
    kind, _, rest = spec.partition("/")
    if kind not in KINDS or not rest:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        forms = "timm/NAME@WEIGHTS, torchvision/NAME@WEIGHTS, onnx/FILE, hf/FOLDER, package/NAME or demo/NAME"
        cure = f"; did you mean {PREFIX}{near[0]}/...?" if near and near[0] != kind else ""
        raise ModelNotLoadable(f"{PREFIX}{spec}", f"an expert is named {PREFIX} and {forms}{cure}")
    if kind in ("package", "demo"):
        packaged = import_module("mllctl.backends.packaged")
        opened: Expert = (packaged.open_packaged if kind == "package" else packaged.open_demo)(rest, device)
        return opened
    if kind == "hf":
        return _open_hugging_face(rest, device)
    asked = read_spec(spec, PREFIX, OPTIONS)
    heads = _heads(asked)
    # Names are kept on the card; what identifies the expert is only how many there are.
    classifier = LOADERS[asked.library](asked, ("",) * len(heads), device)
    arch = asked.library if asked.library == "onnx" else asked.network
    return ClassifierExpert(classifier, heads, f"{arch}/{asked.weights.stem}", asked.library, asked.source)


def _heads(spec: Spec) -> tuple[str, ...]:
    """Return the names of the heads, empty where there are none."""
    if "labels" in spec.options or spec.weights.with_suffix(".txt").is_file():
        return tuple(read_labels(spec))
    count = read_number(spec, "heads", 0) if "heads" in spec.options else count_outputs(spec)
    return ("",) * count


# -- Hugging Face -------------------------------------------------------------------------------------


class HuggingFaceClassifier:
    """An image classifier of transformers, with the processor that lies beside it.

    Args:
        network: in evaluation mode.
        processor: from pictures to pixels.
        preprocess: the processor in words.
        device: where torch runs it.
    """

    def __init__(self, network: Any, processor: Any, preprocess: str, device: str = "cpu") -> None:
        names: Mapping[int, str] = network.config.id2label
        usual = all(name == f"LABEL_{n}" for n, name in names.items())
        self.heads = tuple("" if usual else names.get(n, "") for n in range(network.config.num_labels))
        self.fingerprint = hash_state(network.state_dict())
        self.parameters = sum(tensor.numel() for tensor in network.parameters())
        size = getattr(processor, "crop_size", None) or getattr(processor, "size", None) or {}
        self.image_size = int(max((value for value in dict(size).values() if value), default=224))
        self.preprocess = preprocess
        self.libraries = {library: version(library) for library in ("torch", "transformers", "pillow")}
        self._network = network.to(device)
        self._processor = processor
        self._device = device

    def log_probability(self, images: Sequence[Image.Image]) -> Float32:
        answers: Float32 = self._logits(images).log_softmax(dim=1).cpu().numpy()
        return answers

    def _logits(self, images: Sequence[Image.Image]) -> Any:
        import torch

        pixels = self._processor(images=[image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            return self._network(pixels.to(self._device)).logits.float()


def _open_hugging_face(rest: str, device: str) -> Expert:
    """Load what save_pretrained of transformers has written: a folder, or a repository in its cache."""
    folder = absolute(rest)
    source = f"{PREFIX}hf/{folder if folder.is_dir() else rest}"
    if not folder.is_dir():
        found = cached_file(rest, ["config.json"])
        if found is None:
            raise ModelNotLoadable(source, "there is no such folder, nor is it in Hugging Face's cache; give its path")
        folder = found.parent
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        if not (folder / name).is_file():
            reason = f"{folder} lacks {name}; write it with save_pretrained(FOLDER) of model and image processor"
            raise ModelNotLoadable(source, reason)
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    try:
        network = AutoModelForImageClassification.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
        processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            folder, local_files_only=True, trust_remote_code=False, use_fast=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelNotLoadable(source, f"transformers cannot load it ({said})") from error
    words = " ".join(processor.to_json_string().split())
    classifier = HuggingFaceClassifier(network.eval(), processor, f"transformers; {words}", device)
    parts = rest.rstrip("/").split("/")
    name = f"{network.config.model_type}/{parts[-1]}"
    return ClassifierExpert(classifier, classifier.heads, name, "hf", source)
