"""What a selection may cost: the limits of `select`, and its quality against cost as a table and a plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from mllctl.backends.facts import ModelFacts, expert_facts, model_facts
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.hub import Hub, cache_folder
from mllctl.kernels.subset import pareto_front
from mllctl.limits import Kind, Limits, Quantity, admit, parse_amount, show_amount
from mllctl.pareto import ParetoPoint, pareto_svg
from mllctl.select import Selection
from mllctl_cli import render

MaxParamsOption = Annotated[
    str | None, typer.Option("--max-params", metavar="N", help="Parameters, such as 150M.", show_default=False)
]
MaxGflopsOption = Annotated[
    str | None, typer.Option("--max-gflops", metavar="N", help="GFLOPs of an image and a text.", show_default=False)
]
MaxSizeOption = Annotated[
    str | None, typer.Option("--max-size", metavar="N", help="Weights, such as 600MB.", show_default=False)
]
MaxLatencyOption = Annotated[
    str | None,
    typer.Option(
        "--max-latency", metavar="N", help="An image, such as 50ms, by `mllctl model time`.", show_default=False
    ),
]
LicenseOption = Annotated[
    list[str] | None,
    typer.Option("--license", metavar="NAME", help="An allowed licence, such as MIT; may be given again."),
]
UnknownLicenseOption = Annotated[
    bool, typer.Option("--allow-unknown-license", help="Let models of unknown licence pass --license.")
]
CachedOption = Annotated[bool, typer.Option("--cached-only", help="Only models that need no download.")]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--models", metavar="PATTERN", help="Only models named so, such as 'ViT-*'; may be given again."),
]
CostOption = Annotated[
    str | None,
    typer.Option(
        "--cost",
        metavar="WHAT",
        help="Show quality against params, gflops, size or latency.",
        show_default=False,
    ),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw that into an SVG file.", show_default=False)
]
# What --cost takes -> (field of ModelFacts, how it is written, what it is called).
COSTS: dict[str, tuple[str, Quantity, str]] = {
    "params": ("parameters", "parameters", "parameters"),
    "gflops": ("gflops", "gflops", "GFLOPs"),
    "size": ("size_bytes", "bytes", "size of the weights"),
    "latency": ("latency_ms", "ms", "time of an image"),
}


def read_limits(amounts: Mapping[Quantity, str | None], licenses: list[str] | None, **others: Any) -> Limits:
    """Return limits from what was typed."""
    read = {quantity: parse_amount(text, quantity) if text else None for quantity, text in amounts.items()}
    return Limits(
        max_params=read["parameters"],
        max_gflops=read["gflops"],
        max_size=read["bytes"],
        max_latency=read["ms"],
        licenses=tuple(licenses or ()),
        **others,
    )


def barred_models(hub: Hub, limits: Limits) -> dict[str, str]:
    """Return the models of a hub that are not within the limits -> why not."""
    if limits == Limits():
        return {}
    return _barred({m.card.name: model_facts(m.card, cache_folder()) for m in hub.models() if m.labelled}, limits)


def barred_experts(hub: Hub, limits: Limits) -> dict[str, str]:
    """Return the experts of a hub that are not within the limits -> why not."""
    if limits == Limits():
        return {}
    return _barred({e.card.name: expert_facts(e.card) for e in hub.experts() if e.labelled}, limits, "expert")


def _barred(facts: Mapping[str, ModelFacts], limits: Limits, kind: Kind = "model") -> dict[str, str]:
    return {refused.model: refused.reason for refused in admit(list(facts), facts, limits, kind)[1]} if facts else {}


def find_cost(name: str | None, plot: Path | None) -> str | None:
    """Return what --cost names, `params` where only a plot was asked for."""
    if name is None:
        return "params" if plot else None
    if name not in COSTS:
        raise InvalidTask(f"--cost must be one of {', '.join(COSTS)}, got {name!r}")
    return name


def quality_by_cost(selection: Selection, cost: str) -> list[ParetoPoint]:
    """Return the mean precision of each candidate whose cost is known, cheapest first."""
    facts = [model_facts(model.card, cache_folder()) for model in selection.models]
    known = [m for m, fact in enumerate(facts) if _cost(fact, cost) is not None]
    if not known:
        raise InvalidTask(f"no candidate's {COSTS[cost][2]} is known; choose another --cost")
    costs = np.array([_cost(facts[m], cost) for m in known], dtype=np.float64)
    share = selection.share[known][:, selection.covered]
    quality = share.mean(axis=1) if share.size else np.zeros(len(known))
    front = set(pareto_front(quality, costs).tolist())
    order = np.lexsort((-quality, costs)).tolist()
    return [ParetoPoint(selection.names[known[n]], float(costs[n]), float(quality[n]), n in front) for n in order]


def print_quality_by_cost(points: list[ParetoPoint], cost: str) -> None:
    """Print the models by cost; those that no other beats in both are marked."""
    _, quantity, name = COSTS[cost]
    rows = [
        (
            point.name,
            show_amount(point.cost, quantity),
            render.percent(point.quality),
            "yes" if point.on_front else "",
        )
        for point in points
    ]
    columns = ("model", name, "mean precision %", "best for its cost")
    render.print_line()
    render.print_table(columns, rows, (name, "mean precision %"))


def write_plot(points: list[ParetoPoint], cost: str, path: Path) -> None:
    """Write the plot to a new file."""
    _, quantity, name = COSTS[cost]
    drawing = pareto_svg(points, name, "mean precision", lambda amount: show_amount(amount, quantity))
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(drawing)
    except FileExistsError as error:
        raise SourceUnreadable(path, "is there already; name a new file") from error
    render.say(f"wrote {path}")


def _cost(facts: ModelFacts, cost: str) -> float | None:
    value = getattr(facts, COSTS[cost][0])
    return None if value is None else float(value)
