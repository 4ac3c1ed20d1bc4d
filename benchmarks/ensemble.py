"""How long it takes to combine the answers of several models: `ensemble_confidence` beside the equations typed in.

The plain way gathers, for each class, the answers of its k models, and weighs them (Eq 8-10 as they stand). Both take
turns in one process on the same random probabilities; medians, and by how much they differ at most.

    python benchmarks/ensemble.py [--images 10000] [--classes 100] [--models 6] [--runs 10] [--json]

Every class has k models of its own, drawn at random.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.ensemble import WEIGHTINGS, Weighting, ensemble_confidence, entropy, softmax

SEED = 6
SPREAD = 3.0  # of logits: a winner among 100 classes has a probability of 0.44, on average


def plain_confidence(probability: Float, members: Int, weighting: Weighting) -> Float:
    """Combine answers the plain way; no pads, and no model that is certain."""
    chosen = probability[members, :, np.arange(len(members))[:, None]]  # (c, k, i)
    disorder = entropy(probability)[members]
    strength = {"entropy": disorder, "confidence": 1 / disorder, "uniform": np.ones(disorder.shape)}[weighting]
    weight = strength / strength.sum(axis=1, keepdims=True)
    return np.asarray((weight * chosen).sum(axis=1).T)


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def measure(probability: Float, members: Int, weighting: Weighting, runs: int) -> dict[str, float]:
    """Return both medians, and how far the two are apart."""
    ways = (ensemble_confidence, plain_confidence)
    found = [way(probability, members, weighting) for way in ways]
    taken = [[seconds(lambda way=way: way(probability, members, weighting)) for way in ways] for _ in range(runs)]
    ours, plain = (statistics.median(way) for way in zip(*taken, strict=True))
    return {"ours_s": ours, "plain_s": plain, "apart": float(np.abs(found[0] - found[1]).max())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 10_000), ("classes", 100), ("models", 6), ("runs", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    random = np.random.default_rng(SEED)
    probability = softmax(SPREAD * random.standard_normal((options.models, options.images, options.classes)))
    order = random.permuted(np.tile(np.arange(options.models), (options.classes, 1)), axis=1)
    rows = [
        {"weighting": weighting, "k": k, **measure(probability, order[:, :k], weighting, options.runs)}
        for weighting in WEIGHTINGS
        for k in range(1, options.models + 1)
    ]
    if options.json:
        sizes = {name: getattr(options, name) for name in ("images", "classes", "models", "runs")}
        print(json.dumps({**sizes, "rows": rows}))
        return
    print(f"{options.images:,} images, {options.classes:,} classes, {options.models} models; medians of {options.runs}")
    print(f"{'weighting':12} {'k':>2} {'ours, ms':>9} {'plain, ms':>10} {'times':>6} {'apart':>8}")
    for row in rows:
        ours, plain = 1000 * row["ours_s"], 1000 * row["plain_s"]
        print(f"{row['weighting']:12} {row['k']:2} {ours:9.0f} {plain:10.0f} {plain / ours:6.1f} {row['apart']:8.0e}")


if __name__ == "__main__":
    main()
