"""How long it takes to combine the heads of a model: `combine_heads` beside block descent as the paper has it.

Block descent goes from head to head: a gradient step on its weights, a projection onto the simplex, a rank-one change
of Q. Slopes, curvatures and losses of the classes that changed are kept up to date. The paper leaves the rate open
("an appropriate learning rate"), and it decides everything, so there are two:

    greedy   as fast as L sinks: kept for each head, doubled after each step, halved while L rises
    tuned    1 over the greatest curvature along the head, halved while L rises; the best we found. Each step nearly
             solves for its head, where greedy ones overshoot in turn

Both and ours solve the same instances in one process with one BLAS thread, to gaps in nats of the sum of losses that
their own certificates confirm.

    python benchmarks/chco.py [--quick] [--patience 120] [--runs 5] [--json]

Instances are mean logits of heads on classes, normal, and to each class belong some heads, 1 + Poisson, on which it is
higher by `strength` times a number from 0.4 to 1; classes that share such heads are alike elsewhere as well.

    tied     one or two heads a class, strength 9: classes among those a classifier was trained on
    many     eight heads a class: classes that are more general
    weak     strength 5
    sharp    as tied, logits doubled
    flat     as tied, logits times 0.3
    random   no ties, logits doubled
"""

import argparse
import json
import statistics
import time

import numpy as np
from threadpoolctl import threadpool_limits

from mllctl.kernels.arrays import Float
from mllctl.kernels.chco import combine_heads, head_probability

SIZES = ((1000, 100), (1000, 20), (500, 50), (200, 37), (50, 10))
KINDS: dict[str, dict[str, float]] = {
    "tied": {},
    "many": {"own": 8.0},
    "weak": {"strength": 5.0},
    "sharp": {"scale": 2.0},
    "flat": {"scale": 0.3},
    "random": {"strength": 0.0, "likeness": 0.0, "scale": 2.0},
}
LARGE = 21_000, 100
RATES = "greedy", "tuned"
WIDE, NARROW = 1e-2, 1e-4  # gaps, nats


HEADER = """| instance | ms to gap 1e-2 | ms to 1e-4 | greedy block descent to 1e-4 | ratio | tuned | ratio |
|---|---|---|---|---|---|---|"""


def mean_logits(
    heads: int,
    classes: int,
    seed: int,
    own: float = 2.0,
    strength: float = 9.0,
    likeness: float = 1.0,
    scale: float = 1.0,
) -> Float:
    """Make an instance, shape (h, c)."""
    random = np.random.default_rng(seed)
    traits = random.standard_normal((heads, 16))
    logits = 1.5 * random.standard_normal((heads, classes))
    for c in range(classes):
        chosen = random.choice(heads, min(heads, 1 + random.poisson(own - 1)), replace=False)
        logits[chosen, c] += strength * random.uniform(0.4, 1, len(chosen))
        logits[:, c] += likeness * traits @ traits[chosen].mean(axis=0) / 4
    return np.asarray(scale * logits)


def onto_simplex(point: Float) -> Float:
    """Project onto the simplex (Duchi et al. 2008)."""
    falling = np.sort(point)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(point) + 1)
    return np.asarray(np.maximum(point - excess[np.count_nonzero(falling > excess) - 1], 0))


class BlockDescent:
    """The state of block descent: X, Q = X^T P, and of each class its loss, slope and curvature by Q."""

    def __init__(self, probability: Float, greedy: bool) -> None:
        heads, classes = probability.shape
        self.probability, self.squared = probability, probability**2
        self.weights = np.full(probability.shape, 0.1 / classes)
        self.weights[np.arange(heads), probability.argmax(axis=1)] += 0.9
        self.reached = self.weights.T @ probability
        self.others = 1 / max(classes - 1, 1)
        self.slope, self.bend = np.empty((classes, classes)), np.empty((classes, classes))
        self.loss, self.rate = np.empty(classes), np.ones(heads) if greedy else None
        self.accept(np.arange(classes), self.reached, self.losses(np.arange(classes), self.reached))

    def losses(self, which: Float, rows: Float) -> Float:
        """Return L_c of some classes from their rows of Q."""
        place = np.arange(len(which)), which
        if rows[place].min() <= 0:
            return np.full(len(which), np.inf)
        missing = 1 - rows
        missing[place] = 1
        if missing.min() <= 0:
            return np.full(len(which), np.inf)
        return np.asarray(-np.log(rows[place]) - self.others * np.log(missing).sum(axis=1))

    def accept(self, which: Float, rows: Float, losses: Float) -> None:
        """Take new rows of Q."""
        inverse = 1 / np.maximum(1 - rows, 1e-300)
        slope, bend = self.others * inverse, self.others * inverse**2
        place = np.arange(len(which)), which
        slope[place], bend[place] = -1 / rows[place], 1 / rows[place] ** 2
        self.reached[which], self.loss[which], self.slope[which], self.bend[which] = rows, losses, slope, bend

    def gap(self) -> float:
        """Return how far L is above the least, at most."""
        self.reached = self.weights.T @ self.probability
        everything = np.arange(len(self.reached))
        self.accept(everything, self.reached, self.losses(everything, self.reached))
        gradient = self.probability @ self.slope.T
        return float((self.weights * gradient).sum() - np.minimum(gradient.min(axis=1), 0).sum())

    def move(self, head: int) -> None:
        """Take one gradient step and one projection for a head."""
        said, now = self.probability[head], self.weights[head]
        slope = self.slope @ said
        if self.rate is None:
            rate = 1 / max(float((self.bend @ self.squared[head]).max()), 1e-300)
        else:
            rate = 2 * self.rate[head]
        for _ in range(60):
            moved = onto_simplex(now - rate * slope)
            change = moved - now
            which = np.flatnonzero(change)
            rows = self.reached[which] + change[which, None] * said
            losses = self.losses(which, rows) if len(which) else self.loss[:0]
            if losses.sum() <= self.loss[which].sum():
                break
            rate /= 2
        else:
            return
        if self.rate is not None:
            self.rate[head] = min(rate, 1e12)
        if len(which):
            self.accept(which, rows, losses)
            self.weights[head] = moved


def block_descent(probability: Float, greedy: bool, tolerance: float, patience: float) -> tuple[float, float]:
    """Descend until the gap is small or patience is at its end: (seconds, gap)."""
    begin = time.perf_counter()
    state = BlockDescent(probability, greedy)
    while (gap := state.gap()) > tolerance and time.perf_counter() - begin < patience:
        for head in range(len(probability)):
            state.move(head)
    return time.perf_counter() - begin, gap


def ours(logits: Float, tolerance: float, runs: int) -> tuple[float, float]:
    """Return the median of seconds, and the gap."""
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        gap = combine_heads(logits, tolerance).gap
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken), gap


def measure(name: str, logits: Float, runs: int, patience: float) -> dict[str, object]:
    """Return one row of the table; patience 0 leaves block descent out."""
    wide, gap_wide = ours(logits, WIDE, runs)
    narrow, gap_narrow = ours(logits, NARROW, runs)
    row = {"instance": name, "wide_ms": 1000 * wide, "narrow_ms": 1000 * narrow}
    row |= {"reached": gap_wide <= WIDE and gap_narrow <= NARROW}
    for rate in RATES if patience else ():
        block, gap = block_descent(head_probability(logits), rate == "greedy", NARROW, patience)
        row |= {f"{rate}_ms": 1000 * block, f"{rate}_reached": gap <= NARROW, f"{rate}_ratio": block / narrow}
    return row


def line(row: dict[str, object]) -> str:
    """Format a row of Markdown; > where block descent ran out of patience."""
    text = f"| {row['instance']} | {row['wide_ms']:,.1f} | {row['narrow_ms']:,.1f} |"
    if not row["reached"]:
        text += " not reached"
    for rate in RATES:
        more = "" if row.get(f"{rate}_reached", True) else "> "
        text += (
            f" {more}{row[f'{rate}_ms']:,.0f} | {more}{row[f'{rate}_ratio']:,.0f} |" if f"{rate}_ms" in row else " | |"
        )
    return text


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out the sizes that take block descent long")
    parser.add_argument("--patience", type=float, default=120, help="seconds of block descent an instance at most")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with threadpool_limits(1):
        ours(mean_logits(*SIZES[-1], 0), NARROW, 3)  # first calls load code
        print(HEADER)
        for heads, classes in SIZES[3:] if options.quick else SIZES:
            for seed, (kind, how) in enumerate(KINDS.items()):
                logits = mean_logits(heads, classes, seed, **how)
                rows.append(measure(f"{kind}, {heads:,} x {classes}", logits, options.runs, options.patience))
                print(line(rows[-1]), flush=True)
        ratios = [statistics.median(float(str(row[f"{rate}_ratio"])) for row in rows) for rate in RATES]
        for kind, how in {} if options.quick else KINDS.items():
            logits = mean_logits(*LARGE, 0, **how)
            rows.append(measure(f"{kind}, {LARGE[0]:,} x {LARGE[1]}", logits, 1, 0))
            print(line(rows[-1]), flush=True)
    print("\nmedian ratios: " + ", ".join(f"{rate} {r:,.0f}" for rate, r in zip(RATES, ratios, strict=True)))
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
