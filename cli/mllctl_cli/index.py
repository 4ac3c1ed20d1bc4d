"""`index build`."""

import typer

import mllctl
from mllctl.index import index_input
from mllctl_cli import render
from mllctl_cli.options import DEFAULT_ENCODER, EncoderOption, HubOption, JsonOption, open_encoder, same_hub


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    index = typer.Typer(no_args_is_help=True, help="The caption index that classes are matched by.")
    index.command()(build)
    app.add_typer(index, name="index")


def build(hub: HubOption = None, encoder: EncoderOption = DEFAULT_ENCODER, json: JsonOption = False) -> None:
    """Encode all captions and domain descriptions into the index.

    Example: mllctl index build --hub ./hub
    """
    path = mllctl.find_hub(hub)
    with mllctl.Hub.open(path) as opened:
        index_input(opened)  # what it refuses is refused before an encoder is exported for nothing
    report = mllctl.build_index(path, open_encoder(encoder))
    if json:
        facts = {"nodes": report.nodes, "domains": report.domains, "width": report.width, "encoder": report.encoder}
        render.print_json(facts)
        return
    render.print_line(f"{report.nodes} nodes and {report.domains} domains indexed by {report.encoder}")
    there = same_hub(hub)
    render.say(f"next: `mllctl label ARCH/WEIGHTS{there}`, or `mllctl label --all{there}`")
