"""What a report says of a run: tables and charts, each with the command that makes it again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.bench.charts import Line, line_svg, spider_svg
from mllctl.bench.measuring import MODELS, REGRET, TIME, TOP1
from mllctl.bench.records import ABLATE, GROW, MEAN, PRINTED, RUN, SUBHUBS, Outcome, StoredRun
from mllctl.bench.running import F1, REACHED
from mllctl.bench.summary import Row, by_number, compare, mean_rows, number_of, order_of, task_rows
from mllctl.methods import METHODS
from mllctl.published import paper_results, paper_slips

SPOKES = 7  # of a spider, as the paper's Figure 1 has it
MOST_MODELS = 12  # in a spider: with more, lines cannot be told apart
SIGNIFICANT = 0.05
# Column of the tables that look like the paper's Tables 1 and 2: the methods it compares, then ours.
LIKE_TABLES = {
    1: ("inb", "modelgpt", "mll-paper-k1", "mll-k1", "oracle"),
    3: ("inb-k3", "modelgpt-k3", "mll-paper-k3", "mll-k3", "oracle"),
}
NAMED = {"top-1": TOP1, "regret": REGRET, "R5": "R5", "tau": "tau", "tau-b": "tau-b", "weighted tau": "weighted tau"}
NAMED |= {"Pearson": "Pearson", "Spearman": "Spearman", "models": MODELS, "ms": TIME}


@dataclass(frozen=True)
class Table:
    """Cells as they are shown.

    Attributes:
        columns: headings; the first column is of words, others of numbers.
        rows: cells.
        best: of each row, the columns that are the best of it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: tuple[frozenset[int], ...] = ()


@dataclass(frozen=True)
class Section:
    """A table or a chart of a report.

    Attributes:
        key: of its files, such as `demo-table-1`.
        title: its heading.
        command: that makes its numbers again.
        text: sentences on what is shown.
        table: or None.
        figure: SVG, or None.
    """

    key: str
    title: str
    command: str
    text: str = ""
    table: Table | None = None
    figure: str | None = None


def run_sections(stored: StoredRun, outcomes: Sequence[Outcome]) -> Iterator[Section]:
    """Yield what is shown of a run, by its kind.

    Args:
        stored: the run.
        outcomes: all of it.
    """
    if stored.plan.kind == RUN:
        yield from _of_run(stored, outcomes)
    elif stored.plan.kind == ABLATE:
        yield from _of_ablation(stored, outcomes)
    elif stored.plan.kind == GROW:
        yield _of_growth(stored, outcomes)
    elif stored.plan.kind == SUBHUBS:
        yield _of_subhubs(stored, outcomes)


# -- a run ----------------------------------------------------------------------------------------------


def _of_run(stored: StoredRun, outcomes: Sequence[Outcome]) -> Iterator[Section]:
    suite, command = stored.plan.suite, stored.plan.command
    rows = task_rows(outcomes)
    means = mean_rows(rows)
    yield _methods(stored, rows, means)
    yield _tasks(stored, rows, means)
    for number, k in ((1, 1), (2, 3)):
        if any(row.method in LIKE_TABLES[k][2:4] for row in rows):
            yield _like_table(stored, number, k, rows, means)
    if reached := [one for one in outcomes if one.metric == REACHED]:
        for section in (_models_figure(suite, command, reached), _classes_figure(suite, command, outcomes)):
            if section:
                yield section


def _methods(stored: StoredRun, rows: Sequence[Row], means: Sequence[Row]) -> Section:
    suite, against = stored.plan.suite, stored.plan.settings["against"]
    count = len({row.task for row in rows})
    of = {(row.method, row.metric): row for row in means}
    apart = {one.method: one for one in compare(rows, against)}
    shown = []
    for method in order_of(means):
        top1 = of.get((method, TOP1))
        ahead = apart.get(method)
        some = f" of {top1.tasks} tasks" if top1 and 0 < top1.tasks < count else ""
        cells = [method, _between(top1) + some]
        cells += [f"{100 * ahead.mean:+.1f} ({100 * ahead.low:+.1f} to {100 * ahead.high:+.1f})" if ahead else ""]
        cells += [f"{ahead.better}/{ahead.worse}" if ahead else "", _p(ahead.p) if ahead else ""]
        cells += [_value(of.get((method, metric)), metric) for metric in NAMED.values() if metric != TOP1]
        shown.append((*cells, METHODS[method].about if method in METHODS else "printed in the paper"))
    text = (
        f"Means over {count} tasks; in brackets the middle 90 % of means of tasks drawn with replacement. p is of a "
        f"test by flipping signs of the differences to {against}, not corrected for the number of methods. Regret is "
        "to the best single model of the task; methods that let several models answer have no ranking, and may have a "
        "regret below 0. R5 and tau are LOVM's. ms is what the chosen models take for an "
        f"image.{_of_other_metrics(stored)}"
    )
    if any(row.method.startswith(PRINTED) for row in rows):
        text += " What the paper prints is of its own hub and images, and is compared with nothing."
    if not apart:
        text += f" {against} was not asked: nothing is compared with it."
    columns = ("method", "top-1 %", f"ahead of {against}", "better/worse", "p", *list(NAMED)[1:], "what it is")
    table = Table(columns, tuple(shown))
    return Section(f"{suite}-methods", f"{suite}: methods", stored.plan.command, text, table)


def _of_other_metrics(stored: StoredRun) -> str:
    """Say what top-1 stands for where a source of published results has other metrics."""
    metrics = Counter(stored.plan.settings["metrics"].values())
    if set(metrics) <= {"top-1", "acc1"}:
        return ""
    told = ", ".join(f"{name} ({number})" for name, number in metrics.most_common())
    return f" What is called top-1 is, by number of tasks, {told}: means mix them."


def _tasks(stored: StoredRun, rows: Sequence[Row], means: Sequence[Row]) -> Section:
    suite = stored.plan.suite
    methods = [method for method in order_of(means) if any(r.method == method and r.metric == TOP1 for r in rows)]
    return Section(
        f"{suite}-tasks",
        f"{suite}: methods x tasks",
        stored.plan.command,
        "Top-1 in percent; the best methods that were measured and do not know the truth are bold.",
        _task_table(stored, rows, means, methods),
    )


def _like_table(stored: StoredRun, number: int, k: int, rows: Sequence[Row], means: Sequence[Row]) -> Section:
    suite = stored.plan.suite
    there = {row.method for row in rows}
    printed = sorted(method for method in there if method.startswith(PRINTED) and method.endswith(f"k = {k}"))
    methods = [method for method in LIKE_TABLES[k] if method in there] + printed
    average = [one for one in paper_results() if one.table == number and one.dataset is None]
    said = ", ".join(f"{one.method} {one.value:.4f}" for one in average)
    slips = "; ".join(str(slip) for slip in paper_slips() if slip.table == number)
    text = f"As the paper's Table {number}: {'one model' if k == 1 else f'{k} models'} a class, top-1 in percent. "
    text += f"The paper prints, over its 17 targets and 49 models: {said}{f' ({slips})' if slips else ''}."
    table = _task_table(stored, rows, means, methods)
    return Section(f"{suite}-table-{number}", f"{suite}: Table {number}, k = {k}", stored.plan.command, text, table)


def _task_table(stored: StoredRun, rows: Sequence[Row], means: Sequence[Row], methods: Sequence[str]) -> Table:
    """Show top-1 of methods on tasks; the mean of a method that has not all tasks says of how many it is.

    Where there is such a method, one more row has the means over the tasks that all methods have.
    """
    metric = stored.plan.settings["metrics"]
    compared = [one for one in methods if not one.startswith(PRINTED) and METHODS[one].sees != "truth"]
    of = {(row.task, row.method): row for row in (*rows, *means) if row.metric == TOP1}
    tasks = list(dict.fromkeys(row.task for row in rows))
    lines = [
        (
            task if metric[task] in ("top-1", "acc1") else f"{task} ({metric[task]})",
            [of.get((task, m)) for m in methods],
        )
        for task in tasks
    ]
    lines.append((MEAN, [of.get((MEAN, method)) for method in methods]))
    common = [task for task in tasks if all((row := of.get((task, m))) and row.value is not None for m in methods)]
    if 0 < len(common) < len(tasks):
        few = {
            (row.method): row for row in mean_rows([row for row in rows if row.task in common and row.metric == TOP1])
        }
        lines.append((f"mean of the {len(common)} all have", [few.get(method) for method in methods]))
    shown, best = [], []
    for name, cells in lines:
        most = max((row.tasks for row in cells if row), default=0)
        values = [row.value if row else None for row in cells]
        fair = [row is not None and row.tasks == most and m in compared for row, m in zip(cells, methods, strict=True)]
        top = max((v for v, is_fair in zip(values, fair, strict=True) if is_fair and v is not None), default=None)
        shown.append((name, *(_percent_of(row, most) for row in cells)))
        best.append(frozenset(n + 1 for n, v in enumerate(values) if fair[n] and v is not None and v == top))
    return Table(("task", *methods), tuple(shown), tuple(best))


def _percent_of(row: Row | None, most: int) -> str:
    if row is None or row.value is None:
        return ""
    return f"{100 * row.value:.1f}" + (f" (of {row.tasks})" if row.tasks < most else "")


def _models_figure(suite: str, command: str, reached: Sequence[Outcome]) -> Section | None:
    tasks = _spread(list(dict.fromkeys(one.task for one in reached)), SPOKES)
    if len(tasks) < 3:
        return None
    lines = _lines({(one.method, one.task): one.value for one in reached}, tasks)
    shown, who = _telling(lines)
    text = f"As the paper's Figure 1 (a): what models reach on tasks spread over the suite; {who}"
    figure = spider_svg(f"top-1 of {len(shown)} models over {len(tasks)} tasks", tasks, shown)
    return Section(f"{suite}-figure-1a", f"{suite}: Figure 1 (a), models over tasks", command, text, None, figure)


def _classes_figure(suite: str, command: str, outcomes: Sequence[Outcome]) -> Section | None:
    known = [one for one in outcomes if one.metric.startswith(F1) and one.value is not None]
    # Where classes have few images most values are 0 or 1: what has most different ones shows most.
    values: dict[str, dict[str, set[float | None]]] = {}
    for one in known:
        values.setdefault(one.task, {}).setdefault(one.metric, set()).add(one.value)
    if not values:
        return None
    task = max(values, key=lambda name: sum(map(len, values[name].values())))
    telling = sorted(values[task], key=lambda metric: -len(values[task][metric]))[:SPOKES]
    if len(telling) < 3:
        return None
    spokes = [metric for metric in values[task] if metric in telling]
    lines = _lines({(one.method, one.metric): one.value for one in known if one.task == task}, spokes)
    shown, who = _telling(lines)
    figure = spider_svg(f"F1 of {len(shown)} models over classes of {task}", [s[len(F1) :] for s in spokes], shown)
    text = f"As the paper's Figure 1 (b): the F1 of models over classes of one task, {task}; {who}"
    return Section(f"{suite}-figure-1b", f"{suite}: Figure 1 (b), models over classes", command, text, None, figure)


def _lines(values: dict[tuple[str, str], float | None], spokes: Sequence[str]) -> list[Line]:
    models = list(dict.fromkeys(model for model, _ in values))
    return [
        Line(model.removeprefix("model: "), np.array([values.get((model, s)) for s in spokes], dtype=np.float64))
        for model in models
    ]


def _telling(lines: Sequence[Line]) -> tuple[list[Line], str]:
    """Return those of the lines that can be shown together, and who is best, in words.

    Where there are too many, those that are best on a spoke come first, then the best on average.
    """
    values = np.nan_to_num(np.array([line.values for line in lines]), nan=-1.0)
    everywhere = np.flatnonzero((values == values.max(axis=0)).all(axis=1))
    who = f"{lines[everywhere[0]].name} is best on all of these." if len(everywhere) else "no model is best on all."
    if len(lines) <= MOST_MODELS:
        return list(lines), who
    order = [*values.argmax(axis=0).tolist(), *np.argsort(-values.mean(axis=1), kind="stable").tolist()]
    kept = sorted(list(dict.fromkeys(order))[:MOST_MODELS])
    who += f" Of {len(lines)} models, those that are best on one, then the best on average."
    return [lines[m] for m in kept], who


# -- ablations ------------------------------------------------------------------------------------------


def _of_ablation(stored: StoredRun, outcomes: Sequence[Outcome]) -> Iterator[Section]:
    means = mean_rows(task_rows(outcomes))
    for factor in dict.fromkeys(row.variant.partition("=")[0] for row in means):
        few = [row for row in means if row.variant.startswith(f"{factor}=")]
        yield _factor_section(stored, factor, few)


def _factor_section(stored: StoredRun, factor: str, means: Sequence[Row]) -> Section:
    suite, command = stored.plan.suite, stored.plan.command
    of = {(row.variant, row.method, row.metric): row for row in means}
    variants = sorted({row.variant for row in means}, key=by_number)
    methods = sorted({row.method for row in means})
    numbers = [number_of(variant) for variant in variants]
    printed = {"alpha": 3, "k": 4}.get(factor)
    columns, shown = _factor_table(factor, variants, methods, of)
    text = "Mean top-1 in percent, in brackets the middle 90 % of resampled means over tasks."
    if factor == "k":
        text += (
            " Models, and the time they take for an image, are those a task needs, in brackets times those of k = 1."
        )
    if printed:
        columns, shown = _with_printed(printed, factor, columns, variants, shown)
        text += f" The last columns are what the paper's Table {printed} prints over its 17 targets."
    figure = None
    if len(variants) > 2 and None not in numbers:
        lines = [
            Line(
                method,
                *(
                    np.array([_percent(of.get((v, method, TOP1)), end) for v in variants])
                    for end in ("value", "low", "high")
                ),
            )
            for method in methods
        ]
        figure = line_svg(f"mean top-1 by {factor}", factor, "top-1 %", [n for n in numbers if n is not None], lines)
    title = f"{suite}: " + (f"Table {printed}, {factor}" if printed else factor)
    key = f"{suite}-table-{printed}" if printed else f"{suite}-{factor}"
    return Section(key, title, command, text, Table(columns, tuple(shown)), figure)


def _factor_table(
    factor: str, variants: Sequence[str], methods: Sequence[str], of: dict[tuple[str, str, str], Row]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    columns = [factor, *methods]
    if factor == "k":
        columns += [f"{method}: {metric}" for method in methods for metric in ("models", "ms")]
    shown = []
    for variant in variants:
        cells = [variant.partition("=")[2], *(_between(of.get((variant, method, TOP1))) for method in methods)]
        if factor == "k":
            places = [(method, metric) for method in methods for metric in (MODELS, TIME)]
            cells += [_times(of.get((variant, *place)), of.get((variants[0], *place))) for place in places]
        shown.append(tuple(cells))
    return tuple(columns), shown


def _with_printed(
    table: int, factor: str, columns: tuple[str, ...], variants: Sequence[str], shown: list[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    printed = [one for one in paper_results() if one.table == table]
    metrics = list(dict.fromkeys(one.metric for one in printed))
    of = {(one.alpha if factor == "alpha" else one.k, one.metric): f"{one.value:.4f}" for one in printed}
    more = [[of.get((number_of(variant), metric), "") for metric in metrics] for variant in variants]
    rows = [(*row, *cells) for row, cells in zip(shown, more, strict=True)]
    return (*columns, *(f"paper: {metric}" for metric in metrics)), rows


# -- fewer models ---------------------------------------------------------------------------------------


def _of_growth(stored: StoredRun, outcomes: Sequence[Outcome]) -> Section:
    suite = stored.plan.suite
    tasks = {one.task for one in outcomes}
    kept = _always_known(outcomes)
    orders: dict[tuple[str, str, int], list[float]] = {}
    for one in outcomes:
        if one.metric == TOP1 and one.value is not None and one.task in kept:
            orders.setdefault((one.method, one.variant, one.seed), []).append(one.value)
    means: dict[tuple[str, str], list[float]] = {}
    for (method, variant, _), values in orders.items():
        means.setdefault((method, variant), []).append(100 * float(np.mean(values)))
    methods = list(dict.fromkeys(method for method, _ in means))
    variants = sorted({variant for _, variant in means}, key=by_number)
    final = {method: np.mean(means[method, variants[-1]]) for method in methods if (method, variants[-1]) in means}
    methods.sort(key=lambda method: -float(final.get(method, 0.0)))
    shown = [(v.partition("=")[2], *(_spread_of(means.get((method, v), [])) for method in methods)) for v in variants]
    lines = [
        Line(
            method,
            np.array([np.mean(means.get((method, v), [np.nan])) for v in variants]),
            *(np.array([np.quantile(means.get((method, v), [np.nan]), q) for v in variants]) for q in (0.05, 0.95)),
        )
        for method in methods
    ]
    count = len({seed for _, _, seed in orders})
    text = (
        f"As the paper's Figure 3: mean top-1 over the tasks while the hub grows model by model, in {count} random "
        "orders; in brackets and as a band, the middle 90 % of the orders."
    )
    if len(kept) < len(tasks):
        text += f" Of {len(tasks)} tasks, the {len(kept)} of which every model has a value: all points are of the same."
    sizes = [number for v in variants if (number := number_of(v)) is not None]
    figure = line_svg("mean top-1 as the hub grows", "models in the hub", "top-1 %", sizes, lines)
    table = Table(("models", *methods), tuple(shown))
    return Section(
        f"{suite}-figure-3", f"{suite}: Figure 3, growth of the hub", stored.plan.command, text, table, figure
    )


def _always_known(outcomes: Sequence[Outcome]) -> set[str]:
    """Return the tasks that no order lacks at any size; all if there are none such."""
    points = {(one.seed, one.variant) for one in outcomes}
    of_task: dict[str, set[tuple[int, str]]] = {}
    for one in outcomes:
        of_task.setdefault(one.task, set()).add((one.seed, one.variant))
    return {task for task, has in of_task.items() if has == points} or set(of_task)


def _of_subhubs(stored: StoredRun, outcomes: Sequence[Outcome]) -> Section:
    suite = stored.plan.suite
    rows = task_rows(outcomes)
    means = mean_rows(rows)
    of = {(row.method, row.metric): row for row in means}
    variant = means[0].variant if means else ""
    apart = {one.method: one for one in compare(rows, "best-on-average", variant=variant)}
    shown = []
    for method in order_of(means):
        ahead = apart.get(method)
        cells = [method, _between(of.get((method, TOP1))), f"{100 * ahead.mean:+.1f}" if ahead else ""]
        cells += [_p(ahead.p) if ahead else "", _value(of.get((method, REGRET)), REGRET)]
        cells += [_value(of.get((method, metric)), metric) for metric in ("weighted tau", MODELS)]
        shown.append(tuple(cells))
    count = len({one.seed for one in outcomes})
    text = f"{count} random sub-hubs of {variant}: means over sub-hubs and tasks, intervals and p over tasks."
    columns = ("method", "top-1 %", "ahead of best-on-average", "p", "regret", "weighted tau", "models")
    name = f"{suite}-subhubs" + ("-budget" if "budget" in variant else "")
    return Section(
        name, f"{suite}: random sub-hubs, {variant}", stored.plan.command, text, Table(columns, tuple(shown))
    )


# -- cells ----------------------------------------------------------------------------------------------


def _between(row: Row | None) -> str:
    if row is None or row.value is None:
        return ""
    if row.low is None or row.high is None:
        return f"{100 * row.value:.1f}"
    return f"{100 * row.value:.1f} ({100 * row.low:.1f} to {100 * row.high:.1f})"


def _value(row: Row | None, metric: str) -> str:
    if row is None or row.value is None:
        return ""
    if metric == REGRET:
        return f"{100 * row.value:.1f}"
    return f"{row.value:.1f}" if metric in (MODELS, TIME) else f"{row.value:.2f}"


def _times(row: Row | None, first: Row | None) -> str:
    if row is None or row.value is None or first is None or not first.value:
        return ""
    return f"{row.value:.1f} ({row.value / first.value:.2f} x)"


def _spread_of(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = np.quantile(values, [0.05, 0.95])
    return f"{np.mean(values):.1f} ({low:.1f} to {high:.1f})"


def _percent(row: Row | None, end: str) -> float:
    value = None if row is None else getattr(row, end)
    return float("nan") if value is None else 100 * float(value)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _spread(names: Sequence[str], count: int) -> list[str]:
    """Return so many of the names, evenly spread over their order."""
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[n] for n in places.tolist()]
