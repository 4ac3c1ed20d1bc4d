"""`index build`."""

import typer

import mllctl
from mllctl_cli import render
from mllctl_cli.options import DEFAULT_ENCODER, EncoderOption, HubOption, JsonOption, open_encoder


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    index = typer.Typer(no_args_is_help=True, help="The caption index that classes are matched by.")
    index.command()(build)
    app.add_typer(index, name="index")


def build(hub: HubOption = None, encoder: EncoderOption = DEFAULT_ENCODER, json: JsonOption = False) -> None:
    """Encode all captions and domain descriptions into the index.

    Example: mllctl index build --hub ./hub
    """
    report = mllctl.build_index(mllctl.find_hub(hub), open_encoder(encoder))
    if json:
        facts = {"nodes": report.nodes, "domains": report.domains, "width": report.width, "encoder": report.encoder}
        render.print_json(facts)
        return
    render.print_line(f"{report.nodes} nodes and {report.domains} domains indexed by {report.encoder}")
    render.say("next: `mllctl label ARCH/WEIGHTS`, or `mllctl label --all`")
