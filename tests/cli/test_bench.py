"""`bench` as it is typed: suites, runs, reports, imports, on the hub of fakes."""

import csv
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fakes import COLOURS, paint_folder
from mllctl.bench import stored_runs

SUITE = """
kind = "hub"
universal = "photo"
seeds = [0]
[[task]]
name = "three"
domain = "photo"
folder = "images"
classes = ["dog", "cat", "car"]
[[task]]
name = "four"
folder = "images4"
classes = ["dog", "cat", "car", "wolf"]
[[task]]
name = "two"
folder = "images2"
classes = ["apple", "car"]
"""
COLUMNS = {"task", "method", "metric", "value", "low", "high"}


@pytest.fixture
def suite(tmp_path):
    everything = paint_folder(tmp_path / "all", list(COLOURS), 5, seed=4)
    for folder, words in (
        ("images", ("dog", "cat", "car")),
        ("images4", ("dog", "cat", "car", "wolf")),
        ("images2", ("apple", "car")),
    ):
        for word in words:
            shutil.copytree(everything / f"{word}.n.01", tmp_path / folder / word)
    path = tmp_path / "mine.toml"
    path.write_text(SUITE, encoding="utf-8")
    return path


def test_rows_of_task_method_metric_value_low_and_high(run, hubs, suite):
    ran = run("bench", "run", suite, "--hub", hubs.labelled, "--json")
    assert ran.code == 0, ran.err
    assert all(set(row) == COLUMNS for row in ran.json)
    top1 = {(row["task"], row["method"]): row for row in ran.json if row["metric"] == "top-1"}
    assert {task for task, _ in top1} == {"three", "four", "two", "mean"}
    of_mll = [top1[task, "mll-k3"]["value"] for task in ("three", "four", "two")]
    assert top1["mean", "mll-k3"]["value"] == pytest.approx(sum(of_mll) / 3)
    assert top1["mean", "mll-k3"]["low"] <= top1["mean", "mll-k3"]["value"] <= top1["mean", "mll-k3"]["high"]
    assert "run 0 is in bench.duckdb" in ran.err
    again = run("bench", "run", suite, "--hub", hubs.labelled, "--json")
    assert again.json == ran.json


def test_a_run_that_ends_in_ctrl_c_goes_on(run, hubs, suite, monkeypatch):
    from mllctl.bench import running

    whole = run("bench", "run", suite, "--hub", hubs.labelled, "--json", "--results", "whole.duckdb").json
    added = running.add_cells

    def interrupted(path, number, cells):
        added(path, number, cells)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "add_cells", interrupted)
        assert run("bench", "run", suite, "--hub", hubs.labelled).code == 130
    listed = run("bench", "list", "--json").json
    assert [one["finished"] for one in listed["runs"]] == ["unfinished"]
    assert run("bench", "run", suite, "--hub", hubs.labelled, "--json").json == whole
    assert len(stored_runs("bench.duckdb")) == 1


def test_a_table_of_means_and_one_of_tasks(run, hubs, suite):
    ran = run("bench", "run", suite, "--hub", hubs.labelled, "--tasks", "--method", "mll", "--method", "oracle")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split() == ["top-1", "%", "oracle", "mll"]
    assert {line.split()[0] for line in lines[1:4]} == {"three", "four", "two"}
    assert lines[5] == "Means over 3 tasks; ahead of inb, and p of a sign-flip test."
    assert max(map(len, lines[5:])) <= 80


def test_figures_and_tables_are_in_the_report_with_their_commands(run, hubs, suite, tmp_path):
    hub = ("--hub", hubs.labelled)
    for command in (
        ("run", suite),
        ("ablate", suite, "--alpha", "0.5..0.6", "--k", "1..3", "--estimator", "shrunk,paper"),
        ("grow", suite, "--orders", "2"),
        ("subhubs", suite, "--count", "4", "--size", "2"),
        ("subhubs", suite, "--count", "4", "--size", "2", "--budget"),
    ):
        ran = run("bench", *command, *hub)
        assert ran.code == 0, ran.err
    told = run("bench", "report", "--json").json
    keys = {section["key"]: section["command"] for section in told["sections"]}
    for key in ("figure-1a", "figure-1b", "figure-3", "table-1", "table-2", "table-3", "table-4", "subhubs-budget"):
        assert keys[f"mine-{key}"].startswith("mllctl bench")
    folder = tmp_path / "bench-report"
    html = (folder / "report.html").read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for section in told["sections"]:
        assert f'id="{section["key"]}"' in html
        assert f"## {section['title']}" in markdown
    assert "http" not in html.replace("http://www.w3.org", "")
    for figure in ("figure-1a", "figure-1b", "figure-3", "table-4"):
        assert ET.parse(folder / f"mine-{figure}.svg").getroot().tag.endswith("svg")
    with (folder / "mine-table-4.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["k"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["mll-paper-each: models"].endswith("(1.00 x)")
    assert [row["paper: accuracy"] for row in rows] == ["0.6620", "0.6637", "0.6639"]


def test_a_report_is_the_same_twice(run, hubs, suite, tmp_path):
    run("bench", "run", suite, "--hub", hubs.labelled)
    for folder in ("one", "other"):
        assert run("bench", "report", "--out", folder).code == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_published_results_are_imported_and_asked(run, tmp_path):
    (tmp_path / "table.csv").write_text(
        "name,pretrained,ImageNet 1k,EuroSAT,MNIST\nRN50,openai,0.6,0.5,0.9\nViT-L-14,openai,0.7,0.6,\n"
        "ViT-B-32,openai,0.65,0.4,0.8\n",
        encoding="utf-8",
    )
    told = run("bench", "import", "table.csv", "--source", "somebody", "--json")
    assert told.json == [{"file": "table.csv", "format": "open_clip", "results": 8, "added": 8}]
    assert run("bench", "import", "table.csv", "--source", "somebody", "--json").json[0]["added"] == 0
    ran = run("bench", "run", "published", "--json")
    assert ran.code == 0
    inb = {row["task"]: row["value"] for row in ran.json if (row["method"], row["metric"]) == ("inb", "top-1")}
    # On MNIST the best of ImageNet has no value, and ViT-B-32 is the next.
    assert inb == {"EuroSAT": 0.6, "MNIST": 0.8, "mean": pytest.approx(0.7)}
    assert "mll-k1, mll-k3: needs labels of a hub" in ran.err
    assert len([line for line in ran.err.splitlines() if "left out" in line]) == 3
    assert run("bench", "grow", "published", "--orders", "2").code == 0
    assert run("bench", "report").code == 0
    refused = run("bench", "ablate", "published", "--alpha", "0.5")
    assert (refused.code, refused.out) == (2, "")
    assert "ablate needs labels of a hub, which published has not" in refused.err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("run", "demos"), 2, "no suite 'demos'; there are demo"),
        (("run", "demo", "--method", "inbx"), 2, "no method 'inbx'; there are inb"),
        (("run", "published"), 1, "no such file of results"),
        (("report",), 1, "no such file of results"),
        (("ablate", "demo"), 2, "name an option to change, such as --alpha 0.5..0.9"),
        (("ablate", "demo", "--alpha", "2"), 2, "--alpha 2: give numbers from 0 to 1"),
        (("grow", "published"), 1, "no such file of results"),
        (("import", "none.csv"), 1, "none.csv"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run, argv, code, message):
    ran = run("bench", *argv)
    assert ran.code == code
    assert message in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_mll17_says_what_is_missing(run, hubs):
    ran = run("bench", "run", "mll17", "--hub", hubs.labelled)
    assert ran.code == 2
    assert ran.err.count("mllctl: missing ") == 17
    assert "no task of mll17 is on this machine; put FOLDER/CLASS/*.jpg of one below --data DIR" in ran.err
    assert not Path("bench.duckdb").exists()


def test_unknown_runs_are_refused(run, hubs, suite):
    run("bench", "run", suite, "--hub", hubs.labelled, "--method", "oracle")
    ran = run("bench", "report", "7")
    assert (ran.code, ran.err) == (2, "mllctl: no run 7 in bench.duckdb; `mllctl bench list` shows them\n")


def test_runs_of_one_suite_stand_beside_each_other_in_a_report(run, hubs, suite, tmp_path):
    for more in ((), ("--method", "oracle", "--method", "inb")):
        assert run("bench", "run", suite, "--hub", hubs.labelled, *more).code == 0
    told = run("bench", "report", "--json").json
    keys = [section["key"] for section in told["sections"]]
    assert len(keys) == len(set(keys))
    assert {"mine-methods", "mine-methods-run-1"} <= set(keys)
    commands = {section["key"]: section["command"] for section in told["sections"]}
    assert commands["mine-methods"] == f"mllctl bench run {suite} --hub {hubs.labelled}"
    with (tmp_path / "bench-report" / "mine-methods-run-1.csv").open(encoding="utf-8") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["oracle", "inb"]


def test_a_method_that_is_not_asked_is_compared_with_nothing(run, hubs, suite, tmp_path):
    ran = run("bench", "run", suite, "--hub", hubs.labelled, "--method", "mll")
    assert "mllctl: inb is not asked: nothing is compared with it" in ran.err
    assert run("bench", "report").code == 0
    assert "inb was not asked" in (tmp_path / "bench-report" / "report.md").read_text(encoding="utf-8")


def test_p_of_a_difference_is_among_the_rows(run, hubs, suite):
    rows = run("bench", "run", suite, "--hub", hubs.labelled, "--json").json
    p = {row["method"]: row["value"] for row in rows if row["metric"] == "p of top-1 - inb"}
    assert p.keys() == {row["method"] for row in rows if row["metric"] == "top-1 - inb"}
    assert all(0 < value <= 1 for value in p.values())


def test_what_was_imported_is_listed_before_anything_ran(run, tmp_path):
    (tmp_path / "t.csv").write_text("dataset,model,pretrained,acc1,acc5\nMNIST,RN50,openai,0.5,0.6\n", encoding="utf-8")
    assert run("bench", "import", "t.csv").code == 0
    listed = run("bench", "list", "--json").json
    assert [one["source"] for one in listed["imports"]] == ["t.csv"]
    assert listed["runs"] == []
    assert run("bench", "report").err == "mllctl: no run in bench.duckdb is whole; `mllctl bench run demo` makes one\n"


def test_tables_of_several_metrics_are_asked_about_one(run, tmp_path):
    rows = ["dataset,model,pretrained,acc1,acc5"]
    for dataset, values in {
        "imagenet1k": (0.5, 0.7, 0.6),
        "mnist": (0.4, 0.8, 0.9),
        "eurosat": (0.3, 0.2, 0.1),
    }.items():
        for model, value in zip(("RN50", "ViT-L-14", "ViT-B-32"), values, strict=True):
            rows.append(f"{dataset},{model},openai,{value},{value + 0.05}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    run("bench", "import", "t.csv")
    refused = run("bench", "run", "published")
    assert refused.code == 1
    assert "name one, such as --metric 'acc1'" in refused.err
    for command in (("run",), ("grow", "--orders", "2"), ("subhubs", "--count", "2", "--size", "2")):
        ran = run("bench", command[0], "published", *command[1:], "--metric", "acc5")
        assert ran.code == 0, ran.err
    rows = run("bench", "run", "published", "--metric", "acc1", "--json").json
    inb = {row["task"]: row["value"] for row in rows if (row["method"], row["metric"]) == ("inb", "top-1")}
    assert inb == {"MNIST": 0.8, "EuroSAT": 0.2, "mean": 0.5}
    commands = {one["command"] for one in run("bench", "list", "--json").json["runs"]}
    assert {"mllctl bench run published --metric acc1", "mllctl bench run published --metric acc5"} <= commands
    assert run("bench", "run", "demo", "--metric", "acc1").code == 2


def test_files_are_read_before_any_is_imported(run, tmp_path):
    good = "model,task,metric,value\na/b,MNIST,acc1,0.5\n"
    (tmp_path / "good.csv").write_text(good, encoding="utf-8")
    (tmp_path / "bad.csv").write_text(good.replace("0.5", "half"), encoding="utf-8")
    ran = run("bench", "import", "good.csv", "bad.csv")
    assert ran.code == 1
    assert not (tmp_path / "bench.duckdb").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "good.csv").write_text(good.replace("a/b", "c/d"), encoding="utf-8")
    assert run("bench", "import", "good.csv").err == ""
    ran = run("bench", "import", "other/good.csv")
    assert "source 'good.csv' has results of good.csv, too; if they are not the same's, give --source" in ran.err


def test_unit_format_and_protocol_of_an_import_can_be_given(run, tmp_path):
    (tmp_path / "t.csv").write_text(
        "model,task,metric,value\na/b,MNIST,acc1,0.5\na/b,SVHN,acc1,1.5\n", encoding="utf-8"
    )
    refused = run("bench", "import", "t.csv")
    assert (refused.code, "give its unit with `--unit percent`" in refused.err) == (1, True)
    assert run("bench", "import", "t.csv", "--unit", "percent", "--format", "long", "--protocol", "tuned").code == 0
    assert run("bench", "import", "t.csv", "--unit", "permille").code == 2
    assert run("bench", "import", "t.csv", "--format", "lomg").code == 2
