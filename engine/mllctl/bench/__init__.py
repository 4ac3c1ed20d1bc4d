"""The benchmark: methods of choosing on tasks whose truth is known, every number with what made it.

    suite file ── suites ── tasks ── ground (what models reach) ─┐
    imported results ────────────────┘                           ├─ measuring ── running ── store
    methods (`mllctl.methods`) ──────────────────────────────────┘                            │
                                                                   pages ── sections ── summary

    ablating    the same with one option of the selection changed at a time
    growing     hubs of fewer models: random orders of growth, random and budgeted sub-hubs

Numbers are only ever added to the store; a run that was interrupted goes on where it was, and one with the same plan
gives the same numbers.
"""

from mllctl.bench.ablating import FACTORS, Factor, read_values, run_ablation
from mllctl.bench.ground import Ground, hub_ground, published_ground
from mllctl.bench.growing import GROWN, SUBHUB_METHODS, methods_of_fewer, run_growth, run_subhubs
from mllctl.bench.measuring import ALL as METRICS
from mllctl.bench.pages import choose_runs, write_report
from mllctl.bench.records import MEAN, Outcome, Plan, StoredRun
from mllctl.bench.running import methods_for, plan_run, run_suite
from mllctl.bench.store import stored_outcomes, stored_runs
from mllctl.bench.suites import Suite, check_method, present_tasks, read_suite, shipped_suites
from mllctl.bench.summary import Comparison, Row, by_number, compare, mean_rows, order_of, task_rows

__all__ = [
    "FACTORS",
    "GROWN",
    "MEAN",
    "METRICS",
    "SUBHUB_METHODS",
    "Comparison",
    "Factor",
    "Ground",
    "Outcome",
    "Plan",
    "Row",
    "StoredRun",
    "Suite",
    "by_number",
    "check_method",
    "choose_runs",
    "compare",
    "hub_ground",
    "mean_rows",
    "methods_for",
    "methods_of_fewer",
    "order_of",
    "plan_run",
    "present_tasks",
    "published_ground",
    "read_suite",
    "read_values",
    "run_ablation",
    "run_growth",
    "run_subhubs",
    "run_suite",
    "shipped_suites",
    "stored_outcomes",
    "stored_runs",
    "task_rows",
    "write_report",
]
