"""Write down exactly what a hub's models are, and say later what is no longer so.

    lock_models(hub)        models with hashes, libraries with versions, the caption encoder, the generation
    check_lock(path, hub)   what differs between a lock that was written and the hub as it is now

`mllctl model lock` prints the one and checks the other. Nothing here loads a model or imports a heavy library:
fingerprints and canaries are those that the hub keeps, versions those that are installed.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mllctl.backends.canary import canary_of, versions_of
from mllctl.errors import SourceUnreadable
from mllctl.hub import Hub
from mllctl.hub.records import StoredModel

FORM = 1  # of the lock file
_CURE = "write one with `mllctl model lock --out FILE`"

# What labels and selections are computed by, beside what each model's card names.
_OURS = ("mllctl", "duckdb", "faiss-cpu", "faiss-gpu-cu12", "numpy", "onnxruntime", "pillow", "pyarrow", "tokenizers")


def lock_models(hub: Hub) -> dict[str, Any]:
    """Return all that decides what a hub's models answer, ready to be written as JSON.

    Returns:
        `form`; `hub` with `generation` and `schema_version`; `encoder` with `name` and `fingerprint`, None without a
        caption index; `libraries`: name to installed version, None where it is not installed; and `models`: by name,
        `source`, `kind`, `fingerprint`, `preprocess`, `tokenizer`, `image_size`, `canary` (SHA-256, None where none
        was taken), `state` of the label, and `libraries`, the versions that made its embeddings.
    """
    index = hub.manifest.index
    models = hub.models()
    used = {library for stored in models for library in versions_of(stored.card)}
    return {
        "form": FORM,
        "hub": {"generation": hub.manifest.generation, "schema_version": hub.manifest.schema_version},
        "encoder": {"name": index.encoder, "fingerprint": index.encoder_fingerprint} if index else None,
        "libraries": {library: _installed(library) for library in sorted({*_OURS, *used})},
        "models": {stored.card.name: _lock_model(stored) for stored in models},
    }


def check_lock(path: Path, hub: Hub) -> list[str]:
    """Compare a lock that was written with a hub and the libraries of now.

    Args:
        path: a file as `lock_models` made it, as JSON.
        hub: open.

    Returns:
        One line a difference, in a fixed order; none if all is as it was.

    Raises:
        SourceUnreadable: if the file cannot be read, or is no lock of this form.
    """
    return list(_differences(read_lock(path), lock_models(hub)))


def read_lock(path: Path) -> dict[str, Any]:
    """Read a lock.

    Raises:
        SourceUnreadable: if there is none, or it is of another form.
    """
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceUnreadable(path, f"cannot be read ({error.strerror}); {_CURE}") from error
    except ValueError as error:
        raise SourceUnreadable(path, f"is not JSON; {_CURE}") from error
    if not isinstance(lock, dict) or not _is_whole(lock):
        raise SourceUnreadable(path, f"is no lock of a hub; {_CURE}")
    if lock["form"] != FORM:
        raise SourceUnreadable(path, f"is a lock of form {lock['form']}, this mllctl reads {FORM}; {_CURE}")
    return lock


def _is_whole(lock: Mapping[str, Any]) -> bool:
    kinds: dict[str, Any] = {"form": int, "hub": dict, "encoder": (dict, type(None)), "libraries": dict, "models": dict}
    whole = all(key in lock and isinstance(lock[key], kind) for key, kind in kinds.items())
    return whole and all(isinstance(facts, dict) for facts in lock["models"].values())


def _lock_model(stored: StoredModel) -> dict[str, Any]:
    card = stored.card
    canary = canary_of(card)
    return {
        "source": card.source,
        "kind": card.kind,
        "fingerprint": card.fingerprint,
        "preprocess": card.preprocess,
        "tokenizer": card.tokenizer,
        "image_size": card.image_size,
        "canary": canary.sha256 if canary else None,
        "state": stored.state,
        "libraries": versions_of(card),
    }


def _differences(locked: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from _changed("hub", locked["hub"], now["hub"])
    yield from _changed("encoder", locked["encoder"] or {}, now["encoder"] or {})
    yield from _changed("library", locked["libraries"], now["libraries"])
    for name in sorted(locked["models"].keys() - now["models"].keys()):
        yield f"model {name}: locked, and not in the hub"
    for name in sorted(now["models"].keys() - locked["models"].keys()):
        yield f"model {name}: in the hub, and not locked"
    for name in sorted(locked["models"].keys() & now["models"].keys()):
        before, after = dict(locked["models"][name]), dict(now["models"][name])
        made = before.pop("libraries", {}), after.pop("libraries", {})
        yield from _changed(f"model {name}:", before, after)
        yield from _changed(f"model {name}: made by", *made)


def _changed(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"{what} {key}: locked {_said(before.get(key))}, now {_said(after.get(key))}"


def _said(value: object) -> str:
    return "none" if value is None else str(value)


def _installed(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
