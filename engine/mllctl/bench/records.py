"""What a benchmark says: runs, and single outcomes."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

RUN, ABLATE, GROW, SUBHUBS = KINDS = ("run", "ablate", "grow", "subhubs")
MEAN = "mean"  # what stands in the place of a task's name where a value is of all of them
AS_IT_IS = ""  # the variant of a hub and of methods that nothing was changed of
PRINTED = "paper: "  # before the name of a method whose numbers are printed in the paper, not measured


@dataclass(frozen=True)
class Plan:
    """What decides the numbers of a run, and how to make them again.

    Attributes:
        kind: one of `KINDS`.
        suite: its name.
        command: that makes it again.
        key: digest of all that decides the numbers: tasks, hub or published results, settings and versions.
        settings: methods, seeds and options.
        versions: of libraries, the hub and the system.
        missing: what the suite asks for and is not there, a sentence each.
    """

    kind: str
    suite: str
    command: str
    key: str
    settings: dict[str, Any]
    versions: dict[str, str]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """One number.

    Attributes:
        seed: of the methods that draw.
        task: its name.
        variant: of what was changed, such as `alpha=0.5`; `AS_IT_IS` if nothing was.
        method: name of the method, or of the model where the metric is what a model reaches.
        metric: name of the metric.
        value: None where the metric is not defined.
        low, high: ends of an interval; None where there is none.
    """

    seed: int
    task: str
    variant: str
    method: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Cell:
    """What one method said of one task.

    Attributes:
        seed, task, variant, method: as of `Outcome`.
        chosen: models, most used first.
        seconds: that choosing took; a selection that several methods share counts for the first.
        outcomes: of the task and method.
    """

    seed: int
    task: str
    variant: str
    method: str
    chosen: tuple[str, ...]
    seconds: float
    outcomes: tuple[Outcome, ...] = field(repr=False)

    @property
    def place(self) -> tuple[int, str, str, str]:
        """What it is the cell of."""
        return self.seed, self.task, self.variant, self.method


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it.

    Attributes:
        run: its number.
        plan: what it is a run of.
        started: UTC.
        finished: UTC; None if it was interrupted.
        cells: how many are there.
    """

    run: int
    plan: Plan
    started: datetime
    finished: datetime | None
    cells: int
