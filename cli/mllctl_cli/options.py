"""Options that several commands share, and how a hub is found."""

from pathlib import Path
from typing import Annotated, Any

import typer

import mllctl
from mllctl.hub import bundled_hub, cache_folder
from mllctl_cli import render

HubOption = Annotated[
    Path | None,
    typer.Option(
        "--hub", help="Hub folder. Else $MLLCTL_HUB, else ./hub, else the bundled demo hub.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
EncoderOption = Annotated[
    str, typer.Option("--encoder", help="Sentence encoder: the packaged one, a sentence-transformers id or a folder.")
]
DEFAULT_ENCODER = "all-MiniLM-L6-v2"


def hub_path(option: Path | None) -> Path:
    """Return the hub a command works on; say so when it is the bundled one."""
    path = mllctl.find_hub(option)
    if path == bundled_hub():
        render.say("using the bundled demo hub; name another with --hub or $MLLCTL_HUB")
    return path


def open_encoder(name: str) -> Any:
    """Open a sentence encoder; say so when it has to be exported first."""
    from mllctl.backends.sentence import is_exported

    if not is_exported(name, cache=cache_folder()):
        render.say("exporting the sentence encoder once, to the user's cache (about 15 s)")
    return mllctl.sentence_encoder(name, cache=cache_folder())


def index_encoder(hub: mllctl.Hub) -> Any:
    """Open the sentence encoder that a hub's caption index was built with."""
    made = hub.manifest.index
    return open_encoder(made.encoder if made else DEFAULT_ENCODER)
