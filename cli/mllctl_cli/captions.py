"""`captions write`: a language model describes the classes of a task."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mllctl.backends.llm import TIMEOUT
from mllctl.errors import InvalidTask
from mllctl.hub import cache_folder
from mllctl.writing_captions import (
    CAPTIONS,
    Question,
    Written,
    check_target,
    plan_captions,
    save_captions,
    write_captions,
)
from mllctl_cli import render
from mllctl_cli.classes import ClassesOption, ClassOption, read_classes
from mllctl_cli.options import DomainOption, JsonOption


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    captions = typer.Typer(no_args_is_help=True, help="Captions of classes, for matching them to nodes.")
    captions.command()(write)
    app.add_typer(captions, name="captions")


def write(
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Language model, as its server names it.")],
    classes: ClassesOption = None,
    class_: ClassOption = None,
    domain: DomainOption = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="TEXT", help="Kind of task, in words, such as 'land cover classification'."),
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", help="Captions per class, at least 1.")] = CAPTIONS,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", metavar="URL", help="Server, such as http://localhost:8000/v1. Else $OPENAI_BASE_URL."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait for an answer.")
    ] = TIMEOUT,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="JSON file to write: class and list of captions.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask nothing; show what would be asked.")] = False,
    json: JsonOption = False,
) -> None:
    """Have a language model write captions of the classes.

    Any server that speaks OpenAI's chat completions will do; $OPENAI_API_KEY is its key, if it wants one. Each answer
    is kept in the user's cache, so the same command goes on where it stopped. Classes that the model refuses, or has
    no usable answer for, are reported and skipped (exit code 3).

    Example: mllctl captions write --classes classes.txt --model NAME --dry-run
    """
    names = read_classes(classes, class_)
    if dry_run:
        _show_plan(plan_captions(names, domain, task, n, model, cache_folder()), json)
        return
    if out is None:
        raise InvalidTask("name the file to write by --out FILE, or see what would be asked with --dry-run")
    check_target(out, force)
    written = write_captions(
        names,
        domain,
        task,
        n,
        model,
        cache=cache_folder(),
        base_url=base_url,
        timeout=timeout,
        progress=lambda name, done, total: render.say(f"{name}: {done} of {total} classes"),
    )
    save_captions(written.captions, out)
    _report(written, out, json)


def _show_plan(questions: list[Question], json: bool) -> None:
    missing = sum(question.captions is None for question in questions)
    if json:
        prompts = [{"class": q.class_, "prompt": q.prompt, "cached": q.captions is not None} for q in questions]
        render.print_json({"prompts": prompts, "to_ask": missing})
        return
    for question in questions:
        render.print_line(f"{question.prompt}\n")
    render.print_line(f"{missing} of {len(questions)} prompts to ask, {len(questions) - missing} answered before")


def _report(written: Written, out: Path, json: bool) -> None:
    report = _report_json(written, out)
    if json:
        render.print_json(report)
    else:
        render.print_line(
            "{classes} classes written to {path}: {asked} asked for, {cached} answered before".format(**report)
        )
    for name, reason in written.skipped.items():
        render.say(f"skipped {name!r}: {reason}")
    if written.skipped:
        raise typer.Exit(3)


def _report_json(written: Written, out: Path) -> dict[str, Any]:
    return {
        "path": str(out),
        "classes": len(written.captions),
        "asked": written.asked,
        "cached": len(written.captions) - written.asked,
        "skipped": [{"class": name, "reason": reason} for name, reason in written.skipped.items()],
    }
