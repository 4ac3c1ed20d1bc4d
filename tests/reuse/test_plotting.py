import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mllctl.reuse.measuring import Tally
from mllctl.reuse.plotting import BOTTOM, HEIGHT, LEFT, RIGHT, TALLEST, TOP, WIDTH, reliability_svg

SVG = "{http://www.w3.org/2000/svg}"


def measured(*answers):
    """Measures of answers (confidence in the first class, whether that is the truth), each above that in the other."""
    tally = Tally("ab", ["m"], np.array([[0], [0]]), "uniform")
    confidence = np.array([[sure, sure / 2] for sure, _ in answers])
    tally.add(confidence[None], confidence, np.array([0 if right else 1 for _, right in answers]))
    return tally.measures()


def drawn(*answers):
    return ElementTree.fromstring(reliability_svg(measured(*answers)))


def bars(root):
    """(left, right, share that was right, mean confidence, height of the count, count as text) of each bin."""
    found = []
    for group in root.iter(f"{SVG}g"):
        right, images = group.findall(f"{SVG}rect")
        x, width = float(right.get("x")), float(right.get("width"))
        level = float(group.find(f"{SVG}path").get("d").split()[2])
        shares = [(float(right.get("height"))) / (BOTTOM - TOP), (BOTTOM - level) / (BOTTOM - TOP)]
        found.append((x, x + width, *shares, float(images.get("height")), group.find(f"{SVG}text").text))
    return found


def texts(root):
    return [text.text for text in root.iter(f"{SVG}text")]


def test_a_bar_says_how_many_were_right_and_its_mark_how_sure_they_were():
    root = drawn((0.98, True), (0.98, True), (0.96, False), (0.1, False))
    low, high = bars(root)
    assert low[2:4] == (0, pytest.approx(0.1, abs=1e-3))
    assert high[2:4] == (pytest.approx(2 / 3, abs=1e-3), pytest.approx((0.98 + 0.98 + 0.96) / 3, abs=1e-3))
    assert (low[4], high[4]) == (pytest.approx(TALLEST / 3, abs=0.1), TALLEST)
    assert (low[5], high[5]) == ("1", "3")


def test_bins_without_images_are_left_empty():
    (only,) = bars(drawn((0.5, True)))
    # The eighth of fifteen.
    assert LEFT + 7 / 15 * (RIGHT - LEFT) < only[0] < only[1] < LEFT + 8 / 15 * (RIGHT - LEFT)


def test_the_error_and_the_number_of_images_stand_above():
    root = drawn((0.75, True), (0.25, False))
    assert texts(root)[0] == "2 images, calibration error 25.0 %"
    assert root.find(f"{SVG}title").text == "Accuracy by confidence: 2 images, calibration error 25.0 %"
    assert texts(drawn((1.0, True)))[0] == "1 image, calibration error 0.0 %"


def test_all_bins_lie_side_by_side_between_the_axes():
    sure = [(n - 0.5) / 15 for n in range(1, 16)]
    found = bars(drawn(*((s, n % 2 == 0) for n, s in enumerate(sure))))
    assert len(found) == 15
    assert [bar[:2] for bar in found] == sorted(bar[:2] for bar in found)
    edges = [LEFT, *(x for bar in found for x in bar[:2]), RIGHT]
    assert edges == sorted(edges)
    assert [bar[3] for bar in found] == pytest.approx(sure, abs=1e-3)


@pytest.mark.parametrize("answers", [((0.0, False),), ((0.0, True),), ((1.0, True),), ((1.0, False), (0.0, True))])
def test_the_ends_of_the_axes_can_be_drawn(answers):
    root = drawn(*answers)
    for rect in root.iter(f"{SVG}rect"):
        x, y, width, height = (float(rect.get(key, 0)) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + width <= WIDTH
        assert 0 <= y <= y + height <= HEIGHT
        assert height >= 0


@pytest.mark.parametrize(
    ("images", "shown"), [(999, "999"), (1000, "1K"), (1234, "1.2K"), (12_345, "12K"), (999_999, "1M")]
)
def test_a_large_count_is_short_above_its_bar_and_whole_in_its_title(images, shown):
    tally = Tally("ab", ["m"], np.array([[0], [0]]), "uniform")
    even = np.full((1, images, 2), 1 / 2)
    tally.add(even, even[0], np.zeros(images, dtype=np.int64))
    root = ElementTree.fromstring(reliability_svg(tally.measures()))
    ((*_, height, count),) = bars(root)
    assert (height, count) == (TALLEST, shown)
    assert f"{images:,} images, 1 right, mean confidence 0.5" in root.find(f"{SVG}g/{SVG}title").text
