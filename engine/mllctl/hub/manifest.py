"""The manifest: the one file of a hub that is ever replaced.

It names every file of a generation with size and checksum. Whoever has read it has a snapshot;
whoever replaces it has committed. A copy of each goes to `manifests/`: the hub's history, as far back as
the files are kept.
"""

import hashlib
import json
import operator
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mllctl.errors import HubDamaged, HubNotFound, HubTooNew, HubTooOld, NotInHub

NAME = "manifest.json"
HISTORY = "manifests"
SCHEMA_VERSION = 3
GENERATIONS_KEPT = 10


@dataclass(frozen=True)
class HubFile:
    """A file of the hub: path below it, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ModelFile(HubFile):
    """A file about one model, by ordinal."""

    model: int


@dataclass(frozen=True)
class IndexFile(HubFile):
    """The caption index, and what it was made from: that many nodes and domains, by that encoder."""

    nodes: int
    domains: int
    encoder: str
    encoder_fingerprint: str


@dataclass(frozen=True)
class Manifest:
    """One generation of a hub.

    Attributes:
        made: when, in UTC, as ISO 8601.
        note: what made it, in a few words.
        labels: parts of labels, by model and age.
        orders: the Arrow file of each such part, with the same stem; a sealed hub has none.
        image_features, caption_features: embeddings, by model and age; of an expert, its log-probabilities.
        experts: parts of the labels of experts, by expert and age.
    """

    schema_version: int
    generation: int
    read_only: bool
    catalog: HubFile
    made: str = ""
    note: str = ""
    labels: tuple[ModelFile, ...] = ()
    orders: tuple[ModelFile, ...] = ()
    image_features: tuple[ModelFile, ...] = ()
    caption_features: tuple[ModelFile, ...] = ()
    index: IndexFile | None = None
    experts: tuple[ModelFile, ...] = ()

    def files(self) -> list[HubFile]:
        """Return every file of this generation."""
        index = [self.index] if self.index else []
        by_model = (self.labels, self.orders, self.image_features, self.caption_features, self.experts)
        return [self.catalog, *(file for files in by_model for file in files), *index]

    def without_model(self, model: int) -> "Manifest":
        """Return this manifest with no file of `model`."""
        return replace(
            self,
            labels=_without(self.labels, model),
            orders=_without(self.orders, model),
            image_features=_without(self.image_features, model),
            caption_features=_without(self.caption_features, model),
            experts=_without(self.experts, model),
        )


def _without(files: tuple[ModelFile, ...], model: int) -> tuple[ModelFile, ...]:
    return tuple(file for file in files if file.model != model)


def read_manifest(hub: Path, generation: int | None = None) -> Manifest:
    """Read the manifest of a hub and check that its files are there and whole in size.

    Args:
        hub: its folder.
        generation: one that is kept; the newest when None.

    Raises:
        HubNotFound: if there is none.
        HubTooNew, HubTooOld: if another schema version wrote it.
        HubDamaged: if it cannot be understood or a file it names is missing or truncated.
        NotInHub: if there is no such generation, or it is not kept.
    """
    manifest = _parse(hub, hub / NAME)
    if generation is not None and generation != manifest.generation:
        kept = [past.generation for past in read_history(hub)]
        if generation not in kept:
            raise NotInHub("generation", str(generation), cure=f"kept are {kept[0]} to {kept[-1]}")
        manifest = _parse(hub, past_manifest(hub, generation))
    for file in manifest.files():
        path = hub / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            raise HubDamaged(hub, f"{file.path} is {'truncated' if path.is_file() else 'missing'}")
    return manifest


def schema_version(hub: Path) -> int:
    """Return the schema version of a hub, whether or not this mllctl reads it.

    Raises:
        HubNotFound, HubDamaged: as their names say.
    """
    return read_facts(hub, hub / NAME)[1]


def read_history(hub: Path) -> list[Manifest]:
    """Return the manifests of all generations whose files are kept, oldest first; the last is the newest."""
    newest = _parse(hub, hub / NAME)
    # A manifest that was never committed bears a later number; one that a newer mllctl upgraded from, another version.
    past = [_past(hub, path, newest.generation) for path in sorted((hub / HISTORY).glob("*.json"))]
    return [*(manifest for manifest in past if manifest), newest]


def past_manifest(hub: Path, generation: int) -> Path:
    """Return where the manifest of a past generation lies."""
    return hub / HISTORY / f"{generation:06d}.json"


def _past(hub: Path, path: Path, newest: int) -> Manifest | None:
    facts, version = read_facts(hub, path)
    if version != SCHEMA_VERSION or not newest - GENERATIONS_KEPT < facts["generation"] < newest:
        return None
    return _from_json(facts)


def read_facts(hub: Path, path: Path) -> tuple[dict[str, Any], int]:
    """Return what a manifest of any schema version says, and that version.

    Raises:
        HubNotFound: if there is no such file.
        HubDamaged: if it is no manifest.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return facts, operator.index(facts["schema_version"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HubNotFound(hub) from error
    except (ValueError, KeyError, TypeError) as error:
        raise HubDamaged(hub, f"{path.name} cannot be read ({error})") from error


def _parse(hub: Path, path: Path) -> Manifest:
    facts, version = read_facts(hub, path)
    if version != SCHEMA_VERSION:
        raise (HubTooNew if version > SCHEMA_VERSION else HubTooOld)(hub, version, SCHEMA_VERSION)
    return parse_facts(hub, facts, path.name)


def parse_facts(hub: Path, facts: dict[str, Any], name: str = NAME) -> Manifest:
    """Return what a manifest of this schema version says.

    Raises:
        HubDamaged: if it lacks something.
    """
    try:
        return _from_json(facts)
    except (KeyError, TypeError) as error:
        raise HubDamaged(hub, f"{name} lacks {error}") from error


def write_manifest(hub: Path, manifest: Manifest) -> None:
    """Commit: replace the manifest in one step, durably. Its copy for the history is written before."""
    write_past_manifest(hub, manifest)
    _replace(hub / NAME, manifest)


def write_past_manifest(hub: Path, manifest: Manifest) -> None:
    """Write the copy of a manifest that is kept for the history."""
    (hub / HISTORY).mkdir(exist_ok=True)
    _replace(past_manifest(hub, manifest.generation), manifest)


def _replace(path: Path, manifest: Manifest) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w", encoding="utf-8") as out:
        json.dump(asdict(manifest), out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def describe(hub: Path, path: str) -> HubFile:
    """Flush a finished file to disk and return its entry for the manifest."""
    with (hub / path).open("rb+") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return HubFile(path, (hub / path).stat().st_size, digest)


def changed_files(hub: Path, manifest: Manifest) -> list[str]:
    """Return the files whose content is not what the manifest says."""
    changed = []
    for file in manifest.files():
        with (hub / file.path).open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                changed.append(file.path)
    return changed


def sync_folder(folder: Path) -> None:
    """Make renames within a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _from_json(facts: dict[str, Any]) -> Manifest:
    return Manifest(
        schema_version=facts["schema_version"],
        generation=facts["generation"],
        read_only=facts["read_only"],
        catalog=HubFile(**facts["catalog"]),
        made=facts["made"],
        note=facts["note"],
        labels=tuple(ModelFile(**file) for file in facts["labels"]),
        orders=tuple(ModelFile(**file) for file in facts["orders"]),
        image_features=tuple(ModelFile(**file) for file in facts["image_features"]),
        caption_features=tuple(ModelFile(**file) for file in facts["caption_features"]),
        index=IndexFile(**facts["index"]) if facts["index"] else None,
        experts=tuple(ModelFile(**file) for file in facts["experts"]),
    )
