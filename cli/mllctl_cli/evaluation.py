"""`evaluate`: how good are the methods of choosing?"""

from typing import Annotated, Any

import typer

import mllctl
from mllctl.evaluate import METHODS, Evaluation
from mllctl.hub import cache_folder
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path, index_encoder

# Ten columns are to fit a terminal of 80.
SHORT = {
    "best on average": "average",
    "best on the hub": "hub",
    "MLL, names": "names",
    "MLL, domain": "domain",
    "MLL, k = 3": "k = 3",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(evaluate)


def evaluate(
    tasks: Annotated[bool, typer.Option("--tasks", help="Show every task, not only the means.")] = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Measure every method of choosing on the demo tasks.

    The tasks have images whose truth is known. The first run shows each model every one of them (a few minutes);
    later runs only select.

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
    _print_means(evaluation)


def _print_means(evaluation: Evaluation) -> None:
    count = len(evaluation.results)
    rows = [(method, render.percent(mean)) for method, mean in evaluation.mean_top1().items()]
    render.print_table((f"method, over {count} tasks", "mean top-1 %"), rows, ("mean top-1 %",))
    render.print_line()
    wins = sorted(evaluation.wins().items(), key=lambda item: -item[1])
    best_at = [(model, f"{won:.1f}", render.percent(won / count)) for model, won in wins]
    render.print_table(("best at", "tasks", "%"), best_at, ("tasks", "%"))


def _print_tasks(evaluation: Evaluation) -> None:
    rows = [
        (
            result.task.name,
            len(result.task.classes),
            len(result.task.truth),
            *(render.percent(result.top1[method]) for method in METHODS),
        )
        for result in evaluation.results
    ]
    numeric = ("c", "i", *(SHORT.get(method, method) for method in METHODS))
    render.print_line("top-1 % on each task, of c classes and i images")
    render.print_table(("task", *numeric), rows, numeric)
    render.print_line()


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
