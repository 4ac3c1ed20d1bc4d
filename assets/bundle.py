"""Build the demo hub and put it, sealed, where it is shipped: `mllctl_data/demo/hub`.

The last step of `make demo-assets`: the images and heads must be there. Runs the real towers.

    python assets/bundle.py
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from mllctl import sentence_encoder
from mllctl.demo import build_demo
from mllctl.hub import bundled_hub, cache_folder
from mllctl.hub.writing import seal

LIMIT = 15e6  # bytes


def show(name: str, done: int, total: int) -> None:
    print(f"\r{name}: {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def main() -> None:
    target = bundled_hub()
    with TemporaryDirectory() as folder:
        made = Path(folder) / "hub"
        build_demo(made, sentence_encoder(cache=cache_folder()), print, show)
        seal(made)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made, target, ignore=shutil.ignore_patterns("staging", "features", ".lock"))
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.1f} MB")
    if size > LIMIT:
        sys.exit(f"more than {LIMIT / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
