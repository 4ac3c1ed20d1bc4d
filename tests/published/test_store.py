import subprocess
import sys
from dataclasses import replace

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllctl.errors import SourceUnreadable
from mllctl.published import Imported, Result, append_results, store, stored_results, stored_sources


def result(model="a/b", dataset="MNIST", value=0.5, source="S", protocol=""):
    return Result(model, dataset, "acc1", value, "fraction", protocol, source)


def imported(*results, notes=("said",), path="file.csv"):
    return Imported(path, "long", results, notes)


# A value of each key, so that none contradicts another; keys that come again are common.
batches = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("XY"), st.sampled_from("ST")), unique=True), max_size=4
)


@settings(max_examples=40)  # each makes a file
@given(batches)
def test_what_is_appended_is_there_once_in_the_order_it_came(tmp_path_factory, batches):
    path = tmp_path_factory.mktemp("store") / "results.duckdb"
    expected = []
    for batch in batches:
        given_ = [result(m, d, 0.1 if s == "S" else 0.3, s) for m, d, s in batch]
        new = [r for r in given_ if r not in expected]
        assert append_results(path, imported(*given_)) == len(new)
        expected += new
    if batches:
        assert stored_results(path) == expected
        assert stored_results(path, "T") == [r for r in expected if r.source == "T"]
        assert [s.results for s in stored_sources(path)] == [
            sum(r.source == name for r in expected) for name in sorted({r.source for r in expected})
        ]


def test_two_sources_of_the_same_result_stay_two_rows(tmp_path):
    path = tmp_path / "results.duckdb"
    append_results(path, imported(result(source="A", value=0.7)))
    append_results(path, imported(result(source="B", value=0.7), result(source="A", value=0.6, protocol="tuned")))
    assert [(r.source, r.value) for r in stored_results(path)] == [("A", 0.7), ("B", 0.7), ("A", 0.6)]


def test_a_source_that_contradicts_itself_is_refused_and_nothing_is_added(tmp_path):
    path = tmp_path / "results.duckdb"
    append_results(path, imported(result()))
    again = imported(result("new/model"), result(value=0.6), path="again.csv")
    with pytest.raises(SourceUnreadable) as refused:
        append_results(path, again)
    assert str(refused.value) == (
        f"again.csv: acc1 of a/b on MNIST is 0.6, and 0.5 in {path}, both of source 'S'; "
        "import it under another name with `--source`"
    )
    assert stored_results(path) == [result()]
    assert stored_sources(path)[0].notes == ("said",)


def test_notes_of_all_imports_stay_with_their_source(tmp_path):
    path = tmp_path / "results.duckdb"
    append_results(path, imported(result(), notes=("first", "percent")))
    append_results(path, imported(result("c/d"), notes=("second",)))
    [source] = stored_sources(path)
    assert (source.results, source.models, source.datasets) == (2, 2, 1)
    assert source.notes == ("first", "percent", "second")


def test_names_are_values_and_never_sql(tmp_path):
    path = tmp_path / "results.duckdb"
    name = "x'); DROP TABLE results; --"
    append_results(path, imported(result(name, name, source=name)))
    assert stored_results(str(path), name) == [result(name, name, source=name)]


def test_a_first_import_that_was_killed_leaves_a_file_that_can_be_used(tmp_path):
    path = tmp_path / "results.duckdb"
    duckdb.connect(str(path)).close()
    with pytest.raises(SourceUnreadable, match="a DuckDB file, but not of results"):
        stored_results(path)
    assert append_results(path, imported(result())) == 1


def test_a_file_that_is_none_of_ours_is_refused(tmp_path):
    with pytest.raises(SourceUnreadable, match="no such file of results; `mllctl bench run`"):
        stored_results(tmp_path / "none.duckdb")
    (tmp_path / "text.duckdb").write_text("not a database" * 1000)
    with pytest.raises(SourceUnreadable, match="not a DuckDB file"):
        stored_results(tmp_path / "text.duckdb")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as db:
        db.execute("CREATE TABLE other (n INTEGER)")
    with pytest.raises(SourceUnreadable, match="a DuckDB file, but not of results; name another"):
        append_results(tmp_path / "other.duckdb", imported(result()))
    append_results(tmp_path / "later.duckdb", imported(result()))
    with duckdb.connect(str(tmp_path / "later.duckdb")) as db:
        db.execute("UPDATE layout SET version = 2")
    with pytest.raises(SourceUnreadable, match="results of layout 2, this mllctl reads 1"):
        stored_results(tmp_path / "later.duckdb")


def test_a_file_that_another_process_writes_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    path = tmp_path / "results.duckdb"
    append_results(path, imported(result()))
    hold = "import duckdb, sys; db = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SourceUnreadable, match="another process has had it open for 0 s"):
            append_results(path, imported(replace(result(), value=0.5)))
        other.communicate()
    assert append_results(path, imported(result())) == 0
