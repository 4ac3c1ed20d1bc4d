"""A benchmark that is killed anywhere goes on, with the same numbers."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mllctl.bench import stored_outcomes, stored_runs
from mllctl.published import Imported, Result, append_results, paper_models

SCRIPT = Path(__file__).with_name("killing.py")


def start(path, after):
    return subprocess.run([sys.executable, str(SCRIPT), str(path), str(after)], check=False, capture_output=True)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    path = tmp_path_factory.mktemp("killed") / "bench.duckdb"
    random = np.random.default_rng(0)
    results = tuple(
        Result(model, name, "acc1", round(random.random(), 2), "fraction", "", "S")
        for model in paper_models()[:7]
        for name in ("ImageNet 1k", "MNIST", "EuroSAT", "STL-10")
    )
    append_results(path, Imported("made.csv", "long", results, ()))
    return path


def test_a_killed_run_goes_on_with_the_same_numbers(imported, tmp_path):
    whole = shutil.copy(imported, tmp_path / "whole.duckdb")
    assert start(whole, -1).returncode == 0
    killed = shutil.copy(imported, tmp_path / "killed.duckdb")
    for after in (1, 2):
        assert start(killed, after).returncode == -signal.SIGKILL
        assert [run.finished for run in stored_runs(killed)] == [None]
    assert start(killed, -1).returncode == 0
    assert len(stored_runs(killed)) == 1
    assert stored_outcomes(killed, 0) == stored_outcomes(whole, 0)
