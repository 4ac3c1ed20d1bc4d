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
    path: Annotated[Path, typer.Argument(help="An empty or new folder.", show_default=False)] = Path("hub"),
) -> None:
    """Make an empty hub; ./hub if no folder is given.

    Example: mllctl init ./hub
    """
    mllctl.Hub.create(path).close()
    render.say(f"made an empty hub at {path}; next: `mllctl images add DIR --domain NAME --hub {path}`")


def build(
    path: Annotated[Path, typer.Argument(help="An empty or new folder, or a demo hub that is not finished.")],
    json: JsonOption = False,
) -> None:
    """Build the demo hub again from the shipped images and heads, and compare it with the bundled one.

    Runs every demo model over every graph image with its real towers: a few minutes on two cores. Interrupted, the
    same command goes on where it stopped.

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
        nodes, domains, models = opened.nodes(), opened.domains(), opened.models()
        index = opened.manifest.index
        facts = {
            "path": str(path),
            "generation": opened.manifest.generation,
            "schema_version": opened.manifest.schema_version,
            "read_only": opened.manifest.read_only,
            "bytes": sum(file.size for file in opened.manifest.files()),
            "nodes": len(nodes),
            "nodes_with_images": sum(node.images > 0 for node in nodes),
            "images": sum(domain.images for domain in domains),
            "domains": {domain.name: domain.images for domain in domains},
            "graph_version": opened.graph_version(),
            "index": "none" if index is None else "complete" if index.nodes == len(nodes) else "stale",
            "encoder": index.encoder if index else None,
            "models": len(models),
            "labelled": sum(model.state == "complete" for model in models),
        }
    if json:
        render.print_json(facts)
        return
    shown = {**facts, "domains": ", ".join(f"{name} {count}" for name, count in facts["domains"].items())}  # type: ignore[attr-defined]
    render.print_table(("", ""), [(name.replace("_", " "), value) for name, value in shown.items()])
