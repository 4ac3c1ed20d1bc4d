"""Run `predict --out` and die in the middle: the process that `test_killed.py` starts.

    python killing.py SELECTION IMAGES SCRATCH POINTS

As in `tests/label/killing.py`: the command is run once to its end, counting the moments at which it calls the operating
system; then, for each of POINTS moments spread over these, a child begins it in an empty folder and kills itself with
SIGKILL at that moment, and another child gives the same command again. A line of JSON tells what each left.
"""

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import torch  # noqa: F401 - once, rather than in every child

from fakes import fake
from mllctl.backends import open_clip_models
from mllctl.reuse import answering
from mllctl_cli.main import main

CALLS = {"fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "open", "write", "write_batch", "truncate", "flush"}
CALLS |= {"close", "seek", "mkstemp", "chmod", "scandir"}


def predict(selection, images, out):
    """Run the command and return its exit code."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            main(
                [
                    "predict",
                    "--selection",
                    selection,
                    "--images",
                    images,
                    "--out",
                    str(out),
                    "--batch",
                    "2",
                    "--workers",
                    "0",
                ]
            )
        except SystemExit as end:
            return end.code
    return None


def in_a_child(task):
    """Fork, run, and return how the child ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = task()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watched(task, moment, note=None):
    """Run, and die at a moment; or, at none, write how many there were."""
    count = 0

    def watch(frame, event, called):
        nonlocal count
        if event == "c_call" and called.__name__ in CALLS:
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    code = task()
    sys.setprofile(None)
    if note:
        note.write_text(str(count))
    return code


def run(selection, images, scratch, points):
    """Kill at so many moments, and tell what was left and what came of it."""
    (scratch / "whole").mkdir()
    predict(selection, images, scratch / "first.csv")  # what is imported on the way would be moments, too
    whole, note = scratch / "whole" / "out.csv", scratch / "moments"
    assert in_a_child(lambda: watched(lambda: predict(selection, images, whole), 0, note)) == 3
    moments = int(note.read_text())
    for point in range(points):
        folder = scratch / str(point)
        folder.mkdir()
        out = folder / "out.csv"
        moment = 1 + point * (moments - 1) // (points - 1)
        ended = in_a_child(lambda out=out, moment=moment: watched(lambda: predict(selection, images, out), moment))
        left = out.read_bytes() if out.exists() else None
        replaced = ["--force"] if left else []
        again = None if replaced else in_a_child(lambda out=out: predict(selection, images, out))
        facts = {
            "killed": ended == -signal.SIGKILL,
            "left": "nothing" if left is None else "whole" if left == whole.read_bytes() else "part",
            "again": again,
            "same": out.read_bytes() == whole.read_bytes(),
            "rubbish": [] if replaced else sorted(path.name for path in folder.iterdir() if path != out),
        }
        print(json.dumps(facts))


if __name__ == "__main__":
    answering.BATCHES_PER_PART = 1
    open_clip_models.open_model = lambda arch, weights, device="cpu": fake(int(weights))
    run(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
