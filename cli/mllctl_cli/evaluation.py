"""`evaluate`: how good are the methods of choosing?"""

from typing import Annotated, Any

import typer

import mllctl
from mllctl.evaluate import METHODS, Evaluation
from mllctl.hub import cache_folder
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path, index_encoder

# Fifteen columns fit a terminal of 112; a narrower one gets lines instead.
SHORT = {
    "best on average": "average",
    "best on the hub": "hub",
    "paper, k = 3": "p3",
    "ModelGPT": "GPT",
    "MLL, names": "names",
    "MLL, domain": "domain",
    "MLL, 2 models": "2",
    "MLL, k = 1": "k=1",
    "MLL, k = 3": "k=3",
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

    The tasks have images whose truth is known. The first run shows each model every one of them, and reads it texts
    that stand in for them (some ten minutes); later runs only select.

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
    count, reported = len(evaluation.results), evaluation.reported
    rows = [
        (
            method,
            render.percent(mean),
            _between(evaluation, method),
            *((render.percent(reported.mean_top1()[method]), _of_oracle(reported, method)) if count > 1 else ("", "")),
        )
        for method, mean in evaluation.mean_top1().items()
    ]
    # Of every second task nothing was learned when the defaults were tuned.
    columns = (f"method, top-1 % over {count} tasks", "mean", "90 %", "mean of every 2nd", "% of the oracle")
    render.print_table(columns, rows, columns[1:])
    render.print_line()
    wins = sorted(evaluation.wins().items(), key=lambda item: -item[1])
    best_at = [(model, f"{won:.1f}", render.percent(won / count)) for model, won in wins]
    render.print_table(("best at", "tasks", "%"), best_at, ("tasks", "%"))


def _between(evaluation: Evaluation, method: str) -> str:
    low, high = evaluation.interval(method)
    return f"{render.percent(low)} to {render.percent(high)}"


def _of_oracle(evaluation: Evaluation, method: str) -> str:
    mean = evaluation.mean_top1()
    low, high = evaluation.interval(method, "oracle")
    return f"{100 * mean[method] / mean['oracle']:.0f} ({100 * low:.0f} to {100 * high:.0f})"


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
        "intervals": {method: list(evaluation.interval(method)) for method in METHODS},
        "of_oracle": {method: list(evaluation.interval(method, "oracle")) for method in METHODS},
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
                "verdict": result.pick.advice,
                "runner_up": result.pick.runner_up,
                "beats_runner_up": result.pick.beats_runner_up,
                "beats_best_overall": result.pick.beats_overall,
            }
            for result in evaluation.results
        ],
    }
