import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mllctl.kernels.subset import pareto_front
from mllctl.limits import show_amount
from mllctl.pareto import BOTTOM, LEFT, RIGHT, TOP, ParetoPoint, pareto_svg

SVG = "{http://www.w3.org/2000/svg}"


def points(*pairs):
    """Points of (cost, quality), those on the front marked."""
    cost, quality = (np.array([pair[n] for pair in pairs], dtype=np.float64) for n in (0, 1))
    front = pareto_front(quality, cost)
    return [ParetoPoint(f"model/{n}", *pair, n in front) for n, pair in enumerate(pairs)]


def drawn(*pairs, **options):
    return ElementTree.fromstring(pareto_svg(points(*pairs), "parameters", "precision", **options))


def circles(root):
    """(x, y, whether on the front) of each point, by its name."""
    found = {}
    for circle in root.iter(f"{SVG}circle"):
        name = circle.find(f"{SVG}title").text.partition(":")[0]
        found[name] = (float(circle.get("cx")), float(circle.get("cy")), circle.get("class") == "front")
    return found


PAIRS = ((151e6, 0.63), (102e6, 0.60), (428e6, 0.76), (4705e6, 0.75), (151e6, 0.70))


def test_every_point_is_drawn_once_between_the_axes_with_the_front_marked():
    found = circles(drawn(*PAIRS))
    assert {name for name, (_, _, front) in found.items() if front} == {"model/1", "model/2", "model/4"}
    assert len(found) == len(PAIRS)
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y, _ in found.values())


def test_dearer_is_further_right_and_better_is_higher():
    found = circles(drawn(*PAIRS))
    at = [found[f"model/{n}"] for n in range(len(PAIRS))]
    assert [x for _, x in sorted((cost, at[n][0]) for n, (cost, _) in enumerate(PAIRS))] == sorted(x for x, _, _ in at)
    assert [y for _, y in sorted((-q, at[n][1]) for n, (_, q) in enumerate(PAIRS))] == sorted(y for _, y, _ in at)


def test_the_front_is_named_below_cheapest_first():
    texts = [text.text for text in drawn(*PAIRS, show_cost=lambda c: show_amount(c, "parameters")).iter(f"{SVG}text")]
    assert [text for text in texts if "model/" in text] == [
        "1  model/1: 0.6 for 102M",
        "2  model/4: 0.7 for 151M",
        "3  model/2: 0.76 for 428M",
    ]


@pytest.mark.parametrize(
    "pairs", [((5, 0.5),), ((5, 0.5), (5, 0.5)), ((0, 0), (3, 1)), ((1, 1), (1, 0)), ((0, 0),), ((-1, -1), (1, 1))]
)
def test_points_that_do_not_differ_can_be_drawn(pairs):
    found = circles(drawn(*pairs))
    assert len(found) == len(pairs)
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y, _ in found.values())


def test_costs_that_differ_much_are_drawn_by_factors():
    found = circles(drawn((1, 0.1), (10, 0.2), (100, 0.3)))
    first, second, third = (found[f"model/{n}"][0] for n in range(3))
    assert second - first == pytest.approx(third - second, abs=0.2)


def test_names_may_hold_anything():
    root = ElementTree.fromstring(pareto_svg([ParetoPoint("a<b>&\"c'", 1, 1, True)], "cost & <more>", "quality"))
    assert any("a<b>&\"c'" in text.text for text in root.iter(f"{SVG}text"))


def test_no_point_makes_no_plot():
    with pytest.raises(ValueError, match="must not be empty"):
        pareto_svg([], "cost", "quality")
