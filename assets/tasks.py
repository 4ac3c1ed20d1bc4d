"""Write the demo's tasks, `mllctl_data/demo/tasks.json`, by one rule that was fixed before any model was scored.

    every style x every group of nouns -> its task pictures -> a task, if it has enough classes and pictures

A group is a WordNet lexicographer file; `artifact`, half of all pictures, is cut up by hypernym (`ARTIFACTS`), and
the small files on nature are one group (`MERGED`). A task is all task-split pictures of a style whose synset is in the
group and has a graph picture in any style. Its classes are their synsets, without those that are an ancestor of another
class (a picture of the one would be true of both). A class is called by its first lemma that no class of the task has
taken. All tasks with `MIN_CLASSES` classes and `MIN_IMAGES` pictures are written; nobody picks. Groups and shares were
chosen by looking at counts.

    python assets/tasks.py
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mllctl.wordnet import WordNet, wordnet

DATA = Path(__file__).parents[1] / "data" / "mllctl_data"
TARGET = DATA / "demo" / "tasks.json"

MIN_CLASSES, MIN_IMAGES = 8, 24
TASK_TEXT = "image classification"

Row = Mapping[str, Any]
Task = dict[str, Any]

# Lexicographer files that go together.
MERGED = dict.fromkeys(("object", "phenomenon", "process", "event", "location"), "nature")

# The parts of `artifact`, each by its topmost synsets; the first that fits wins. A wheeled vehicle is a container in
# WordNet and a racket is an implement, so the order matters.
ARTIFACTS = {
    "vehicle": ("conveyance.n.03",),
    "clothing": ("clothing.n.01", "footwear.n.02", "headdress.n.01", "jewelry.n.01"),
    "leisure": (
        "musical_instrument.n.01",
        "game_equipment.n.01",
        "sports_equipment.n.01",
        "sports_implement.n.01",
        "plaything.n.01",
    ),
    "building": ("structure.n.01",),
    "household": ("container.n.01", "furnishing.n.02", "tableware.n.01", "source_of_illumination.n.01"),
    "tool": ("implement.n.01", "device.n.01", "equipment.n.01", "machine.n.01"),
}


class Nouns:
    """WordNet's nouns by synset name: lemmas, group, and all ancestors."""

    def __init__(self, nouns: WordNet) -> None:
        self.synsets = {synset.synset: synset for synset in nouns.synsets()}
        self._parents = {
            synset.synset: [nouns[wnid].synset for wnid in synset.hypernyms] for synset in self.synsets.values()
        }

    def ancestors(self, synset: str) -> set[str]:
        found: set[str] = set()
        queue = list(self._parents[synset])
        while queue:
            name = queue.pop()
            if name not in found:
                found.add(name)
                queue += self._parents[name]
        return found

    def group(self, synset: str) -> str:
        lexname = self.synsets[synset].lexname
        if lexname != "artifact":
            return MERGED.get(lexname, lexname)
        line = self.ancestors(synset) | {synset}
        return next((name for name, roots in ARTIFACTS.items() if not line.isdisjoint(roots)), "artifact")


def without_ancestors(synsets: Iterable[str], nouns: Nouns) -> list[str]:
    """Drop every synset that is above another one."""
    synsets = sorted(set(synsets))
    above = set().union(*(nouns.ancestors(synset) for synset in synsets))
    return [synset for synset in synsets if synset not in above]


def name_classes(synsets: Sequence[str], nouns: Nouns) -> dict[str, str]:
    """Return synset -> class name: its first free lemma; a synset whose lemmas are all taken has none."""
    names: dict[str, str] = {}
    for synset in synsets:
        lemmas = [lemma.replace("_", " ") for lemma in nouns.synsets[synset].lemmas]
        taken = {name.lower() for name in names.values()}
        free = next((lemma for lemma in lemmas if lemma.lower() not in taken), None)
        if free:
            names[synset] = free
    return names


def make_task(name: str, domain: Mapping[str, str], rows: Sequence[Row], nouns: Nouns) -> Task:
    """Return one task, as tasks.json holds it, from all its candidate pictures."""
    names = name_classes(without_ancestors((row["synset"] for row in rows), nouns), nouns)
    index = {synset: c for c, synset in enumerate(names)}
    return {
        "name": name,
        "domain": domain["name"],
        "domain_text": domain["task_domain"],
        "task_text": TASK_TEXT,
        "classes": [{"name": called, "synset": synset} for synset, called in names.items()],
        "images": [[row["image"], index[row["synset"]]] for row in rows if row["synset"] in index],
    }


def candidates(rows: Iterable[Row], nouns: Nouns) -> dict[tuple[str, str], list[Row]]:
    """Return (group, domain) -> task pictures whose synset the graph can speak for."""
    rows = list(rows)
    shown = {row["synset"] for row in rows if row["split"] == "graph"}
    found = defaultdict(list)
    for row in rows:
        if row["split"] == "task" and row["synset"] in shown:
            found[nouns.group(row["synset"]), row["domain"]].append(row)
    return found


def make_tasks(rows: Iterable[Row], domains: Iterable[Mapping[str, str]], nouns: Nouns) -> list[Task]:
    """Return a task for every group and domain that has a candidate picture, however small."""
    by_name = {domain["name"]: domain for domain in domains}
    found = sorted(candidates(rows, nouns).items())
    return [make_task(f"{group}-{domain}", by_name[domain], held, nouns) for (group, domain), held in found]


def is_large(task: Task) -> bool:
    return len(task["classes"]) >= MIN_CLASSES and len(task["images"]) >= MIN_IMAGES


def to_json(tasks: Sequence[Task]) -> str:
    """Return the tasks as JSON with one value a line, but classes and images one line each."""
    return "[\n" + ",\n".join(task_to_json(task) for task in tasks) + "\n]\n"


def task_to_json(task: Task) -> str:
    return "  {\n" + ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in task.items()) + "\n  }"


def summary(tasks: Sequence[Task], small: Sequence[Task]) -> str:
    lines = [f"{'task':24}{'classes':>8}{'images':>8}"]
    lines += [f"{task['name']:24}{len(task['classes']):8}{len(task['images']):8}" for task in tasks]
    lines.append("too small: " + ", ".join(f"{t['name']} {len(t['classes'])}/{len(t['images'])}" for t in small))
    styles = Counter(task["domain"] for task in tasks)
    lines.append("tasks a style: " + ", ".join(f"{style} {count}" for style, count in sorted(styles.items())))
    return "\n".join(lines)


def main() -> None:
    columns = ["image", "synset", "domain", "split"]
    rows = pq.read_table(DATA / "demo" / "images.parquet", columns=columns).to_pylist()
    domains = json.loads((DATA / "demo" / "domains.json").read_text())
    made = make_tasks(rows, domains, Nouns(wordnet()))
    tasks, small = [task for task in made if is_large(task)], [task for task in made if not is_large(task)]
    TARGET.write_text(to_json(tasks))
    print(f"{TARGET}: {len(tasks)} tasks, {sum(len(task['images']) for task in tasks)} pictures")
    print(summary(tasks, small))


if __name__ == "__main__":
    main()
