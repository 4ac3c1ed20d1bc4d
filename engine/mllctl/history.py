"""Compare two generations of a hub: what came and went, and which selections of saved tasks change.

`read_saved_tasks` reads a file of tasks, `diff_hub` compares. Stands on `select`; nothing stands on it but the CLI.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mllctl.backends.protocol import Encoder
from mllctl.errors import SourceUnreadable, StageMissing
from mllctl.hub import Hub
from mllctl.select import Selection, select_models


@dataclass(frozen=True)
class SavedTask:
    """A task to be asked again.

    Attributes:
        name: how it is called in the answer.
        classes: their names.
        domain: what its images look like, in words, or None.
    """

    name: str
    classes: tuple[str, ...]
    domain: str | None


@dataclass(frozen=True)
class TaskChange:
    """How the selection of a task differs between two generations.

    Attributes:
        task: its name.
        single: the one model for all classes, before and after; None where the generation could not answer.
        classes: of each class whose best model differs, (before, after).
        refused: why a generation could not answer, before and after; empty where it could.
    """

    task: str
    single: tuple[str | None, str | None]
    classes: dict[str, tuple[str | None, str | None]]
    refused: tuple[str, str]

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return self.single[0] != self.single[1] or bool(self.classes)


@dataclass(frozen=True)
class HubDifference:
    """What differs between two generations.

    Attributes:
        before, after: their numbers.
        images: how many live images were (added, removed).
        nodes_gained, nodes_lost: synsets that have evidence in one only.
        models_added, models_removed, models_relabelled: names.
        tasks: one for each saved task.
    """

    before: int
    after: int
    images: tuple[int, int]
    nodes_gained: tuple[str, ...]
    nodes_lost: tuple[str, ...]
    models_added: tuple[str, ...]
    models_removed: tuple[str, ...]
    models_relabelled: tuple[str, ...]
    tasks: tuple[TaskChange, ...]


def read_saved_tasks(path: Path) -> list[SavedTask]:
    """Read tasks: a JSON list of objects with `name`, `classes` and, if any, `domain_text`.

    A class is a string or an object with a `name`, so that task files of `evaluate` can be read too.

    Raises:
        SourceUnreadable: if the file is missing or holds something else.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return [
            SavedTask(
                str(task["name"]),
                tuple(name if isinstance(name, str) else str(name["name"]) for name in task["classes"]),
                task.get("domain_text"),
            )
            for task in facts
        ]
    except (FileNotFoundError, IsADirectoryError) as error:
        raise SourceUnreadable(path, "no such file") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceUnreadable(path, f"not a list of tasks, each with a name and classes ({error})") from error


def diff_hub(
    path: Path, before: int, after: int, tasks: Sequence[SavedTask] = (), encoder: Encoder | None = None
) -> HubDifference:
    """Compare two generations of the hub at `path`.

    Args:
        path: the hub's folder.
        before, after: numbers of generations that are kept.
        tasks: to select models for, in both.
        encoder: the one the index was built with; None opens it by the name the hub recorded.

    Raises:
        NotInHub: if a generation is not kept.
        InvalidTask: if a task's classes make no task.
    """
    with Hub.open(path, before) as one, Hub.open(path, after) as other:
        images = [hub.label_input().images for hub in (one, other)]
        nodes = [{node.synset for node in hub.nodes() if node.images} for hub in (one, other)]
        models = [
            {model.card.name: (model.model, hub.label_files(model.model)) for model in hub.models()}
            for hub in (one, other)
        ]
        return HubDifference(
            before,
            after,
            (int((~np.isin(images[1], images[0])).sum()), int((~np.isin(images[0], images[1])).sum())),
            tuple(sorted(nodes[1] - nodes[0])),
            tuple(sorted(nodes[0] - nodes[1])),
            tuple(sorted(models[1].keys() - models[0].keys())),
            tuple(sorted(models[0].keys() - models[1].keys())),
            tuple(sorted(name for name in models[0].keys() & models[1].keys() if models[0][name] != models[1][name])),
            tuple(_diff_task(one, other, task, encoder) for task in tasks),
        )


def _diff_task(one: Hub, other: Hub, task: SavedTask, encoder: Encoder | None) -> TaskChange:
    (before, why_not), (after, why_not_now) = (_select(hub, task, encoder) for hub in (one, other))
    pairs = zip(task.classes, _bests(before, task), _bests(after, task), strict=True)
    return TaskChange(
        task.name,
        (_single(before), _single(after)),
        {name: (best, best_now) for name, best, best_now in pairs if best != best_now},
        (why_not, why_not_now),
    )


def _select(hub: Hub, task: SavedTask, encoder: Encoder | None) -> tuple[Selection | None, str]:
    """Select, or say why a generation, which may be one of before the index or the labels, cannot."""
    try:
        return select_models(hub, task.classes, task.domain, encoder=encoder), ""
    except StageMissing as error:
        return None, str(error)


def _single(selection: Selection | None) -> str | None:
    return None if selection is None else selection.names[selection.single]


def _bests(selection: Selection | None, task: SavedTask) -> list[str | None]:
    if selection is None:
        return [None] * len(task.classes)
    return [selection.names[members[0]] for members in selection.members]
