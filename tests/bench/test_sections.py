"""What a report draws."""

import numpy as np

from mllctl.bench.charts import Line
from mllctl.bench.sections import MOST_MODELS, _telling


def lines(values):
    return [Line(f"m{n}", np.array(row, dtype=float)) for n, row in enumerate(values)]


def test_of_many_models_those_are_drawn_that_are_best_somewhere():
    values = np.tile(np.linspace(0.5, 0.9, 20)[:, None], (1, 3))
    values[0] = (0.1, 0.95, 0.1)
    shown, who = _telling(lines(values))
    assert [line.name for line in shown] == ["m0", *(f"m{n}" for n in range(9, 20))]
    assert len(shown) == MOST_MODELS
    assert who.startswith("no model is best on all. Of 20 models, those")


def test_a_model_that_is_best_on_all_is_said_to_be():
    assert _telling(lines([[0.1, np.nan, 0.3], [0.2, 0.4, 0.3]]))[1] == "m1 is best on all of these."
    assert _telling(lines([[0.1, 0.5, 0.3], [0.2, 0.4, 0.3]]))[1] == "no model is best on all."
