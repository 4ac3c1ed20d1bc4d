"""`bench run|report|ablate|grow|subhubs|import|list`: methods on tasks whose truth is known, every number kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer

import mllctl
from mllctl.bench import (
    FACTORS,
    GROWN,
    MEAN,
    SUBHUB_METHODS,
    Comparison,
    Ground,
    Row,
    Suite,
    by_number,
    check_method,
    choose_runs,
    compare,
    hub_ground,
    mean_rows,
    methods_for,
    methods_of_fewer,
    order_of,
    plan_run,
    present_tasks,
    published_ground,
    read_suite,
    read_values,
    run_ablation,
    run_growth,
    run_subhubs,
    run_suite,
    shipped_suites,
    stored_outcomes,
    stored_runs,
    task_rows,
    write_report,
)
from mllctl.errors import InvalidTask
from mllctl.hub import cache_folder
from mllctl.methods import METHODS
from mllctl.published import FORMATS, Imported, append_results, read_results, stored_results, stored_sources
from mllctl.published.records import Unit
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path, index_encoder

DEFAULT_RESULTS = Path("bench.duckdb")
SUBHUB_SIZE = 12


def _known_methods(names: list[str] | None) -> list[str] | None:
    for name in names or ():
        check_method(name)
    return names


def _factor(name: str) -> Any:
    return typer.Option(f"--{name}", metavar="VALUES", help=f"{FACTORS[name].about}.", show_default=False)


SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="demo, mll17, published, or a file FILE.toml.", show_default=False)
]
ResultsOption = Annotated[
    Path, typer.Option("--results", metavar="FILE", help="DuckDB file of results; made if there is none.")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Where a suite's folders of images are.", show_default=False),
]
SeedOption = Annotated[
    list[int] | None,
    typer.Option(
        "--seed", metavar="N", min=0, max=2**32 - 1, help="Of methods that draw; may be repeated.", show_default=False
    ),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME",
        callback=_known_methods,
        help="A method to ask; may be repeated.",
        show_default=False,
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="Of published results: whose.", show_default=False),
]
MetricOption = Annotated[
    str | None,
    typer.Option("--metric", metavar="NAME", help="Of published results: which metric.", show_default=False),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option("--protocol", metavar="NAME", help="Of published results: how measured.", show_default=False),
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Begin anew, even where an interrupted run could go on.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    bench = typer.Typer(no_args_is_help=True, help="The benchmark: methods x tasks x hubs.")
    for command in (run, ablate, grow, subhubs, report):
        bench.command()(command)
    bench.command("import")(import_)
    bench.command("list")(list_)
    app.add_typer(bench, name="bench")


def run(
    suite: SuiteArgument,
    method: MethodOption = None,
    seed: SeedOption = None,
    source: SourceOption = None,
    metric: MetricOption = None,
    protocol: ProtocolOption = None,
    data: DataOption = None,
    results: ResultsOption = DEFAULT_RESULTS,
    fresh: FreshOption = False,
    tasks: Annotated[bool, typer.Option("--tasks", help="Show every task, not only the means.")] = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Ask every method on every task of a suite.

    What comes of it is added to the results, with settings, versions and seeds; nothing is overwritten. demo is thirty
    tasks that are shipped, asked of a hub; published looks up what was imported into the results; mll17 declares the
    paper's benchmark and runs what of it is in --data. Methods that a suite cannot answer are left out and said.
    Interrupted, the same command goes on where it was; the same command again is a run of its own, with the same
    numbers. Intervals are the middle 90 % over the images of a task, of means over the tasks.

    Example: mllctl bench run demo --hub ./demo-hub
    """
    declared = read_suite(suite)
    seeds = tuple(dict.fromkeys(seed or declared.seeds))
    published = _published(declared, source, metric, protocol)
    options = [*_repeated("--method", method), *_repeated("--seed", seed), *_words(published)]
    wanted = method or declared.methods or tuple(METHODS)
    texts = any(METHODS[name].need == "texts" for name in wanted)
    with _ground(declared, results, data, seeds, hub, published, texts) as ground:
        methods, left = methods_for(declared, ground, method or ())
        for line in left:
            render.say(f"left out {line}")
        names = [one.name for one in methods]
        if declared.against not in names:
            render.say(f"{declared.against} is not asked: nothing is compared with it")
        plan = plan_run(declared, ground, "run", names, seeds, options, _where(data, hub, results))
        with render.progress("tasks") as progress:
            number = run_suite(results, declared, ground, methods, seeds, plan, fresh, progress)
    _tell(declared, results, number, tasks, json)


def ablate(
    suite: SuiteArgument,
    alpha: Annotated[str | None, _factor("alpha")] = None,
    k: Annotated[str | None, _factor("k")] = None,
    nodes: Annotated[str | None, _factor("nodes")] = None,
    estimator: Annotated[str | None, _factor("estimator")] = None,
    matching: Annotated[str | None, _factor("matching")] = None,
    weighting: Annotated[str | None, _factor("weighting")] = None,
    seed: SeedOption = None,
    data: DataOption = None,
    results: ResultsOption = DEFAULT_RESULTS,
    fresh: FreshOption = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Change one option of the selection at a time.

    All others are as they are. Each value is asked of MLL as the paper has it and of ours, with one and with three
    models a class. Several options are changed one after the other, not together. LOW..HIGH goes in steps of 0.1 for
    alpha, else of 1.

    Example: mllctl bench ablate demo --alpha 0.5..0.9 --k 1..6
    """
    given = {"alpha": alpha, "k": k, "nodes": nodes, "estimator": estimator, "matching": matching}
    texts = {name: text for name, text in {**given, "weighting": weighting}.items() if text is not None}
    if not texts:
        raise InvalidTask("name an option to change, such as --alpha 0.5..0.9")
    values = {name: read_values(FACTORS[name], text) for name, text in texts.items()}
    declared = read_suite(suite)
    seeds = tuple(dict.fromkeys(seed or declared.seeds))
    options = [word for name, text in texts.items() for word in (f"--{name}", text)]
    options += _repeated("--seed", seed)
    with _ground(declared, results, data, seeds, hub, {}) as ground:
        plan = plan_run(declared, ground, "ablate", (), seeds, options, _where(data, hub, results))
        with render.progress("tasks") as progress:
            number = run_ablation(results, ground, values, seeds, plan, fresh, progress)
    _tell_variants(results, number, json)


def grow(
    suite: SuiteArgument,
    orders: Annotated[int, typer.Option("--orders", metavar="N", min=1, help="Random orders of models.")] = 30,
    method: MethodOption = None,
    source: SourceOption = None,
    metric: MetricOption = None,
    protocol: ProtocolOption = None,
    data: DataOption = None,
    results: ResultsOption = DEFAULT_RESULTS,
    fresh: FreshOption = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Let the hub grow in random orders, model by model.

    Example: mllctl bench grow demo --orders 30
    """
    declared = read_suite(suite)
    published = _published(declared, source, metric, protocol)
    options = ["--orders", str(orders), *_repeated("--method", method), *_words(published)]
    with _ground(declared, results, data, declared.seeds, hub, published) as ground:
        methods = methods_of_fewer(ground, method or (), GROWN)
        names = [one.name for one in methods]
        plan = plan_run(declared, ground, "grow", names, (0,), options, _where(data, hub, results))
        with render.progress("tasks") as progress:
            number = run_growth(results, ground, methods, orders, plan, fresh, progress)
    _tell_variants(results, number, json)


def subhubs(
    suite: SuiteArgument,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many sub-hubs.")] = 300,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", metavar="N", min=2, help="Models of each; 12, or half of a smaller hub.", show_default=False
        ),
    ] = None,
    budget: Annotated[bool, typer.Option("--budget", help="Models above a drawn size cannot be chosen.")] = False,
    method: MethodOption = None,
    source: SourceOption = None,
    metric: MetricOption = None,
    protocol: ProtocolOption = None,
    data: DataOption = None,
    results: ResultsOption = DEFAULT_RESULTS,
    fresh: FreshOption = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Let methods choose in random sub-hubs.

    There one good model does not decide everything. With --budget the parameters of a model of each sub-hub are drawn,
    and what is larger cannot be chosen.

    Example: mllctl bench subhubs demo --count 300 --size 6
    """
    declared = read_suite(suite)
    sized = _given("--size", size)
    options = ["--count", str(count), *sized, *(["--budget"] if budget else []), *_repeated("--method", method)]
    published = _published(declared, source, metric, protocol)
    options += _words(published)
    with _ground(declared, results, data, declared.seeds, hub, published) as ground:
        methods = methods_of_fewer(ground, method or (), SUBHUB_METHODS)
        names = [one.name for one in methods]
        plan = plan_run(declared, ground, "subhubs", names, (0,), options, _where(data, hub, results))
        wanted = size or max(2, min(SUBHUB_SIZE, len(ground.models) // 2))
        with render.progress("tasks") as progress:
            number = run_subhubs(results, ground, methods, count, wanted, budget, plan, fresh, progress)
    _tell_variants(results, number, json)


def report(
    runs: Annotated[
        list[int] | None, typer.Argument(metavar="RUN...", help="Numbers of runs; the last of each kind.", min=0)
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder; files of the same names are replaced.")
    ] = Path("bench-report"),
    results: ResultsOption = DEFAULT_RESULTS,
    json: JsonOption = False,
) -> None:
    """Write what runs come to as pages, tables and figures.

    report.html opens in a browser and has all in it; beside it are report.md, CSV and SVG. Tables and figures name the
    command that makes them again. With runs of demo, ablate and grow in the results, the paper's Figures 1 and 3 and
    its Tables 1 to 4 are there for the demo hub.

    Example: mllctl bench report --out bench-report
    """
    sections = write_report(results, out, choose_runs(results, runs or ()))
    if json:
        shown = [{"key": one.key, "title": one.title, "command": one.command} for one in sections]
        render.print_json({"report": str(out / "report.html"), "sections": shown})
        return
    render.print_table(("section", "made by"), [(one.title, one.command) for one in sections])
    render.say(f"wrote {out / 'report.html'}")


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV, JSON or a folder of JSON.")],
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Whose results they are.", show_default=False)
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help=f"Of {', '.join(FORMATS)}; told by the columns.", show_default=False
        ),
    ] = None,
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="NAME", help="How measured, where the file does not say.")
    ] = "",
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", metavar="NAME", help="fraction or percent, where the file does not say.", show_default=False
        ),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
    json: JsonOption = False,
) -> None:
    """Add results that others published.

    Those are open_clip's, CLIP_benchmark's and LOVM's tables, or files with a row a result. Model, data set, metric,
    value, unit, protocol and source are kept of each; what was converted, renamed or left out is said. Two sources are
    never pooled; one that no file and no option names has the name of the file. All files are read before the first is
    added, and to import one again adds nothing.

    Example: mllctl bench import openclip_results.csv
    """
    for name, value, known in (("--format", format, FORMATS), ("--unit", unit, ("fraction", "percent"))):
        if value is not None and value not in known:
            raise InvalidTask(f"no {name} {value}; there are {', '.join(known)}")
    read = [read_results(file, format, source, protocol, cast("Unit | None", unit)) for file in files]
    told = []
    for file, imported in zip(files, read, strict=True):
        for name, path in _others_of_source(results, imported):
            render.say(f"{file}: source {name!r} has results of {path}, too; if they are not the same's, give --source")
        added = append_results(results, imported)
        for note in imported.notes:
            render.say(f"{file}: {note}")
        told.append({"file": str(file), "format": imported.format, "results": len(imported.results), "added": added})
    if json:
        render.print_json(told)
        return
    render.print_table(tuple(told[0]), [tuple(row.values()) for row in told], ("results", "added"))


def _others_of_source(results: Path, imported: Imported) -> list[tuple[str, str]]:
    """Return the sources of an import that other files were imported under, with the first of these."""
    if not results.exists():
        return []
    sources = {result.source for result in imported.results}
    others = [(one.source, sorted({*one.paths} - {imported.path})) for one in stored_sources(results)]
    return [(source, paths[0]) for source, paths in others if source in sources and paths]


def list_(results: ResultsOption = DEFAULT_RESULTS, json: JsonOption = False) -> None:
    """Show the suites, and the runs and imports of a file of results.

    Example: mllctl bench list
    """
    if results != DEFAULT_RESULTS and not results.exists():
        render.say(f"there is no {results} yet")
    suites = [{"suite": one.name, "kind": one.kind, "about": one.about} for one in shipped_suites().values()]
    runs, imports = _stored(results)
    if json:
        methods = [{"method": one.name, "sees": one.sees, "about": one.about} for one in METHODS.values()]
        render.print_json({"suites": suites, "methods": methods, "runs": runs, "imports": imports})
        return
    render.print_table(tuple(suites[0]), [tuple(row.values()) for row in suites])
    render.print_line()
    shown = [(one.name, one.sees, one.about) for one in METHODS.values()]
    render.print_table(("method", "sees", "about"), shown)
    for rows in (runs, imports):
        if rows:
            render.print_line()
            render.print_table(tuple(rows[0]), [tuple(row.values()) for row in rows])


def _stored(results: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the runs and imports of a file that may not be there yet."""
    if not results.exists():
        return [], []
    imports = [
        {"source": one.source, "results": one.results, "models": one.models, "datasets": one.datasets}
        for one in stored_sources(results)
    ]
    runs = [
        {
            "run": one.run,
            "kind": one.plan.kind,
            "suite": one.plan.suite,
            "started": f"{one.started:%Y-%m-%d %H:%M}",
            "finished": f"{one.finished:%Y-%m-%d %H:%M}" if one.finished else "unfinished",
            "cells": one.cells,
            "command": one.plan.command,
        }
        for one in stored_runs(results)
    ]
    return runs, imports


@contextmanager
def _ground(
    suite: Suite,
    results: Path,
    data: Path | None,
    seeds: Sequence[int],
    hub: Path | None,
    published: dict[str, str],
    texts: bool = False,
) -> Iterator[Ground]:
    """Make out what is true of a suite; a hub is open as long as it is asked."""
    if suite.kind == "published":
        ground = published_ground(suite, stored_results(results), **published)
        if len(ground.metrics) > 1:
            told = ", ".join(f"{name} ({number})" for name, number in ground.metrics.items())
            render.say(f"top-1 stands for the metric of each data set: {told}; --metric keeps to one")
        for line in ground.missing:
            render.say(f"missing {line}")
        yield ground
        return
    present, missing = present_tasks(suite, data)
    for line in missing:
        render.say(f"missing {line}")
    with mllctl.Hub.open(hub_path(hub)) as opened:
        with render.progress() as progress:
            encoder, cache = index_encoder(opened), cache_folder()
            ground = hub_ground(suite, opened, present, encoder, cache, seeds, missing, texts, progress=progress)
        for line in ground.missing[len(missing) :]:
            render.say(f"missing {line}")
        yield ground


def _published(suite: Suite, source: str | None, metric: str | None, protocol: str | None) -> dict[str, str]:
    """Return what was said of which published results are meant."""
    given = {"source": source, "metric": metric, "protocol": protocol}
    told = {name: value for name, value in given.items() if value is not None}
    if told and suite.kind != "published":
        raise InvalidTask(f"--{next(iter(told))} is for suites of published results; {suite.name} is of a hub")
    return told


def _words(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _where(data: Path | None, hub: Path | None, results: Path) -> list[str]:
    """Return the options that say where things are, as they are typed."""
    elsewhere = None if results == DEFAULT_RESULTS else results
    return [*_given("--data", data), *_given("--hub", hub), *_given("--results", elsewhere)]


def _tell(suite: Suite, results: Path, number: int, tasks: bool, json: bool) -> None:
    rows = task_rows(stored_outcomes(results, number))
    means = mean_rows(rows)
    if json:
        compared = compare(rows, suite.against)
        apart = [row for one in compared for row in _as_rows(one)]
        render.print_json([_row_json(row) for row in (*rows, *means, *apart)])
    else:
        if tasks:
            _print_tasks(rows, means)
        _print_means(suite, rows, means)
    _say_where(results, number)


def _tell_variants(results: Path, number: int, json: bool) -> None:
    """Show means over tasks, and over the orders or sub-hubs of a run, by variant and method."""
    means = mean_rows(task_rows(stored_outcomes(results, number)))
    if json:
        render.print_json([_row_json(row) for row in means])
    else:
        top1 = {(row.variant, row.method): row for row in means if row.metric == "top-1"}
        variants, methods = (list(dict.fromkeys(names)) for names in zip(*top1, strict=True))
        variants.sort(key=by_number)
        shown = [
            (variant, *(_percent(row.value) if (row := top1.get((variant, name))) else "" for name in methods))
            for variant in variants
        ]
        columns = ("top-1 %", *methods)
        render.print_table(columns, shown, columns[1:])
    _say_where(results, number)


def _say_where(results: Path, number: int) -> None:
    render.say(f"run {number} is in {results}; `mllctl bench report --results {results}` makes pages of it")


def _as_rows(one: Comparison) -> list[Row]:
    """Return how far a method is ahead, and p of that."""
    name = f"{one.metric} - {one.against}"
    ahead = Row(MEAN, "", one.method, name, one.mean, one.low, one.high)
    return [ahead, Row(MEAN, "", one.method, f"p of {name}", one.p, None, None)]


def _row_json(row: Row) -> dict[str, Any]:
    shown = {
        "task": row.task,
        "method": row.method,
        "metric": row.metric,
        "value": row.value,
        "low": row.low,
        "high": row.high,
    }
    return {**shown, "variant": row.variant} if row.variant else shown


def _print_tasks(rows: Sequence[Row], means: Sequence[Row]) -> None:
    methods = order_of(means)
    top1 = {(row.task, row.method): row.value for row in rows if row.metric == "top-1"}
    shown = [
        (task, *(_percent(top1.get((task, method))) for method in methods))
        for task in dict.fromkeys(row.task for row in rows)
    ]
    columns = ("top-1 %", *methods)
    render.print_table(columns, shown, columns[1:])
    render.print_line()


def _print_means(suite: Suite, rows: Sequence[Row], means: Sequence[Row]) -> None:
    of = {(row.method, row.metric): row for row in means}
    against = {one.method: one for one in compare(rows, suite.against)}
    tasks = len({row.task for row in rows})
    shown = []
    for method in order_of(means):
        top1 = of.get((method, "top-1"))
        apart = against.get(method)
        shown.append(
            (
                method,
                _percent(top1.value if top1 else None) + (f" of {top1.tasks}" if top1 and top1.tasks < tasks else ""),
                _interval(top1),
                f"{100 * apart.mean:+.1f}" if apart else "",
                f"{apart.p:.3f}" if apart else "",
                *(_value(of.get((method, metric))) for metric in ("regret", "R5", "weighted tau", "models")),
            )
        )
    # Nine columns are to fit a terminal of 80.
    render.print_line(f"Means over {tasks} tasks; ahead of {suite.against}, and p of a sign-flip test.")
    render.print_line()
    columns = ("method", "top-1 %", "90 %", "ahead", "p", "regret", "R5", "w. tau", "models")
    render.print_table(columns, shown, columns[1:])


def _interval(row: Row | None) -> str:
    return "" if row is None or row.low is None or row.high is None else f"{100 * row.low:.0f} to {100 * row.high:.0f}"


def _value(row: Row | None) -> str:
    if row is None or row.value is None:
        return ""
    if row.metric == "regret":
        return render.percent(row.value)
    return f"{row.value:.1f}" if row.metric == "models" else f"{row.value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else render.percent(value)


def _repeated(option: str, values: Sequence[object] | None) -> list[str]:
    return [word for value in values or () for word in (option, str(value))]


def _given(option: str, value: object | None) -> list[str]:
    return [] if value is None else [option, str(value)]
