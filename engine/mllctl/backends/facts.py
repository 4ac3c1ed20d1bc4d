"""What a model costs, beside what its card says, and whether it can be loaded without a download.

    operations, licence   `mllctl_data/models.csv`; operations are those of the architecture, whatever the weights
    size                  of the weight files where they are on this machine, else 4 bytes a parameter
    latency               as `latency` measured it on this machine
    cached                whether open_clip, or the packages of the demo, would find all files here

`model_facts` is called for every candidate of a limited task, so nothing here imports torch or open_clip: where
open_clip has its weights stands in `models.csv` too.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mllctl_data
from mllctl.backends import towers
from mllctl.backends.latency import known_latency
from mllctl.backends.protocol import ModelCard
from mllctl.errors import ModelNotLoadable

FLOAT32 = 4  # bytes: what a parameter takes once it is loaded, and in most checkpoints

# What open_clip looks for, in this order, in a repository of which its table names no file.
_WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json")


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
    """A row of `models.csv`.

    Attributes:
        model: `arch/weights`.
        gflops, license: as in `ModelFacts`.
        weights: Hugging Face repository from which open_clip loads them, with a slash and perhaps a file behind it.
        tokenizer: Hugging Face repository of the tokenizer; empty where open_clip brings it.
        source: where operations and licence are from.
    """

    model: str
    gflops: float | None
    license: str | None
    weights: str
    tokenizer: str
    source: str


def model_facts(card: ModelCard, cache: Path) -> ModelFacts:
    """Gather what is known of a model on this machine.

    Args:
        card: as the hub keeps it.
        cache: the user's cache folder, in which latencies lie.
    """
    # By source: a checkpoint of the user's own may bear the name of a known model, and is another.
    known = known_models().get(card.name if card.source.startswith("demo:") else card.source)
    files = _find_weights(card.source)
    return ModelFacts(
        parameters=card.parameters,
        gflops=_operations(card, known),
        size_bytes=sum(file.stat().st_size for file in files) if files else FLOAT32 * card.parameters,
        latency_ms=known_latency(card, cache),
        license=known.license if known else None,
        cached=None if files is None else bool(files) and _has_tokenizer(known),
        size_estimated=not files,
    )


@cache
def known_models() -> dict[str, KnownModel]:
    """Return the rows of `models.csv` by model."""
    with mllctl_data.path("models.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            KnownModel(
                row["model"],
                float(row["gflops"]) if row["gflops"] else None,
                row["license"] or None,
                row["weights"],
                row["tokenizer"],
                row["source"],
            )
            for row in csv.DictReader(file)
        ]
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
    path = Path(source.partition("/")[2])
    named = source not in known_models() and (len(path.parts) > 1 or path.is_file())
    return path if named else None


def _has_tokenizer(known: KnownModel | None) -> bool:
    if known is None or not known.tokenizer:
        return True
    return _in_hugging_face(known.tokenizer, _TOKENIZER_FILES) is not None


def _find_weights(source: str) -> list[Path] | None:
    """Return a model's weight files; none where they must be downloaded, None where that is not known."""
    if source.startswith("demo:"):
        return _demo_files(source.removeprefix("demo:"))
    own = _own_checkpoint(source)
    if own is not None:
        return [own] if own.is_file() else []
    if source not in known_models():
        return None
    file = _downloaded(known_models()[source].weights)
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
    # It prefers safetensors wherever there are some.
    names = (f"{name.rpartition('.')[0]}.safetensors", name) if name else _WEIGHT_FILES
    return _in_hugging_face(repository, names)


def _in_hugging_face(repository: str, names: tuple[str, ...]) -> Path | None:
    """Return the first of some files of a repository that is in Hugging Face's cache."""
    # Imported here: it takes 0.2 s, and demo models do without.
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name) for name in names)
    return next((Path(file) for file in found if isinstance(file, str)), None)
