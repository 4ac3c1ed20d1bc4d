"""Outcomes in a DuckDB file, with settings, versions and seeds beside each: the view `bench` has all of it.

The file may be one of published results, too. It is open no longer than a function runs; what a function adds is
there as a whole or not at all, and nothing is ever changed.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from mllctl.bench.records import Cell, Outcome, Plan, StoredRun
from mllctl.errors import SourceUnreadable
from mllctl.published.store import opened

SCHEMA = Path(__file__).with_name("schema.sql")


def begin_run(path: Path | str, plan: Plan, fresh: bool = False) -> int:
    """Return the number of a run: of the last one with the same key if that was interrupted, or of a new one.

    Args:
        path: the file; made if there is none.
        plan: of the run.
        fresh: begin a new one in any case.

    Raises:
        SourceUnreadable: if the file cannot be used.
    """
    unfinished = """
        SELECT max(run)::BIGINT FROM bench_run WHERE key = $key AND run NOT IN (SELECT run FROM bench_finished)
    """
    add = """
        INSERT INTO bench_run
        SELECT coalesce(max(run) + 1, 0), $kind, $suite, $command, $key, $settings::JSON, $versions::JSON,
               $missing::VARCHAR[], $started
          FROM bench_run
        RETURNING run::BIGINT
    """
    with _opened(path, write=True) as db:
        [(number,)] = db.execute(unfinished, {"key": plan.key}).fetchall()
        if number is not None and not fresh:
            return int(number)
        facts = {"kind": plan.kind, "suite": plan.suite, "command": plan.command, "key": plan.key}
        json_ = {"settings": json.dumps(plan.settings), "versions": json.dumps(plan.versions)}
        more = {"missing": list(plan.missing), "started": _now()}
        [(number,)] = db.execute(add, {**facts, **json_, **more}).fetchall()
        return int(number)


def add_cells(path: Path | str, run: int, cells: Sequence[Cell]) -> None:
    """Add what methods said and what came of it, all or nothing.

    Raises:
        SourceUnreadable: if the file cannot be used, or some of it is there: another process makes the same run.
    """
    add_cell = """
        INSERT INTO bench_cell
        SELECT $run, unnest($seed)::UINTEGER, unnest($task), unnest($variant), unnest($method),
               unnest($chosen::VARCHAR[][]), unnest($seconds)::DOUBLE
    """
    add_outcome = """
        INSERT INTO bench_outcome
        SELECT $run, unnest($seed)::UINTEGER, unnest($task), unnest($variant), unnest($method), unnest($metric),
               unnest($value::DOUBLE[]), unnest($low::DOUBLE[]), unnest($high::DOUBLE[])
    """
    outcomes = [outcome for cell in cells for outcome in cell.outcomes]
    with _opened(path, write=True) as db:
        for query, rows, names in (
            (add_cell, cells, ("seed", "task", "variant", "method", "chosen", "seconds")),
            (add_outcome, outcomes, ("seed", "task", "variant", "method", "metric", "value", "low", "high")),
        ):
            if rows:
                columns = {name: [_plain(getattr(row, name)) for row in rows] for name in names}
                try:
                    db.execute(query, {"run": run, **columns})
                except duckdb.ConstraintException as error:
                    reason = f"another process makes run {run}, too; wait for it, or begin one of your own with --fresh"
                    raise SourceUnreadable(path, reason) from error


def finish_run(path: Path | str, run: int) -> None:
    """Say that a run is whole.

    Raises:
        SourceUnreadable: if the file cannot be used.
    """
    with _opened(path, write=True) as db:
        db.execute("INSERT INTO bench_finished VALUES ($run, $now)", {"run": run, "now": _now()})


def stored_cells(path: Path | str, run: int) -> set[tuple[int, str, str, str]]:
    """Return seed, task, variant and method of all cells of a run.

    Raises:
        SourceUnreadable: if there is no such file, or it cannot be used.
    """
    query = "SELECT seed::BIGINT, task, variant, method FROM bench_cell WHERE run = $run"
    with _opened(path) as db:
        return set(db.execute(query, {"run": run}).fetchall())


def stored_outcomes(path: Path | str, run: int) -> list[Outcome]:
    """Return all numbers of a run, in an order that does not depend on when they were made.

    Raises:
        SourceUnreadable: if there is no such file, or it cannot be used.
    """
    query = """
          SELECT seed::BIGINT, task, variant, method, metric, value, low, high
            FROM bench_outcome
           WHERE run = $run
        ORDER BY seed, task, variant, method, metric
    """
    with _opened(path) as db:
        return [Outcome(*row) for row in db.execute(query, {"run": run}).fetchall()]


def stored_runs(path: Path | str) -> list[StoredRun]:
    """Return all runs, in the order of their beginning; none of a file that has published results alone.

    Raises:
        SourceUnreadable: if there is no such file, or it cannot be used.
    """
    query = """
          SELECT run::BIGINT, kind, suite, command, key, settings, versions, missing, started, finished,
                 (SELECT count(*)::BIGINT FROM bench_cell AS c WHERE c.run = r.run)
            FROM bench_run AS r LEFT JOIN bench_finished USING (run)
        ORDER BY run
    """
    with opened(path) as db:
        rows = db.execute(query).fetchall() if _has_runs(db) else []
    return [
        StoredRun(
            run,
            Plan(kind, suite, command, key, json.loads(settings), json.loads(versions), tuple(missing)),
            started,
            finished,
            cells,
        )
        for run, kind, suite, command, key, settings, versions, missing, started, finished, cells in rows
    ]


@contextmanager
def _opened(path: Path | str, write: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(path, write) as db:
        if write:
            db.execute(SCHEMA.read_text(encoding="utf-8"))
        elif not _has_runs(db):
            raise SourceUnreadable(path, "no benchmark is in it yet; begin with `mllctl bench run demo`")
        yield db


def _has_runs(db: duckdb.DuckDBPyConnection) -> bool:
    return bool(db.execute("FROM duckdb_tables() WHERE table_name = 'bench_run'").fetchall())


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
