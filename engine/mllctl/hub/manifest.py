"""The manifest: the one file of a hub that is ever replaced.

It names every file of a generation with size and checksum. Whoever has read it has a snapshot;
whoever replaces it has committed.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mllctl.errors import HubDamaged, HubNotFound, HubTooNew

NAME = "manifest.json"
SCHEMA_VERSION = 1


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
    """One generation of a hub."""

    schema_version: int
    generation: int
    read_only: bool
    catalog: HubFile
    labels: tuple[ModelFile, ...] = ()
    image_features: tuple[ModelFile, ...] = ()
    caption_features: tuple[ModelFile, ...] = ()
    index: IndexFile | None = None

    def files(self) -> list[HubFile]:
        """Return every file of this generation."""
        index = [self.index] if self.index else []
        return [self.catalog, *self.labels, *self.image_features, *self.caption_features, *index]

    def label_of(self, model: int) -> ModelFile | None:
        """Return a model's label file, or None."""
        return next((file for file in self.labels if file.model == model), None)

    def without_model(self, model: int) -> "Manifest":
        """Return this manifest with no file of `model`."""
        return replace(
            self,
            labels=_without(self.labels, model),
            image_features=_without(self.image_features, model),
            caption_features=_without(self.caption_features, model),
        )


def _without(files: tuple[ModelFile, ...], model: int) -> tuple[ModelFile, ...]:
    return tuple(file for file in files if file.model != model)


def read_manifest(hub: Path) -> Manifest:
    """Read the manifest of a hub and check that its files are there and whole in size.

    Raises:
        HubNotFound: if there is none.
        HubTooNew: if another schema version wrote it.
        HubDamaged: if it cannot be understood or a file it names is missing or truncated.
    """
    try:
        facts = json.loads((hub / NAME).read_text(encoding="utf-8"))
        version = facts["schema_version"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HubNotFound(hub) from error
    except (ValueError, KeyError, TypeError) as error:
        raise HubDamaged(hub, f"{NAME} cannot be read ({error})") from error
    if version != SCHEMA_VERSION:
        raise HubTooNew(hub, version, SCHEMA_VERSION)
    try:
        manifest = _from_json(facts)
    except (KeyError, TypeError) as error:
        raise HubDamaged(hub, f"{NAME} lacks {error}") from error
    for file in manifest.files():
        path = hub / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            raise HubDamaged(hub, f"{file.path} is {'truncated' if path.is_file() else 'missing'}")
    return manifest


def write_manifest(hub: Path, manifest: Manifest) -> None:
    """Commit: replace the manifest in one step, durably."""
    temporary = hub / f"{NAME}.new"
    with temporary.open("w", encoding="utf-8") as out:
        json.dump(asdict(manifest), out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(hub / NAME)
    sync_folder(hub)


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
        labels=tuple(ModelFile(**file) for file in facts["labels"]),
        image_features=tuple(ModelFile(**file) for file in facts["image_features"]),
        caption_features=tuple(ModelFile(**file) for file in facts["caption_features"]),
        index=IndexFile(**facts["index"]) if facts["index"] else None,
    )
