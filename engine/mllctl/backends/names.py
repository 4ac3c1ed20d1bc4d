"""What people type for a model, taken apart: nothing is loaded, and neither torch nor open_clip is imported.

    PREFIX:REST                one of `PREFIXES`, or a kind of model that a plugin brings
    CONFIG.json,CHECKPOINT     an open_clip configuration and the weights beside it or elsewhere
    ARCH/WEIGHTS               a tag of open_clip or a path; `:`, `,` and `__` stand for the slash, too

`load_model` asks `split_source` and calls the loader. However a name is typed, the model that is loaded has one key in
the hub, its `card.name`, and one `card.source` that loads it from any folder.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mllctl.errors import ModelNotLoadable

PREFIXES = ("demo", "hf-hub", "local-dir", "st", "conse", "expert")
CONFIG = "open_clip_config.json"  # as open_clip calls the file that it saves beside weights

# Of several checkpoints in a folder open_clip takes the first of these, else the first of its kind.
_PREFERRED = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)

_FORMS = (
    *("ARCH/TAG", "ARCH/path/to/checkpoint", "CONFIG.json,CHECKPOINT", "hf-hub:ORG/NAME", "local-dir:PATH"),
    *("demo:NAME", "st:NAME", "conse:NAME", "expert:NAME"),
)
_CONFIGURED = re.compile(r"(.+?\.json)[,:](.+)")
# No architecture has one of these in its name; the first one counts, so a path may hold them all.
_NAMED = re.compile(r"(.+?)(?:/|:|,|__)(.+)")


@dataclass(frozen=True)
class Source:
    """A model as it was typed.

    Attributes:
        kind: a prefix; `config` or `open_clip` where there is none.
        first: what follows the prefix; the configuration; the architecture.
        second: the checkpoint; the tag or checkpoint; empty with a prefix.
    """

    kind: str
    first: str
    second: str = ""


def split_source(source: str) -> Source:
    """Take apart what was typed for a model.

    Raises:
        ModelNotLoadable: if it has none of the forms above; near names are suggested.
    """
    source = source.strip()
    prefix, colon, rest = source.partition(":")
    if colon and (prefix in PREFIXES or prefix in _plugins()):
        if not rest:
            raise ModelNotLoadable(source, f"nothing follows the prefix; a model is named {_forms()}")
        return Source(prefix, rest)
    if read := _CONFIGURED.fullmatch(source):
        return Source("config", read[1], read[2])
    read = _NAMED.fullmatch(source)
    if read is None or is_path(source) or Path(source).exists():
        raise ModelNotLoadable(source, _cure(source))
    return Source("open_clip", read[1], read[2])


def canonical(source: str) -> str:
    """Return a name as the hub spells it, `arch/tag`, whichever separator was typed; anything else as it is."""
    try:
        read = split_source(source)
    except ModelNotLoadable:
        return source
    return f"{read.first}/{read.second}" if read.kind == "open_clip" else source.strip()


def suggest(word: str, words: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the nearest of some words; nothing if there are none at all."""
    known = list(words)
    shown = near_names(word, known) or known[:3]
    return f"; did you mean {' or '.join(shown)}?" if shown else ""


def near_names(word: str, words: Iterable[str]) -> list[str]:
    """Return up to three words that are spelled much like one, the nearest first."""
    # People do not mind case; difflib does.
    spelled = {name.lower(): name for name in reversed(list(words))}
    return [spelled[name] for name in difflib.get_close_matches(word.lower(), spelled, n=3, cutoff=0.5)]


def clean_tag(tag: str) -> str:
    """Return a tag as open_clip's table spells it: lower case, with underscores."""
    return tag.lower().replace("-", "_")


def absolute(path: str | Path) -> Path:
    """Return a path that holds in any folder. Links stay: behind them files may be named by their hash."""
    return Path(path).expanduser().absolute()


def find_checkpoints(folder: Path) -> list[Path]:
    """Return the files that `local-dir:` may load, the one it takes first."""
    found = [path for ending in ("safetensors", "bin", "pth") for path in sorted(folder.glob(f"*.{ending}"))]
    return sorted(found, key=lambda path: _PREFERRED.index(path.name) if path.name in _PREFERRED else len(_PREFERRED))


def known_prefixes() -> tuple[str, ...]:
    """Return our own prefixes and those that plugins bring."""
    return (*PREFIXES, *_plugins())


def _plugins() -> tuple[str, ...]:
    # Imported here: only a colon that is none of ours, or a refusal, asks what is installed.
    from mllctl.backends.plugins import plugin_names

    return plugin_names()


def _forms() -> str:
    """Say how a model is named, by the prefixes of plugins, too."""
    *forms, last = (*_FORMS, *(f"{prefix}:REST" for prefix in _plugins()))
    return f"{', '.join(forms)} or {last}"


def is_path(source: str) -> bool:
    """Say whether a path was typed where a name belongs."""
    return source.startswith(("/", "./", "../", "~"))


def _cure(source: str) -> str:
    path = Path(source).expanduser()
    if path.is_dir():
        return f"it is a folder; type local-dir:{source} if it holds {CONFIG} and weights"
    if path.is_file():
        return f"it is a file; type ARCH/{source} or CONFIG.json,{source} to say what the weights belong to"
    if is_path(source):
        return f"there is no such path; a model is named {_forms()}"
    from mllctl.backends.facts import known_models

    near = difflib.get_close_matches(source, known_models(), n=3, cutoff=0.5)
    tags = [row for name, row in known_models().items() if name.startswith(f"{source}/")]
    best = sorted(tags, key=lambda row: -(row.imagenet_top1 or 0))[:3]
    if best:
        named = " or ".join(row.instead or row.model for row in best)
        return f"it is an architecture; say which weights, such as {named}"
    return f"a model is named {_forms()}" + (f"; did you mean {' or '.join(near)}?" if near else "")
