"""Tables fit a terminal, and are plain lines on a pipe."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from mllctl_cli import render

MLLCTL = (sys.executable, "-m", "mllctl_cli.main")
LONG = "select repeat('word ', 60) as words, 1.25 as number"
ENDLESS = "select count(*) from range(100000) a, range(100000) b, range(1000) c where a.range * b.range % 7 = c.range"


def test_on_a_pipe_a_row_is_one_line_and_ends_where_its_text_ends(run, hubs):
    lines = run("sql", LONG, "--hub", hubs.labelled).out.splitlines()
    assert len(lines) == 2
    for command in (("graph", "show"), ("images", "list"), ("model", "list"), ("hub", "info"), ("doctor",)):
        shown = run(*command, "--hub", hubs.labelled).out
        assert shown
        assert all(line == line.rstrip() for line in shown.splitlines())
        assert "\x1b" not in shown


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_a_table_is_never_wider_than_the_terminal_and_never_cuts_a_number(run, hubs, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = run("sql", LONG, "--hub", hubs.labelled).out
    assert max(map(len, shown.splitlines())) <= width
    assert shown.count("word") == 61
    assert "1.25" in shown
    for command in (
        ("graph", "show"),
        ("graph", "show", "dog.n.01"),
        ("model", "list"),
        ("model", "show", "fake/0"),
        ("select", "--class", "dog", "--class", "apple", "-k", 2, "--domain", "photo"),
    ):
        lines = run(*command, "--hub", hubs.labelled).out.splitlines()
        assert max(map(len, lines)) <= max(width, 60)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_words_of_headings_stay_whole(run, hubs, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for command, headings in (
        (("hub", "log"), "generation made by images models new bytes"),
        (("model", "list"), "model kind M params px label images mean precision %"),
        (("label", "fake/0", "--plan"), "model images to show to read time to write download"),
    ):
        shown = run(*command, "--hub", hubs.labelled).out
        assert set(headings.split()) <= set(shown.split())


def test_values_have_the_width_before_headings_do(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "38")
    render.print_table(("name", "a long heading"), [("n" * 27, 1)], ("a long heading",))
    assert capsys.readouterr().out.splitlines() == [
        "                                a long",
        "name                           heading",
        "nnnnnnnnnnnnnnnnnnnnnnnnnnn          1",
    ]


def test_where_not_even_folded_columns_fit_each_row_is_a_list(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    render.print_table(("name", "number"), [("word " * 8, 12345), ("b", 2)], ("number",))
    assert capsys.readouterr().out.splitlines()[0] == "name                    number"
    monkeypatch.setenv("COLUMNS", "27")
    render.print_table(("name", "number"), [("word " * 8, 12345), ("b", 2)], ("number",))
    assert capsys.readouterr().out.splitlines() == [
        "name    word word word word",
        "        word word word word",
        "number  12345",
        "",
        "name    b",
        "number  2",
    ]


def on_terminal(*argv, **environment):
    """Run a command on a terminal of its own; return what appeared there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*MLLCTL, *argv], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", **environment}
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's end of file
            break
        shown += part
    os.close(ours)
    assert process.wait(60) == 0
    return shown.decode()


def test_headings_are_bold_on_a_terminal_unless_no_color_is_set(hubs):
    hub = str(hubs.labelled)
    assert "\x1b[1m" in on_terminal("model", "list", "--hub", hub)
    assert "\x1b" not in on_terminal("model", "list", "--hub", hub, NO_COLOR="1")


def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(hubs):
    process = subprocess.Popen(
        [*MLLCTL, "sql", "from range(200000)", "--hub", str(hubs.labelled)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline().strip() == b"range"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(60)


@pytest.mark.parametrize("command", [("sql", ENDLESS), ("select", "--classes", "-")])
def test_ctrl_c_is_one_line(hubs, command):
    # On a busy machine what a command imports takes longer than the second below.
    ready = "import mllctl_cli.main as cli, mllctl_cli.select, mllctl_cli.sql; print('ready', flush=True); cli.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", ready, *command, "--hub", str(hubs.labelled)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # until it computes, or waits for classes
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "mllctl: interrupted; the hub is whole, and the same command goes on from here\n"
