"""From cells to results: numbers in [0, 1], and a word on everything that is not as the file has it.

A file that does not say its unit is read by what it holds: numbers over 1 of one source and metric are per cent if no
number between 0 and 1 stands beside them. Where one does, nobody can tell, and the file is refused.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from mllctl.errors import SourceUnreadable
from mllctl.published.formats import UNSTATED
from mllctl.published.names import usual_dataset
from mllctl.published.records import Cell, Result, Unit

ABSENT = ("", "nan", "n/a", "na", "none", "null", "-", "--")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_MOST = {"fraction": 1, "percent": 100}
_SHOWN = 8  # names in a note


def read_results_of(path: str, cells: Sequence[Cell]) -> tuple[tuple[Result, ...], list[str]]:
    """Return the results of a file, and notes on what was done to them.

    Raises:
        SourceUnreadable: on a cell that is no number, or not between 0 and 1 or 100; where percent and fractions are
            mixed; on two values of one result; or if no cell has a value.
    """
    present = [cell for cell in cells if cell.text.lower() not in ABSENT]
    if not present:
        raise SourceUnreadable(path, "no value in it; the format is perhaps another, name it with `--format`")
    numbers = [_number(path, cell) for cell in present]
    units = _units(path, present, numbers)
    called = _called(present)
    results = dict[tuple[str, ...], tuple[Cell, Result]]()
    again = 0
    for cell, number, unit in zip(present, numbers, units, strict=True):
        result = _result(path, cell, number, unit, called)
        first = results.setdefault(result.key, (cell, result))
        if first[1].value != result.value:
            raise _refused(path, cell, f"another value of {_told(result)} is in row {first[0].row}; remove one")
        again += first[0] is not cell
    kept = tuple(result for _, result in results.values())
    return kept, _notes(cells, present, kept, called, again)


def _called(cells: Sequence[Cell]) -> dict[str, str]:
    """Return what each data set of a file is called here.

    Two of one file that would get the same name keep their own: they may be two versions, such as `dtd` and `vtab/dtd`.
    """
    usual = {cell.named: usual_dataset(cell.named) for cell in cells}
    times = Counter(usual.values())
    return {named: name if times[name] == 1 else named for named, name in usual.items()}


def _number(path: str, cell: Cell) -> Decimal:
    text = cell.text.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(text):
        raise _refused(path, cell, f"{cell.text!r} is not a number; values are between 0 and 1, or per cent")
    try:
        return Decimal(text)
    except InvalidOperation as error:  # an exponent of more digits than a decimal has
        raise _refused(path, cell, f"{cell.text!r} is out of range; values are between 0 and 1, or per cent") from error


def _units(path: str, cells: Sequence[Cell], numbers: Sequence[Decimal]) -> list[Unit]:
    """Return the unit of each cell: as it says itself, else as the file does, else by those of its kind."""
    units: list[Unit | None] = ["percent" if cell.text.endswith("%") else cell.unit for cell in cells]
    kinds = dict[tuple[str, str], list[int]]()
    for n, (cell, unit) in enumerate(zip(cells, units, strict=True)):
        if unit is None:
            kinds.setdefault((cell.source, cell.metric), []).append(n)
    for members in kinds.values():
        large = next((n for n in members if numbers[n] > 1), None)
        small = next((n for n in members if 0 < numbers[n] <= 1), None)
        if large is not None and small is not None:
            one, other = cells[small], cells[large]
            beside = f"{one.text} beside {other.text} in row {other.row}, column {other.column!r}"
            raise _refused(
                path, one, f"{beside}: percent or not? give its unit with `--unit percent` or `--unit fraction`"
            )
        for n in members:
            units[n] = "fraction" if large is None else "percent"
    return [unit or "fraction" for unit in units]


def _result(path: str, cell: Cell, number: Decimal, unit: Unit, called: Mapping[str, str]) -> Result:
    if not 0 <= number <= _MOST[unit]:
        raise _refused(path, cell, f"{cell.text} is not between 0 and {_MOST[unit]}, as a {unit} is")
    # Divided as decimals: 75.33 per cent is the float nearest to 0.7533.
    value = float(number / _MOST[unit])
    return Result(cell.model, called[cell.named], cell.metric, value, unit, cell.protocol, cell.source)


def _notes(
    cells: Sequence[Cell], present: Sequence[Cell], results: Sequence[Result], called: Mapping[str, str], again: int
) -> list[str]:
    percent = Counter(result.metric for result in results if result.unit == "percent")
    absent = Counter(cell.column for cell in cells) - Counter(cell.column for cell in present)
    zero = Counter(result.dataset for result in results if result.value == 0)
    changed = [f"{was} is {is_}" for was, is_ in called.items() if was != is_]
    own = [named for named, name in called.items() if name == named != usual_dataset(named)]
    unmapped = dict.fromkeys(result.model for result in results if "/" not in result.model)
    unstated = dict.fromkeys(result.dataset for result in results if result.metric == UNSTATED)
    said = (
        (percent, "{} values are in percent and were divided by 100: {}", _counts(percent)),
        (absent, "{} cells are empty or NaN and absent: {}", _counts(absent)),
        (zero, "{} values are exactly 0 and kept, perhaps of runs that failed: {}", _counts(zero)),
        (changed, "{} data sets are called as open_clip calls them: {}", _few(changed)),
        (own, "{} data sets keep their names, two of which mean the same: {}", _few(own)),
        (unmapped, "{} models are not named as in a hub, ARCH/TAG: {}", _few(unmapped)),
        (unstated, "{} data sets are of no known metric: {}", _few(unstated)),
    )
    notes = [
        text.format(found.total() if isinstance(found, Counter) else len(found), names)
        for found, text, names in said
        if found
    ]
    return [*notes, f"{again} results are there twice, of equal value, and were taken once"] if again else notes


def _counts(of: Counter[str]) -> str:
    return _few([f"{name} ({number})" for name, number in of.items()])


def _few(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more


def _told(result: Result) -> str:
    return f"{result.metric} of {result.model} on {result.dataset}"


def _refused(path: str, cell: Cell, rule: str) -> SourceUnreadable:
    return SourceUnreadable(path, f"row {cell.row}, column {cell.column!r}: {rule}")
