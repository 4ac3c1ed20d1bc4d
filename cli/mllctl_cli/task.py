"""`select` and `predict`: what becomes of a task."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import mllctl
from mllctl.captions import PROMPT, class_prompts
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.images import ENDINGS, open_image
from mllctl.kernels.ensemble import WEIGHTINGS, Weighting
from mllctl.select import Selection
from mllctl_cli import render
from mllctl_cli.classes import ClassesOption, ClassOption, read_classes
from mllctl_cli.options import DomainOption, HubOption, JsonOption, hub_path, index_encoder

TaskOption = Annotated[str | None, typer.Option("--task", metavar="TEXT", help="Kind of task, in words; recorded.")]
KOption = Annotated[int, typer.Option("-k", metavar="N", help="Models per class, at least 1.")]
AlphaOption = Annotated[
    float, typer.Option("--alpha", metavar="X", help="Weight of a class itself against the task's mean, in [0, 1].")
]
NodesOption = Annotated[int, typer.Option("--nodes", metavar="N", help="Nodes a class is matched to, at least 1.")]
PREDICT_BATCH = 64
NODES_SHOWN = DOMAINS_SHOWN = 3
NAMES_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(select)
    app.command()(predict)


def select(
    classes: ClassesOption = None,
    class_: ClassOption = None,
    domain: DomainOption = None,
    task: TaskOption = None,
    k: KOption = 1,
    alpha: AlphaOption = 0.7,
    nodes: NodesOption = 5,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Select models for a task from the names of its classes.

    Nothing else is needed: no images, no labels, no weights of any model. The models of a class are ordered by reuse:
    precision on the class, blended with the mean over the task. A class that resembles no node of the hub is shown as
    having no evidence.

    Example: mllctl select --classes classes.txt --domain satellite
    """
    names = read_classes(classes, class_)
    with mllctl.Hub.open(hub_path(hub)) as opened:
        selection = mllctl.select_models(opened, names, domain, task, k, alpha, nodes, encoder=index_encoder(opened))
    if json:
        render.print_json(selection_json(selection))
    else:
        _print_selection(selection)
    _say_limits(selection)


def selection_json(selection: Selection) -> dict[str, Any]:
    """Return a selection as docs/cli.md documents it."""
    return {
        "domain": selection.domain,
        "task": selection.task,
        "k": selection.k,
        "alpha": selection.alpha,
        "nodes_per_class": selection.nodes_per_class,
        "hub_generation": selection.hub_generation,
        "single": selection.names[selection.single],
        "best_overall": selection.names[selection.overall],
        "models": [
            {"model": name, "precision": mean, "reuse": float(selection.reuse[m].mean())}
            for m, (name, mean) in enumerate(zip(selection.names, _mean_precision(selection), strict=True))
        ],
        "left_out": list(selection.left_out),
        "domain_matched": selection.domain_matched,
        "domains": [{"name": d.name, "similarity": d.similarity, "weight": d.weight} for d in selection.domains],
        "classes": [_class_json(selection, c) for c in range(len(selection.classes))],
    }


def _class_json(selection: Selection, c: int) -> dict[str, Any]:
    share = selection.share[:, c]
    return {
        "class": selection.classes[c],
        "covered": bool(selection.covered[c]),
        "similarity": float(selection.similarity[c]),
        "members": [
            {"model": selection.names[m], "precision": float(share[m]), "reuse": float(selection.reuse[m, c])}
            for m in selection.members[c]
        ],
        "nodes": [
            {"node": node.synset, "similarity": similarity, "images": node.images}
            for node, similarity in selection.nodes_of(c)
        ],
    }


def _mean_precision(selection: Selection) -> list[float | None]:
    """Return each model's mean precision over the classes that have evidence; None if none has."""
    share = selection.share[:, selection.covered]
    return [float(row.mean()) if len(row) else None for row in share]


def _print_selection(selection: Selection) -> None:
    rows = [_class_row(selection, c) for c in range(len(selection.classes))]
    render.print_table(("class", "model", "precision %", "evidence from"), rows, ("precision %",), ("model",))
    render.print_line()
    mean = _mean_precision(selection)
    facts = {}
    for title, m in (("one model for all classes", selection.single), ("best over the whole hub", selection.overall)):
        precision = mean[m]
        known = "" if precision is None else f", mean precision {render.percent(precision)} %"
        facts[title] = f"{selection.names[m]}{known}"
    if selection.domain_matched:
        heavy = [d for d in sorted(selection.domains, key=lambda d: -d.weight)[:DOMAINS_SHOWN] if d.weight >= 0.001]
        facts["weight of domains"] = ", ".join(f"{d.name} {render.percent(d.weight)} %" for d in heavy)
    render.print_facts(facts)


def _class_row(selection: Selection, c: int) -> tuple[str, str, str, str]:
    name, share = selection.classes[c], selection.share
    if not selection.covered[c]:
        # Rounded down: just under the floor must not read as the floor.
        similarity = math.floor(100 * selection.similarity[c]) / 100
        return name, "no evidence", "", f"nearest is only {similarity:.2f} like it"
    members = selection.members[c]
    return (
        name,
        "\n".join(selection.names[m] for m in members),
        "\n".join(render.percent(share[m, c]) for m in members),
        ", ".join(f"{node.name} {similarity:.2f}" for node, similarity in selection.nodes_of(c)[:NODES_SHOWN]),
    )


def _say_limits(selection: Selection) -> None:
    """Say on stderr what the answer does not rest on."""
    bare = [name for name, covered in zip(selection.classes, selection.covered, strict=True) if not covered]
    if bare:
        more = f" and {len(bare) - NAMES_SHOWN} more" if len(bare) > NAMES_SHOWN else ""
        listed = ", ".join(bare[:NAMES_SHOWN]) + more
        render.say(f"the hub has no evidence for {len(bare)} of {len(selection.classes)} classes: {listed}")
    if selection.domain and not selection.domain_matched:
        best = max(selection.domains, key=lambda d: d.similarity or 0)
        render.say(
            f"no sample domain is like {selection.domain!r} (nearest is {best.name} at {best.similarity:.2f}); "
            "all domains count alike"
        )
    for name in selection.left_out:
        render.say(f"{name} is left out: its label is missing or stale; `mllctl label {name}`")


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
    _say_limits(selection)
    ensemble = mllctl.Ensemble.from_selection(selection, weighing, template, single=single)
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
