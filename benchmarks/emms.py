"""Does EMMS order models as they really are, on its five kinds of task? With F-labels of four packaged encoders.

    data (scenes.py) ── every model encodes it ── WORK/KIND/MODEL.npz ──┬── scores, from a part of the rows
                                                                        └── truth: a linear head, on the others

Models are the demo's, the experts that packages carry, and for questions without pictures sentence encoders. An expert
has no text tower; all-MiniLM-L6-v2 reads questions for it, and its log-probabilities are its vectors of pictures. All
vectors are first brought to at most 64 columns, by the singular vectors of those of pictures and questions together
where these are of one space. Features of a row:

    image recognition, captioning    the picture's vector
    referring                        of each quarter of the canvas, the products of its vector with the expression's
    visual question answering        the picture's, the question's, and their products
    text question answering          the question's

The truth is a ridge regression, its strength by generalised cross-validation: top-1 of classes and answers, boxes with
IoU above 1/2, and for captions and questions of text how often the true one is among the nearest 5 (captions) and 10
(answers) that the rows left out have, by vectors of all encoders. Rows are parted anew for each resample.

    python benchmarks/emms.py --work DIR [--rows 600] [--resamples 20]

The first run shows every model every picture (half an hour of one core); each DIR/KIND is what
`mllctl rank --features` reads.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import mllctl
from mllctl.backends import load_expert, load_model
from mllctl.backends.demo import demo_models
from mllctl.backends.packaged_encoders import PACKAGED_ENCODERS
from mllctl.backends.protocol import Encoder
from mllctl.backends.remembering import RememberingEncoder
from mllctl.backends.sentence import DEFAULT
from mllctl.hub import cache_folder
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.bootstrap import central_interval
from mllctl.kernels.emms import emms
from mllctl.kernels.ranking import weighted_tau
from mllctl.kernels.transferability import logme, logme_regression
from mllctl.scoring import FeatureTask, read_task, with_f_labels
from scenes import CANVAS, KINDS, KindOfTask

ENCODERS = (DEFAULT, *PACKAGED_ENCODERS)
EXPERTS = ("demo/animal", "demo/food", "demo/tool", "package/efficientnet-lite0", "package/efficientnet-lite1")
WIDTH = 64
BATCH = 64
TRAIN = 0.6  # of the rows; the heads are measured on the rest
NEAREST = {"captioning": 5, "text question answering": 10}
Vectors = Callable[[Sequence[object]], Float]


# -- features -----------------------------------------------------------------------------------------


def candidates(kind: KindOfTask) -> Iterator[tuple[str, Callable[[], tuple[Vectors | None, Vectors]]]]:
    """Yield names, and what loads a model's encoder of pictures and its encoder of texts."""
    # Texts are read by the demo's ConSE model as by all-MiniLM-L6-v2, which is there itself.
    names = [name for name in demo_models() if kind.pictures or not name.startswith("conse")]
    yield from ((name, partial(vision_language, name)) for name in names)
    if kind.pictures:
        yield from ((f"expert-{name.partition('/')[2]}", partial(expert, name)) for name in EXPERTS)
    else:
        yield from ((name, lambda name=name: (None, encoder(name).encode)) for name in ENCODERS)


def vision_language(name: str) -> tuple[Vectors, Vectors]:
    """Load a model of the demo."""
    model = load_model(f"demo:{name}")
    return model.encode_images, model.encode_texts


def expert(name: str) -> tuple[Vectors, Vectors]:
    """Load an expert, and the encoder that reads for it."""
    return load_expert(f"expert:{name}").log_probability, encoder(DEFAULT).encode


def encoder(name: str) -> Encoder:
    """Open a sentence encoder that remembers."""
    return RememberingEncoder(mllctl.sentence_encoder(name, cache=cache_folder()), cache_folder())


def write_features(kind: KindOfTask, folder: Path) -> None:
    """Write what each model makes of the rows, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, load in candidates(kind):
        path = folder / f"{name}.npz"
        if not path.is_file():
            np.savez(path, features=features(kind, *load()).astype(np.float32), **kind.told)


def features(kind: KindOfTask, see: Vectors | None, read: Vectors) -> Float:
    """Return the features that a model has of the rows, shape (n, d)."""
    if kind.name == "referring":
        half = CANVAS // 2
        corners = [(left, top, left + half, top + half) for left in (0, half) for top in (0, half)]
        seen = [in_batches(see, [picture.crop(corner) for picture in kind.pictures]) for corner in corners]
        *quarters, asked = narrowed([*seen, in_batches(read, kind.questions)])
        return np.concatenate([quarter * asked for quarter in quarters], axis=1)
    if kind.name == "visual question answering":
        seen, asked = narrowed([in_batches(see, kind.pictures), in_batches(read, kind.questions)])
        return np.concatenate([seen, asked, seen * asked], axis=1)
    return narrowed([in_batches(see, kind.pictures) if kind.pictures else in_batches(read, kind.questions)])[0]


def in_batches(encode: Vectors, things: Sequence[object]) -> Float:
    """Return the vectors of pictures or texts, shape (n, d)."""
    few = [things[at : at + BATCH] for at in range(0, len(things), BATCH)]
    return np.concatenate([encode(some) for some in few]).astype(np.float64)


def narrowed(tables: Sequence[Float]) -> list[Float]:
    """Bring tables to at most WIDTH columns; those of one width are of one space, and keep their cosines best so."""
    widths = {table.shape[1] for table in tables}
    made = {}
    for width in widths:
        space = np.concatenate([table for table in tables if table.shape[1] == width])
        made[width] = np.linalg.svd(space, full_matrices=False)[2][:WIDTH].T
    narrow = [table @ made[table.shape[1]] for table in tables]
    least = min(table.shape[1] for table in narrow)
    return [table[:, :least] for table in narrow]


# -- the truth ----------------------------------------------------------------------------------------


def ridge(features: Float, targets: Float, unseen: Float) -> Float:
    """Fit a linear map with an offset, its penalty by generalised cross-validation, and return its answers."""
    mean, level = features.mean(axis=0), targets.mean(axis=0)
    scale = np.maximum(features.std(axis=0), 1e-9)
    left, sizes, right = np.linalg.svd((features - mean) / scale, full_matrices=False)
    reached = left.T @ (targets - level)
    outside = ((targets - level) ** 2).sum() - (reached**2).sum()
    errors = {}
    for penalty in np.geomspace(1e-1, 1e5, 25):
        kept = sizes**2 / (sizes**2 + penalty)
        errors[penalty] = (outside + ((1 - kept)[:, None] ** 2 * reached**2).sum()) / (len(features) - kept.sum()) ** 2
    penalty = min(errors, key=errors.__getitem__)
    weights = right.T @ ((sizes / (sizes**2 + penalty))[:, None] * reached)
    return (unseen - mean) / scale @ weights + level


def reached(kind: str, task: FeatureTask, features: Float, train: Int, test: Int) -> float:
    """Return what a head that is fitted to some rows reaches on others, in [0, 1]."""
    if task.boxes is not None:
        return float(
            (overlap(ridge(features[train], task.boxes[train], features[test]), task.boxes[test]) > 0.5).mean()
        )
    if task.labels is not None:
        onehot = np.eye(len(task.classes))[task.labels]
        answers = ridge(features[train], onehot[train], features[test]).argmax(axis=1)
        return float((answers == task.labels[test]).mean())
    vectors = task.f_labels - task.f_labels[train].mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)  # encoders count alike
    vectors = vectors.reshape(len(vectors), -1)
    answers = ridge(features[train], vectors[train], features[test])
    _, first, place = np.unique(np.array(task.texts)[test], return_index=True, return_inverse=True)
    near = answers @ vectors[test][first].T
    better = (near > near[np.arange(len(test)), place.reshape(-1)][:, None]).sum(axis=1)
    return float((better < NEAREST[kind]).mean())


def overlap(one: Float, other: Float) -> Float:
    """Return the intersection over the union of boxes, row by row."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = [np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) for boxes in (one, other)]
    return shared / (areas[0] + areas[1] - shared)


# -- the scores ---------------------------------------------------------------------------------------


def scores(task: FeatureTask, bare: FeatureTask) -> dict[str, Callable[[Float, Int], float]]:
    """Return what is compared, from features of some rows and which rows these are."""
    f_labels = task.f_labels[task.labels] if task.by_class else task.f_labels
    width = f_labels.shape[1]
    found = {"EMMS, four encoders": lambda x, rows: emms(x, f_labels[rows]).score}
    for k, name in enumerate(ENCODERS):
        found[f"EMMS, {name}"] = lambda x, rows, k=k: emms(x, f_labels[rows][:, :, [k]]).score
    found["EMMS, equal weights"] = lambda x, rows: equal(x, f_labels[rows])
    found["EMMS, columns of zeros"] = lambda x, rows: emms(x, padded(f_labels[rows], task.boxes is not None)).score
    if task.boxes is not None:
        found["EMMS, words alone"] = lambda x, rows: emms(x, f_labels[rows][:, : width // 2]).score
        found["EMMS, coordinates alone"] = lambda x, rows: emms(x, f_labels[rows][:, width // 2 :, [0]]).score
    found["number of features"] = lambda x, _: float(x.shape[1])
    found["LogME, F-labels"] = lambda x, rows: logme_regression(x, f_labels[rows].reshape(len(rows), -1))
    if bare.labels is not None:
        found["LogME, classes"] = lambda x, rows: logme(x, bare.labels[rows])
    if bare.boxes is not None:
        found["LogME, coordinates"] = lambda x, rows: logme_regression(x, bare.boxes[rows])
    return found


def equal(features: Float, f_labels: Float) -> float:
    """Return EMMS with the weights all alike, by least squares."""
    x, y = features - features.mean(axis=0), f_labels - f_labels.mean(axis=0)
    deviation = y.std(axis=0)
    mixed = np.divide(y, deviation, out=np.zeros(y.shape), where=deviation > 1e-12).mean(axis=2)
    return -float(((mixed - x @ np.linalg.lstsq(x, mixed, rcond=None)[0]) ** 2).mean())


def padded(f_labels: Float, boxes: bool) -> Float:
    """Put zeros where the columns of the narrow encoder, the last, are repeated."""
    made = f_labels.copy()
    made[:, 64 : f_labels.shape[1] // (2 if boxes else 1), -1] = 0
    return made


# -- the table ----------------------------------------------------------------------------------------


def compare(kind: str, folder: Path, resamples: int) -> Iterator[str]:
    """Yield the lines of one kind's table."""
    bare = read_task(folder)
    task = with_f_labels(bare, [encoder(name) for name in ENCODERS])
    compared = scores(task, bare)
    tau, seconds = {name: [] for name in compared}, {name: [] for name in compared}
    truths, weights = [], []
    for seed in range(resamples):
        order = np.random.default_rng(seed).permutation(task.images)
        train, test = np.split(order, [int(TRAIN * task.images)])
        truth = np.array([reached(kind, task, model.features, train, test) for model in task.models])
        truths.append(truth)
        for name, score in compared.items():
            begin = time.perf_counter()
            values = np.array([score(model.features[train], train) for model in task.models])
            seconds[name].append((time.perf_counter() - begin) / len(task.models))
            tau[name].append(weighted_tau(values, truth))
        f_labels = task.f_labels[task.labels] if task.by_class else task.f_labels
        weights += [emms(model.features[train], f_labels[train]).weights for model in task.models]
    mean = np.mean(truths, axis=0)
    order = np.argsort(-mean)
    best, median, worst = (int(order[n]) for n in (0, len(order) // 2, -1))
    said = [f"{task.models[m].name} {100 * mean[m]:.1f}" for m in (best, median, worst)]
    yield f"## {kind.capitalize()}\n"
    yield f"{task.images} rows, {len(task.models)} models; heads reach, in %, {', '.join(said)} (best, middle, worst)."
    shares = ", ".join(f"{name} {share:.2f}" for name, share in zip(ENCODERS, np.mean(weights, axis=0), strict=True))
    yield f"Weights that EMMS gives, on average: {shares}.\n"
    yield "| score | weighted tau | 90 % of resamples | seconds a model |\n|---|---|---|---|"
    for name in sorted(compared, key=lambda name: -np.mean(tau[name])):
        low, high = central_interval(np.array(tau[name]))
        yield f"| {name} | {np.mean(tau[name]):.2f} | {low:.2f} to {high:.2f} | {np.median(seconds[name]):.3f} |"
    yield ""


def main() -> None:
    """Make what is missing, and print a table a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--resamples", type=int, default=20)
    options = parser.parse_args()
    for make in KINDS:
        kind = make(options.rows, np.random.default_rng(0))
        folder = options.work / kind.name.replace(" ", "-")
        write_features(kind, folder)
        with threadpool_limits(1):
            for line in compare(kind.name, folder, options.resamples):
                print(line, flush=True)


if __name__ == "__main__":
    main()
