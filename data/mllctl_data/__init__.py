"""The files mllctl ships: WordNet's nouns, the demo's images, heads, tasks and hub.

`path("wordnet", "nouns.npz")` is the only way in; every file's licence stands beside it.
"""

from importlib.resources import files
from pathlib import Path

__all__ = ["path"]


def path(*parts: str) -> Path:
    """Return where a shipped file or folder is on disk (the wheel is always installed unpacked)."""
    return Path(str(files(__name__).joinpath(*parts)))
