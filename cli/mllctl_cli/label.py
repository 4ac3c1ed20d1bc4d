"""`label`: show models the sample images."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, cast

import typer

import mllctl
from mllctl.backends import is_expert, load_any
from mllctl.backends.canary import watch_model
from mllctl.backends.checking import check_source
from mllctl.backends.comparison import likely_on
from mllctl.backends.devices import PRECISIONS, check_precision, choose_device, in_precision
from mllctl.backends.names import canonical
from mllctl.backends.protocol import Expert, VisionLanguageModel
from mllctl.backends.unchanged import remember_files, stamp_files
from mllctl.errors import InvalidTask, ModelNotLoadable, StageMissing
from mllctl.hub import StoredExpert, StoredModel, cache_folder
from mllctl.hub.writing import bare_experts, bare_models, cannot_grow
from mllctl.label import LabelReport, label_expert
from mllctl.label.experts import is_settled_expert
from mllctl.label.planning import LabelPlan, plan_expert, plan_label, precision_for, refuse_download, settled_label
from mllctl.label.showing import is_settled, label_input
from mllctl_cli import render
from mllctl_cli.options import BatchOption, DeviceOption, HubOption, JsonOption, WorkersOption, same_hub

MANY_PARTS = 8  # of a label; each is one more file to open and to look into


@dataclasses.dataclass(frozen=True)
class Manner:
    """How models are shown images: what the options say."""

    device: str
    batch: int
    text_batch: int
    workers: int


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(label)


def label(
    model: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models of the hub by name, or sources to add.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every model of the hub whose label is not complete.")] = False,
    device: DeviceOption = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", metavar="TYPE", help="float32, bfloat16 or float16; else that of its label, else float32."
        ),
    ] = None,
    batch: BatchOption = 64,
    text_batch: Annotated[
        int, typer.Option("--text-batch", metavar="N", min=1, help="Captions shown at once, at least 1.")
    ] = 256,
    workers: WorkersOption = 2,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what there is to do and what it costs; do nothing.")
    ] = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Show models the sample images and commit their labels.

    A model is never shown an image twice, and a complete label is left as it is; interrupted, the same command goes on
    where it stopped. Where memory runs out, batches are halved. Images that cannot be read, and of several models
    those that cannot be loaded, are reported and skipped (exit code 3).

    An expert, a classifier with heads of its own, is labelled by what its heads answer; its source begins with expert:.

    Example: mllctl label --all --hub ./hub
    """
    if bool(model) == all_:
        raise InvalidTask("name the models to label, or give --all")
    if precision is not None and precision not in PRECISIONS:
        raise InvalidTask(f"--precision {precision}: no such precision; give one of {', '.join(PRECISIONS)}")
    path = mllctl.find_hub(hub)
    with mllctl.Hub.open(path) as opened:
        label_input(opened)  # what it refuses is refused before a model is loaded for nothing
        stored = {known.card.name: known for known in opened.models()}
        experts = {known.card.name: known for known in opened.experts()}
        if all_ and not stored and not experts:
            raise StageMissing("the hub has no models yet", "mllctl label ARCH/WEIGHTS")
        sources = [_source_of(name, {**stored, **experts}) for name in model or []]
        for known in stored.values():
            if known.card.source in sources:
                is_settled(opened, known.card)
        for expert in experts.values():
            if expert.card.source in sources:
                is_settled_expert(opened, expert)
        every: list[StoredModel | StoredExpert] = [*stored.values(), *experts.values()]
        open_ = [known for known in every if all_ and known.state != "complete"]
        bare = _bare_names(opened)
        stuck = [known.card.name for known in open_ if known.card.name in bare]
        if stuck:
            render.say(cannot_grow(stuck))
        sources += [known.card.source for known in open_ if known.card.name not in bare]
        todo = _in_their_precision(sources, stored, precision)
        if plan:
            plans = _plan_all(opened, todo)
            _print_plans(plans, json)
            if len(plans) < len(todo):
                raise typer.Exit(3)
            return
    reports = _label_all(path, todo, Manner(device, batch, text_batch, workers), json)
    with mllctl.Hub.open(path) as opened:
        parts = [len(opened.label_files(known.model)) for known in opened.models()]
        parts += [len(opened.expert_files(known.expert)) for known in opened.experts()]
        grown = sum(count > MANY_PARTS for count in parts)
    if grown:
        cure = f"`mllctl hub compact{same_hub(hub)}` merges them"
        render.say(f"{grown} labels have grown to more than {MANY_PARTS} parts; {cure}")
    if json:
        render.print_json([dataclasses.asdict(report) for report in reports])
    elif not reports and not stuck:
        render.say("every label is complete")
    if stuck or len(reports) < len(todo) or any(report.skipped for report in reports):
        raise typer.Exit(3)


def _bare_names(hub: mllctl.Hub) -> set[str]:
    """Return the models and experts whose labels were imported and cannot grow."""
    models, experts = bare_models(hub.manifest), bare_experts(hub.manifest)
    names = {known.card.name for known in hub.models() if known.model in models}
    return names | {known.card.name for known in hub.experts() if known.labelled and known.expert in experts}


def _source_of(name: str, stored: Mapping[str, StoredModel | StoredExpert]) -> str:
    """Return what loads a model: of one in the hub what its card says, else the name as the hub would spell it."""
    spelled = name if name in stored else canonical(name)
    return stored[spelled].card.source if spelled in stored else spelled


def _in_their_precision(sources: list[str], stored: Mapping[str, StoredModel], precision: str | None) -> dict[str, str]:
    """Return the precision that each source is labelled in."""
    by_source = {known.card.source: known for known in stored.values()}
    return {source: precision_for(by_source.get(source), precision) for source in sources}


def _label_all(path: Path, todo: Mapping[str, str], manner: Manner, json: bool) -> list[LabelReport]:
    """Label one model after the other; of several, one that cannot be loaded is reported and skipped.

    Raises:
        ModelNotLoadable: if not one can be labelled.
    """
    reports: list[LabelReport] = []
    device = ""  # looked for once a model must be loaded: that alone imports torch
    for number, (source, precision) in enumerate(todo.items(), start=1):
        place = f"{number}/{len(todo)} " if len(todo) > 1 else ""
        try:
            check_source(source, cache_folder())
            refuse_download(source, cache_folder())
            report = _settled(path, source, precision)
            if report is None:
                device = device or _find_device(manner.device, todo.values())
                report = _label(path, source, precision, dataclasses.replace(manner, device=device), place)
        except ModelNotLoadable as error:
            if number == len(todo) and not reports:
                raise
            render.say(f"{error}; going on")
            continue
        reports.append(report)
        if not json:
            _print_report(report)
    return reports


def _find_device(wanted: str, precisions: Iterable[str]) -> str:
    """Return the device to run on; refuse it before a model is loaded if it does not compute in the precisions."""
    device = choose_device(wanted)
    for precision in precisions:
        check_precision(precision, device)
    return device


def _settled(path: Path, source: str, precision: str) -> LabelReport | None:
    with mllctl.Hub.open(path) as opened:
        return settled_label(opened, source, precision, cache_folder())


def _label(path: Path, source: str, precision: str, manner: Manner, place: str) -> LabelReport:
    files = stamp_files(source)
    model = load_any(source, manner.device)
    if is_expert(model):
        return _label_expert(path, model, manner, place)
    loaded = in_precision(cast("VisionLanguageModel", model), precision, manner.device)
    with mllctl.Hub.open(path) as opened:
        stored = next((known.card for known in opened.models() if known.card.name == loaded.card.name), None)
    loaded, lines = watch_model(loaded, stored)
    for line in lines:
        render.say(line)
    with render.progress() as progress:
        report = mllctl.label_model(
            path,
            loaded,
            lambda done, total: progress(f"{place}{loaded.card.name}", done, total),
            manner.batch,
            likely_on(manner.device) if manner.device.startswith("cuda") else None,
            text_batch=manner.text_batch,
            workers=manner.workers,
            say=render.say,
        )
    remember_files(loaded.card, files, cache_folder())
    _say_skipped(report)
    return report


def _label_expert(path: Path, expert: Expert, manner: Manner, place: str) -> LabelReport:
    with render.progress() as progress:
        report = label_expert(
            path,
            expert,
            lambda done, total: progress(f"{place}{expert.card.name}", done, total),
            manner.batch,
            workers=manner.workers,
        )
    _say_skipped(report)
    return report


def _say_skipped(report: LabelReport) -> None:
    for skipped in report.skipped:
        render.say(f"skipped {skipped.path}: {skipped.reason}")
    if report.skipped:
        render.say(
            "selections that need the nodes of skipped images leave this model out; restore the files, or "
            "`mllctl images remove` the images"
        )


def _print_report(report: LabelReport) -> None:
    hits = f"{report.hits} of {report.labelled} images go to their own node"
    if report.hits is None:
        hits = f"{report.labelled} images answered by its heads"
    settled = not report.changed and not report.skipped
    done = "its label is complete already" if settled else f"{report.shown} images shown"
    render.print_line(f"{report.model}: {done}, {hits}")


# -- the plan -----------------------------------------------------------------------------------------


def _plan_all(hub: mllctl.Hub, todo: Mapping[str, str]) -> list[LabelPlan]:
    """Plan one model after the other; of several, one that cannot be loaded is reported and left out.

    Raises:
        ModelNotLoadable: if not one can be loaded.
    """
    plans: list[LabelPlan] = []
    for number, (source, precision) in enumerate(todo.items(), start=1):
        try:
            check_source(source, cache_folder())
            known = plan_expert(hub, source)
            plans.append(known or plan_label(hub, source, cache_folder(), precision))
        except ModelNotLoadable as error:
            if number == len(todo) and not plans:
                raise
            render.say(f"{error}; going on")
    return plans


def _print_plans(plans: list[LabelPlan], json: bool) -> None:
    if json:
        render.print_json([dataclasses.asdict(plan) for plan in plans])
        return
    if not plans:
        render.say("every label is complete")
        return
    columns = ("model", "images", "to show", "to read", "time", "to write", "download")
    render.print_table(columns, [_as_row(plan) for plan in plans], columns[1:], columns[:1])
    missing = max(plan.missing for plan in plans)
    if missing:
        render.say(f"{missing} images have no file any more; restore them, or `mllctl images remove` them")
    if any(plan.seconds is None for plan in plans):
        render.say("the time, on the processor, is known of models that were timed: `mllctl model time NAME`")


def _as_row(plan: LabelPlan) -> tuple[object, ...]:
    return (
        plan.model,
        plan.images,
        plan.to_show,
        _size(plan.image_bytes),
        "unknown" if plan.seconds is None else render.duration(plan.seconds),
        "unknown" if plan.embedding_bytes is None else _size(plan.embedding_bytes),
        _download(plan),
    )


def _download(plan: LabelPlan) -> str:
    if plan.cached is None:
        return "unknown"
    if plan.cached:
        return "none"
    return "yes" if plan.download_bytes is None else _size(plan.download_bytes)


def _size(count: int) -> str:
    """Return a number of bytes with its unit: MB for most."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
