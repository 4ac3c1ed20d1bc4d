"""From files to a labelled task: features of models on the same images, F-labels for EMMS, and the truth if known.

    DIR/MODEL.npz        features (n, d), if there are any outputs (n, s), and what is to be told of the images:
                         labels (n,)     categories, integers or texts
                         texts (n,)      captions or answers
                         boxes (n, 4)    left, top, right, bottom, with labels or texts that say of what; in [0, 1], or
                                         in pixels beside sizes (n, 2), width and height
                         targets (n, t)  numbers
    DIR/MODEL.parquet    columns feature, output, label, text, box, size, target; a row an image
    DIR/f_labels.npz     an array a foundation model, all of one width: (c, e), classes in ascending order of their
                         labels, or (n, e), an image each
    truth.csv            model,value: what each model really reached

Arrays are read without pickle.
"""

import csv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mllctl.errors import SourceUnreadable
from mllctl.kernels.arrays import AnyArray, Float, Int
from mllctl.scoring.boxes import normalised_boxes

F_LABELS = "f_labels.npz"
ENDINGS = (".npz", ".parquet")
TOLD = ("labels", "texts", "boxes", "targets")
SUM_TOLERANCE = 0.01  # of probabilities, which may be saved in half precision
SHAPES = "features (n, d), and labels (n,), texts (n,), boxes (n, 4) or targets (n, t)"
COLUMNS = {
    "feature": "features",
    "output": "outputs",
    "label": "labels",
    "text": "texts",
    "box": "boxes",
    "size": "sizes",
    "target": "targets",
}


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
    """A labelled task: at least one of labels, texts, boxes and targets is there.

    Attributes:
        models: by name, one at least.
        labels: categories of the images, 0..c-1, shape (n,).
        classes: what they are called, in ascending order; none without labels.
        f_labels: shape (c, e, k) or (n, e, k); None if there are none.
        foundation: names of the models they are from.
        texts: captions or answers, n.
        boxes: left, top, right, bottom, in [0, 1], shape (n, 4).
        targets: numbers, shape (n, t).
    """

    models: tuple[ModelFeatures, ...]
    labels: Int | None
    classes: tuple[str, ...]
    f_labels: Float | None
    foundation: tuple[str, ...]
    texts: tuple[str, ...] | None = None
    boxes: Float | None = None
    targets: Float | None = None

    @property
    def images(self) -> int:
        """n."""
        return len(self.models[0].features)

    @property
    def by_class(self) -> bool:
        """Whether F-labels are of classes; those of texts and boxes are not, be there as many classes as images."""
        if self.f_labels is None or len(self.f_labels) != len(self.classes):
            return False
        return len(self.classes) < self.images or (self.texts is None and self.boxes is None)


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
    models, first = [], dict[str, AnyArray]()
    for path in files:
        arrays = _arrays(path)
        told = {name: arrays.get(name, np.zeros(0)) for name in TOLD}
        first = first or told
        if unlike := next((name for name in TOLD if not np.array_equal(told[name], first[name])), None):
            raise SourceUnreadable(
                path, f"its {unlike} are not those of {files[0].name}; all models see the same images"
            )
        models.append(ModelFeatures(path.stem, arrays["features"], arrays.get("outputs")))
    if twice := next((one.name for one, other in pairwise(models) if one.name == other.name), None):
        raise SourceUnreadable(folder, f"{twice} is there as .npz and as .parquet; remove one")
    names, place = np.unique(first["labels"], return_inverse=True)
    f_labels, foundation = _f_labels(folder / F_LABELS, len(models[0].features), len(names))
    return FeatureTask(
        tuple(models),
        place.reshape(-1).astype(np.int64) if len(names) else None,
        tuple(map(str, names.tolist())),
        f_labels,
        foundation,
        tuple(first["texts"].tolist()) if len(first["texts"]) else None,
        first["boxes"] if len(first["boxes"]) else None,
        first["targets"] if len(first["targets"]) else None,
    )


def read_truth(path: Path, models: tuple[str, ...]) -> Float:
    """Read what each model really reached, shape (m,).

    Raises:
        SourceUnreadable: if it is not CSV of model and value, or lacks a model.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnreadable(path, f"cannot be read: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    place = (header.index("model"), header.index("value")) if {"model", "value"} <= {*header} else (0, 1)
    found: dict[str, float] = {}
    for number, row in enumerate(rows[1:], start=2):
        try:
            name, value = row[place[0]].strip(), float(row[place[1]])
        except (ValueError, IndexError) as error:
            raise SourceUnreadable(path, f"row {number}: write model,value with a number") from error
        if found.setdefault(name, value) != value:
            raise SourceUnreadable(path, f"row {number}: {name} is there already, with another value; remove one")
    missing = [name for name in models if not np.isfinite(found.get(name, np.nan))]
    if missing:
        raise SourceUnreadable(
            path, f"no finite value for {missing[0]}; give a header model,value and a row a model below it"
        )
    return np.array([found[name] for name in models])


def _arrays(path: Path) -> dict[str, AnyArray]:
    """Return `features`, what is told of the images, and `outputs` if there are any, checked against each other."""
    arrays = _npz(path) if path.suffix == ".npz" else _parquet(path)
    told = [name for name in TOLD if name in arrays]
    if "features" not in arrays or not told:
        lacking = "labels" if "features" in arrays else "features"
        if path.suffix != ".npz":
            raise SourceUnreadable(path, f"no column {lacking[:-1]}; columns are {', '.join(COLUMNS)}, a row an image")
        raise SourceUnreadable(path, f"no array {lacking}; save {SHAPES}")
    rows = len(arrays[told[0]]) if arrays[told[0]].ndim else 0
    checked: dict[str, AnyArray] = {}
    for name, kinds in (("labels", "iuU"), ("texts", "U")):
        if name in arrays:
            checked[name] = _words(path, name, arrays[name], rows, kinds)
    if "boxes" in arrays:
        checked["boxes"] = _boxes(path, arrays, rows)
    for name in ("targets", "features", "outputs"):
        if name in arrays:
            checked[name] = _matrix(path, name, arrays[name], rows)
    outputs = checked.get("outputs", np.ones((1, 1)))
    if (outputs < 0).any():
        raise SourceUnreadable(path, "outputs must be probabilities, at least 0; logits are not")
    if (off := np.abs(outputs.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        row = int(off.argmax())
        raise SourceUnreadable(
            path, f"outputs must be probabilities that sum to 1; those of row {row} sum to {outputs[row].sum():.4g}"
        )
    return checked


def _words(path: Path, name: str, values: AnyArray, rows: int, kinds: str) -> AnyArray:
    if rows == 0:
        raise SourceUnreadable(path, f"{name} are of no image; save a row an image")
    if values.ndim != 1 or values.dtype.kind not in kinds or len(values) != rows:
        wanted = "integers or texts" if "i" in kinds else "texts"
        raise SourceUnreadable(path, f"{name} must be {wanted}, one an image, got {values.dtype} {values.shape}")
    return values


def _boxes(path: Path, arrays: Mapping[str, AnyArray], rows: int) -> Float:
    if not {"labels", "texts"} & set(arrays):
        raise SourceUnreadable(path, "boxes say where, not of what; save labels (n,) or texts (n,) beside them")
    try:
        boxes = normalised_boxes(arrays["boxes"], arrays.get("sizes"))
    except ValueError as error:
        raise SourceUnreadable(path, str(error)) from error
    if len(boxes) != rows:
        raise SourceUnreadable(path, f"boxes must be one an image, {rows}, got {len(boxes)}")
    return boxes


def _matrix(path: Path, name: str, values: AnyArray, rows: int) -> Float:
    if values.ndim != 2 or len(values) != rows or values.size == 0 or values.dtype.kind not in "fiu":
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
        # NumPy's own words for these recommend pickle.
        reason = str(error).partition(" when allow_pickle=")[0]
        if "allow_pickle" in reason:
            reason = "no such file, or not one of NumPy's"
        if "Object arrays" in reason:
            reason += "; save texts as np.asarray(texts, dtype=str)"
        raise SourceUnreadable(path, f"not an .npz of plain arrays: {reason}") from error


def _parquet(path: Path) -> dict[str, AnyArray]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
        columns = {name: table.column(name).to_pylist() for name in COLUMNS if name in table.column_names}
        for name, rows in columns.items():
            _check_rows(path, name, rows)
        arrays: dict[str, AnyArray] = {COLUMNS[name]: np.array(rows) for name, rows in columns.items()}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceUnreadable(path, f"not Parquet with columns such as feature and label: {error}") from error
    return arrays


def _check_rows(path: Path, column: str, rows: Sequence[object]) -> None:
    """Refuse rows that are empty, or not as long as the first."""
    width = len(rows[0]) if rows and isinstance(rows[0], list) else None
    for number, row in enumerate(rows):
        if row is None or (isinstance(row, list) and (None in row or len(row) != width)):
            wanted = "a value" if width is None else f"{width} numbers, as row 0 has"
            raise SourceUnreadable(path, f"row {number}, column {column}: must be {wanted}")


def _f_labels(path: Path, images: int, classes: int) -> tuple[Float | None, tuple[str, ...]]:
    if not path.is_file():
        return None, ()
    arrays = _npz(path)
    tables = []
    for name, values in arrays.items():
        rows = classes if classes and not (values.ndim and len(values) == images) else images
        tables.append(_matrix(path, name, values, rows))
    if len({table.shape for table in tables}) != 1:
        shapes = ", ".join(f"{name} {table.shape}" for name, table in zip(arrays, tables, strict=True))
        raise SourceUnreadable(path, f"F-labels must have one shape, got {shapes or 'none'}")
    return np.stack(tables, axis=2), tuple(arrays)
