"""`rank`: transferability scores of models, from features that were saved."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from mllctl.scoring import SCORES, Ranking, rank_models, read_task, read_truth
from mllctl_cli import render
from mllctl_cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(rank)


def rank(
    features: Annotated[
        Path,
        typer.Option("--features", metavar="DIR", help="MODEL.npz or MODEL.parquet a model; f_labels.npz for emms."),
    ],
    scores: Annotated[
        str, typer.Option("--scores", metavar="NAMES", help=f"With commas between: {', '.join(SCORES)}.")
    ] = "logme",
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", metavar="FILE", help="CSV of model,value: what each really reached.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Rank models for labelled images by their features.

    DIR holds what each model makes of the same images: arrays features (n, d), labels (n,) and, for leep and nce,
    outputs (n, s). Nothing is trained. Models are in the order of the first score. With the truth each score is told
    with its weighted Kendall tau: 1 if it orders models as they really are, 0 if it says nothing.

    Example: mllctl rank --features features/ --scores logme,emms,sfda
    """
    task = read_task(features)
    names = tuple(model.name for model in task.models)
    reached = read_truth(truth, names) if truth else None
    with render.progress() as progress:
        ranking = rank_models(task, [name.strip() for name in scores.split(",") if name.strip()], reached, progress)
    if json:
        render.print_json(_as_json(ranking))
        return
    columns = ("model", *ranking.scores, *(("truth",) if truth else ()))
    rows = [(ranking.models[m], *_row(ranking, m)) for m in ranking.best_first()]
    render.print_table(columns, rows, columns[1:], ("model",))
    render.print_line()
    total = ranking.seconds.sum(axis=0) + ranking.summing.sum()
    facts = {name: f"{total[s]:.2f} s{_told(ranking, s)}" for s, name in enumerate(ranking.scores)}
    render.print_facts(facts)
    if len(ranking.scores) > 1:
        render.print_line()
        table = [(name, *map(_short, ranking.agreement[s])) for s, name in enumerate(ranking.scores)]
        render.print_table(("agreement", *ranking.scores), table, ranking.scores, ("agreement",))


def _row(ranking: Ranking, m: int) -> list[str]:
    cells = ["" if np.isnan(value) else f"{value:.5g}" for value in ranking.values[m]]
    return cells if ranking.truth is None else [*cells, f"{ranking.truth[m]:.5g}"]


def _told(ranking: Ranking, s: int) -> str:
    if ranking.truth is None:
        return ""
    return "; tau undefined" if np.isnan(ranking.tau[s]) else f"; weighted tau {ranking.tau[s]:.3f}"


def _short(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _as_json(ranking: Ranking) -> dict[str, Any]:
    return {
        "models": [
            {
                "model": ranking.models[m],
                "summing_seconds": float(ranking.summing[m]),
                "truth": None if ranking.truth is None else float(ranking.truth[m]),
                "scores": [
                    {"score": name, "value": _number(ranking.values[m, s]), "seconds": float(ranking.seconds[m, s])}
                    for s, name in enumerate(ranking.scores)
                ],
            }
            for m in ranking.best_first()
        ],
        "scores": [
            {
                "score": name,
                "weighted_tau": _number(ranking.tau[s]),
                "agreement": [
                    {"score": other, "weighted_tau": _number(ranking.agreement[s, o])}
                    for o, other in enumerate(ranking.scores)
                ],
            }
            for s, name in enumerate(ranking.scores)
        ],
    }
