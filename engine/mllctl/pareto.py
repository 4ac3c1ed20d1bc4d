"""Draw predicted quality against cost: SVG written by hand, so that no plotting library is needed.

Which models are on the front says `kernels.subset.pareto_front`; what quality and cost are is the caller's. Nothing is
written: the text goes into a report or a file.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 640, 400  # of the plot with its axes, in pixels
LEFT, RIGHT, TOP, BOTTOM = 64, 616, 24, 344  # edges of what lies between the axes
LINE = 18  # height of a line of the legend
LOGARITHMIC = 10  # dearest against cheapest, from which on steps of cost are factors
STYLE = (
    "text{font:12px sans-serif;fill:#333}line{stroke:#ddd}circle{fill:#bbb}"
    ".front{fill:#1b6ca8}.edge{fill:none;stroke:#1b6ca8}"
)


@dataclass(frozen=True)
class ParetoPoint:
    """One model, or one set of models, in the plot."""

    name: str
    cost: float
    quality: float
    on_front: bool


@dataclass(frozen=True)
class _Axis:
    """From values to pixels; of positive values by their logarithm where they differ much."""

    low: float
    high: float
    start: int
    end: int
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float], start: int, end: int, factors: bool = False) -> "_Axis":
        """Take an axis on which all values have a little air."""
        logarithmic = factors and min(values) > 0 and max(values) >= LOGARITHMIC * min(values)
        low, high = (log10(v) if logarithmic else v for v in (min(values), max(values)))
        air = 0.06 * (high - low) or abs(high) / 2 or 1
        return cls(low - air, high + air, start, end, logarithmic)

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        share = ((log10(value) if self.logarithmic else value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Return some round values between the ends."""
        if self.logarithmic:
            powers = range(floor(self.low), ceil(self.high))
            return [n * 10.0**p for p in powers for n in (1, 2, 5) if self.low <= log10(n) + p <= self.high]
        rough = (self.high - self.low) / 6
        step = next(n * 10.0 ** floor(log10(rough)) for n in (1, 2, 5, 10) if n * 10.0 ** floor(log10(rough)) >= rough)
        return [n * step for n in range(ceil(self.low / step), floor(self.high / step) + 1)]


def pareto_svg(
    points: Sequence[ParetoPoint], cost: str, quality: str, show_cost: Callable[[float], str] = "{:.4g}".format
) -> str:
    """Draw points, the front numbered and named below the plot, cheapest first.

    Args:
        points: at least one.
        cost, quality: titles of the axes.
        show_cost: writes a cost, such as `150M`.

    Raises:
        ValueError: if there is no point.
    """
    if not points:
        raise ValueError("points must not be empty")
    across = _Axis.over([point.cost for point in points], LEFT, RIGHT, factors=True)
    up = _Axis.over([point.quality for point in points], BOTTOM, TOP)
    front = sorted((point for point in points if point.on_front), key=lambda point: (point.cost, point.quality))
    height = HEIGHT + LINE * len(front)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
        f"<title>{escape(quality)} by {escape(cost)}</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *_frame(across, up, cost, quality, show_cost),
        *(_dot(point, across, up, show_cost) for point in points if not point.on_front),
        *_front(front, across, up, show_cost),
        "</svg>",
    ]
    return "\n".join(lines)


def _frame(across: _Axis, up: _Axis, cost: str, quality: str, show_cost: Callable[[float], str]) -> Iterator[str]:
    for value in across.ticks():
        x = across.place(value)
        yield f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{BOTTOM}"/>'
        yield f'<text x="{x}" y="{BOTTOM + 18}" text-anchor="middle">{escape(show_cost(value))}</text>'
    for value in up.ticks():
        y = up.place(value)
        yield f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:.4g}</text>'
    yield f'<text x="{RIGHT}" y="{BOTTOM + 40}" text-anchor="end">{escape(cost)}</text>'
    yield f'<text x="{LEFT}" y="{TOP - 8}">{escape(quality)}</text>'


def _front(front: Sequence[ParetoPoint], across: _Axis, up: _Axis, show_cost: Callable[[float], str]) -> Iterator[str]:
    """Draw the front as steps: what a budget can buy; then its points, and what they are called."""
    if front:
        first, *rest = ((across.place(point.cost), up.place(point.quality)) for point in front)
        steps = "".join(f" H {x} V {y}" for x, y in rest)
        yield f'<path class="edge" d="M {first[0]} {first[1]}{steps} H {RIGHT}"/>'
    for n, point in enumerate(front, 1):
        yield _dot(point, across, up, show_cost)
        x, y = across.place(point.cost), up.place(point.quality)
        yield f'<text x="{x - 5}" y="{y - 7}" text-anchor="end">{n}</text>'
        yield f'<text x="{LEFT}" y="{HEIGHT - 4 + LINE * n}">{n}  {_told(point, show_cost)}</text>'


def _dot(point: ParetoPoint, across: _Axis, up: _Axis, show_cost: Callable[[float], str]) -> str:
    kind = ' class="front"' if point.on_front else ""
    title = f"<title>{_told(point, show_cost)}</title>"
    return f'<circle{kind} cx="{across.place(point.cost)}" cy="{up.place(point.quality)}" r="4">{title}</circle>'


def _told(point: ParetoPoint, show_cost: Callable[[float], str]) -> str:
    return escape(f"{point.name}: {point.quality:.3g} for {show_cost(point.cost)}")
