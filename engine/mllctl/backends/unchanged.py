"""Whether a model's files are still those it was loaded from: then it need not be loaded to see that it is the same.

    before = stamp_files(source)                      of what is about to be loaded
    remember_files(card, before, cache)               once it was, and its label is in a hub
    is_unchanged(card, cache)                         seconds later or years

    CACHE/loaded/SHA-256.txt     the stamp by source and identity of the model

A stamp is over paths, sizes and times of files and over versions of libraries, and not over content: 600 MB are not
read for it. The time of change is among the times, which nobody can set: a file that was written again under its old
date is noticed. Of models whose files are not all known, such as a plugin's, there is no stamp, and they are loaded.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mllctl_data
from mllctl.backends import towers
from mllctl.backends.facts import find_weights, known_models
from mllctl.backends.hugging_face import TOKENIZER_FILES, cached_file, weight_names
from mllctl.backends.names import CONFIG, split_source
from mllctl.backends.protocol import ModelCard
from mllctl.backends.registry import read_architecture
from mllctl.errors import ModelNotLoadable

# Whatever has a part in what comes out of a model, ourselves included.
_LIBRARIES = (
    *("mllctl", "torch", "torchvision", "open_clip_torch", "timm", "transformers", "sentence_transformers"),
    *("safetensors", "tokenizers", "pillow", "numpy"),
)


def stamp_files(source: str) -> str | None:
    """Return what changes when a model's files or its libraries do; None if not all its files are known."""
    try:
        files = _files_of(source)
        stats = [(str(file.resolve()), file.stat()) for file in files or ()]
    except (OSError, ValueError, ModelNotLoadable):
        return None
    if not stats:
        return None
    lines = [f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}" for path, stat in sorted(stats)]
    lines += [f"{library} {_version(library)}" for library in _LIBRARIES]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def remember_files(card: ModelCard, stamp: str | None, cache: Path) -> None:
    """Keep the stamp of the files that a model was loaded from.

    Args:
        card: of the model as it was loaded.
        stamp: what `stamp_files` said before that; nothing is kept of None.
        cache: the user's cache folder; made if it is missing.
    """
    if stamp is None or is_unchanged(card, cache, stamp):
        return
    note = _note(card, cache)
    note.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place, so that a reader never sees half of it.
    handle, name = tempfile.mkstemp(dir=note.parent, prefix=".", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(stamp)
    Path(name).replace(note)


def is_unchanged(card: ModelCard, cache: Path, stamp: str | None = None) -> bool:
    """Say whether loading a model would give this very card, as far as its files tell.

    Args:
        card: as a hub keeps it.
        cache: the user's cache folder.
        stamp: of the files now; they are looked at when None.
    """
    note = _note(card, cache)
    if not note.is_file():
        return False
    return note.read_text(encoding="utf-8") == (stamp or stamp_files(card.source))


def _note(card: ModelCard, cache: Path) -> Path:
    key = hashlib.sha256(f"{card.source}\n{card.identity}".encode()).hexdigest()
    return cache / "loaded" / f"{key}.txt"


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


# -- files --------------------------------------------------------------------------------------------


def _files_of(source: str) -> list[Path] | None:
    """Return all files that decide what a model is; None if they are not known, or not all here."""
    read = split_source(source)
    if read.kind == "demo":
        text = [file for file in towers.text_folder().iterdir() if file.is_file()]
        return [*(find_weights(source) or ()), *text, mllctl_data.path("demo", "models.json")]
    if read.kind == "local-dir":
        return [file for file in Path(read.first).rglob("*") if file.is_file()]
    if read.kind == "config":
        return _configured(Path(read.first), Path(read.second))
    if read.kind == "hf-hub":
        return _configured(cached_file(read.first, (CONFIG,)), cached_file(read.first, weight_names("")))
    architecture = read_architecture(read.first) if read.kind == "open_clip" else None
    weights = find_weights(source) if architecture else None
    if not architecture or not weights:
        return None
    beside = [] if source in known_models() else [file.parent / CONFIG for file in weights]
    return _all_of([*weights, *beside], _text_files(architecture))


def _configured(config: Path | None, weights: Path | None) -> list[Path] | None:
    if config is None or weights is None:
        return None
    content = json.loads(config.read_text(encoding="utf-8"))
    return _all_of([config, weights], _text_files(content.get("model_cfg", {})))


def _text_files(config: dict[str, Any]) -> list[Path] | None:
    """Return the files of a tokenizer or text tower that a configuration names; none where open_clip brings it."""
    text = config.get("text_cfg", {})
    found: list[Path] = []
    for name in {text.get("hf_tokenizer_name"), text.get("hf_model_name")} - {None, ""}:
        folder = Path(name) if Path(name).is_dir() else _snapshot(name)
        if folder is None:
            return None
        found += [file for file in folder.iterdir() if file.is_file()]
    return found


def _snapshot(repository: str) -> Path | None:
    """Return the folder in Hugging Face's cache that holds the files of a repository."""
    file = cached_file(repository, (*TOKENIZER_FILES, "config.json"))
    return file.parent if file else None


def _all_of(files: Iterable[Path], more: list[Path] | None) -> list[Path] | None:
    return None if more is None else [*files, *more]
