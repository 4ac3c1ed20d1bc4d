"""`rank`: transferability scores of models, from features that were saved or from images."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer

from mllctl.backends.packaged_encoders import PACKAGED_ENCODERS
from mllctl.errors import InvalidTask
from mllctl.hub import Hub, cache_folder
from mllctl.images import Skipped
from mllctl.scoring import (
    OF_F_LABELS,
    SCORES,
    FeatureTask,
    Ranking,
    check_scores,
    rank_models,
    read_task,
    read_truth,
    with_f_labels,
)
from mllctl_cli import render
from mllctl_cli.budget import ModelsOption
from mllctl_cli.options import (
    DEFAULT_ENCODER,
    DeviceOption,
    HubOption,
    JsonOption,
    hub_path,
    index_encoder,
    open_encoder,
)

PACKAGED = (DEFAULT_ENCODER, *PACKAGED_ENCODERS)


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(rank)


def rank(
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            metavar="DIR",
            help="MODEL.npz or MODEL.parquet a model; f_labels.npz if you have F-labels.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Or DIR/CLASS/*.jpg, for models of a hub.", show_default=False),
    ] = None,
    scores: Annotated[
        str, typer.Option("--scores", metavar="NAMES", help=f"With commas between: {', '.join(SCORES)}.")
    ] = "logme",
    encoders: Annotated[
        str | None,
        typer.Option(
            "--encoders",
            metavar="NAMES",
            help=f"Sentence encoders of F-labels, with commas between, or all: {', '.join(PACKAGED)}.",
            show_default=False,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", metavar="FILE", help="CSV of model,value: what each really reached.", show_default=False
        ),
    ] = None,
    models: ModelsOption = None,
    device: DeviceOption = "auto",
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Rank models for labelled images by their features.

    --features holds what each model makes of the same images: arrays features (n, d), for leep and nce outputs (n, s),
    and what is to be told: labels (n,), texts (n,) such as captions or answers, boxes (n, 4) with labels or texts, or
    numbers, targets (n, t). With --images the models of the hub are shown them, once: their embeddings are the
    features. emms and logme_f read F-labels, which --encoders make of labels, texts and boxes; logme_regression reads
    targets or boxes, every other score labels. Nothing is trained. Models are in the order of the first score. With
    the truth each score is told with its weighted Kendall tau: 1 if it orders models as they really are, 0 if it says
    nothing. Images that cannot be read are reported and skipped, and models that lack what a score needs stand last
    (exit code 3).

    Example: mllctl rank --images photos/ --scores logme,emms --encoders all
    """
    if (features is None) == (images is None):
        raise InvalidTask("give --features DIR, or --images DIR")
    if features and (models or hub):
        raise InvalidTask("--models and --hub are for --images; --features holds what it ranks")
    wanted = [name.strip() for name in scores.split(",") if name.strip()]
    check_scores(wanted)
    if encoders is not None and not set(wanted) & set(OF_F_LABELS):
        raise InvalidTask(f"--encoders are for {' and '.join(OF_F_LABELS)}; name one of them in --scores")
    skipped: tuple[Skipped, ...] = ()
    if features:
        task = read_task(features)
        if encoders is not None:
            task = with_f_labels(task, _encoders(encoders))
    else:
        task, skipped = _shown(cast("Path", images), wanted, encoders, models, device, hub)
    names = tuple(model.name for model in task.models)
    reached = read_truth(truth, names) if truth else None
    with render.progress() as progress:
        ranking = rank_models(task, wanted, reached, progress)
    _print(ranking, task.foundation, json)
    for note in ranking.notes:
        render.say(note)
    for one in skipped:
        render.say(f"skipped {one.path}: {one.reason}")
    if skipped or any(ranking.without):
        raise typer.Exit(3)


def _shown(
    folder: Path, scores: Sequence[str], encoders: str | None, patterns: list[str] | None, device: str, hub: Path | None
) -> tuple[FeatureTask, tuple[Skipped, ...]]:
    """Show the models of a hub the images."""
    from mllctl.reuse.features import image_features
    from mllctl.reuse.showing import Showing

    for name in ("leep", "nce", "logme_regression"):
        if name in scores:
            raise InvalidTask(
                f"{name} needs outputs or targets, which images have not; leave it out, or give --features"
            )
    passed: list[str] = []
    with Hub.open(hub_path(hub)) as opened, render.progress() as progress:
        known = [model.card.name for model in opened.models()]
        names = [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns or ["*"])]
        if patterns and not names:
            raise InvalidTask(
                f"no model of the hub is named like {' or '.join(patterns)}; `mllctl model list` shows all"
            )
        made = _encoders(encoders) if encoders is not None else []
        if encoders is None and set(scores) & set(OF_F_LABELS):
            made = [index_encoder(opened)]
        how = Showing(device, cache=cache_folder(), say=render.say, progress=progress)
        found = image_features(opened, folder, names if patterns else None, made, how, passed.append)
    if passed:
        render.say(f"{len(passed)} files without an image's ending were passed over, such as {passed[0]}")
    return found


def _encoders(names: str) -> list[Any]:
    """Open the encoders that are named; what they encode is kept in the cache."""
    from mllctl.backends.remembering import RememberingEncoder

    wanted = PACKAGED if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise InvalidTask(f"name an encoder; there are {', '.join(PACKAGED)}")
    return [RememberingEncoder(open_encoder(name), cache_folder()) for name in wanted]


def _print(ranking: Ranking, foundation: Sequence[str], json: bool) -> None:
    if json:
        render.print_json(_as_json(ranking, foundation))
        return
    columns = ("model", *ranking.scores, *(() if ranking.truth is None else ("truth",)))
    rows = [(ranking.models[m], *_row(ranking, m)) for m in ranking.best_first()]
    render.print_table(columns, rows, columns[1:], ("model",))
    render.print_line()
    total = ranking.seconds.sum(axis=0) + ranking.summing.sum()
    tau = () if ranking.truth is None else ("weighted tau",)
    facts = [
        (name, f"{total[s]:.2f}", *((_short(ranking.tau[s]) or "undefined",) if tau else ()))
        for s, name in enumerate(ranking.scores)
    ]
    render.print_table(("score", "seconds", *tau), facts, ("seconds", *tau), ("score",))
    if len(ranking.scores) > 1:
        render.print_line()
        table = [(name, *map(_short, ranking.agreement[s])) for s, name in enumerate(ranking.scores)]
        render.print_table(("agreement", *ranking.scores), table, ranking.scores, ("agreement",))
    if ranking.weights is not None and len(foundation) > 1:
        render.print_line()
        shares = [(ranking.models[m], *map(_short, ranking.weights[m])) for m in ranking.best_first()]
        render.print_table(("weights of emms", *foundation), shares, foundation, ("weights of emms",))


def _row(ranking: Ranking, m: int) -> list[str]:
    cells = ["" if np.isnan(value) else f"{value:.5g}" for value in ranking.values[m]]
    return cells if ranking.truth is None else [*cells, f"{ranking.truth[m]:.5g}"]


def _short(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _weights(ranking: Ranking, m: int, foundation: Sequence[str]) -> dict[str, float] | None:
    if ranking.weights is None or np.isnan(ranking.weights[m]).any():
        return None
    return dict(zip(foundation, ranking.weights[m].tolist(), strict=True))


def _as_json(ranking: Ranking, foundation: Sequence[str]) -> dict[str, Any]:
    return {
        "notes": list(ranking.notes),
        "models": [
            {
                "model": ranking.models[m],
                "summing_seconds": float(ranking.summing[m]),
                "truth": None if ranking.truth is None else float(ranking.truth[m]),
                "emms_weights": _weights(ranking, m, foundation),
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
