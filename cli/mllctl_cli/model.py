"""`model add|list|show|time|remove`; `model lock` is in `lock`."""

import dataclasses
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, cast

import typer

import mllctl
from mllctl.backends import is_expert, load_any
from mllctl.backends.canary import canary_of, watch_model, with_canary
from mllctl.backends.checking import check_source
from mllctl.backends.devices import in_precision
from mllctl.backends.facts import KnownModel, ModelFacts, pretrained_facts
from mllctl.backends.latency import measure_latency
from mllctl.backends.protocol import ExpertCard, ModelCard, VisionLanguageModel
from mllctl.backends.registry import pretrained_models
from mllctl.errors import HubReadOnly, InvalidTask
from mllctl.hub import StoredExpert, StoredModel, cache_folder
from mllctl.hub.experts import write_expert
from mllctl.hub.writing import EXPERT, change_hub
from mllctl.label.experts import check_expert
from mllctl.label.planning import precision_for
from mllctl.label.showing import check_known
from mllctl.limits import Limits, admit, show_amount
from mllctl_cli import render
from mllctl_cli.budget import (
    CachedOption,
    LicenseOption,
    MaxGflopsOption,
    MaxParamsOption,
    MaxSizeOption,
    UnknownLicenseOption,
    read_limits,
)
from mllctl_cli.lock import lock
from mllctl_cli.options import HubOption, JsonOption, hub_path, same_hub

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="ARCH/TAG as open_clip names it, ARCH/path/to/checkpoint, CONFIG.json,CHECKPOINT, hf-hub:ORG/NAME, "
        "local-dir:PATH, demo:NAME, st:NAME, conse:NAME, or an expert as expert:KIND/NAME.",
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
    model.command()(lock)
    app.add_typer(model, name="model")


def add(source: SourceArgument, hub: HubOption = None, json: JsonOption = False) -> None:
    """Load a model once and add its card to the hub.

    `mllctl label` then shows it the sample images.

    Example: mllctl model add ViT-B-32/laion2b_s34b_b79k --hub ./hub
    """
    path = mllctl.find_hub(hub)
    with mllctl.Hub.open(path) as opened:
        if opened.manifest.read_only:
            raise HubReadOnly(path)  # before a model is loaded for nothing
        stored = {known.card.name: known for known in opened.models()}
    check_source(source, cache_folder())
    loaded = load_any(source)
    if is_expert(loaded):
        _add_expert(path, loaded.card, hub, json)
        return
    model = cast("VisionLanguageModel", loaded)
    known = stored.get(model.card.name)
    model = in_precision(model, precision_for(known, None), "cpu")
    check_known(list(stored.values()), model.card)
    model, lines = watch_model(model, known.card if known else None)
    card = model.card
    with change_hub(path, f"model add {card.name}") as change:
        change.add_model(card)
    for line in lines:
        render.say(line)
    if json:
        render.print_json(_card_as_json(card))
        return
    render.print_line(f"{card.name}: {card.parameters / 1e6:.1f} M parameters, {card.image_size} px")
    render.say(f"next: `mllctl label {card.name}{same_hub(hub)}`")


def _add_expert(path: Path, card: ExpertCard, hub: Path | None, json: bool) -> None:
    """Add the card of an expert: a label without an image."""
    with mllctl.Hub.open(path) as opened:
        check_expert(opened, card)
        known = [expert for expert in opened.experts() if expert.card.name == card.name]
    if not known:
        with change_hub(path, f"model add {card.name}") as change:
            file = path / "staging" / EXPERT
            write_expert(file, card, [])
            change.put_expert(None, file, whole=True)
    if json:
        render.print_json(_expert_card_as_json(card))
        return
    heads = f"{len(card.heads)} heads"
    render.print_line(f"{card.name}: {card.parameters / 1e6:.1f} M parameters, {card.image_size} px, {heads}")
    render.say(f"next: `mllctl label {card.name}{same_hub(hub)}`")


def list_(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATTERN", help="Only models named so, such as 'ViT-B*'.", show_default=False),
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Every pretrained model of the installed open_clip.")
    ] = False,
    max_params: MaxParamsOption = None,
    max_gflops: MaxGflopsOption = None,
    max_size: MaxSizeOption = None,
    license_: LicenseOption = None,
    allow_unknown_license: UnknownLicenseOption = False,
    cached_only: CachedOption = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """List the models of a hub, or all that open_clip can load.

    Of a hub's models, the state of their labels. With --pretrained, what is known of a model before it is downloaded,
    such as its published zero-shot accuracy on ImageNet and whether its weights are here; the limits are for these.

    Example: mllctl model list --pretrained 'ViT-B*' --max-params 150M
    """
    limits = read_limits(
        {"parameters": max_params, "gflops": max_gflops, "bytes": max_size, "ms": None},
        license_,
        allow_unknown_license=allow_unknown_license,
        cached_only=cached_only,
    )
    if pretrained:
        _list_pretrained(patterns or [], limits, json)
        return
    if limits != Limits():
        raise InvalidTask("these limits are for --pretrained; `mllctl select` has them for the models of a hub")
    with mllctl.Hub.open(hub_path(hub)) as opened:
        models, overall, experts = opened.models(), opened.overall_precision(), opened.experts()
    if patterns:
        models = [m for m in models if _is_like(m.card.name, patterns)]
        experts = [e for e in experts if _is_like(e.card.name, patterns)]
    if json:
        told = [{**_as_json(m), "mean_precision": overall.get(m.model)} for m in models]
        render.print_json([*told, *map(_expert_as_json, experts)])
        return
    if models or not experts:
        rows = [_as_row(m, overall.get(m.model)) for m in models]
        columns = ("model", "kind", "M params", "px", "label", "images", "mean precision %")
        render.print_table(columns, rows, ("M params", "px", "images", "mean precision %"))
    if models and experts:
        render.print_line()
    if experts:
        columns = ("expert", "kind", "M params", "px", "label", "images", "heads")
        render.print_table(columns, [_expert_row(e) for e in experts], ("M params", "px", "images", "heads"))


def _is_like(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name.lower(), like.lower()) for like in patterns)


def _list_pretrained(patterns: list[str], limits: Limits, json: bool) -> None:
    models = {model.model: model for model in pretrained_models(cache_folder(), patterns)}
    facts = {name: pretrained_facts(model) for name, model in models.items()}
    kept, _ = admit(list(models), facts, limits)
    if json:
        render.print_json([_known_as_json(models[name], facts[name]) for name in kept])
        return
    columns = ("model", "params", "GFLOPs", "px", "tokens", "width", "top-1 %", "licence", "here")
    rows = [_known_as_row(models[name], facts[name]) for name in kept]
    render.print_table(columns, rows, columns[1:7], whole=columns[7:])
    renamed = [name for name in kept if models[name].instead]
    if renamed:
        first = f"{renamed[0]} as {models[renamed[0]].instead}"
        render.say(f"{len(renamed)} of these want another activation than their name gives; add {first}, and so on")


def show(name: NameArgument, hub: HubOption = None, json: JsonOption = False) -> None:
    """Show everything the hub knows of one model.

    Example: mllctl model show lite0-minilm/generalist
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        expert = _find_expert(opened, name)
        facts = _as_json(opened.model(name)) if expert is None else _expert_as_json(expert)
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
            expert = _find_expert(opened, name)
            if expert is None:
                opened.model(name)  # suggests close names
        if expert is None:
            change.remove_model(name)
        else:
            change.remove_expert(expert.expert)
    if json:
        render.print_json({"removed": name})
        return
    render.print_line(f"{name} removed")


def _find_expert(hub: mllctl.Hub, name: str) -> StoredExpert | None:
    return next((expert for expert in hub.experts() if expert.card.name == name), None)


def _expert_row(expert: StoredExpert) -> tuple[object, ...]:
    card = expert.card
    millions = f"{card.parameters / 1e6:.1f}"
    return card.name, card.kind, millions, card.image_size, expert.state, expert.labelled, len(card.heads)


def _expert_as_json(expert: StoredExpert) -> dict[str, object]:
    facts = _expert_card_as_json(expert.card)
    return {**facts, "state": expert.state, "labelled": expert.labelled, "missing": expert.missing}


def _expert_card_as_json(card: ExpertCard) -> dict[str, object]:
    return {**dataclasses.asdict(card), "heads": list(card.heads)}


def _as_row(model: StoredModel, precision: float | None) -> tuple[object, ...]:
    card = model.card
    shown = None if precision is None else render.percent(precision)
    return card.name, card.kind, f"{card.parameters / 1e6:.1f}", card.image_size, model.state, model.labelled, shown


def _known_as_row(model: KnownModel, facts: ModelFacts) -> tuple[object, ...]:
    top1 = None if model.imagenet_top1 is None else render.percent(model.imagenet_top1)
    parameters = None if model.parameters is None else show_amount(model.parameters, "parameters")
    sizes = (model.image_size, model.context_length, model.embedding_width)
    return (model.model, parameters, model.gflops, *sizes, top1, model.license, facts.cached)


def _known_as_json(model: KnownModel, facts: ModelFacts) -> dict[str, object]:
    return {
        "model": model.model,
        "parameters": model.parameters,
        "gflops": model.gflops,
        "size_bytes": facts.size_bytes,
        "size_estimated": facts.size_estimated,
        "image_size": model.image_size,
        "context_length": model.context_length,
        "embedding_width": model.embedding_width,
        "imagenet_top1": model.imagenet_top1,
        "license": model.license,
        "cached": facts.cached,
        "instead": model.instead or None,
    }


def _as_json(model: StoredModel) -> dict[str, object]:
    facts = _card_as_json(model.card)
    return {**facts, "state": model.state, "labelled": model.labelled, "missing": model.missing, "unseen": model.unseen}


def _card_as_json(card: ModelCard) -> dict[str, object]:
    canary = canary_of(card)
    return {**dataclasses.asdict(with_canary(card, None)), "canary": canary.sha256 if canary else None}
