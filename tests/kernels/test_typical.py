import itertools
from fractions import Fraction

import numpy as np
import pytest

from mllctl.kernels.typical import chance_of_hit


@pytest.mark.parametrize("nodes", range(1, 8))
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 50])
def test_every_task_is_counted(nodes, classes):
    tasks = list(itertools.combinations(range(nodes - 1), min(classes, nodes) - 1))
    for rank, chance in enumerate(chance_of_hit(nodes, classes).tolist()):
        assert chance == pytest.approx(float(Fraction(sum(min(t, default=rank) >= rank for t in tasks), len(tasks))))


def test_a_large_hub_keeps_the_precision():
    chance = chance_of_hit(9055, 30)
    assert (np.diff(chance) <= 0).all()
    assert chance[100] == pytest.approx(np.prod([(8954 - j) / (9054 - j) for j in range(29)]), rel=1e-12)
    assert chance[-1] == 0


@pytest.mark.parametrize(("nodes", "classes"), [(0, 1), (1, 0)])
def test_tasks_of_nothing_are_refused(nodes, classes):
    with pytest.raises(ValueError, match="at least one"):
        chance_of_hit(nodes, classes)
