"""Which hub a caller means, and where caches lie."""

import os
from pathlib import Path

import platformdirs

import mllctl_data


def find_hub(path: Path | str | None = None) -> Path:
    """Return `path`, else `$MLLCTL_HUB`, else `./hub` if it holds a hub, else the bundled demo hub."""
    named = path or os.environ.get("MLLCTL_HUB")
    if named:
        return Path(named)
    beside = Path("hub")
    return beside if (beside / "manifest.json").is_file() else bundled_hub()


def bundled_hub() -> Path:
    """Return the demo hub that mllctl ships: read-only."""
    return mllctl_data.path("demo", "hub")


def cache_folder() -> Path:
    """Return the user's cache folder, `$MLLCTL_CACHE` if it is set. Everything in it can be made again."""
    return Path(os.environ.get("MLLCTL_CACHE") or platformdirs.user_cache_dir("mllctl", appauthor=False))
