import dataclasses
import subprocess
import sys

import duckdb
import pytest

from mllctl.bench.records import Cell, Outcome, Plan
from mllctl.bench.store import (
    add_cells,
    begin_run,
    finish_run,
    stored_cells,
    stored_outcomes,
    stored_runs,
)
from mllctl.errors import SourceUnreadable
from mllctl.published import Imported, Result, append_results, store, stored_results

PLAN = Plan("run", "demo", "mllctl bench run demo", "k" * 64, {"seeds": [0]}, {"numpy": "2"}, ("gone",))


def cell(task="t", method="m", value=0.5, variant=""):
    outcomes = (
        Outcome(0, task, variant, method, "top-1", value, 0.25, 0.75),
        Outcome(0, task, variant, method, "tau", None),
    )
    return Cell(0, task, variant, method, ("a/b", "c/d"), 0.25, outcomes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bench.duckdb"


def test_what_is_added_comes_back(path):
    run = begin_run(path, PLAN)
    add_cells(path, run, [cell(), cell("u", value=None)])
    add_cells(path, run, [])
    assert stored_outcomes(path, run) == [
        Outcome(0, "t", "", "m", "tau", None),
        Outcome(0, "t", "", "m", "top-1", 0.5, 0.25, 0.75),
        Outcome(0, "u", "", "m", "tau", None),
        Outcome(0, "u", "", "m", "top-1", None, 0.25, 0.75),
    ]
    assert stored_cells(path, run) == {(0, "t", "", "m"), (0, "u", "", "m")}
    [one] = stored_runs(path)
    assert (one.run, one.plan, one.cells, one.finished) == (0, PLAN, 2, None)


def test_a_run_that_was_interrupted_goes_on_and_a_whole_one_does_not(path):
    assert begin_run(path, PLAN) == begin_run(path, PLAN) == 0
    other = dataclasses.replace(PLAN, key="o" * 64)
    assert begin_run(path, other) == 1
    assert begin_run(path, PLAN, fresh=True) == 2
    assert begin_run(path, PLAN) == 2
    finish_run(path, 2)
    assert begin_run(path, PLAN) == 0
    finish_run(path, 0)
    assert begin_run(path, PLAN) == 3


def test_nothing_is_overwritten(path):
    run = begin_run(path, PLAN)
    add_cells(path, run, [cell()])
    with pytest.raises(SourceUnreadable, match="another process makes run 0, too"):
        add_cells(path, run, [cell("u"), cell(value=0.9)])
    assert [o.value for o in stored_outcomes(path, run)] == [None, 0.5]


def test_settings_versions_and_seeds_stand_beside_each_number(path):
    run = begin_run(path, PLAN)
    add_cells(path, run, [cell()])
    with duckdb.connect(str(path), read_only=True) as db:
        [row] = db.execute(
            "SELECT value, seed, settings->>'$.seeds[0]', versions->>'numpy' FROM bench WHERE value > 0"
        ).fetchall()
    assert row == (0.5, 0, "0", "2")


def test_published_results_and_runs_share_a_file(path):
    with pytest.raises(SourceUnreadable, match="no such file of results"):
        stored_runs(path)
    result = Result("a/b", "MNIST", "acc1", 0.5, "fraction", "", "S")
    append_results(path, Imported("file.csv", "long", (result,), ()))
    assert stored_runs(path) == []
    with pytest.raises(SourceUnreadable, match="no benchmark is in it yet"):
        stored_outcomes(path, 0)
    run = begin_run(path, PLAN)
    assert stored_results(path) == [result]
    assert stored_outcomes(path, run) == []


HOLDING = """
import sys, time, duckdb
with duckdb.connect(sys.argv[1], read_only=True):
    print("open", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_file_that_somebody_looks_at_is_waited_for(path, monkeypatch):
    run = begin_run(path, PLAN)
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(path), "1"], stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline() == b"open\n"
        add_cells(path, run, [cell()])
    monkeypatch.setattr(store, "PATIENCE", 0.2)
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(path), "60"], stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline() == b"open\n"
        with pytest.raises(SourceUnreadable, match="another process has had it open for 0 s; close it there"):
            add_cells(path, run, [cell("u")])
        reader.kill()
    assert len(stored_cells(path, run)) == 1
