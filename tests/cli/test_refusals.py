"""Every error is one line on stderr with the right exit code, and leaves the hub as it was."""

import shlex

import pytest

# Files a task may be read from; none of them makes one.
FILES = {
    "nothing.txt": b"",
    "blank.txt": b"\n\n \n",
    "gap.txt": b"dog\n\ncat\n",
    "twice.txt": b"dog\ncat\n dog \n",
    "latin.txt": "dog\ncaf\u00e9\n".encode("latin-1"),
    "utf16.txt": "dog\ncat\n".encode("utf-16"),
    "utf16le.txt": "dog\ncat\n".encode("utf-16-le"),
    "picture.png": b"\x89PNG\r\n\x1a\n\x00\x00",
    "other.csv": b"a,b\n1,2\n",
    "norows.csv": b"path,synset\n",
    "latin.csv": "path,synset\n\u00e9.png,dog.n.01\n".encode("latin-1"),
    "table.parquet": b"not Parquet",
}

TASKS = [
    ("select --classes nothing.txt", 2, "the task has no classes"),
    ("select --classes blank.txt", 2, "the task has no classes"),
    ("select --classes gap.txt", 2, "class 2 is empty"),
    ("select --classes twice.txt", 2, "class 'dog' stands twice, as number 1 and 3"),
    ("select --classes latin.txt", 2, "latin.txt is not UTF-8 text (byte 7)"),
    ("select --classes utf16.txt", 2, "utf16.txt is not UTF-8 text"),
    ("select --classes utf16le.txt", 2, "utf16le.txt is not UTF-8 text"),
    ("select --classes picture.png", 2, "picture.png is not UTF-8 text"),
    ("select --classes folder", 2, "folder is a folder"),
    ("select --classes gone.txt", 2, "no file gone.txt"),
    ("select --classes -", 2, "the task has no classes"),
    ("select", 2, "name the classes"),
    ("select --classes gap.txt --class dog", 2, "not both"),
    ("select --class ''", 2, "class 1 is empty"),
    ("select --class dog --class dog", 2, "stands twice"),
    ("select --class dog -k 0", 2, "k must be at least 1, got 0"),
    ("select --class dog -k few", 2, "see `mllctl select --help`"),
    ("select --class dog --alpha 1.5", 2, "alpha must be in [0, 1], got 1.5"),
    ("select --class dog --alpha -0.1", 2, "alpha must be in [0, 1]"),
    ("select --class dog --alpha nan", 2, "alpha must be in [0, 1], got nan"),
    ("select --class dog --nodes 0", 2, "at least 1, got 0"),
    ("select --class dog --examples gone", 1, "gone: no such file or folder"),
    ("select --class dog --examples folder", 1, "folder: no images in this folder"),
    ("select --class dog --unlabelled folder", 1, "folder: no images in this folder"),
    ("select --class dog --examples folder --experts", 2, "leave them out, or --experts"),
    ("predict picture.png", 2, "name the classes"),
    ("predict --class dog", 2, "name images, folders"),
    ("predict gone.png --class dog", 1, "gone.png: no such file or folder"),
    ("predict folder --class dog", 1, "folder: no images in this folder"),
    ("predict picture.png --class dog --weighting loud", 2, "entropy, confidence, uniform, got 'loud'"),
    ("predict picture.png --class dog --template 'a photo'", 2, "must hold {} once"),
    ("predict picture.png --class dog --template '{} {}'", 2, "must hold {} once"),
    ("predict picture.png --class dog -k 0", 2, "k must be at least 1"),
    ("graph show dgo.n.01", 1, "did you mean dog.n.01? `mllctl graph show` lists all"),
    ("graph show dog", 1, "did you mean dog.n.01?"),
    ("graph show democracy.n.01", 1, "no node 'democracy.n.01' in this hub; `mllctl graph show` lists all"),
    ("images list --node dgo.n.01", 1, "did you mean dog.n.01?"),
    ("images list --domain phto", 1, "no domain 'phto' in this hub; it has photo"),
    ("images remove", 2, "nothing to remove"),
    ("images remove 999", 1, "no image '999'"),
    ("images remove first", 2, "see `mllctl images remove --help`"),
    ("images remove --node dgo.n.01", 1, "did you mean dog.n.01?"),
    ("images remove --domain phto", 1, "no domain 'phto'"),
    ("images remove 0 --node car.n.01", 1, "no image '0'"),
    ("images add gone", 1, "gone: no such file or folder"),
    ("images add photos", 2, "some images have no domain; name one with --domain"),
    ("images add folder --domain new", 2, "domain 'new' is new; say what its images look like with --describe"),
    ("images add gone --domain photo", 1, "gone: no such file or folder"),
    ("images add folder --domain photo", 1, "folder: no folders in it"),
    ("images add nothing.txt --domain photo", 1, "not a folder, a .csv or a .parquet file"),
    ("images add other.csv --domain photo", 1, "no column 'path'; it has a, b"),
    ("images add norows.csv --domain photo", 1, "the manifest has no rows"),
    ("images add latin.csv --domain photo", 1, "not UTF-8 text"),
    ("images add table.parquet --domain photo", 1, "not a Parquet file"),
    ("model show fake/00", 1, "did you mean fake/0"),
    ("model show another", 1, "no model 'another' in this hub; `mllctl model list` shows all"),
    ("model remove fake/00", 1, "did you mean fake/0"),
    ("model add another", 1, "a model is named ARCH/TAG"),
    ("model add vit/openai", 1, "open_clip has no architecture 'vit', and vit: is none of the prefixes demo:, hf-hub:"),
    ("label", 2, "name the models to label, or give --all"),
    ("label fake/0 --all", 2, "name the models to label, or give --all"),
    ("label another", 1, "a model is named ARCH/TAG"),
    ("label fake/0 --batch 0", 2, "see `mllctl label --help`"),
    ("label fake/interrupted", 130, "interrupted"),
    ("init HUB", 1, "is a hub already; name it with --hub "),
    ("model show 1", 1, "no model '1' in this hub; did you mean fake/1? `mllctl model list` shows all"),
    ("init nothing.txt", 1, "already holds files"),
    ("init nothing.txt/hub", 1, "not a directory"),
    ("demo build HUB", 1, "is a hub already; name it with --hub "),
    ("demo build folder/..", 1, "already holds files"),
    ("unknown", 2, "no such command 'unknown'; see `mllctl --help`"),
    ("images unknown", 2, "no such command 'unknown'; see `mllctl images --help`"),
    ("select --clas dog", 2, "no such option: --clas"),
    ("select --class", 2, "requires an argument"),
    ("hub info extra", 2, "see `mllctl hub info --help`"),
]

QUERIES = [
    ("", "nothing"),
    ("-- a comment", "nothing"),
    ("selec 1", "syntax error"),
    ("select * from nowhere", "nowhere does not exist"),
    ("select nothing from precision", "nothing"),
    ("select 1; select 2", "SELECT, SELECT"),
    ("select 1; drop view precision", "DROP"),
    ("copy node to 'out.csv'", "COPY"),
    ("attach 'other.duckdb' as other", "ATTACH"),
    ("set enable_external_access = true", "SET"),
    ("reset lock_configuration", "not"),
    ("pragma database_list", "PRAGMA"),
    ("create table more as select 1", "CREATE"),
    ("install httpfs", "not"),
    ("delete from catalog.node", "DELETE"),
    ("select * from read_text('nothing.txt')", "nothing.txt"),
    ("select * from read_csv('other.csv')", "other.csv"),
    ("from 'table.parquet'", "table.parquet"),
    ("select * from glob('*')", "disabled"),
    ("select error('two\nlines')", "two lines"),
]

STAGES = [
    ("labelled", "hub info --hub nowhere", 1, "no hub at nowhere; create one with `mllctl init nowhere`"),
    ("labelled", "hub info --hub nothing.txt", 1, "nothing.txt; it is a file"),
    ("labelled", "hub info --hub folder", 1, "no hub at folder"),
    ("empty", "graph build", 1, "no images to build a graph from; run `mllctl images add"),
    ("empty", "index build", 1, "run `mllctl graph build`"),
    ("empty", "label fake/0", 1, "run `mllctl images add"),
    ("empty", "select --class dog", 1, "no caption index; run `mllctl index build`"),
    ("empty", "predict picture.png --class dog", 1, "no caption index; run `mllctl index build`"),
    ("empty", "evaluate", 1, "no model of the hub is labelled; run `mllctl label --all`"),
    ("ungraphed", "index build", 1, "run `mllctl graph build`"),
    ("ungraphed", "label fake/0", 1, "run `mllctl graph build`"),
    ("unindexed", "select --class dog", 1, "no caption index; run `mllctl index build`"),
    ("unlabelled", "select --class dog", 1, "run `mllctl label --all`"),
    ("unlabelled", "evaluate", 1, "run `mllctl label --all`"),
    ("outdated", "select --class dog", 1, "index is older than its captions"),
    ("outdated", "predict picture.png --class dog", 1, "index is older than its captions"),
    ("sealed", "images add folder --domain photo", 1, "the bundled demo hub is read-only"),
    ("sealed", "images remove 0", 1, "read-only"),
    ("sealed", "graph build", 1, "read-only"),
    ("sealed", "index build", 1, "read-only"),
    ("sealed", "model add fake/new", 1, "`mllctl demo build DIR`"),
    ("sealed", "model remove fake/0", 1, "read-only"),
    ("sealed", "label fake/new", 1, "read-only"),
    ("sealed", "label --all", 1, "read-only"),
    ("truncated", "hub info", 1, "is truncated"),
    ("truncated", "select --class dog", 1, "is truncated"),
    ("scrambled", "hub info", 1, "is damaged"),
    ("scrambled", "graph build", 1, "is damaged"),
    ("unreadable_index", "select --class dog", 1, "is not an index"),
    ("no_json", "hub info", 1, "manifest.json cannot be read"),
    ("no_json", "label fake/0", 1, "manifest.json cannot be read"),
    ("foreign_json", "hub info", 1, "manifest.json cannot be read"),
    ("too_new", "hub info", 1, "has schema version 99"),
]


@pytest.fixture(autouse=True)
def files(world, photos, tmp_path):
    (tmp_path / "folder").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)


def check_refusal(outcome, code, fragment):
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    [line] = outcome.err.splitlines()
    assert line.startswith("mllctl: ")
    assert fragment in line


def names_and_times(hub):
    return {path: path.stat().st_mtime_ns for path in hub.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize(("command", "code", "fragment"), TASKS)
def test_a_wrong_command_is_one_line(run, hubs, monkeypatch, command, code, fragment):
    monkeypatch.setenv("MLLCTL_HUB", str(hubs.labelled))
    before = names_and_times(hubs.labelled)
    check_refusal(run(*shlex.split(command.replace("HUB", str(hubs.labelled)))), code, fragment)
    assert names_and_times(hubs.labelled) == before


@pytest.mark.parametrize(("query", "fragment"), QUERIES)
def test_a_query_that_is_no_question_is_one_line(run, hubs, tmp_path, query, fragment):
    before = set(tmp_path.rglob("*"))
    outcome = run("sql", "--hub", hubs.labelled, "--json", "--", query)
    check_refusal(outcome, 1, "query refused: ")
    assert fragment in outcome.err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("hub", "command", "code", "fragment"), STAGES)
def test_a_hub_that_cannot_answer_is_one_line(run, hubs, monkeypatch, hub, command, code, fragment):
    monkeypatch.setenv("MLLCTL_HUB", str(getattr(hubs, hub)))
    before = names_and_times(getattr(hubs, hub))
    check_refusal(run(*shlex.split(command)), code, fragment)
    assert names_and_times(getattr(hubs, hub)) == before


@pytest.mark.parametrize(
    "command", ["label --all", "index build", "images remove 0", "model remove fake/0", "graph build"]
)
def test_to_change_the_bundled_hub_is_one_line(run, hubs, monkeypatch, command):
    for name in ("mllctl.hub.finding.bundled_hub", "mllctl_cli.options.bundled_hub"):
        monkeypatch.setattr(name, lambda: hubs.sealed)
    check_refusal(run(*command.split()), 1, "the bundled demo hub is read-only")


def test_doctor_says_what_is_wrong_with_every_hub_but_a_good_one(run, hubs):
    for name, path in vars(hubs).items():
        outcome = run("doctor", "--hub", path, "--json")
        wrong = [finding["what"] for finding in outcome.json if not finding["well"]]
        well = name in ("labelled", "sealed")
        assert (outcome.code, bool(wrong)) == ((0, False) if well else (1, True)), name


def test_a_hub_that_another_process_changes_is_one_line(run, hubs, tmp_path):
    from filelock import FileLock

    with FileLock(hubs.labelled / ".lock"):
        check_refusal(run("graph", "build", "--hub", hubs.labelled), 1, "another process is changing")


def test_no_command_at_all_shows_the_help_and_counts_as_wrong_usage(run):
    outcome = run()
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Exit codes" in outcome.err
