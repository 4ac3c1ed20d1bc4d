"""Suites: TOML files that say which tasks, models, methods and seeds a benchmark has.

    about       what it is, in a line
    kind        `hub`: models of a hub answer images; `published`: what others measured is looked up
    methods     names; all that can be asked when left out
    seeds       of methods that draw; [0] when left out
    against     the method that others are compared with; `inb` when left out
    models      `paper` for the 49 of the paper, else all
    paper       whether the paper's printed numbers are shown beside the tasks that it has

Of a `hub` suite, tasks are a task file and its pack among the shipped files, `tasks` and `images`, or tables:

    universal   the domain of the hub whose sample images stand for all tasks; all of them when left out

    [[task]]
    name        of the task
    domain      what its images look like, in words; may be left out
    kind        of task, in words; may be left out
    folder      FOLDER/CLASS/*.jpg, below --data, else beside the suite file
    classes     names, a file of names beside the suite, or how many there are; the names of the folders when left out
    size        how many images there are
    recipe      where the images are from

`[[sample_set]]` tables with `name` and `domain` say what a hub was labelled on. Of a `published` suite:

    universal   the data set that stands for all tasks
    leave_out   data sets that are no tasks
    source      whose results; must be named where several are imported
    metric      which; must be named where a data set has several
    protocol    how measured; must be named where there are several
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

import mllctl_data
from mllctl.backends.names import near_names
from mllctl.captions import clean_classes
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.evaluate import Task, read_tasks
from mllctl.images import SHIPPED
from mllctl.methods import METHODS
from mllctl.reuse.examples import read_examples

Kind = Literal["hub", "published"]
ENDING = ".toml"


@dataclass(frozen=True)
class DeclaredTask:
    """A task of a suite whose images may not be on this machine.

    Attributes:
        name: of the task.
        domain, kind: what its images look like, and what kind of task it is, in words; may be empty.
        folder: of the images, a folder a class.
        classes: names; empty where the folders say them.
        count: how many classes there are; None if that is not said.
        size: how many images there are; None likewise.
        recipe: where they are from; may be empty.
    """

    name: str
    domain: str
    kind: str
    folder: str
    classes: tuple[str, ...]
    count: int | None
    size: int | None
    recipe: str


@dataclass(frozen=True)
class Suite:
    """A benchmark, declared.

    Attributes:
        name: of the file, without its ending.
        asked: as commands name it: the name of a shipped one, or the path of the file.
        about: what it is.
        kind: `hub` or `published`.
        digest: SHA-256 of the file.
        home: the folder it is in.
        methods: names of methods; empty for all.
        seeds: of methods that draw.
        against: the method that others are compared with.
        paper_models: whether only the paper's models are asked.
        paper: whether the paper's printed numbers are shown, too.
        tasks: those of tables.
        task_file: and of a shipped task file, with its pack; None if there is none.
        sample_sets: what the hub should have been labelled on.
        universal: the data set, or the domain of sample images, that stands for all tasks.
        leave_out, source, metric, protocol: of published results.
    """

    name: str
    asked: str
    about: str
    kind: Kind
    digest: str
    home: Path
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    against: str
    paper_models: bool
    paper: bool
    tasks: tuple[DeclaredTask, ...]
    task_file: tuple[str, str] | None
    sample_sets: tuple[str, ...]
    universal: str
    leave_out: tuple[str, ...]
    source: str | None
    metric: str | None
    protocol: str | None


def shipped_suites() -> dict[str, Suite]:
    """Return the suites that every installation has, by name."""
    paths = sorted(mllctl_data.path("suites").glob(f"*{ENDING}"))
    return {path.stem: _read(path, path.stem) for path in paths}


def read_suite(name: str) -> Suite:
    """Return a shipped suite by its name, or one of the user's by its path.

    Raises:
        InvalidTask: if there is no such suite.
        SourceUnreadable: if the file is no suite.
    """
    shipped = mllctl_data.path("suites", f"{name}{ENDING}")
    path = Path(name)
    if path.suffix != ENDING and shipped.is_file():
        return _read(shipped, name)
    if not path.is_file():
        known = sorted(shipped_suites())
        close = near_names(name, known) or known
        raise InvalidTask(f"no suite {name!r}; there are {', '.join(close)}, or name a file that ends in {ENDING}")
    if mllctl_data.path("suites", path.name).is_file():
        raise SourceUnreadable(path, f"{path.stem} is a suite that is shipped; give the file another name")
    return _read(path, name)


def present_tasks(suite: Suite, data: Path | None = None) -> tuple[list[Task], tuple[str, ...]]:
    """Return the tasks whose images are on this machine, and what is missing of the others, a sentence each.

    Args:
        suite: of kind `hub`.
        data: folder of the tasks' folders; that of the suite's file when None.

    Raises:
        InvalidTask: if a folder of images is none of the classes.
        SourceUnreadable: if a folder that is there cannot be used.
    """
    if suite.task_file:
        tasks, images = suite.task_file
        return read_tasks(mllctl_data.path(*tasks.split("/")), f"{SHIPPED}{images}"), ()
    present, missing = [], []
    for declared in suite.tasks:
        folder = (data or suite.home) / declared.folder
        if not folder.is_dir():
            cure = f"; it is {declared.recipe}" if declared.recipe else ""
            where = folder if data else f"{declared.folder} beside the suite, and no --data DIR"
            missing.append(f"{declared.name}: no folder {where}{cure}")
            continue
        task = _folder_task(declared, folder)
        present.append(task)
        if wrong := _other_than_declared(declared, task):
            missing.append(f"{declared.name}: {wrong}; it is run all the same")
    return present, tuple(missing)


def _folder_task(declared: DeclaredTask, folder: Path) -> Task:
    found = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    classes = declared.classes or found
    if not classes:
        raise SourceUnreadable(folder, "no class folders in it; images are looked for in FOLDER/CLASS/*.jpg")
    if len(classes) < 2:
        raise SourceUnreadable(folder, "one class alone makes no task; images are looked for in FOLDER/CLASS/*.jpg")
    examples = read_examples(folder, classes, cure="name folders as the classes, or add it to the task's classes")
    if not declared.classes:
        classes = tuple(clean_classes([name.replace("_", " ") for name in classes]))
    return Task(
        name=declared.name,
        domain="",
        domain_text=declared.domain,
        classes=classes,
        uris=examples.uris,
        truth=np.asarray(examples.truth),
        kind=declared.kind,
    )


def _other_than_declared(declared: DeclaredTask, task: Task) -> str:
    """Say where the images are not those that the suite speaks of."""
    if declared.count is not None and len(task.classes) != declared.count:
        return f"has {len(task.classes)} classes, the suite says {declared.count}"
    if declared.size is not None and len(task.uris) != declared.size:
        return f"has {len(task.uris)} images, the suite says {declared.size}"
    return ""


def _read(path: Path, asked: str) -> Suite:
    try:
        content = path.read_bytes()
        facts = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourceUnreadable(path, f"not a suite: {error}") from error
    _check(path, facts)
    return Suite(
        name=path.stem,
        asked=asked,
        about=facts.get("about", ""),
        kind=facts["kind"],
        digest=hashlib.sha256(content).hexdigest(),
        home=path.parent,
        methods=tuple(facts.get("methods", ())),
        seeds=tuple(facts.get("seeds", (0,))),
        against=facts.get("against", "inb"),
        paper_models=facts.get("models", "all") == "paper",
        paper=facts.get("paper", False),
        tasks=tuple(_declared(path, task) for task in facts.get("task", ())),
        task_file=(facts["tasks"], facts["images"]) if "tasks" in facts else None,
        sample_sets=tuple(sample["name"] for sample in facts.get("sample_set", ())),
        universal=facts.get("universal", ""),
        leave_out=tuple(facts.get("leave_out", ())),
        source=facts.get("source"),
        metric=facts.get("metric"),
        protocol=facts.get("protocol"),
    )


# Key of a suite -> what it may hold; of a list, what each of its items is.
_KEYS: Mapping[str, tuple[type, ...]] = {
    "about": (str,),
    "kind": (str,),
    "methods": (list,),
    "seeds": (list,),
    "against": (str,),
    "models": (str,),
    "paper": (bool,),
    "task": (list,),
    "tasks": (str,),
    "images": (str,),
    "sample_set": (list,),
    "universal": (str,),
    "leave_out": (list,),
    "source": (str,),
    "metric": (str,),
    "protocol": (str,),
}
_ITEMS: Mapping[str, type] = {
    "methods": str,
    "seeds": int,
    "leave_out": str,
    "classes": str,
    "task": dict,
    "sample_set": dict,
}
_OF_HUB = ("task", "tasks", "images", "sample_set")
_OF_PUBLISHED = ("leave_out", "source", "metric", "protocol")
_SAMPLE_KEYS: Mapping[str, tuple[type, ...]] = {"name": (str,), "domain": (str,)}
_TASK_KEYS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "domain": (str,),
    "kind": (str,),
    "folder": (str,),
    "classes": (list, str, int),
    "size": (int,),
    "recipe": (str,),
}


def _check(path: Path, facts: Mapping[str, Any]) -> None:
    _check_keys(path, facts, _KEYS, "a suite")
    if facts.get("kind") not in get_args(Kind):
        raise SourceUnreadable(path, f"kind must be one of {', '.join(get_args(Kind))}, got {facts.get('kind')!r}")
    other = _OF_PUBLISHED if facts["kind"] == "hub" else _OF_HUB
    if foreign := next((key for key in other if key in facts), None):
        raise SourceUnreadable(path, f"a suite of kind {facts['kind']} has no {foreign}")
    if "task" in facts and "tasks" in facts:
        raise SourceUnreadable(path, "give [[task]] tables, or tasks and images that are shipped, not both")
    if facts.get("models", "all") not in ("all", "paper"):
        raise SourceUnreadable(path, f"models must be all or paper, got {facts['models']!r}")
    for sample in facts.get("sample_set", ()):
        _check_keys(path, sample, _SAMPLE_KEYS, "a sample set")
        if not sample.get("name"):
            raise SourceUnreadable(path, "a sample set needs name")
    seeds = facts.get("seeds", [0])
    if not seeds or any(not 0 <= seed < 2**32 for seed in seeds):
        raise SourceUnreadable(path, f"seeds must be whole numbers of at least 0, got {seeds}")
    for name in (*facts.get("methods", ()), facts.get("against", "inb")):
        check_method(name)
    if facts["kind"] == "hub" and "task" not in facts and not {"tasks", "images"} <= facts.keys():
        raise SourceUnreadable(path, "a suite of kind hub needs [[task]] tables, or tasks and images that are shipped")
    if facts["kind"] == "published" and "universal" not in facts:
        raise SourceUnreadable(path, "a suite of kind published needs universal: a data set that stands for all tasks")
    names = [task.get("name") for task in facts.get("task", ())]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SourceUnreadable(path, f"two tasks are called {twice!r}")


def check_method(name: str) -> None:
    """Refuse what is no method.

    Raises:
        InvalidTask: naming those there are.
    """
    if name not in METHODS:
        close = near_names(str(name), list(METHODS)) or list(METHODS)
        raise InvalidTask(f"no method {name!r}; there are {', '.join(close)}")


def _declared(path: Path, facts: Mapping[str, Any]) -> DeclaredTask:
    _check_keys(path, facts, _TASK_KEYS, "a task")
    for key in ("name", "folder"):
        if not facts.get(key):
            raise SourceUnreadable(path, f"a task needs {key}")
    classes = facts.get("classes", [])
    return DeclaredTask(
        name=facts["name"],
        domain=facts.get("domain", ""),
        kind=facts.get("kind", ""),
        folder=facts["folder"],
        classes=_class_names(path, classes),
        count=classes if isinstance(classes, int) else None,
        size=facts.get("size"),
        recipe=facts.get("recipe", ""),
    )


def _class_names(path: Path, classes: Sequence[str] | str | int) -> tuple[str, ...]:
    if isinstance(classes, str):
        file = path.parent / classes
        try:
            classes = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceUnreadable(file, f"no file of class names: {error}") from error
    return tuple(clean_classes(classes)) if not isinstance(classes, int) and classes else ()


def _check_keys(path: Path, facts: Mapping[str, Any], keys: Mapping[str, tuple[type, ...]], what: str) -> None:
    for key, value in facts.items():
        if key not in keys:
            close = near_names(key, list(keys)) or list(keys)
            raise SourceUnreadable(path, f"{what} has no key {key!r}; there are {', '.join(close)}")
        if type(value) not in keys[key]:
            wanted = " or ".join(kind.__name__ for kind in keys[key])
            raise SourceUnreadable(path, f"{key} must be {wanted}, got {value!r}")
        if isinstance(value, list) and any(type(item) is not _ITEMS[key] for item in value):
            raise SourceUnreadable(path, f"{key} must be a list of {_ITEMS[key].__name__}, got {value!r}")
