"""`doctor --classes`: advice in a terminal, a cleaned file that is never written over, exit codes."""

from pathlib import Path

import pytest

CLASSNAMES = Path(__file__).parents[3] / "shared" / "data" / "classnames"
UGLY = "0 - polar_bear\n1 - crane\n\n2 - heron\n3 - Heron\n"


@pytest.fixture
def ugly(tmp_path):
    path = tmp_path / "ugly.txt"
    path.write_text(UGLY)
    return path


@pytest.fixture(autouse=True)
def hub(run, monkeypatch, hubs):  # after `run`, which clears what is set
    monkeypatch.setenv("MLLCTL_HUB", str(hubs.labelled))


def test_good_names_are_well(run):
    outcome = run("doctor", "--class", "giraffe", "--class", "airplane")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "mllctl: nothing to say against 2 classes\n"


def test_what_select_would_refuse_is_wrong_and_still_gets_advice(run, ugly):
    outcome = run("doctor", "--classes", ugly)
    assert outcome.code == 1
    wrong = [line for line in outcome.out.splitlines() if line.startswith("WRONG")]
    assert len(wrong) == 2
    assert "number 3 is empty" in wrong[0]
    assert "again as number 5" in wrong[1]
    assert "polar bear, crane, heron" in outcome.out


def test_remarks_alone_are_no_failure(run):
    outcome = run("doctor", "--class", "polar_bear", "--class", "xyzzy")
    assert outcome.code == 0
    assert "polar bear" in outcome.out
    assert "WRONG" not in outcome.out


def test_a_cleaned_file_makes_a_task_and_is_never_written_over(run, ugly, tmp_path):
    out = tmp_path / "cleaned.txt"
    first = run("doctor", "--classes", ugly, "--propose", out)
    assert first.code == 1
    assert out.read_text() == "polar bear\ncrane\nheron\n"
    assert f"wrote 3 classes to {out}" in first.err
    assert run("select", "--classes", out).code == 0
    assert run("doctor", "--classes", out).code == 0
    again = run("doctor", "--classes", ugly, "--propose", out)
    assert (again.code, again.out) == (2, "")
    assert again.err == f"mllctl: {out} is there already and is not changed; name a new file\n"
    assert run("doctor", "--classes", ugly, "--propose", ugly).code == 2
    assert (out.read_text(), ugly.read_text()) == ("polar bear\ncrane\nheron\n", UGLY)


def test_the_cleaned_classes_are_in_json_too(run, ugly):
    outcome = run("doctor", "--classes", ugly, "--json")
    assert outcome.code == 1
    assert outcome.json["cleaned"] == ["polar bear", "crane", "heron"]
    assert [meaning["synset"] for meaning in outcome.json["classes"]][:2] == ["ice_bear.n.01", "crane.n.05"]
    assert {piece["kind"] for piece in outcome.json["advice"] if piece["wrong"]} == {"empty", "duplicate"}


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (("--propose", "out.txt"), 2, "name them by --classes FILE or --class NAME"),
        (("--domain", "photo"), 2, "name them by --classes FILE or --class NAME"),
        (("--classes", "gone.txt"), 2, "no file gone.txt"),
        (("--classes", "blank.txt", "--propose", "out.txt"), 2, "the task has no classes"),
        (("--class", "dog", "--propose", "gone/out.txt"), 1, "no such file or directory"),
        (("--class", "dog", "--hub", "OUTDATED"), 1, "the caption index is older than its captions"),
    ],
)
def test_what_cannot_be_advised_on_is_one_line(run, hubs, tmp_path, arguments, code, fragment):
    arguments = [hubs.outdated if argument == "OUTDATED" else argument for argument in arguments]
    (tmp_path / "blank.txt").write_text("\n \n")
    outcome = run("doctor", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    [line] = outcome.err.splitlines()
    assert fragment in line
    assert not (tmp_path / "out.txt").exists()


def test_a_blank_file_is_wrong(run, tmp_path):
    (tmp_path / "blank.txt").write_text("\n \n")
    outcome = run("doctor", "--classes", "blank.txt")
    assert outcome.code == 1
    assert "the task has no classes" in outcome.out


@pytest.mark.parametrize("name", ["empty", "ungraphed", "unindexed"])
def test_a_hub_without_an_index_still_lets_names_be_checked(run, hubs, name):
    outcome = run("doctor", "--class", "dog_", "--hub", getattr(hubs, name))
    assert outcome.code == 0
    assert "underscores" in outcome.out
    assert "classes are not compared by their nodes; run `mllctl index build`" in outcome.err


def test_nothing_of_the_hub_is_said_or_changed(run, hubs, ugly):
    before = {path: path.stat().st_mtime_ns for path in hubs.labelled.rglob("*")}
    assert "FAISS" not in run("doctor", "--classes", ugly).out
    assert {path: path.stat().st_mtime_ns for path in hubs.labelled.rglob("*")} == before


@pytest.mark.parametrize("width", [60, 80, 120])
def test_advice_fits_a_terminal(run, ugly, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, run("doctor", "--classes", ugly).out.splitlines())) <= width


@pytest.mark.skipif(not CLASSNAMES.is_dir(), reason="class names of public tasks are not committed")
@pytest.mark.parametrize("task", ["cifar_100", "describable_textures", "food_101", "gtsrb"])
def test_advice_on_a_public_task_is_shorter_than_the_task(run, monkeypatch, task):
    path = CLASSNAMES / f"{task}.txt"
    outcome = run("doctor", "--classes", path)
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) <= len(path.read_text().splitlines())
