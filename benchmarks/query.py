"""How long one `mllctl select` takes, from the shell's prompt back to it, and where the time goes.

Every run is a process of its own on the bundled demo hub. Beside it stands, in the same minutes, a process that only
imports what any such command needs: how fast the machine is today.

    python benchmarks/query.py [--runs 10] [--json]

Two medians: with the captions of the classes cached, as they are from the second time on, and with captions that
nobody has asked for before. Then the stages of one process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

NAMES = ("river", "forest", "airport", "stadium", "highway", "ship")
BASELINE = "import typer, numpy, duckdb, faiss"
STAGES = """
import sys, time
from importlib import import_module
start = float(sys.argv.pop(1))
told = [("python starts", time.monotonic() - start)]
def since(name, begin):
    told.append((name, time.monotonic() - begin))
for module in ("typer", "numpy", "duckdb", "faiss", "mllctl_cli.main", "mllctl_cli.select"):
    begin = time.monotonic()
    import_module(module)
    since("import " + module, begin)
from mllctl.hub import Hub
from mllctl.select import choosing
import mllctl_cli.select as command
def timed(owner, attribute, name):
    made = getattr(owner, attribute)
    def call(*args, **options):
        begin = time.monotonic()
        try:
            return made(*args, **options)
        finally:
            since(name, begin)
    setattr(owner, attribute, call)
timed(choosing, "open_index", "read the caption index")
timed(choosing, "_embed", "encode the classes, or find them in the cache")
timed(choosing, "match_classes", "match them to nodes")
timed(Hub, "hits", "count hits")
timed(choosing, "estimate", "estimate precision")
timed(choosing, "doubt_pick", "draw doubt")
timed(choosing, "_rank", "rank")
timed(command, "_print_selection", "print")
timed(Hub, "__init__", "open the hub")
timed(mllctl := sys.modules["mllctl"], "select_models", "select_models")
begin = time.monotonic()
sys.stdout = open("/dev/null", "w")
from mllctl_cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
since("command", begin)
parts = dict(told)
inside = [name for name, _ in told if not name.startswith(("python", "import", "command", "select_models"))]
outer = ("open the hub", "print")
parts["select: all else"] = parts.pop("select_models") - sum(parts[n] for n in inside if n not in outer)
parts["parse the command line, and all else"] = (
    parts.pop("command") - parts["select: all else"] - sum(parts[n] for n in inside)
)
import json
print(json.dumps(parts), file=sys.stderr)
"""


def run(command: list[str]) -> float:
    """Run a process and return its seconds."""
    begin = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - begin


def select(names: tuple[str, ...]) -> list[str]:
    """Return the arguments of a selection."""
    return ["select", *(part for name in names for part in ("--class", name)), "--domain", "satellite"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    mllctl = [sys.executable, "-m", "mllctl_cli.main"]
    os.environ.pop("MLLCTL_HUB", None)
    run([*mllctl, *select(NAMES)])
    baseline, warm, cold, stages = [], [], [], []
    for n in range(options.runs):
        baseline.append(run([sys.executable, "-c", BASELINE]))
        warm.append(run([*mllctl, *select(NAMES)]))
        # Words that are in no cache, as long as the others.
        new = tuple(f"{name} {time.time_ns() % 10**6}{n}" for name in NAMES)
        cold.append(run([*mllctl, *select(new)]))
        told = subprocess.run(
            [sys.executable, "-c", STAGES, str(time.monotonic()), *select(NAMES)],
            check=True,
            capture_output=True,
            text=True,
        )
        stages.append(json.loads(told.stderr.splitlines()[-1]))
    found = {
        "runs": options.runs,
        "baseline_s": statistics.median(baseline),
        "warm_s": statistics.median(warm),
        "cold_s": statistics.median(cold),
        "stages_s": {name: statistics.median(stage[name] for stage in stages) for name in stages[0]},
    }
    if options.json:
        print(json.dumps(found))
        return
    print(f"baseline ({BASELINE})  {found['baseline_s']:.2f} s")
    for name in ("warm", "cold"):
        ratio = found[f"{name}_s"] / found["baseline_s"]
        print(f"select, captions {name:5} {found[f'{name}_s']:.2f} s, {ratio:.2f} x baseline")
    for name, seconds in found["stages_s"].items():
        print(f"  {name:46} {1000 * seconds:5.0f} ms")


if __name__ == "__main__":
    main()
