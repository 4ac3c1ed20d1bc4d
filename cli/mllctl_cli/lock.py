"""`model lock`."""

import json as json_
from pathlib import Path
from typing import Annotated

import typer

import mllctl
from mllctl.errors import InvalidTask
from mllctl.locking import check_lock, lock_models
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path


def lock(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the lock there, not to stdout.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Say what differs from a lock that was written.")
    ] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Write down the exact models, hashes and versions, or check them.

    A lock is JSON, to be kept beside a result. With --check nothing is written; each difference is a line, and any
    difference is exit code 1.

    Example: mllctl model lock --out models.lock
    """
    if out and check:
        raise InvalidTask("give --out FILE or --check FILE, not both")
    with mllctl.Hub.open(hub_path(hub)) as opened:
        if check:
            _print_differences(check, check_lock(check, opened), json)
            return
        facts = lock_models(opened)
    if out is None:
        render.print_json(facts)
        return
    out.write_text(json_.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if json:
        render.print_json(facts)
        return
    without = sum(model["canary"] is None for model in facts["models"].values())
    render.print_line(f"{out}: {len(facts['models'])} models")
    if without:
        render.say(f"{without} models have no canary yet; `mllctl label` takes one")


def _print_differences(path: Path, differences: list[str], json: bool) -> None:
    if json:
        render.print_json({"lock": str(path), "differences": differences})
    for line in [] if json else differences:
        render.print_line(line)
    if not differences:
        render.say(f"all is as {path} says")
        return
    raise typer.Exit(1)
