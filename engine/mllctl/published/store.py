"""Published results in one DuckDB file: `append_results` adds an import, `stored_results` gives them back.

The SQL is here and not in `hub`: results belong to no hub, are shared by all of them, and have no generations; rows
are only added. The file is open no longer than a function runs, and a process that is killed leaves it as it was.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import duckdb

from mllctl.errors import SourceUnreadable
from mllctl.published.records import Imported, Result

SCHEMA = Path(__file__).with_name("schema.sql")
VERSION = 1
PATIENCE = 60.0  # seconds to wait for another process that has the file open


@dataclass(frozen=True)
class StoredSource:
    """What is stored of one source.

    Attributes:
        source: its name.
        results, models, datasets: how many.
        notes: of its imports, in their order.
        paths: of the files that were imported, as they were named, each once.
    """

    source: str
    results: int
    models: int
    datasets: int
    notes: tuple[str, ...]
    paths: tuple[str, ...]


def append_results(path: Path | str, imported: Imported) -> int:
    """Add what was imported to a file of results, which is made if there is none; return how many were new.

    What is stored already, with the same value, is left as it is: to import a file again adds nothing.

    Raises:
        SourceUnreadable: if a result is stored with another value of the same source, or the file cannot be used;
            nothing is added then.
    """
    add_import = """
        INSERT INTO import
        SELECT coalesce(max(import) + 1, 0), $path, $format, $notes::VARCHAR[], $mllctl, $imported
          FROM import
        RETURNING import
    """
    add_results = """
          INSERT INTO results
          SELECT $import, line, model, dataset, metric, value, unit, protocol, source
            FROM given
           WHERE NOT EXISTS (FROM results AS r
                            WHERE (r.model, r.dataset, r.metric, r.protocol, r.source)
                                = (given.model, given.dataset, given.metric, given.protocol, given.source))
        ORDER BY line
        RETURNING line
    """
    with opened(path, write=True) as db:
        _give(db, imported)
        _refuse_contradictions(db, path, imported)
        facts = {"path": imported.path, "format": imported.format, "notes": list(imported.notes)}
        made = {"mllctl": version("mllctl"), "imported": datetime.now(UTC).replace(tzinfo=None)}
        [(number,)] = db.execute(add_import, {**facts, **made}).fetchall()
        return len(db.execute(add_results, {"import": number}).fetchall())


def stored_results(path: Path | str, source: str | None = None) -> list[Result]:
    """Return all results, or those of one source, in the order of their import.

    Raises:
        SourceUnreadable: if there is no such file, or it cannot be used.
    """
    query = """
          SELECT model, dataset, metric, value, unit, protocol, source
            FROM results
           WHERE $source IS NULL OR source = $source
        ORDER BY import, line
    """
    with opened(path) as db:
        return [Result(*row) for row in db.execute(query, {"source": source}).fetchall()]


def stored_sources(path: Path | str) -> list[StoredSource]:
    """Return what there is of each source, by name.

    Raises:
        SourceUnreadable: if there is no such file, or it cannot be used.
    """
    query = """
            WITH told AS (
                 SELECT source, flatten(list(notes ORDER BY import)) AS notes, list(DISTINCT path) AS paths
                   FROM (SELECT DISTINCT source, import FROM results) JOIN import USING (import)
               GROUP BY source)
          SELECT source, count(*)::BIGINT, count(DISTINCT model)::BIGINT, count(DISTINCT dataset)::BIGINT,
                 any_value(notes), list_sort(any_value(paths))
            FROM results JOIN told USING (source)
        GROUP BY source
        ORDER BY source
    """
    with opened(path) as db:
        rows = db.execute(query).fetchall()
    return [
        StoredSource(source, results, models, datasets, tuple(notes), tuple(paths))
        for source, results, models, datasets, notes, paths in rows
    ]


def _give(db: duckdb.DuckDBPyConnection, imported: Imported) -> None:
    """Make a temporary table of what was imported."""
    query = """
        CREATE TEMP TABLE given AS
        SELECT unnest($line)::UINTEGER AS line, unnest($model)::VARCHAR AS model, unnest($dataset)::VARCHAR AS dataset,
               unnest($metric)::VARCHAR AS metric, unnest($value)::DOUBLE AS value, unnest($unit)::VARCHAR AS unit,
               unnest($protocol)::VARCHAR AS protocol, unnest($source)::VARCHAR AS source
    """
    names = ("model", "dataset", "metric", "value", "unit", "protocol", "source")
    columns: dict[str, list[object]] = {name: [getattr(r, name) for r in imported.results] for name in names}
    db.execute(query, {"line": list(range(len(imported.results))), **columns})


def _refuse_contradictions(db: duckdb.DuckDBPyConnection, path: Path | str, imported: Imported) -> None:
    query = """
          SELECT given.metric, given.model, given.dataset, given.value, results.value, given.source
            FROM given JOIN results USING (model, dataset, metric, protocol, source)
           WHERE given.value <> results.value
        ORDER BY given.line
           LIMIT 1
    """
    for metric, model, dataset, value, stored, source in db.execute(query).fetchall():
        said = f"{metric} of {model} on {dataset} is {value:g}, and {stored:g} in {path}, both of source {source!r}"
        raise SourceUnreadable(imported.path, f"{said}; import it under another name with `--source`")


@contextmanager
def opened(path: Path | str, write: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file of results; what is written is committed as a whole, or not at all."""
    if not write and not Path(path).exists():
        raise SourceUnreadable(path, "no such file of results; `mllctl bench run` or `mllctl bench import` makes one")
    try:
        with _connected(path, write) as db:
            db.execute("BEGIN")
            # Asked of the file and not of the folder: a first import that was killed leaves a file without tables.
            if write and not db.execute("FROM duckdb_tables()").fetchall():
                db.execute(SCHEMA.read_text(encoding="utf-8"))
            _need_layout(db, path)
            yield db
            db.execute("COMMIT")
    except duckdb.ConnectionException as error:
        raise SourceUnreadable(path, "it is open here already; close it first") from error
    except duckdb.IOException as error:
        if "lock" in str(error):
            reason = f"another process has had it open for {PATIENCE:.0f} s; close it there, then try again"
            raise SourceUnreadable(path, reason) from error
        raise SourceUnreadable(path, "not a DuckDB file, or no place for one; name another") from error


def _connected(path: Path | str, write: bool) -> duckdb.DuckDBPyConnection:
    """Connect; wait for another process, which may be looking at a run that is not done yet."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return duckdb.connect(str(path), read_only=not write)
        except duckdb.IOException as error:
            if "lock" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.1)


def _need_layout(db: duckdb.DuckDBPyConnection, path: Path | str) -> None:
    try:
        found = db.execute("SELECT version FROM layout").fetchall()
    except duckdb.CatalogException as error:
        raise SourceUnreadable(path, "a DuckDB file, but not of results; name another") from error
    if found != [(VERSION,)]:
        versions = ", ".join(str(number) for (number,) in found)
        raise SourceUnreadable(path, f"results of layout {versions}, this mllctl reads {VERSION}; name another file")
