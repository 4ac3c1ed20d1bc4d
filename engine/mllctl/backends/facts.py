"""What a model costs, beside what its card says, and whether it can be loaded without a download.

    operations, licence   `mllctl_data/models.csv`; operations are those of the architecture, whatever the weights
    size                  of the weight files where they are on this machine, else 4 bytes a parameter
    latency               as `latency` measured it on this machine
    cached                whether open_clip, or the packages of the demo, would find all files here

`model_facts` is called for every candidate of a limited task, so nothing here imports torch or open_clip: where
open_clip has its weights stands in `models.csv` too.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mllctl_data
from mllctl.backends import towers
from mllctl.backends.hugging_face import TOKENIZER_FILES, WEIGHT_FILES, cached_file, weight_names
from mllctl.backends.latency import known_latency
from mllctl.backends.names import find_checkpoints, split_source
from mllctl.backends.protocol import ExpertCard, ModelCard
from mllctl.errors import ModelNotLoadable

FLOAT32 = 4  # bytes: what a parameter takes once it is loaded, and in most checkpoints


@dataclass(frozen=True)
class ModelFacts:
    """What limits are put on; None is unknown.

    Attributes:
        parameters: number of weights.
        gflops: floating-point operations of an image and a text together, a multiplication and an addition being
            two, in 10^9.
        size_bytes: of the weights.
        latency_ms: from a picture to its vector on this machine, one at a time.
        license: SPDX expression of the weights.
        cached: whether the model can be loaded without a download.
        size_estimated: whether `size_bytes` is 4 bytes a parameter and not the size of files.
    """

    parameters: int | None = None
    gflops: float | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None
    license: str | None = None
    cached: bool | None = None
    size_estimated: bool = False


@dataclass(frozen=True)
class KnownModel:
    """A row of `models.csv`; None is unknown.

    Attributes:
        model: `arch/weights`.
        parameters, gflops, license: as in `ModelFacts`.
        image_size: side of the square the model sees, in pixels.
        context_length: tokens of the longest text.
        embedding_width: d.
        imagenet_top1: zero-shot accuracy as published, in [0, 1].
        weights: Hugging Face repository from which open_clip loads them, with a slash and perhaps a file behind it;
            empty for models of the demo.
        tokenizer: Hugging Face repository of the tokenizer; empty where open_clip brings it.
        instead: the name to be used instead, where the weights want another activation than `arch` has; or empty.
        source: where operations, accuracy and licence are from.
    """

    model: str
    parameters: int | None
    gflops: float | None
    license: str | None
    image_size: int | None
    context_length: int | None
    embedding_width: int | None
    imagenet_top1: float | None
    weights: str
    tokenizer: str
    instead: str
    source: str

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> "KnownModel":
        """Read a row; what is empty is not known."""

        def count(column: str) -> int | None:
            return int(row[column]) if row[column] else None

        return cls(
            model=row["model"],
            parameters=count("parameters"),
            gflops=float(row["gflops"]) if row["gflops"] else None,
            license=row["license"] or None,
            image_size=count("image_size"),
            context_length=count("context_length"),
            embedding_width=count("embedding_width"),
            imagenet_top1=float(row["imagenet_top1"]) if row["imagenet_top1"] else None,
            weights=row["weights"],
            tokenizer=row["tokenizer"],
            instead=row["instead"],
            source=row["source"],
        )


def model_facts(card: ModelCard, cache: Path) -> ModelFacts:
    """Gather what is known of a model on this machine.

    Args:
        card: as the hub keeps it.
        cache: the user's cache folder, in which latencies lie.
    """
    # By source: a checkpoint of the user's own may bear the name of a known model, and is another.
    known = known_models().get(card.name if card.source.startswith("demo:") else card.source)
    files = find_weights(card.source)
    return ModelFacts(
        parameters=card.parameters,
        gflops=_operations(card, known),
        size_bytes=sum(file.stat().st_size for file in files) if files else FLOAT32 * card.parameters,
        latency_ms=known_latency(card, cache),
        license=known.license if known else None,
        cached=None if files is None else bool(files) and _has_tokenizer(known),
        size_estimated=not files,
    )


def expert_facts(card: ExpertCard) -> ModelFacts:
    """Gather what is known of an expert: its parameters, and that only a plugin's may have to be downloaded.

    Nobody has written down the licences and operations of classifiers, and `latency` measures encoders.
    """
    parameters = card.parameters or None
    return ModelFacts(
        parameters=parameters,
        size_bytes=None if parameters is None else FLOAT32 * parameters,
        cached=True if card.source.startswith("expert:") else None,
        size_estimated=True,
    )


def pretrained_facts(known: KnownModel) -> ModelFacts:
    """Gather what is known of a pretrained model that is in no hub; its latency is not."""
    file = _downloaded(known.weights)
    size = None if known.parameters is None else FLOAT32 * known.parameters
    return ModelFacts(
        parameters=known.parameters,
        gflops=known.gflops,
        size_bytes=file.stat().st_size if file else size,
        license=known.license,
        cached=file is not None and _has_tokenizer(known),
        size_estimated=file is None,
    )


@cache
def known_models() -> dict[str, KnownModel]:
    """Return the rows of `models.csv` by model."""
    with mllctl_data.path("models.csv").open(encoding="utf-8", newline="") as file:
        rows = [KnownModel.from_row(row) for row in csv.DictReader(file)]
    return {row.model: row for row in rows}


def _operations(card: ModelCard, known: KnownModel | None) -> float | None:
    """Return the GFLOPs of a model, or else of any other of its architecture."""
    if known and known.gflops is not None:
        return known.gflops
    arch = card.name.partition("/")[0]
    others = [row.gflops for name, row in known_models().items() if name.partition("/")[0] == arch]
    return next((gflops for gflops in others if gflops is not None), None)


def _own_checkpoint(source: str) -> Path | None:
    """Return the path in a source like `ViT-B-32//weights/mine.safetensors`; open_clip looks for a tag first."""
    try:
        read = split_source(source)
    except ModelNotLoadable:
        return None
    if read.kind == "config":
        return Path(read.second)
    if read.kind == "conse":
        library, _, place = read.first.partition(",")[0].partition("/")
        return Path(place if library == "onnx" else place.partition("@")[2])
    if read.kind == "local-dir":
        return next(iter(find_checkpoints(Path(read.first))), Path(read.first) / WEIGHT_FILES[0])
    path = Path(read.second)
    named = read.kind == "open_clip" and source not in known_models() and (len(path.parts) > 1 or path.is_file())
    return path if named else None


def _has_tokenizer(known: KnownModel | None) -> bool:
    if known is None or not known.tokenizer:
        return True
    return cached_file(known.tokenizer, TOKENIZER_FILES) is not None


def find_weights(source: str) -> list[Path] | None:
    """Return a model's weight files; none where they must be downloaded, None where that is not known."""
    if source.startswith("demo:"):
        return _demo_files(source.removeprefix("demo:"))
    own = _own_checkpoint(source)
    if own is not None:
        return [own] if own.is_file() else []
    if source.startswith("st:/"):
        return sorted(Path(source.removeprefix("st:")).rglob("*.safetensors"))
    if source.startswith("hf-hub:"):
        weights = f"{source.removeprefix('hf-hub:')}/"
    elif source in known_models():
        weights = known_models()[source].weights
    else:
        return None
    file = _downloaded(weights)
    return [file] if file else []


def _demo_files(name: str) -> list[Path]:
    head = mllctl_data.path("demo", "heads", f"{name}.safetensors")
    try:
        both = [towers._image_file(), towers.text_folder() / "model.safetensors"]
    except ModelNotLoadable:
        return []
    return [*both, head] if head.is_file() else both


def _downloaded(weights: str) -> Path | None:
    """Return the file that open_clip would load, or None if it would have to download it."""
    repository, _, name = weights.rpartition("/")
    return cached_file(repository, weight_names(name))
