"""`doctor`: is everything in order?"""

import dataclasses

import typer

from mllctl.checkup import check_hub, check_installation
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(doctor)


def doctor(hub: HubOption = None, json: JsonOption = False) -> None:
    """Check installation, hub and stages, and say how to mend them.

    Nothing is changed. Exits with 1 if anything is wrong.

    Example: mllctl doctor --hub ./hub
    """
    findings = [*check_installation(), *check_hub(hub_path(hub))]
    if json:
        render.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [("well" if finding.well else "WRONG", finding.what, finding.remark) for finding in findings]
        render.print_table(("", "check", "remark"), rows)
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
