"""`label`: show models the sample images."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

import mllctl
from mllctl.backends.protocol import VisionLanguageModel
from mllctl.errors import HubReadOnly, InvalidTask
from mllctl.label import LabelReport
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption

MANY_PARTS = 8  # of a label; each is one more file to open and to look into


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(label)


def label(
    model: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models of the hub by name, or sources to add.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every model of the hub whose label is not complete.")] = False,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Images shown at once, at least 1.")] = 64,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Show models the sample images and commit their labels.

    A model is never shown an image twice; interrupted, the same command goes on where it stopped. Images that cannot
    be read are reported and skipped (exit code 3).

    Example: mllctl label --all --hub ./hub
    """
    if bool(model) == all_:
        raise InvalidTask("name the models to label, or give --all")
    path = mllctl.find_hub(hub)
    with mllctl.Hub.open(path) as opened:
        if opened.manifest.read_only:
            raise HubReadOnly(path)  # before a model is loaded for nothing
        stored = {known.card.name: known for known in opened.models()}
    sources = [stored[name].card.source if name in stored else name for name in model or []]
    sources += [known.card.source for known in stored.values() if all_ and known.state != "complete"]
    reports = [_label(path, source, batch, json) for source in sources]
    with mllctl.Hub.open(path) as opened:
        grown = sum(len(opened.label_files(known.model)) > MANY_PARTS for known in opened.models())
    if grown:
        render.say(f"{grown} labels have grown to more than {MANY_PARTS} parts; `mllctl hub compact` merges them")
    if json:
        render.print_json([dataclasses.asdict(report) for report in reports])
    elif not reports:
        render.say("every label is complete")
    if any(report.skipped for report in reports):
        raise typer.Exit(3)


def _label(path: Path, source: str, batch: int, json: bool) -> LabelReport:
    loaded: VisionLanguageModel = mllctl.load_model(source)
    with render.progress() as progress:
        report = mllctl.label_model(path, loaded, lambda done, total: progress(loaded.card.name, done, total), batch)
    for skipped in report.skipped:
        render.say(f"skipped {skipped.path}: {skipped.reason}")
    if report.skipped:
        render.say("nodes with skipped images stay out of selections; restore them, or `mllctl images remove` them")
    if not json:
        hits = f"{report.hits} of {report.images} images go to their own node"
        render.print_line(f"{report.model}: {report.shown} images shown, {hits}")
    return report
