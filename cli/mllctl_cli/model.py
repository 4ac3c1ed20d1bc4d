"""`model add|list|show|time|remove`."""

import dataclasses
from typing import Annotated

import typer

import mllctl
from mllctl.backends.latency import measure_latency
from mllctl.errors import InvalidTask
from mllctl.hub import StoredModel, cache_folder
from mllctl.hub.writing import change_hub
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="ARCH/WEIGHTS as open_clip names them, ARCH/path/to/checkpoint, or demo:NAME."
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model, as `model list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    model = typer.Typer(no_args_is_help=True, help="Models of the hub.")
    model.command()(add)
    model.command("list")(list_)
    model.command()(show)
    model.command("time")(time_)
    model.command()(remove)
    app.add_typer(model, name="model")


def add(source: SourceArgument, hub: HubOption = None, json: JsonOption = False) -> None:
    """Load a model once and add its card to the hub.

    `mllctl label` then shows it the sample images.

    Example: mllctl model add ViT-B-32/laion2b_s34b_b79k --hub ./hub
    """
    path = mllctl.find_hub(hub)
    card = mllctl.load_model(source).card
    with change_hub(path, f"model add {source}") as change:
        change.add_model(card)
    if json:
        render.print_json(dataclasses.asdict(card))
        return
    render.print_line(f"{card.name}: {card.parameters / 1e6:.1f} M parameters, {card.image_size} px")
    render.say(f"next: `mllctl label {card.name}`")


def list_(hub: HubOption = None, json: JsonOption = False) -> None:
    """List the models of a hub with the state of their labels.

    Example: mllctl model list
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        models, overall = opened.models(), opened.overall_precision()
    if json:
        render.print_json([{**_as_json(m), "mean_precision": overall.get(m.model)} for m in models])
        return
    rows = [_as_row(m, overall.get(m.model)) for m in models]
    columns = ("model", "kind", "M params", "px", "label", "images", "mean precision %")
    render.print_table(columns, rows, ("M params", "px", "images", "mean precision %"))


def show(name: NameArgument, hub: HubOption = None, json: JsonOption = False) -> None:
    """Show everything the hub knows of one model.

    Example: mllctl model show lite0-minilm/generalist
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        model = opened.model(name)
    facts = _as_json(model)
    if json:
        render.print_json(facts)
        return
    render.print_facts(facts)


def time_(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Names of models, as `model list` shows them.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every model of the hub.")] = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how long models take for one image on this machine.

    The median of single images on the processor, without reading and scaling them; best measured while nothing else
    runs. It is kept in the user's cache, where limits on latency find it. Models are loaded, and downloaded if they
    are not here.

    Example: mllctl model time lite0-minilm/generalist
    """
    if bool(names) == all_:
        raise InvalidTask("name the models to time, or give --all")
    with mllctl.Hub.open(hub_path(hub)) as opened:
        cards = [stored.card for stored in ([opened.model(name) for name in names] if names else opened.models())]
    measured = []
    for card in cards:
        latency = measure_latency(mllctl.load_model(card.source), cache_folder())
        measured.append({"model": card.name, "latency_ms": latency})
        if not json:
            render.print_line(f"{card.name}: {latency:.1f} ms an image")
    if json:
        render.print_json(measured)


def remove(name: NameArgument, hub: HubOption = None, json: JsonOption = False) -> None:
    """Remove a model with its label and its embeddings.

    Example: mllctl model remove ViT-B-32/laion2b_s34b_b79k --hub ./hub
    """
    path = mllctl.find_hub(hub)
    with change_hub(path, f"model remove {name}") as change:
        with mllctl.Hub.open(path) as opened:
            opened.model(name)  # suggests close names
        change.remove_model(name)
    if json:
        render.print_json({"removed": name})
        return
    render.print_line(f"{name} removed")


def _as_row(model: StoredModel, precision: float | None) -> tuple[object, ...]:
    card = model.card
    shown = None if precision is None else render.percent(precision)
    return card.name, card.kind, f"{card.parameters / 1e6:.1f}", card.image_size, model.state, model.labelled, shown


def _as_json(model: StoredModel) -> dict[str, object]:
    facts = dataclasses.asdict(model.card)
    return {**facts, "state": model.state, "labelled": model.labelled, "missing": model.missing, "unseen": model.unseen}
