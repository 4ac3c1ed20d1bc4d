"""Options that several commands share, and how what they name is found."""

import difflib
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

import mllctl
from mllctl.errors import NotInHub
from mllctl.hub import StoredNode, bundled_hub, cache_folder
from mllctl_cli import render

HubOption = Annotated[
    Path | None,
    typer.Option(
        "--hub",
        metavar="DIR",
        help="Hub folder. Else $MLLCTL_HUB, else ./hub, else the bundled demo hub.",
        show_default=False,
    ),
]
DomainOption = Annotated[
    str | None,
    typer.Option("--domain", metavar="TEXT", help="What your images look like, in words, such as 'satellite'."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
EncoderOption = Annotated[
    str,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="Sentence encoder: the packaged one, a sentence-transformers id or a folder.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", help="auto (a graphics card if there is one), cpu, cuda or mps."),
]
BatchOption = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Images shown at once, at least 1.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", min=0, help="Threads that decode images ahead; 0 for none.")
]
DEFAULT_ENCODER = "all-MiniLM-L6-v2"


def hub_path(option: Path | None) -> Path:
    """Return the hub a command asks; say so when it is the bundled one.

    Commands that change a hub call `mllctl.find_hub`: the bundled one refuses, and one line is enough.
    """
    path = mllctl.find_hub(option)
    if path == bundled_hub():
        render.say("using the bundled demo hub; name another with --hub or $MLLCTL_HUB")
    return path


def same_hub(option: Path | None) -> str:
    """Return how a command that is to be typed next names the hub of this one: ` --hub DIR` if it was given."""
    return f" --hub {shlex.quote(str(option))}" if option else ""


def open_encoder(name: str) -> Any:
    """Open a sentence encoder; say so when it has to be exported first."""
    from mllctl.backends.sentence import is_exported

    if not is_exported(name, cache=cache_folder()):
        render.say("exporting the sentence encoder once, to the user's cache (about 15 s)")
    return mllctl.sentence_encoder(name, cache=cache_folder())


def index_encoder(hub: mllctl.Hub) -> Any:
    """Open the sentence encoder that a hub's caption index was built with; what it encodes is kept in the cache."""
    from mllctl.backends.remembering import RememberingEncoder

    made = hub.manifest.index
    return RememberingEncoder(open_encoder(made.encoder if made else DEFAULT_ENCODER), cache_folder())


def find_node(hub: mllctl.Hub, synset: str) -> StoredNode:
    """Return a node by its synset.

    Raises:
        NotInHub: if there is none; synsets of the same word or spelled alike are suggested.
    """
    nodes = {node.synset: node for node in hub.nodes()}
    if synset not in nodes:
        word = synset.split(".")[0].replace(" ", "_").lower()
        same = [known for known in nodes if known.split(".")[0] == word]
        close = same or difflib.get_close_matches(f"{word}.n.01", nodes, cutoff=0.75)
        raise NotInHub("node", synset, close[:3], "`mllctl graph show` lists all")
    return nodes[synset]


def check_domain(hub: mllctl.Hub, domain: str) -> None:
    """Refuse the name of a domain that the hub does not have.

    Raises:
        NotInHub: naming those it has.
    """
    names = [known.name for known in hub.domains()]
    if domain not in names:
        raise NotInHub("domain", domain, cure=f"it has {', '.join(names) or 'none'}")
