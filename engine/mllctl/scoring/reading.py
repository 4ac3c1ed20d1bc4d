"""From files to a labelled task: features of models on the same images, F-labels for EMMS, and the truth if known.

    DIR/MODEL.npz        features (n, d), labels (n,), and if there are any outputs (n, s)
    DIR/MODEL.parquet    columns feature and label, and if there are any output; a row an image
    DIR/f_labels.npz     an array a foundation model, all of one width: (c, e), classes in ascending order of their
                         labels, or (n, e), an image each
    truth.csv            model,value: what each model really reached

Arrays are read without pickle.
"""

import csv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mllctl.errors import SourceUnreadable
from mllctl.kernels.arrays import AnyArray, Float, Int

F_LABELS = "f_labels.npz"
ENDINGS = (".npz", ".parquet")


@dataclass(frozen=True)
class ModelFeatures:
    """What one model makes of the images.

    Attributes:
        name: the file's, without its ending.
        features: shape (n, d).
        outputs: of its own classes, at least 0, shape (n, s); None if there are none.
    """

    name: str
    features: Float
    outputs: Float | None


@dataclass(frozen=True)
class FeatureTask:
    """A labelled task.

    Attributes:
        models: by name.
        labels: of the images, 0..c-1, shape (n,).
        classes: what they are called, in ascending order.
        f_labels: shape (c, e, k) or (n, e, k); None if there are none.
        foundation: names of the models they are from.
    """

    models: tuple[ModelFeatures, ...]
    labels: Int
    classes: tuple[str, ...]
    f_labels: Float | None
    foundation: tuple[str, ...]


def read_task(folder: Path) -> FeatureTask:
    """Read the features that models have of one set of labelled images.

    Raises:
        SourceUnreadable: if there are none, a file is not what it should be, or labels differ between models.
    """
    if not folder.is_dir():
        raise SourceUnreadable(folder, "no such folder; save one file MODEL.npz a model, with features and labels")
    files = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS and path.name != F_LABELS)
    if not files:
        raise SourceUnreadable(folder, "no features; save one file MODEL.npz a model, with features and labels")
    models, first = [], None
    for path in files:
        arrays = _arrays(path)
        labels = arrays["labels"]
        if first is None:
            first = labels
        elif labels.shape != first.shape or (labels != first).any():
            raise SourceUnreadable(path, f"its labels are not those of {files[0].name}; all models see the same images")
        models.append(ModelFeatures(path.stem, arrays["features"], arrays.get("outputs")))
    if twice := next((one.name for one, other in pairwise(models) if one.name == other.name), None):
        raise SourceUnreadable(folder, f"{twice} is there as .npz and as .parquet; remove one")
    names, place = np.unique(np.asarray(first), return_inverse=True)
    place = place.reshape(-1).astype(np.int64)
    f_labels, foundation = _f_labels(folder / F_LABELS, len(place), len(names))
    return FeatureTask(tuple(models), place, tuple(map(str, names.tolist())), f_labels, foundation)


def read_truth(path: Path, models: tuple[str, ...]) -> Float:
    """Read what each model really reached, shape (m,).

    Raises:
        SourceUnreadable: if it is not CSV of model and value, or lacks a model.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnreadable(path, f"cannot be read: {error}") from error
    found: dict[str, float] = {}
    for number, row in enumerate(rows[1:], start=2):
        try:
            name, value = row[:2]
            found[name.strip()] = float(value)
        except ValueError as error:
            raise SourceUnreadable(path, f"row {number}: write model,value with a number") from error
    missing = [name for name in models if not np.isfinite(found.get(name, np.nan))]
    if missing:
        raise SourceUnreadable(path, f"no finite value for {missing[0]}; give a row model,value a model")
    return np.array([found[name] for name in models])


def _arrays(path: Path) -> dict[str, AnyArray]:
    """Return `features` and `labels`, and `outputs` if there are any, checked against each other."""
    arrays = _npz(path) if path.suffix == ".npz" else _parquet(path)
    for name in ("features", "labels"):
        if name not in arrays:
            raise SourceUnreadable(path, f"no array {name}; save features (n, d) and labels (n,)")
    labels = arrays["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iuU" or len(labels) == 0:
        raise SourceUnreadable(
            path, f"labels must be integers or texts, one an image, got {labels.dtype} {labels.shape}"
        )
    checked: dict[str, AnyArray] = {"labels": labels}
    for name in ("features", "outputs"):
        if name in arrays:
            checked[name] = _matrix(path, name, arrays[name], len(labels))
    if (checked.get("outputs", np.zeros(1)) < 0).any():
        raise SourceUnreadable(path, "outputs must be probabilities, at least 0; logits are not")
    return checked


def _matrix(path: Path, name: str, values: AnyArray, rows: int) -> Float:
    if values.ndim != 2 or len(values) != rows or values.shape[1] == 0 or values.dtype.kind not in "fiu":
        raise SourceUnreadable(
            path, f"{name} must be numbers of shape ({rows}, width), got {values.dtype} {values.shape}"
        )
    matrix = values.astype(np.float64)
    if not np.isfinite(matrix).all():
        raise SourceUnreadable(
            path, f"{name} must be finite; row {int((~np.isfinite(matrix)).any(axis=1).argmax())} is not"
        )
    return matrix


def _npz(path: Path) -> dict[str, AnyArray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SourceUnreadable(path, f"not an .npz of plain arrays: {error}") from error


def _parquet(path: Path) -> dict[str, AnyArray]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
        found: Mapping[str, str] = {"feature": "features", "output": "outputs"}
        arrays: dict[str, AnyArray] = {
            ours: np.array(table.column(theirs).to_pylist())
            for theirs, ours in found.items()
            if theirs in table.column_names
        }
        if "label" in table.column_names:
            arrays["labels"] = np.array(table.column("label").to_pylist())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceUnreadable(path, f"not Parquet with columns feature and label: {error}") from error
    return arrays


def _f_labels(path: Path, images: int, classes: int) -> tuple[Float | None, tuple[str, ...]]:
    if not path.is_file():
        return None, ()
    arrays = _npz(path)
    tables = []
    for name, values in arrays.items():
        rows = images if values.ndim and len(values) == images else classes
        tables.append(_matrix(path, name, values, rows))
    if len({table.shape for table in tables}) != 1:
        shapes = ", ".join(f"{name} {table.shape}" for name, table in zip(arrays, tables, strict=True))
        raise SourceUnreadable(path, f"F-labels must have one shape, got {shapes or 'none'}")
    return np.stack(tables, axis=2), tuple(arrays)
