"""`init`, `demo build` and `hub info`."""

from pathlib import Path
from typing import Annotated

import typer

import mllctl
from mllctl.hub import bundled_hub
from mllctl_cli import render
from mllctl_cli.options import DEFAULT_ENCODER, HubOption, JsonOption, hub_path, open_encoder


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(init)
    demo = typer.Typer(no_args_is_help=True, help="The demo hub.")
    demo.command("build")(build)
    app.add_typer(demo, name="demo")
    hub = typer.Typer(no_args_is_help=True, help="The hub as a whole.")
    hub.command("info")(info)
    app.add_typer(hub, name="hub")


def init(
    path: Annotated[
        Path, typer.Argument(metavar="DIR", help="An empty or new folder; ./hub without it.", show_default=False)
    ] = Path("hub"),
    json: JsonOption = False,
) -> None:
    """Make an empty hub.

    Example: mllctl init ./hub
    """
    mllctl.Hub.create(path).close()
    if json:
        render.print_json({"path": str(path)})
    render.say(f"made an empty hub at {path}; next: `mllctl images add DIR --domain NAME --describe TEXT --hub {path}`")


def build(
    path: Annotated[
        Path, typer.Argument(metavar="DIR", help="An empty or new folder, or a demo hub that is not finished.")
    ],
    json: JsonOption = False,
) -> None:
    """Build the demo hub from shipped images and heads.

    Every demo model is shown every graph image with its real towers: a few minutes on two cores. The labels are then
    compared with those of the bundled demo hub. Interrupted, the same command goes on where it stopped.

    Example: mllctl demo build ./demo-hub
    """
    from mllctl.demo import build_demo, compare_labels

    with render.progress() as progress:
        build_demo(path, open_encoder(DEFAULT_ENCODER), render.say, progress)
    with mllctl.Hub.open(path) as built, mllctl.Hub.open(bundled_hub()) as bundled:
        differences = compare_labels(built, bundled)
    if json:
        render.print_json([{"model": d.model, "bits": d.bits, "compared": d.compared} for d in differences])
        return
    rows = [(d.model, d.compared, d.bits) for d in differences]
    render.print_table(
        ("model", "image-node pairs", "differ from the bundled hub"),
        rows,
        ("image-node pairs", "differ from the bundled hub"),
    )
    same = sum(d.bits == 0 for d in differences)
    render.say(f"{same} of {len(differences)} labels are bit for bit those of the bundled hub; the hub is at {path}")


def info(hub: HubOption = None, json: JsonOption = False) -> None:
    """Show what a hub holds and which stages are up to date.

    Example: mllctl hub info --hub ./hub
    """
    path = hub_path(hub)
    with mllctl.Hub.open(path) as opened:
        facts = _facts(opened)
    if json:
        render.print_json(facts)
        return
    render.print_facts({**facts, "bytes": f"{facts['bytes']:,}"})


def _facts(hub: mllctl.Hub) -> dict[str, object]:
    nodes, domains, models = hub.nodes(), hub.domains(), hub.models()
    index = hub.manifest.index
    return {
        "path": str(hub.path),
        "generation": hub.manifest.generation,
        "schema_version": hub.manifest.schema_version,
        "read_only": hub.manifest.read_only,
        "bytes": sum(file.size for file in hub.manifest.files()),
        "nodes": len(nodes),
        "nodes_with_images": sum(node.images > 0 for node in nodes),
        "images": sum(domain.images for domain in domains),
        "domains": {domain.name: domain.images for domain in domains},
        "graph_version": hub.graph_version(),
        "index": _index_state(hub, len(nodes), len(domains)),
        "encoder": index.encoder if index else None,
        "models": len(models),
        "labelled": sum(model.state == "complete" for model in models),
    }


def _index_state(hub: mllctl.Hub, nodes: int, domains: int) -> str:
    index = hub.manifest.index
    if index is None:
        return "none"
    return "complete" if (index.nodes, index.domains) == (nodes, domains) else "stale"
