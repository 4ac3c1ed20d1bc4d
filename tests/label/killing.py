"""Run one operation on a hub and die in the middle: the process that `test_killed.py` starts.

    python killing.py OPERATION HUB SCRATCH POINTS

The operation is run once to its end, counting the moments at which it calls the operating system or DuckDB. Then, for
each of POINTS moments spread over these, a fresh copy of the hub is given to a child that kills itself with SIGKILL at
that moment. Another child opens what is left, runs the operation again and tells, as a line of JSON, what it found.
Nothing is stubbed: the children are forks of a process that has only imported.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from fakes import FakeModel, fake
from mllctl.errors import HubTooOld
from mllctl.hub import Hub
from mllctl.hub.manifest import read_history
from mllctl.hub.upgrading import upgrade_hub
from mllctl.hub.writing import change_hub, restore_hub
from mllctl.images import SampleImage
from mllctl.label import compact_labels, label_model, remove_images

# What reaches the disk, or is about to; by the name of the function that is called.
CALLS = {"execute", "fetchall", "connect", "close", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "open"}
CALLS |= {"write", "write_batch", "copyfile", "register", "scandir", "rmtree", "truncate", "flush"}


def remove_dogs(path):
    with Hub.open(path) as hub:
        dogs = [image.image for image in hub.images(synset="dog.n.01")]
    remove_images(path, dogs)


def add_dogs(path):
    with change_hub(path) as change:
        change.add_images([SampleImage(f"/dog{n}", "n02084071", "photo", f"dog{n}") for n in range(70)])


OPERATIONS = {
    "label a new model": lambda path: label_model(path, FakeModel("fake/new", seed=3), batch=1),
    "label what is new": lambda path: label_model(path, fake(0)),
    "remove the images of a node": remove_dogs,
    "add images": add_dogs,
    "merge the parts of labels": compact_labels,
    "restore a generation": lambda path: restore_hub(path, read_history(path)[0].generation),
    "upgrade from version 1": upgrade_hub,
    "upgrade from version 2": upgrade_hub,
}


def answers(path):
    """Everything that is asked of labels; None for a hub that waits for its upgrade."""
    try:
        hub = Hub.open(path)
    except HubTooOld:
        return None
    with hub:
        evidence = np.flatnonzero(hub.evidence_nodes())
        found = {"images": [image.uri for image in hub.images()]}
        for stored in hub.models():
            counted = [hub.hits(nodes, [stored.model]) for nodes in (evidence, evidence[::2])]
            by_masks = hub.hits_by_masks(evidence, [stored.model])
            assert np.array_equal(counted[0].hits, by_masks.hits)
            winners = hub.winners(stored.model, evidence)
            masks = hub.rival_masks(stored.model)
            found[stored.card.name] = (
                stored.state,
                [count.hits.tolist() for count in counted],
                winners.winner.tolist(),
                hub.overall_hits(stored.model),
                [column.tolist() for column in masks],
            )
        for stored in hub.experts():
            totals = hub.head_totals(stored.expert, evidence)
            columns = (totals.node, totals.images, totals.total, hub.features(stored.expert)[0].ordinals)
            found[stored.card.name] = (stored.state, [column.tolist() for column in columns])
        return found


def in_a_child(task):
    """Fork, run, and return how the child ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            task()
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def counting(operation, path, deadly):
    """Run to the `deadly`-th moment, or to the end; return how many there were."""
    seen = 0

    def watch(_frame, event, called):
        nonlocal seen
        if event in ("c_call", "c_return") and called.__name__ in CALLS:
            seen += 1
            if seen == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    try:
        operation(path)
    finally:
        sys.setprofile(None)
    return seen


def tell(path, **facts):
    path.write_text(json.dumps(facts))


def main(name, hub, scratch, points):
    operation = OPERATIONS[name]

    def whole():
        copy = shutil.copytree(hub, scratch / "whole")
        before = answers(copy)
        moments = counting(operation, copy, None)
        tell(scratch / "whole.json", before=before, after=answers(copy), moments=moments)

    assert in_a_child(whole) == 0
    told = json.loads((scratch / "whole.json").read_text())
    for deadly in sorted({round(n) for n in np.linspace(1, told["moments"], points)}):
        copy = shutil.copytree(hub, scratch / f"killed-{deadly}")
        assert in_a_child(lambda path=copy, at=deadly: counting(operation, path, at)) == -signal.SIGKILL

        def again(path=copy, at=deadly):
            left = json.loads(json.dumps(answers(path)))
            operation(path)
            ended = json.loads(json.dumps(answers(path)))
            # What the killed one left behind is gone with the next change.
            with change_hub(path):
                pass
            rubbish = [str(file) for file in (path / "staging").rglob("*") if file.is_file()]
            state = "old" if left == told["before"] else "new" if left == told["after"] else "neither"
            tell(scratch / "again.json", at=at, left=state, same=ended == told["after"], rubbish=rubbish)

        assert in_a_child(again) == 0, f"after a kill at moment {deadly} of {told['moments']}"
        print((scratch / "again.json").read_text(), flush=True)
        shutil.rmtree(copy)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
