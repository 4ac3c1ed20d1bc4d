"""`select`, `predict` and `evaluate`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import mllctl
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.evaluate import METHODS, Evaluation
from mllctl.hub import cache_folder
from mllctl.images import ENDINGS, open_image
from mllctl.select import Selection
from mllctl_cli import render
from mllctl_cli.classes import ClassesOption, ClassOption, read_classes
from mllctl_cli.options import HubOption, JsonOption, hub_path, index_encoder

DomainOption = Annotated[
    str | None, typer.Option("--domain", help="What your images look like, in words, such as 'satellite'.")
]
TaskOption = Annotated[str | None, typer.Option("--task", help="Kind of task, in words; recorded.")]
KOption = Annotated[int, typer.Option("-k", help="Models per class.")]
AlphaOption = Annotated[float, typer.Option("--alpha", help="Weight of the class itself against the task's mean.")]
NodesOption = Annotated[int, typer.Option("--nodes", help="Nodes a class is matched to.")]
PREDICT_BATCH = 64


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(select)
    app.command()(predict)
    app.command()(evaluate)


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
    """Select models for a task from its class names: no images, no labels, no weights.

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
    share = selection.share
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
            {"model": name, "precision": float(share[m].mean()), "reuse": float(selection.reuse[m].mean())}
            for m, name in enumerate(selection.names)
        ],
        "left_out": list(selection.left_out),
        "domain_matched": selection.domain_matched,
        "domains": [{"name": d.name, "similarity": d.similarity, "weight": d.weight} for d in selection.domains],
        "classes": [
            {
                "class": name,
                "covered": bool(selection.covered[c]),
                "similarity": float(selection.similarity[c]),
                "members": [
                    {
                        "model": selection.names[m],
                        "precision": float(share[m, c]),
                        "reuse": float(selection.reuse[m, c]),
                    }
                    for m in selection.members[c]
                ],
                "nodes": [
                    {"node": node.synset, "similarity": similarity, "images": node.images}
                    for node, similarity in selection.nodes_of(c)
                ],
            }
            for c, name in enumerate(selection.classes)
        ],
    }


def _print_selection(selection: Selection) -> None:
    share = selection.share
    rows = []
    for c, name in enumerate(selection.classes):
        near = selection.nodes_of(c)
        members = selection.members[c]
        if selection.covered[c]:
            shown = "\n".join(selection.names[m] for m in members)
            precision = "\n".join(render.percent(share[m, c]) for m in members)
            nodes = ", ".join(f"{node.name} {similarity:.2f}" for node, similarity in near[:3])
        else:
            shown, precision, nodes = "no evidence", "", f"nearest is only {selection.similarity[c]:.2f} like it"
        rows.append((name, shown, precision, nodes))
    render.print_table(("class", "model", "precision", "evidence from"), rows, ("precision",))
    render.print_line("")
    overall = share.mean(axis=1)
    covered = int(selection.covered.sum())
    single, best = selection.single, selection.overall
    if covered == 0:
        render.print_line(f"No class has evidence. Best over the whole hub: {selection.names[best]}")
        return
    render.print_line(
        f"One model for the whole task: {selection.names[single]}  ({render.percent(overall[single])} expected)"
    )
    if best != single:
        render.print_line(
            f"Best over the whole hub:      {selection.names[best]}  ({render.percent(overall[best])} expected)"
        )
    if selection.domain:
        heavy = sorted(selection.domains, key=lambda d: -d.weight)[:3]
        told = ", ".join(f"{d.name} {d.weight:.2f}" for d in heavy)
        render.print_line(
            f"Evidence is weighed by domain: {told}"
            if selection.domain_matched
            else "Evidence of all domains counts alike"
        )


def _say_limits(selection: Selection) -> None:
    """Say on stderr what the answer does not rest on."""
    bare = [name for name, covered in zip(selection.classes, selection.covered, strict=True) if not covered]
    if bare:
        listed = ", ".join(bare[:5]) + (f" and {len(bare) - 5} more" if len(bare) > 5 else "")
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
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    classes: ClassesOption = None,
    class_: ClassOption = None,
    domain: DomainOption = None,
    k: KOption = 1,
    weighting: Annotated[str, typer.Option(help="entropy (the paper's), confidence or uniform.")] = "entropy",
    single: Annotated[
        bool, typer.Option("--single", help="Use the one best model of the task for all classes.")
    ] = False,
    template: Annotated[str, typer.Option(help="Prompt, with {} where the class goes.")] = "a photo of {}",
    alpha: AlphaOption = 0.7,
    nodes: NodesOption = 5,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Select models for the classes, and let them classify images together.

    Example: mllctl predict photos/ --class cat --class dog -k 3 --weighting uniform
    """
    from mllctl.kernels.ensemble import WEIGHTINGS

    if weighting not in WEIGHTINGS:
        raise InvalidTask(f"weighting must be one of {', '.join(WEIGHTINGS)}, got {weighting!r}")
    names = read_classes(classes, class_)
    paths = list(_image_paths(images))
    with mllctl.Hub.open(hub_path(hub)) as opened:
        selection = mllctl.select_models(opened, names, domain, None, k, alpha, nodes, encoder=index_encoder(opened))
    _say_limits(selection)
    ensemble = mllctl.Ensemble.from_selection(selection, weighting, template, single=single)
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


def _image_paths(given: list[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        elif path.exists():
            yield path
        else:
            raise SourceUnreadable(path, "no such file or folder")


def _predict(ensemble: mllctl.Ensemble, paths: list[Path]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    answers: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for start in range(0, len(paths), PREDICT_BATCH):
        read, pictures = [], []
        for path in paths[start : start + PREDICT_BATCH]:
            try:
                pictures.append(open_image(str(path)))
            except SourceUnreadable as error:
                skipped.append({"path": str(path), "reason": error.reason})
            else:
                read.append(path)
        prediction = ensemble.predict(pictures)
        for path, confidence, winner in zip(read, prediction.confidence, prediction.winner, strict=True):
            answer = {"path": str(path), "class": ensemble.classes[winner], "confidence": float(confidence[winner])}
            answers.append(answer)
    return answers, skipped


def evaluate(
    tasks: Annotated[bool, typer.Option("--tasks", help="Show every task, not only the means.")] = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Run every model and every method of choosing on the demo tasks, whose truth is known.

    The first run shows each model every task image (a few minutes); later ones only select.

    Example: mllctl evaluate --tasks
    """
    from mllctl.demo import demo_tasks

    given = demo_tasks()
    with mllctl.Hub.open(hub_path(hub)) as opened, render.progress() as progress:
        evaluation = mllctl.evaluate_hub(opened, given, index_encoder(opened), cache_folder(), progress=progress)
    if json:
        render.print_json(_evaluation_json(evaluation))
        return
    if tasks:
        _print_tasks(evaluation)
    means = evaluation.mean_top1()
    rows = [(method, render.percent(means[method])) for method in METHODS]
    render.print_table((f"method, over {len(given)} tasks", "mean top-1"), rows, ("mean top-1",))
    render.print_line("")
    wins = sorted(evaluation.wins().items(), key=lambda item: -item[1])
    best_at = [(model, f"{count:.1f}", render.percent(count / len(given))) for model, count in wins]
    render.print_table(("best at", "tasks", "%"), best_at, ("tasks", "%"))


def _print_tasks(evaluation: Evaluation) -> None:
    columns = ("task", "classes", "images", *METHODS, "oracle's model")
    rows = [
        (
            result.task.name,
            len(result.task.classes),
            len(result.task.truth),
            *(render.percent(result.top1[method]) for method in METHODS),
            result.chosen["oracle"],
        )
        for result in evaluation.results
    ]
    render.print_table(columns, rows, ("classes", "images", *METHODS))
    render.print_line("")


def _evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "mean_top1": evaluation.mean_top1(),
        "wins": evaluation.wins(),
        "tasks": [
            {
                "task": result.task.name,
                "domain": result.task.domain,
                "classes": len(result.task.classes),
                "images": len(result.task.truth),
                "top1": result.top1,
                "chosen": result.chosen,
                "accuracy": dict(zip(evaluation.models, result.accuracy.tolist(), strict=True)),
            }
            for result in evaluation.results
        ],
    }
