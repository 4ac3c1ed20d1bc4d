"""`captions write` in process, against a server of this machine that speaks the protocol."""

import json
import shlex
import sys
from types import SimpleNamespace

import pytest

from chat_server import ChatServer, completes, fails, written
from mllctl.captions import read_captions

REFUSALS = [
    ("", "missing option '--model'; see `mllctl captions write --help`"),
    ("--model writer", "name the file to write by --out FILE, or see what would be asked with --dry-run"),
    ("--model writer --out old.json", "old.json exists; name another file, or replace it with --force"),
    ("--model writer --out folder --force", "folder is not a file"),
    ("--model writer --out gone/new.json", "no folder gone; make it"),
    ("--model writer --out new.json -n 0", "captions per class must be at least 1, got 0"),
    ("--model writer --dry-run -n 0", "captions per class must be at least 1, got 0"),
    ("--model '' --dry-run", "the language model has no name"),
    ("--model writer --out new.json --timeout 0", "timeout must be more than 0"),
    ("--model writer --out new.json --timeout soon", "see `mllctl captions write --help`"),
    ("--model writer --out new.json --base-url localhost:1", "'localhost:1' is no address of a server"),
    ("--model writer --out new.json --class dog", "class 'dog' stands twice"),
    ("--model writer --out new.json --classes classes.txt", "not both"),
]


@pytest.fixture
def server(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ChatServer() as server:
        yield server


@pytest.fixture
def write(run, server, tmp_path):
    (tmp_path / "classes.txt").write_text("crane\nheron\nstork\n")

    def write(*argv):
        return run("captions", "write", "--classes", "classes.txt", "--model", "writer", "-n", "2", *argv)

    return SimpleNamespace(run=write, url=("--base-url", server.url), out=("--out", "captions.json"))


def test_captions_are_written_to_a_file_that_can_be_read_back(write, server, tmp_path):
    outcome = write.run(*write.url, *write.out, "--domain", "satellite", "--task", "bird watching")
    assert (outcome.code, outcome.out) == (0, "3 classes written to captions.json: 3 asked for, 0 answered before\n")
    assert outcome.err.splitlines() == [
        "mllctl: crane: 1 of 3 classes",
        "mllctl: heron: 2 of 3 classes",
        "mllctl: stork: 3 of 3 classes",
    ]
    captions = read_captions(tmp_path / "captions.json")
    assert list(captions) == ["crane", "heron", "stork"]
    assert list(captions.values()) == [tuple(written(prompt)[:2]) for prompt in server.prompts]
    assert all("satellite" in prompt and "bird watching" in prompt for prompt in server.prompts)


def test_a_dry_run_shows_every_prompt_and_how_many_are_to_be_asked(write, server, monkeypatch):
    server.replies += [completes(), fails(401, "expired")]
    write.run(*write.url, *write.out)
    monkeypatch.setitem(sys.modules, "openai", None)
    outcome = write.run("--dry-run")
    assert (outcome.code, outcome.err) == (0, "")
    assert all(f"Class: {class_}." in outcome.out for class_ in ("crane", "heron", "stork"))
    assert outcome.out.endswith("\n\n2 of 3 prompts to ask, 1 answered before\n")
    plan = write.run("--dry-run", "--json").json
    assert [(prompt["class"], prompt["cached"]) for prompt in plan["prompts"]] == [
        ("crane", True),
        ("heron", False),
        ("stork", False),
    ]
    assert plan["to_ask"] == 2
    assert [prompt["prompt"] for prompt in plan["prompts"]][:2] == server.prompts


def test_a_run_that_failed_leaves_no_file_and_goes_on(write, server, tmp_path):
    server.replies += [completes(), fails(401, "expired")]
    failed = write.run(*write.url, *write.out)
    assert (failed.code, failed.out) == (1, "")
    server_name = f"127.0.0.1:{server.server_port}"
    assert failed.err.splitlines()[1:] == [
        f"mllctl: writer at {server_name}: the key was refused (expired); set OPENAI_API_KEY"
    ]
    assert not (tmp_path / "captions.json").exists()
    report = write.run(*write.url, *write.out, "--json").json
    assert report == {"path": "captions.json", "classes": 3, "asked": 2, "cached": 1, "skipped": []}


def test_a_refused_class_is_reported_and_left_out(write, server, tmp_path):
    server.replies += [completes(), completes(refusal="I can't.")]
    outcome = write.run(*write.url, *write.out, "--json")
    assert outcome.code == 3
    assert outcome.json["skipped"] == [{"class": "heron", "reason": "the model refused: I can't"}]
    assert outcome.err.splitlines()[-1] == "mllctl: skipped 'heron': the model refused: I can't"
    assert list(read_captions(tmp_path / "captions.json")) == ["crane", "stork"]


def test_when_all_classes_are_refused_there_is_no_file(write, server, tmp_path):
    server.replies += [completes(refusal="I can't.")] * 3
    outcome = write.run(*write.url, *write.out)
    assert (outcome.code, outcome.out) == (1, "")
    assert "no captions of 'crane': the model refused: I can't; try another --model" in outcome.err
    assert not (tmp_path / "captions.json").exists()


def test_a_file_is_replaced_only_by_force(write, tmp_path):
    (tmp_path / "captions.json").write_text("mine")
    assert write.run(*write.url, *write.out).code == 2
    assert (tmp_path / "captions.json").read_text() == "mine"
    assert write.run(*write.url, *write.out, "--force").code == 0
    assert list(json.loads((tmp_path / "captions.json").read_text())) == ["crane", "heron", "stork"]


@pytest.mark.parametrize(("arguments", "fragment"), REFUSALS)
def test_wrong_usage_is_one_line_and_asks_nothing(run, server, monkeypatch, tmp_path, arguments, fragment):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "classes.txt").write_text("dog\n")
    (tmp_path / "folder").mkdir()
    outcome = run("captions", "write", "--class", "dog", *shlex.split(arguments))
    assert (outcome.code, outcome.out) == (2, "")
    [line] = outcome.err.splitlines()
    assert line.startswith("mllctl: ")
    assert fragment in line
    assert server.questions == []
    assert not (tmp_path / "new.json").exists()


def test_without_the_library_the_extra_is_named(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    outcome = write.run(*write.url, *write.out)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "mllctl: mllctl needs the 'llm' extra to ask a language model for captions; pip install 'mllctl[llm]'\n"
    )
