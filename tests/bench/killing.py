"""Run a suite of published results and die after so many tasks: the process that `test_killed.py` starts.

python killing.py RESULTS TASKS
"""

import os
import signal
import sys
from pathlib import Path

from mllctl.bench import methods_for, plan_run, published_ground, read_suite, run_suite
from mllctl.published import stored_results


def main() -> None:
    """Run; die by SIGKILL where the argument says, -1 for never."""
    path, after = Path(sys.argv[1]), int(sys.argv[2])
    suite = read_suite("published")
    ground = published_ground(suite, stored_results(path))
    methods, _ = methods_for(suite, ground)
    plan = plan_run(suite, ground, "run", [method.name for method in methods], (0,))

    def progress(_: str, done: int, __: int) -> None:
        if done == after:
            os.kill(os.getpid(), signal.SIGKILL)

    run_suite(path, suite, ground, methods, (0,), plan, progress=progress)


main()
