"""Write the zero-shot heads of a saved selection, so that open_clip alone can use them; docs/reuse.md has the lines.

    SavedSelection ── export_heads ─┬─ manifest.json        all that the ensemble is, and how open_clip loads each model
                                    └─ 0-MODEL.safetensors  of each model: text (c, d), scale, bias

With `image` a unit vector of a model, softmax(scale * image @ text.T) is its P(c | x). Files hold numbers and JSON, no
pickle. The folder has its name only when it is whole.
"""

import ast
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mllctl.backends import load_model
from mllctl.backends.devices import precision_of, release_memory
from mllctl.backends.names import CONFIG, find_checkpoints, split_source
from mllctl.errors import InvalidTask, ModelNotLoadable, SourceUnreadable
from mllctl.files import write_whole
from mllctl.reuse.ensemble import Loader, load_member
from mllctl.reuse.saved import SavedModel, SavedSelection

FORMAT, VERSION = "mllctl heads", 1
MANIFEST = "manifest.json"

Progress = Callable[[str, int, int], None]  # (the model that comes next, models done, models in all)

_LONGEST = 100  # characters of a model's name in that of its file
# Of how images are prepared, what open_clip takes beside the path of a checkpoint.
_TAKEN = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Head:
    """A model of an export, as the manifest has it.

    Attributes:
        name, source, fingerprint, preprocess: as on the model's card.
        kind: likewise, such as `open_clip`.
        precision: in which the model computes, such as `float32`.
        open_clip: what `open_clip.create_model_from_pretrained` takes to load the model; None if it cannot.
        why_not: the reason, in words; None if it can.
        file: beside the manifest.
        sha256: of the file.
        width: d.
        temperature: by which the model's own scale was divided.
        scale: what cosines are multiplied by before the softmax.
        bias: what a model that was trained with a sigmoid adds after that, at temperature 1; it cancels in a softmax.
        answers: positions of the classes that the model answers in the ensemble; its head has them all.
    """

    name: str
    source: str
    kind: str
    fingerprint: str
    preprocess: str
    precision: str
    open_clip: Mapping[str, Any] | None
    why_not: str | None
    file: str
    sha256: str
    width: int
    temperature: float
    scale: float
    bias: float
    answers: tuple[int, ...]


def export_heads(
    saved: SavedSelection,
    folder: Path,
    load: Loader = load_model,
    device: str = "cpu",
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> tuple[Head, ...]:
    """Load each model of a selection, encode the classes, and write both files and manifest.

    Args:
        saved: the selection.
        folder: a new one; the one it lies in must be there.
        load: makes a model from its source, on `device`.
        device: where torch runs it.
        replace: whether an earlier export may be replaced; nothing else ever is.
        progress: told before each model is loaded.

    Returns:
        what was written, in the order of the selection's models.

    Raises:
        InvalidTask: if experts answer, whose heads are no embeddings of texts.
        SourceUnreadable: if the folder is there already, and is not to be replaced; or cannot be made.
        ModelNotLoadable: if a model cannot be loaded, or is not the one that was labelled.
    """
    if saved.experts:
        raise InvalidTask("experts have no heads that open_clip could use; make a selection without --experts")
    check_new_folder(folder, replace=replace)
    target = folder.resolve()
    heads = []
    with tempfile.TemporaryDirectory(prefix=f".{target.name[:_LONGEST]}-", dir=target.parent) as work:
        made = Path(work, "made")
        made.mkdir()
        for m, model in enumerate(saved.models):
            if progress:
                progress(model.name, m, len(saved.models))
            heads.append(_write_head(saved, m, made, load, device))
            release_memory()
        manifest = json.dumps(_manifest(saved, heads), indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(made / MANIFEST, f"{manifest}\n")
        _put_in_place(made, target, Path(work, "before"))
    return tuple(heads)


def check_new_folder(folder: Path, *, replace: bool = False) -> None:
    """Refuse a folder that could not, or should not, be written; before long work rather than after.

    Raises:
        SourceUnreadable: if it is there already and not to be replaced, or no export; or no folder to make it in.
    """
    if folder.is_symlink() and not folder.exists():
        raise SourceUnreadable(folder, "is a link to nothing; name a new folder")
    if not folder.exists():
        if not folder.parent.is_dir():
            raise SourceUnreadable(folder, "there is no such folder to write it in; make it first")
        return
    if not folder.is_dir():
        raise SourceUnreadable(folder, "is a file; name a new folder")
    if not replace:
        raise SourceUnreadable(folder, "is there already; name a new folder or give --force")
    own = _files_of_export(folder)
    if own is None:
        raise SourceUnreadable(folder, "holds no exported heads and is not replaced; name a new folder")
    if foreign := sorted({path.name for path in folder.iterdir()} - own):
        raise SourceUnreadable(folder, f"holds {foreign[0]}, which is no part of it; move it away or name a new folder")


def _files_of_export(folder: Path) -> set[str] | None:
    """Return the names of the files that an export consists of; None if the folder is none."""
    try:
        facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {MANIFEST, *(row["file"] for row in facts["models"])} if facts["format"] == FORMAT else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _put_in_place(made: Path, target: Path, before: Path) -> None:
    """Give a folder its name; what had it until now goes to `before`, and comes back if that fails."""
    try:
        if target.exists():
            target.rename(before)
        made.rename(target)
    finally:
        if before.exists() and not target.exists():
            before.rename(target)


def _manifest(saved: SavedSelection, heads: list[Head]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "classes": saved.classes,
        "templates": saved.templates,
        "prompts": saved.prompts,
        "weighting": saved.weighting,
        "members": saved.members.tolist(),
        "models": [asdict(head) for head in heads],
    }


# -- one head -----------------------------------------------------------------------------------------


def _write_head(saved: SavedSelection, m: int, folder: Path, load: Loader, device: str) -> Head:
    """Write the file of a model.

    Raises:
        ModelNotLoadable: if it cannot be loaded, is not the one that was labelled, or gives no numbers.
    """
    model = saved.models[m]
    member = load_member(model, saved.prompts, load, device)
    card = member.model.card
    text = np.ascontiguousarray(member.prompts, dtype=np.float32)
    if not np.isfinite(text).all():
        raise ModelNotLoadable(model.name, "it gives embeddings that are not numbers; its weights are damaged")
    scale = card.logit_scale / member.temperature
    tensors = {"text": text, "scale": np.array(scale, np.float32), "bias": np.array(card.logit_bias, np.float32)}
    classes = json.dumps(saved.classes, ensure_ascii=False)
    content = _as_safetensors(tensors, {"format": FORMAT, "model": model.name, "classes": classes})
    file = _file_name(m, model.name)
    (folder / file).write_bytes(content)
    arguments, why_not = _arguments(model, card.kind)
    return Head(
        name=model.name,
        source=model.source,
        kind=card.kind,
        fingerprint=model.fingerprint,
        preprocess=model.preprocess,
        precision=precision_of(model),
        open_clip=arguments,
        why_not=why_not,
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        width=text.shape[1],
        temperature=member.temperature,
        scale=scale,
        bias=card.logit_bias,
        answers=tuple(np.flatnonzero((saved.members == m).any(axis=1)).tolist()),
    )


def _as_safetensors(tensors: Mapping[str, NDArray[np.float32]], told: Mapping[str, str]) -> bytes:
    """Return the content of a file; the same for the same head.

    safetensors itself puts what is told down in another order each time, so its head is written again, sorted: eight
    bytes of length, JSON, blanks up to a multiple of eight.
    """
    from safetensors.numpy import save

    content = save(dict(tensors), dict(told))
    size = int.from_bytes(content[:8], "little")
    head = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + content[8 + size :]


def _file_name(m: int, name: str) -> str:
    """Return a name for the file of model `m`; no two are alike, as each begins with its number."""
    return f"{m}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:_LONGEST]}.safetensors"


# -- how open_clip loads a model ----------------------------------------------------------------------


def _arguments(model: SavedModel, kind: str) -> tuple[dict[str, Any] | None, str | None]:
    """Return what `open_clip.create_model_from_pretrained` takes to load a model as mllctl does, or why it cannot."""
    if kind != "open_clip":
        return None, f"it is of kind {kind}, no model of open_clip; mllctl loads it as {model.source}"
    read = split_source(model.source)
    if read.kind in ("hf-hub", "local-dir"):
        return {"model_name": f"{read.kind}:{read.first}"}, None
    if read.kind == "config":
        return _in_folder(Path(read.first), Path(read.second))
    if read.kind != "open_clip":
        return None, f"open_clip has no {read.kind}: models; mllctl loads it as {model.source}"
    if not Path(read.second).is_absolute():
        return {"model_name": read.first, "pretrained": read.second}, None
    return _with_preparation(read.first, read.second, model.preprocess)


def _in_folder(config: Path, checkpoint: Path) -> tuple[dict[str, Any] | None, str | None]:
    """Of a configuration and weights: open_clip takes what it calls so in a folder, and the first weights there."""
    if config == checkpoint.parent / CONFIG and find_checkpoints(config.parent)[:1] == [checkpoint]:
        return {"model_name": f"local-dir:{config.parent}"}, None
    cure = f"copy {config} as {CONFIG} and {checkpoint} into a folder of their own, and load local-dir:FOLDER"
    return None, f"open_clip takes a folder's {CONFIG} and the first weights in it; {cure}"


def _with_preparation(arch: str, checkpoint: str, preprocess: str) -> tuple[dict[str, Any] | None, str | None]:
    """Of a checkpoint: open_clip would prepare images as for OpenAI's models if it were not told."""
    told = dict(part.split(" ", 1) for part in preprocess.split("; "))
    if told.get("fill_color", "0") != "0":
        return None, "open_clip cannot be told its fill_color; put the weights into a folder and load local-dir:FOLDER"
    taken = {f"image_{key}": _value(told[key]) for key in _TAKEN}
    return {"model_name": arch, "pretrained": checkpoint, **taken}, None


def _value(words: str) -> str | list[float]:
    """Return what a card says in words, such as `bicubic` or `[0.5, 0.5, 0.5]`."""
    return list(ast.literal_eval(words)) if words[0] in "([" else words
