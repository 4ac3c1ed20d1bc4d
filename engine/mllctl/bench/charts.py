"""Charts of a report as SVG, by matplotlib, which is imported when one is drawn."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mllctl.kernels.arrays import Float

# The same numbers give the same bytes; letters stay letters, so that a page can be searched.
# Names are the users' own: a dollar in one of them is no formula.
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "mllctl",
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "sans-serif",
    "text.parse_math": False,
}
COLOURS = ("#1b6ca8", "#c8553d", "#588b3c", "#7d5ba6", "#d39c2f", "#3a9d9d", "#9b3d6e", "#6b6b6b", "#a0522d", "#2f4f8f")
WHEEL, LETTER, SMALL_LETTER = 3.6, 0.075, 0.06  # inches
DASHES = ("-", "--", ":")


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: in the legend.
        values: nan where there is none, shape (n,).
        low, high: a band round it, shape (n,); None for none.
    """

    name: str
    values: Float
    low: Float | None = None
    high: Float | None = None


def spider_svg(title: str, axes: Sequence[str], lines: Sequence[Line]) -> str:
    """Draw a spider chart: an axis each from 0 in the middle to the greatest value at the rim.

    Args:
        title: above it.
        axes: names, at least three.
        lines: one closed line each, with a value an axis in [0, 1]; nan is drawn as 0.
    """
    with _styled():
        return _spider(title, axes, lines)


def _spider(title: str, axes: Sequence[str], lines: Sequence[Line]) -> str:
    # Inches: names stand left and right of the wheel, then the legend.
    beside = 0.25 + LETTER * max(map(len, axes))
    legend = 0.7 + SMALL_LETTER * max(len(line.name) for line in lines)
    width, height = 2 * beside + WHEEL + legend, WHEEL + 1.6
    figure, plot = _figure((width, height), polar=True)
    angles = np.linspace(0, 2 * np.pi, len(axes), endpoint=False)
    for n, line in enumerate(lines):
        values = np.nan_to_num(line.values)
        plot.plot(
            [*angles, angles[0]],
            [*values, values[0]],
            lw=1.2,
            label=line.name,
            color=_colour(n),
            ls=_dash(n),
            alpha=0.9,
        )
    plot.set_theta_offset(np.pi / 2)
    plot.set_theta_direction(-1)
    plot.set_xticks(angles, axes)
    for label, angle in zip(plot.get_xticklabels(), angles, strict=True):
        label.set_horizontalalignment(("center", "left", "right")[int(np.sign(round(np.sin(angle), 6)))])
    plot.tick_params(axis="x", pad=6)
    plot.set_ylim(0, max(0.1, float(np.max([np.nan_to_num(line.values).max() for line in lines]))))
    plot.set_rlabel_position(180 / len(axes))
    plot.tick_params(axis="y", labelsize=7, colors="#777")
    plot.set_title(title, fontsize=10, pad=24)
    figure.legend(loc="center right", fontsize=7, frameon=False)
    edge = (beside / width, (beside + WHEEL) / width)
    figure.subplots_adjust(left=edge[0], right=edge[1], top=1 - 1 / height, bottom=0.6 / height)
    return _svg(figure)


def line_svg(title: str, across: str, up: str, x: Sequence[float], lines: Sequence[Line]) -> str:
    """Draw lines over common places.

    Args:
        title: above it.
        across, up: names of the axes.
        x: places, ascending.
        lines: with a value a place.
    """
    with _styled():
        return _lines(title, across, up, x, lines)


def _lines(title: str, across: str, up: str, x: Sequence[float], lines: Sequence[Line]) -> str:
    figure, plot = _figure((7.6, 4.2))
    for n, line in enumerate(lines):
        plot.plot(x, line.values, marker=".", lw=1.5, label=line.name, color=_colour(n), ls=_dash(n))
        if line.low is not None and line.high is not None:
            plot.fill_between(x, line.low, line.high, color=_colour(n), alpha=0.12, lw=0)
    plot.set_xlabel(across)
    plot.set_ylabel(up)
    plot.set_title(title, fontsize=10)
    plot.grid(color="#ddd", lw=0.6)
    plot.spines[["top", "right"]].set_visible(False)
    if len(x) <= 20:
        plot.set_xticks(list(x))
    figure.legend(loc="center right", fontsize=8, frameon=False)
    figure.subplots_adjust(left=0.09, right=0.76, top=0.9, bottom=0.13)
    return _svg(figure)


def _figure(size: tuple[float, float], polar: bool = False) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    return figure, figure.add_subplot(projection="polar" if polar else None)


def _styled() -> AbstractContextManager[None]:
    """Draw in our style: texts take theirs when they are made, the file when it is written."""
    import matplotlib as mpl

    return mpl.rc_context(STYLE)


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawn = out.getvalue()
    return drawn[drawn.index("<svg") :]


def _colour(n: int) -> str:
    return COLOURS[n % len(COLOURS)]


def _dash(n: int) -> str:
    return DASHES[n // len(COLOURS) % len(DASHES)]
