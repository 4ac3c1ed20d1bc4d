"""docs/cli.md is what --help says, and its keys are those that --json prints."""

import re
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer.main

from chat_server import ChatServer, completes
from fakes import COLOURS, FakeExpert, paint_folder
from mllctl.evaluate import Task
from mllctl.hub import bundled_hub
from mllctl_cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "write_cli.py"))
COMMANDS = dict(SCRIPT["list_commands"](typer.main.get_command(app)))
WIDTH = 78  # columns that --help gives to a paragraph


def documented_keys():
    """Title of each table of keys -> the keys in it."""
    keys, command, title = {}, "", None
    for line in (DOCS / "cli.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## `mllctl "):
            command, title = line.removeprefix("## `mllctl ").rstrip("`"), None
        elif line.startswith("`--json`"):
            title = command + line.removeprefix("`--json`").rstrip(":")
            keys[title] = set()
        elif title and (key := re.match(r"\| `(.+?)` \|", line)):
            keys[title].add(key[1])
    return keys


DOCUMENTED = documented_keys()


def printed_keys(value, known, path=""):
    """Paths of all keys in a document; `*` stands for names that the documented keys leave open."""
    if isinstance(value, list):
        return {key for item in value for key in printed_keys(item, known, f"{path}[]")}
    if not isinstance(value, dict):
        return {path}
    prefix = f"{path}." if path else ""
    free = any(key.startswith(f"{prefix}*") for key in known)
    return {
        inner for key, item in value.items() for inner in printed_keys(item, known, prefix + ("*" if free else key))
    }


def test_the_page_is_current():
    assert SCRIPT["write_page"]() == (DOCS / "cli.md").read_text(encoding="utf-8"), "run `make docs`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_first_sentence_and_an_example_that_fit_a_line(run, name):
    shown = run(*name.split(), "--help")
    assert shown.code == 0
    first, _, example = COMMANDS[name].help.partition("Example: ")
    summary = first.split("\n\n")[0]
    assert "\n" not in summary
    assert summary.endswith(".")
    # `mllctl --help` cuts what is longer than this.
    assert len(summary) <= 64
    assert example.startswith(f"mllctl {name}")
    assert len(f"Example: {example}") <= WIDTH
    assert f"Example: {example}" in shown.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_prints_data_has_json(name):
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--json" in options
    assert name in DOCUMENTED


def test_help_tells_the_exit_codes(run):
    shown = run("--help").out
    assert [line.split()[0] for line in shown.partition("Exit codes:")[2].split("\n") if line] == [
        "0",
        "1",
        "2",
        "3",
        "130",
    ]
    assert "..." not in shown.partition("Commands:")[2]


def test_the_ten_classes_of_the_demo_are_words_that_name_one_thing(nouns):
    classes = (DOCS / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert len(classes) == len(set(classes)) == 10
    assert all(nouns.senses(name) for name in classes)


# -- keys ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_task(monkeypatch, labelled):
    """The demo tasks are one of four images."""
    uris = tuple(str(labelled.folder / synset / "0.png") for synset in list(COLOURS)[:4])
    task = Task("four", "photo", "photo", ("dog", "wolf", "cat", "apple"), uris, np.arange(4))
    monkeypatch.setattr("mllctl.demo.demo_tasks", lambda: [task])


@pytest.fixture
def small_demo(monkeypatch, hubs):
    """The demo hub is a copy of the labelled one."""
    monkeypatch.setattr("mllctl.demo.build_demo", lambda path, *rest: shutil.copytree(hubs.labelled, path))
    monkeypatch.setattr("mllctl_cli.hub.bundled_hub", lambda: hubs.labelled)


def check_keys(outcome, title, code=0):
    assert outcome.code == code, outcome.err
    assert printed_keys(outcome.json, DOCUMENTED[title]) == DOCUMENTED[title]


@pytest.mark.parametrize(
    ("hub", "title", "arguments"),
    [
        ("labelled", "hub info", ()),
        ("labelled", "hub log", ()),
        ("labelled", "graph show", ("canine.n.02",)),
        ("labelled", "graph show, without NODE", ()),
        ("labelled", "images list", ()),
        ("labelled", "model list", ()),
        ("labelled", "model show", ("fake/0",)),
        ("labelled", "model time", ("fake/0", "fake/1")),
        ("labelled", "model lock", ()),
        ("labelled", "select", ("--class", "dog", "--class", "quantum", "--domain", "photo", "--cost", "params")),
        ("labelled", "sql", ("from precision limit 2",)),
        ("labelled", "doctor", ()),
        ("labelled", "doctor, with classes", ("--class", "dog", "--class", "crane")),
    ],
)
def test_a_question_prints_the_documented_keys(run, hubs, hub, title, arguments):
    outcome = run(*title.partition(",")[0].split(), *arguments, "--hub", getattr(hubs, hub), "--json")
    # No model is left out where every label is complete; see the next test.
    known = DOCUMENTED[title] - {"left_out[].model", "left_out[].reason"}
    assert outcome.code == 0
    assert printed_keys(outcome.json, known) == known


def test_models_that_are_left_out_are_named(run, hubs):
    arguments = ("--class", "dog", "--class", "apple", "--hub", hubs.unseen, "--cost", "params", "--json")
    outcome = run("select", *arguments)
    assert [left["model"] for left in outcome.json["left_out"]] == ["fake/0", "fake/2"]
    check_keys(outcome, "select")


def test_an_explanation_prints_the_documented_keys_and_writes_a_page(run, hubs, tmp_path):
    (tmp_path / "classes.txt").write_text("dog\nwolf\n")
    known = DOCUMENTED["explain"]
    found = set()
    for model in ("fake/0", "fake/1", "fake/2"):
        page = tmp_path / f"{model[-1]}.html"
        arguments = ("--classes", tmp_path / "classes.txt", "--model", model, "--hub", hubs.labelled, "--report", page)
        outcome = run("explain", "dog", *arguments, "--json")
        assert outcome.code == 0
        found |= printed_keys(outcome.json, known)
        shown = page.read_text()
        assert shown.count("data:image/png") == len(outcome.json["images"])
        again = run("explain", "dog", *arguments)
        assert again.code == 1
        assert "is there already; name a new file" in again.err
    assert known - found <= {"changes[].change", "changes[].model"}


def test_a_change_prints_the_documented_keys(run, hubs, photos):
    run("init", "hub")
    shutil.copy(photos / "dog.n.01" / "0.png", photos / "n02121620" / "a-dog.png")
    added = run("images", "add", photos, "--domain", "photo", "--describe", "a photograph", "--json")
    check_keys(added, "images add", code=3)
    check_keys(run("graph", "build", "--json"), "graph build")
    check_keys(run("index", "build", "--json"), "index build")
    check_keys(run("model", "add", "fake/0", "--json"), "model add")
    (photos / "dog.n.01" / "1.png").unlink()
    check_keys(run("label", "--all", "--json"), "label", code=3)
    [gone] = [image["image"] for image in run("images", "list", "--json").json if image["uri"].endswith("01/1.png")]
    check_keys(run("images", "remove", gone, "--json"), "images remove")
    predicting = ("predict", photos, "--class", "dog", "--class", "cat", "--json")
    check_keys(run(*predicting), "predict", code=3)
    check_keys(run(*predicting, "--truth", "folder"), "predict, with --truth", code=3)
    assert run("hub", "compact", "--json").json == {"merged": []}
    check_keys(run("hub", "compact", "fake/0", "--json"), "hub compact")
    check_keys(run("model", "remove", "fake/0", "--json"), "model remove")
    check_keys(run("hub", "upgrade", "--json"), "hub upgrade")


def test_an_export_prints_the_documented_keys(run, hubs):
    run("select", "--class", "dog", "--class", "cat", "--hub", hubs.labelled, "--save", "selection.json")
    check_keys(run("export", "--selection", "selection.json", "heads", "--json"), "export")


def test_a_lock_that_does_not_hold_prints_the_documented_keys(run, hubs):
    run("model", "lock", "--out", "models.lock", "--hub", hubs.labelled)
    check_keys(
        run("model", "lock", "--check", "models.lock", "--hub", hubs.unseen, "--json"),
        "model lock, with --check",
        code=1,
    )


def test_a_difference_between_generations_prints_the_documented_keys(run, hubs, tmp_path):
    hub = shutil.copytree(hubs.labelled, tmp_path / "hub")
    [*_, last] = run("hub", "log", "--hub", hub, "--json").json[::-1]
    run("images", "remove", "--node", "dog.n.01", "--hub", hub)
    run("images", "add", paint_folder(tmp_path / "new", ["apple.n.01"], 1, seed=3), "--domain", "photo", "--hub", hub)
    run("model", "remove", "fake/2", "--hub", hub)
    (tmp_path / "classes.txt").write_text("dog\nwolf\n")
    arguments = ("--classes", tmp_path / "classes.txt", "--hub", hub, "--json")
    forth = run("hub", "diff", last["generation"], *arguments)
    back = run("hub", "diff", last["generation"] + 3, last["generation"], *arguments)
    found = printed_keys(forth.json, DOCUMENTED["hub diff"]) | printed_keys(back.json, DOCUMENTED["hub diff"])
    assert forth.code == back.code == 0
    assert found == DOCUMENTED["hub diff"]
    check_keys(run("hub", "restore", last["generation"], "--hub", hub, "--json"), "hub restore")


def test_captions_print_the_documented_keys(run, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    command = ("captions", "write", "--class", "crane", "--class", "heron", "--model", "writer", "--json")
    check_keys(run(*command, "--dry-run"), "captions write, with --dry-run")
    with ChatServer() as server:
        server.replies += [completes(refusal="I can't.")]
        outcome = run(*command, "--base-url", server.url, "--out", "captions.json")
    check_keys(outcome, "captions write", code=3)


def test_evaluation_prints_the_documented_keys(run, hubs, small_task):
    check_keys(run("evaluate", "--hub", hubs.labelled, "--json"), "evaluate")


def test_evaluation_is_a_table_of_methods_and_on_demand_of_tasks(run, hubs, small_task):
    shown = run("evaluate", "--hub", hubs.labelled, "--tasks").out
    assert "four" in shown
    assert "method, top-1 % over 1 tasks" in shown
    assert {line.split()[0] for line in shown.splitlines()[-3:]} == {"fake/0", "fake/1", "fake/2"}


def test_the_demo_prints_the_documented_keys_and_how_many_labels_are_the_same(run, small_demo):
    built = run("demo", "build", "new", "--json")
    check_keys(built, "demo build")
    assert {difference["bits"] for difference in built.json} == {0}
    shown = run("demo", "build", "other")
    assert "3 of 3 labels are bit for bit those of the bundled hub; the hub is at other" in shown.err


def test_what_json_cannot_carry_becomes_text(run, hubs):
    query = "select 'nan'::float n, 1 a, 2 a, date '2026-01-02' d, {'x': [1.5::decimal(3, 1)]} s, null z"
    [row] = run("sql", query, "--hub", hubs.labelled, "--json").json
    assert row == {"n": "nan", "a": 1, "a_2": 2, "d": "2026-01-02", "s": {"x": ["1.5"]}, "z": None}


HUB_PAGE = (DOCS / "hub.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"\*\*\d+\. (.+?)\*\*\n\n```sql\n(.+?)\n```\n\n```\n(.+?)\n```", HUB_PAGE, re.DOTALL)


def test_the_page_on_hubs_has_ten_worked_questions():
    assert len(QUESTIONS) == len(set(QUESTIONS)) == HUB_PAGE.count("```sql") == 10


@pytest.mark.parametrize(("sql", "answer"), [case[1:] for case in QUESTIONS], ids=[case[0] for case in QUESTIONS])
def test_a_worked_question_has_the_answer_that_is_shown(run, sql, answer):
    shown = run("sql", sql, "--hub", bundled_hub())
    assert shown.code == 0, shown.err
    assert shown.out.rstrip() == answer


def test_every_view_of_the_page_on_hubs_is_there(run):
    for view in re.findall(r"^\| `(\w+)` \|", HUB_PAGE, re.MULTILINE):
        assert run("sql", f"from {view} limit 1", "--hub", bundled_hub()).code == 0


def test_experts_print_the_documented_keys(run, labelled_copy, tmp_path, monkeypatch):
    def open_fake(spec, device):
        expert = FakeExpert("colours/animals", ("dog.n.01", "cat.n.01"), sharpness=0.2)
        expert.card = replace(expert.card, name=spec, source=f"expert:{spec}")
        return expert

    monkeypatch.setattr("mllctl.backends.experts.open_expert", open_fake)
    assert run("label", "expert:fake/first", "expert:fake/copy", "--hub", labelled_copy).code == 0
    (tmp_path / "classes.txt").write_text("dog\ncat\nquasar\n")
    for title, arguments in (("select", ()), ("explain", ("dog",))):
        asked = run(title, *arguments, "--experts", "--classes", "classes.txt", "--hub", labelled_copy, "--json")
        check_keys(asked, f"{title}, with --experts")


def test_images_of_the_users_print_the_documented_keys(run, hubs, tmp_path):
    mine = paint_folder(tmp_path / "mine", ["dog.n.01", "cat.n.01"], 2, seed=3)
    (mine / "dog.n.01" / "broken.png").write_bytes(b"not an image")
    arguments = ("--class", "dog", "--class", "cat", "--class", "quantum", "--hub", hubs.unseen, "--cost", "params")
    shown = run("select", *arguments, "--examples", mine, "--json")
    check_keys(shown, "select, with --examples", code=3)
    assert shown.json["examples"]["images"] == 4
    check_keys(run("select", *arguments, "--unlabelled", mine, "--json"), "select, with --unlabelled", code=3)


def test_benchmarks_print_the_documented_keys(run, hubs, tmp_path):
    mine = paint_folder(tmp_path / "mine", ["dog.n.01", "cat.n.01"], 4, seed=3)
    for synset in ("dog.n.01", "cat.n.01"):
        (mine / synset).rename(mine / synset.partition(".")[0])
    (tmp_path / "mine.toml").write_text('kind = "hub"\nagainst = "oracle"\n[[task]]\nname = "pets"\nfolder = "mine"\n')
    (tmp_path / "table.csv").write_text("name,pretrained,ImageNet 1k\nRN50,openai,0.6\n")
    check_keys(run("bench", "import", "table.csv", "--json"), "bench import")
    for command in (("run",), ("ablate", "--k", "1..2"), ("grow", "--orders", "2"), ("subhubs", "--size", "2")):
        ran = run("bench", command[0], "mine.toml", *command[1:], "--hub", hubs.labelled, "--json")
        check_keys(ran, f"bench {command[0]}")
    check_keys(run("bench", "report", "--json"), "bench report")
    check_keys(run("bench", "list", "--json"), "bench list")
