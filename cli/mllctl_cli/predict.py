"""`predict`: classify images with the models selected for their classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import mllctl
from mllctl.captions import PROMPT, class_prompts
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.images import ENDINGS, open_image
from mllctl.kernels.ensemble import WEIGHTINGS, Weighting
from mllctl_cli import render
from mllctl_cli.classes import ClassesOption, ClassOption, read_classes
from mllctl_cli.options import DomainOption, HubOption, JsonOption, hub_path, index_encoder
from mllctl_cli.select import AlphaOption, KOption, NodesOption, say_limits

PREDICT_BATCH = 64


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(predict)


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    classes: ClassesOption = None,
    class_: ClassOption = None,
    domain: DomainOption = None,
    k: KOption = 1,
    weighting: Annotated[
        str, typer.Option("--weighting", metavar="NAME", help="entropy (the paper's), confidence or uniform.")
    ] = "entropy",
    single: Annotated[
        bool, typer.Option("--single", help="Use the one best model of the task for all classes.")
    ] = False,
    template: Annotated[
        str, typer.Option("--template", metavar="TEXT", help="Prompt, with {} where the class goes.")
    ] = PROMPT,
    alpha: AlphaOption = 0.7,
    nodes: NodesOption = 5,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Classify images with the models selected for their classes.

    Images that cannot be read are reported and skipped (exit code 3).

    Example: mllctl predict photos/ --class cat --class dog -k 3
    """
    names = read_classes(classes, class_)
    weighing = _find_weighting(weighting)
    class_prompts(names, template)  # refuses a wrong template before models are loaded
    paths = list(_image_paths(images))
    with mllctl.Hub.open(hub_path(hub)) as opened:
        selection = mllctl.select_models(opened, names, domain, None, k, alpha, nodes, encoder=index_encoder(opened))
    say_limits(selection)
    ensemble = mllctl.Ensemble.from_selection(selection, weighing, template, breadth="one" if single else None)
    render.say(f"answering with {', '.join(member.model.card.name for member in ensemble.members)}")
    answers, skipped = _predict(ensemble, paths)
    if json:
        render.print_json({"predictions": answers, "skipped": skipped})
    else:
        rows = [(a["path"], a["class"], f"{a['confidence']:.3f}") for a in answers]
        render.print_table(("image", "class", "confidence"), rows, ("confidence",))
    for missed in skipped:
        render.say(f"skipped {missed['path']}: {missed['reason']}")
    if skipped:
        raise typer.Exit(3)


def _find_weighting(name: str) -> Weighting:
    for known in WEIGHTINGS:
        if known == name:
            return known
    raise InvalidTask(f"weighting must be one of {', '.join(WEIGHTINGS)}, got {name!r}")


def _image_paths(given: list[Path]) -> Iterator[Path]:
    for path in given:
        if not path.is_dir():
            if not path.exists():
                raise SourceUnreadable(path, "no such file or folder")
            yield path
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        if not inside:
            raise SourceUnreadable(path, "no images in this folder")
        yield from inside


def _predict(ensemble: mllctl.Ensemble, paths: list[Path]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Answer the images batch by batch: (answers, those that cannot be read)."""
    answers: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for start in range(0, len(paths), PREDICT_BATCH):
        read = []
        for path in paths[start : start + PREDICT_BATCH]:
            try:
                read.append((str(path), open_image(str(path))))
            except SourceUnreadable as error:
                skipped.append({"path": str(path), "reason": error.reason})
        prediction = ensemble.predict([picture for _, picture in read])
        best = prediction.confidence.max(axis=1).tolist()
        answers += [
            {"path": path, "class": name, "confidence": confidence}
            for (path, _), name, confidence in zip(read, prediction.names, best, strict=True)
        ]
    return answers, skipped
