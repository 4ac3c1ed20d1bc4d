"""Transferability scores beside straightforward code written from the papers, one thread, in one run.

    python benchmarks/transferability.py [--n 10000] [--d 2048] [--classes 100] [--e 1024] [--k 3]

    LogME              features and labels
    LogME, F-labels    the same F-labels as EMMS, e x k real targets an image
    EMMS               features and F-labels, of each class or of each image

The straightforward code takes the singular values of the features and goes through targets one by one (LogME), or
solves least squares over all images (EMMS), as one would from the papers' algorithms. Ours is the least of `--repeats`.
The answers are printed side by side; EMMS is compared with the authors' one pass, which ours has as `released`.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.emms import emms, emms_of_classes, onto_simplex
from mllctl.kernels.marginal import DAMPING, logme, logme_regression

STEPS = 11  # of the released fixed point, and what suffices here


def straightforward_logme(features: Float, targets: Float) -> float:
    """LogME (You et al. 2021, Algorithm 3), one target after the other."""
    n, d = features.shape
    left, sizes, right = np.linalg.svd(features, full_matrices=False)
    squares = sizes**2
    evidence = []
    for y in targets.T:
        z = left.T @ y
        outside = ((y - left @ z) ** 2).sum()
        alpha, beta = 1.0, 1.0
        for _ in range(STEPS):
            ratio = alpha / beta
            gamma = (squares / (ratio + squares)).sum()
            size = (squares * z**2 / (ratio + squares) ** 2).sum()
            residual = (z**2 / (1 + squares / ratio) ** 2).sum() + outside
            alpha, beta = gamma / (size + DAMPING), (n - gamma) / (residual + DAMPING)
            if abs(alpha / beta - ratio) <= 1e-3 * ratio:
                break
        ratio = alpha / beta
        weights = right.T @ (sizes * z / (ratio + squares))
        error = ((features @ weights - y) ** 2).sum()
        evidence.append(
            (
                n * np.log(beta)
                + d * np.log(alpha)
                - n * np.log(2 * np.pi)
                - beta * error
                - alpha * weights @ weights
                - np.log(alpha + beta * squares).sum()
            )
            / (2 * n)
        )
    return float(np.mean(evidence))


def straightforward_emms(features: Float, f_labels: Float) -> float:
    """EMMS (Meng et al. 2023, Algorithm 1), one round: W, then t by least squares and sparsemax."""
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    spread = f_labels.std(axis=0)
    y = (f_labels - f_labels.mean(axis=0)) / np.where(spread > 0, spread, 1)
    t = np.full(y.shape[2], 1 / y.shape[2])
    weights = np.linalg.lstsq(x, y @ t, rcond=None)[0]
    reached = x @ weights
    t = onto_simplex(np.linalg.lstsq(y.reshape(-1, y.shape[2]), reached.reshape(-1), rcond=None)[0])
    return -float(((reached - y @ t) ** 2).sum()) / len(x) * y.shape[1]


def least(run: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Return the answer, and the least time of some runs in seconds."""
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        answer = run()
        taken.append(time.perf_counter() - begin)
    return answer, min(taken)


def world(n: int, d: int, classes: int, e: int, k: int) -> tuple[Float, Int, Float]:
    """Features of images of some classes, their labels, and F-labels of the classes, shape (c, e, k)."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(n) % classes)
    centres = random.normal(size=(classes, d))
    features = np.maximum(centres[labels] + 2 * random.normal(size=(n, d)), 0)
    return features, labels, random.normal(size=(classes, e, k))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("n", 10_000), ("d", 2_048), ("classes", 100), ("e", 1_024), ("k", 3), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    o = parser.parse_args()
    features, labels, of_class = world(o.n, o.d, o.classes, o.e, o.k)
    onehot = (labels[:, None] == np.arange(o.classes)).astype(float)
    f_labels = of_class[labels]
    flat = f_labels.reshape(o.n, -1)
    with threadpool_limits(1):
        plain = {
            "LogME": least(lambda: straightforward_logme(features, onehot), 1),
            "LogME, F-labels": least(lambda: straightforward_logme(features, flat), 1),
            "EMMS": least(lambda: straightforward_emms(features, f_labels), 1),
        }
        ours = {
            "LogME": least(lambda: logme(features, labels), o.repeats),
            "LogME, F-labels": least(lambda: logme_regression(features, flat), o.repeats),
            "EMMS": least(lambda: emms(features, f_labels).score, o.repeats),
            "EMMS, by class": least(lambda: emms_of_classes(features, labels, of_class).score, o.repeats),
            "EMMS, released": least(lambda: emms_of_classes(features, labels, of_class, "released").score, 1),
        }
    print(f"n = {o.n}, d = {o.d}, {o.classes} classes, e = {o.e}, k = {o.k}; one thread; least of {o.repeats} runs\n")
    print("| score | straightforward, s | ours, s | ratio | answers |")
    print("|---|---|---|---|---|")
    for name, (answer, seconds) in ours.items():
        other, before = plain[name.split(", by")[0].split(", rel")[0]]
        print(f"| {name} | {before:.2f} | {seconds:.2f} | {before / seconds:.1f} | {other:.6g}, {answer:.6g} |")
    print(f"\nEMMS is {ours['LogME, F-labels'][1] / ours['EMMS'][1]:.1f} x faster than LogME with the same F-labels")


if __name__ == "__main__":
    main()
