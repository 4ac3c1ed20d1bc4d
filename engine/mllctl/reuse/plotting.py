"""Draw how far confidence can be believed: SVG written by hand, so that no plotting library is needed.

Above, the share that was right by confidence, with the diagonal on which both are the same; below it, how many images
that speaks of. What is drawn is `Measures.reliability`; nothing is written, the text goes into a file or a report.
"""

from collections.abc import Iterator

from mllctl.limits import show_amount
from mllctl.reuse.measuring import Measures, ReliabilityBin

WIDTH, HEIGHT = 512, 608  # of all, in pixels
LEFT, RIGHT, TOP, BOTTOM = 64, 484, 64, 484  # edges of accuracy by confidence: a square
FLOOR = 552  # on which the counts stand
TALLEST = 40  # height of the greatest count
STEPS = 5  # of the axes, from 0 to 1
STYLE = (
    "text{font:12px sans-serif;fill:#333}.count{font-size:10px}line{stroke:#ddd}.even{stroke:#666;stroke-dasharray:5 4}"
    ".right{fill:#9cc3e0}.images{fill:#bbb}.sure{fill:none;stroke:#b3263e;stroke-width:2}"
)


def reliability_svg(measures: Measures) -> str:
    """Draw the share of right answers and the mean confidence, by confidence, with how many images there are."""
    told = f"{_images(measures.images)}, calibration error {100 * measures.calibration_error:.1f} %"
    shown = [one for one in measures.reliability if one.images]
    most = max((one.images for one in shown), default=1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">',
        f"<title>Accuracy by confidence: {told}</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *_legend(told),
        *_frame(),
        *(line for one in shown for line in _bar(one, most)),
        f'<line class="even" x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{TOP}"/>',
        "</svg>",
    ]
    return "\n".join(lines)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _across(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _up(share: float) -> float:
    return round(BOTTOM - share * (BOTTOM - TOP), 1)


def _legend(told: str) -> Iterator[str]:
    second = LEFT + 164
    yield f'<text x="{LEFT}" y="20">{told}</text>'
    yield f'<rect class="right" x="{LEFT}" y="35" width="12" height="10"/>'
    yield f'<text x="{LEFT + 18}" y="44">share that was right</text>'
    yield f'<path class="sure" d="M {second} 40 H {second + 12}"/>'
    yield f'<text x="{second + 18}" y="44">mean confidence</text>'


def _frame() -> Iterator[str]:
    for share in (n / STEPS for n in range(STEPS + 1)):
        x, y = _across(share), _up(share)
        yield f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{BOTTOM}"/>'
        yield f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{x}" y="{FLOOR + 18}" text-anchor="middle">{share:g}</text>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{share:g}</text>'
    yield f'<line x1="{LEFT}" x2="{RIGHT}" y1="{FLOOR}" y2="{FLOOR}"/>'
    yield f'<text x="{LEFT - 8}" y="{FLOOR}" text-anchor="end">images</text>'
    yield f'<text x="{RIGHT}" y="{FLOOR + 40}" text-anchor="end">confidence</text>'


def _bar(one: ReliabilityBin, most: int) -> Iterator[str]:
    """Draw a bin that has images: how many were right, how far the mean confidence is off that, and how many it has."""
    assert one.accuracy is not None and one.confidence is not None
    left, right = _across(one.low) + 1, _across(one.high) - 1
    middle = round((left + right) / 2, 1)
    hit, sure, top = _up(one.accuracy), _up(one.confidence), round(FLOOR - TALLEST * one.images / most, 1)
    range_ = f"{one.low:.3g} to {one.high:.3g}"
    told = f"{_images(one.images)}, {one.accuracy:.3g} right, mean confidence {one.confidence:.3g}"
    # Two digits: three do not fit above a bin of fifteen.
    count = show_amount(float(f"{one.images:.2g}"), "parameters") if one.images >= 1000 else f"{one.images}"
    yield f"<g><title>{range_}: {told}</title>"
    for kind, high, low in (("right", hit, BOTTOM), ("images", top, FLOOR)):
        size = f'width="{right - left:.1f}" height="{low - high:.1f}"'
        yield f'<rect class="{kind}" x="{left:.1f}" y="{high}" {size}/>'
    yield f'<path class="sure" d="M {left:.1f} {sure} H {right:.1f} M {middle} {sure} V {hit}"/>'
    yield f'<text class="count" x="{middle}" y="{top - 4:.1f}" text-anchor="middle">{count}</text></g>'
