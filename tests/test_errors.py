import re

import pytest

import mllctl
from mllctl import errors


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    parents, told = [], set()
    for line in errors.__doc__.splitlines():
        name = re.search(r"(Mllctl|\b[A-Z])\w+", line)
        if line.startswith("    ") and name and hasattr(errors, name[0]):
            depth = (name.start() - 4) // 4
            parents[depth:] = [getattr(errors, name[0])]
            assert parents[depth].__base__ is (parents[depth - 1] if depth else Exception)
            told.add(parents[depth])
    assert told == {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}


def test_only_a_task_that_makes_no_sense_exits_with_2():
    assert errors.MllctlError.exit_code == errors.HubBusy.exit_code == 1
    assert errors.InvalidTask.exit_code == 2


@pytest.mark.parametrize("name", mllctl.__all__)
def test_what_the_package_names_is_there(name):
    assert hasattr(mllctl, name)
