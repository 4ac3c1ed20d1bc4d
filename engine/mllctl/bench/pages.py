"""`write_report`: what runs come to, as one HTML page, as Markdown with its charts, and as CSV."""

import csv
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mllctl.bench.records import KINDS, StoredRun
from mllctl.bench.sections import Section, Table, run_sections
from mllctl.bench.store import stored_outcomes, stored_runs
from mllctl.errors import InvalidTask
from mllctl.files import write_whole
from mllctl.published import paper_slips

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.5rem }
nav a { margin-right: 1rem; white-space: nowrap }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem }
td, th { padding: .15rem .8rem .15rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid #eee }
td:first-child, th:first-child { text-align: left; position: sticky; left: 0; background: #fff }
td.said { text-align: left; white-space: normal; min-width: 26rem }
code { background: #f3f3f3; padding: .1rem .3rem; overflow-wrap: anywhere } svg { max-width: 100%; height: auto }
.facts { font-size: .85rem; color: #555 }
"""


def choose_runs(path: Path, numbers: Sequence[int] = ()) -> list[StoredRun]:
    """Return the runs of a report: those that are named, else the last whole one of each suite and kind of run.

    Two ablations of other options, two kinds of sub-hubs, or runs of all methods and of some, are other kinds.

    Raises:
        InvalidTask: if there is no such run, or none is whole.
        SourceUnreadable: if the file cannot be used.
    """
    runs = {one.run: one for one in stored_runs(path)}
    if numbers:
        if unknown := next((number for number in numbers if number not in runs), None):
            raise InvalidTask(f"no run {unknown} in {path}; `mllctl bench list` shows them")
        return [runs[number] for number in numbers]
    last: dict[tuple[str, ...], StoredRun] = {}
    for one in runs.values():
        if one.finished:
            last[one.plan.suite, one.plan.kind, *_kept(one.plan.settings["options"])] = one
    if not last:
        raise InvalidTask(f"no run in {path} is whole; `mllctl bench run demo` makes one")
    suites = list(dict.fromkeys(one.plan.suite for one in last.values()))
    return sorted(last.values(), key=lambda one: (suites.index(one.plan.suite), KINDS.index(one.plan.kind), one.run))


def _kept(options: Sequence[str]) -> list[str]:
    """Return the options that make another kind of run: names, not values."""
    names = {word for word in options if word.startswith("--")}
    return sorted(names - {"--seed", "--orders", "--count", "--size"})


def write_report(path: Path, folder: Path, runs: Sequence[StoredRun]) -> list[Section]:
    """Write `report.html`, which has all in it, `report.md`, and a CSV or SVG file for each section.

    Args:
        path: the file of results.
        folder: made if there is none; files of the same names are replaced.
        runs: of `choose_runs`.

    Raises:
        SourceUnreadable: if the file of results cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections: list[Section] = []
    for one in runs:
        taken = {section.key for section in sections}
        for section in run_sections(one, stored_outcomes(path, one.run)):
            again = section.key in taken
            sections.append(_apart(section, one.run) if again else section)
    for section in sections:
        if section.table:
            write_whole(folder / f"{section.key}.csv", _csv(section.table))
        if section.figure:
            write_whole(folder / f"{section.key}.svg", section.figure)
    write_whole(folder / "report.md", _markdown(runs, sections))
    write_whole(folder / "report.html", _html(runs, sections))
    return sections


def _apart(section: Section, run: int) -> Section:
    """Give a section names of its own, where another run has one of the same."""
    return replace(section, key=f"{section.key}-run-{run}", title=f"{section.title}, run {run}")


def _facts(run: StoredRun) -> str:
    made = ", ".join(f"{name} {value}" for name, value in run.plan.versions.items())
    seeds = ", ".join(map(str, run.plan.settings["seeds"]))
    whole = "" if run.finished else " It is not finished: some numbers are missing."
    return f"Run {run.run}, {run.started:%Y-%m-%d %H:%M} UTC, seeds {seeds}; {made}.{whole}"


def _missing(runs: Iterable[StoredRun]) -> list[str]:
    return list(dict.fromkeys(f"{run.plan.suite}: {line}" for run in runs for line in run.plan.missing))


# -- formats --------------------------------------------------------------------------------------------


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return out.getvalue()


def _markdown(runs: Sequence[StoredRun], sections: Sequence[Section]) -> str:
    parts = ["# Benchmark", *(f"`{run.plan.command}`: {_facts(run)}" for run in runs)]
    for section in sections:
        parts += [f"## {section.title}", section.text, f"Made by `{section.command}`."]
        if section.figure:
            parts.append(f"![{section.title}]({section.key}.svg)")
        if section.table:
            parts.append(_markdown_table(section.table))
    parts += ["## The paper's slips", "\n".join(f"- {slip}" for slip in paper_slips())]
    if missing := _missing(runs):
        parts += ["## What is missing", "\n".join(f"- {line}" for line in missing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(table: Table) -> str:
    lines = [table.columns, ("---",) * len(table.columns)]
    for row, best in zip(table.rows, table.best or (frozenset[int](),) * len(table.rows), strict=True):
        lines.append(tuple(f"**{cell}**" if n in best else cell for n, cell in enumerate(row)))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _html(runs: Sequence[StoredRun], sections: Sequence[Section]) -> str:
    links = "".join(f'<a href="#{_text(one.key)}">{_text(one.title)}</a> ' for one in sections)
    parts = ["<h1>Benchmark</h1>", f"<nav>{links}</nav>"]
    parts += [f'<p class="facts"><code>{_text(run.plan.command)}</code> {_text(_facts(run))}</p>' for run in runs]
    for section in sections:
        parts.append(f'<h2 id="{_text(section.key)}">{_text(section.title)}</h2><p>{_text(section.text)}</p>')
        parts.append(f'<p class="facts">Made by <code>{_text(section.command)}</code></p>')
        parts.append(section.figure or "")
        parts.append(_html_table(section.table) if section.table else "")
    parts.append(f"<h2>The paper's slips</h2>{_list([str(slip) for slip in paper_slips()])}")
    if missing := _missing(runs):
        parts.append(f"<h2>What is missing</h2>{_list(missing)}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>mllctl benchmark</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{_text(column)}</th>" for column in table.columns)
    rows = []
    for row, best in zip(table.rows, table.best or (frozenset[int](),) * len(table.rows), strict=True):
        cells = [f"<b>{_text(cell)}</b>" if n in best else _text(cell) for n, cell in enumerate(row)]
        said = [' class="said"' if n and len(cell) > 40 else "" for n, cell in enumerate(row)]
        rows.append("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(said, cells, strict=True)))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _text(value: str) -> str:
    return html.escape(value)
