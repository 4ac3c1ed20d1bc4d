"""Charts of whatever users call their models, tasks and classes."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mllctl.bench.charts import Line, line_svg, spider_svg

NAMES = ["$\\foo$ <b>", "of $1 and $2 & more", "plain"]


@pytest.mark.parametrize(
    "drawn",
    [
        spider_svg(NAMES[0], NAMES, [Line(name, np.array([0.1, np.nan, 0.3])) for name in NAMES]),
        line_svg(NAMES[0], NAMES[1], "up", [1, 2, 3], [Line(name, np.array([1.0, 2.0, np.nan])) for name in NAMES]),
    ],
)
def test_names_are_text_and_neither_formula_nor_markup(drawn):
    said = {
        "".join(element.itertext()).strip() for element in ET.fromstring(drawn).iter() if element.tag.endswith("text")
    }
    assert set(NAMES) <= said
