"""Read one file of published results."""

from pathlib import Path

from mllctl.backends.names import suggest
from mllctl.published.files import read_rows
from mllctl.published.formats import FORMATS, Given, detect, read_cells
from mllctl.published.records import Imported, Unit
from mllctl.published.units import read_results_of


def read_results(
    path: Path | str,
    format: str | None = None,
    source: str | None = None,
    protocol: str = "",
    unit: Unit | None = None,
) -> Imported:
    """Read published results from a CSV or JSON file, or from a folder of JSON files.

    Args:
        path: the file or folder.
        format: one of `FORMATS`; told by the columns when None.
        source: whose numbers they are, of rows that do not say; the file's name when None.
        protocol: how they were measured, of rows that do not say.
        unit: of numbers that do not say; told by the numbers when None.

    Raises:
        SourceUnreadable: if anything in it cannot be used; it names row, column and rule.
        ValueError: if there is no such format, or no such unit.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}{suggest(format, FORMATS)}")
    if unit not in (None, "fraction", "percent"):
        raise ValueError(f"unit must be 'fraction' or 'percent', got {unit!r}")
    path = Path(path)
    rows = read_rows(path)
    told = format or detect(rows)
    cells, left = read_cells(rows, told, Given(source or path.name, protocol, unit))
    results, notes = read_results_of(rows.path, cells)
    return Imported(rows.path, told, results, (*rows.notes, *left, *notes))
