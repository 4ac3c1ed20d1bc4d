"""Results that others published: read from their tables, kept apart by source, and asked as a table.

    file ── files ── rows ── formats ── cells ── units ── Result ──┬── store (one DuckDB file)
                                                                   └── tables (matrix, best_on)

`read_results` is the way from a file to results, with a note on everything that is not as the file has it. Two
sources are never pooled: the same model differs by up to .25 between them. `paper` has the numbers of the paper
itself. Nothing here looks at a hub or loads a model.
"""

from mllctl.published.formats import FORMATS
from mllctl.published.paper import PAPER_SOURCE, PrintedResult, Slip, paper_models, paper_results, paper_slips
from mllctl.published.reading import read_results
from mllctl.published.records import Imported, Result, ResultTable
from mllctl.published.store import StoredSource, append_results, stored_results, stored_sources
from mllctl.published.tables import IMAGENET, Baseline, best_on, matrix

__all__ = [
    "FORMATS",
    "IMAGENET",
    "PAPER_SOURCE",
    "Baseline",
    "Imported",
    "PrintedResult",
    "Result",
    "ResultTable",
    "Slip",
    "StoredSource",
    "append_results",
    "best_on",
    "matrix",
    "paper_models",
    "paper_results",
    "paper_slips",
    "read_results",
    "stored_results",
    "stored_sources",
]
