"""`export`: the zero-shot heads of a saved selection, for open_clip alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mllctl.reuse.saved import read_selection
from mllctl_cli import render
from mllctl_cli.options import DeviceOption, JsonOption

if TYPE_CHECKING:
    from mllctl.reuse.heads import Head


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(export)


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder to write.")],
    selection: Annotated[
        Path, typer.Option("--selection", metavar="FILE", help="What `select --save` wrote.", show_default=False)
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Write a saved selection as heads that open_clip uses alone.

    Of each model the embeddings of the classes and the scale of its logits, as safetensors, and a manifest that says
    how open_clip loads the model and how the answers are combined. docs/reuse.md has the five lines that use them.

    Example: mllctl export --selection selection.json heads
    """
    from mllctl.backends.devices import choose_device
    from mllctl.reuse.heads import check_new_folder, export_heads

    saved = read_selection(selection)
    check_new_folder(folder, replace=force)  # torch is asked for a device only then
    heads = export_heads(saved, folder, device=choose_device(device), replace=force, progress=_say_model)
    if json:
        render.print_json({"path": str(folder), "heads": [_as_json(head) for head in heads]})
    else:
        rows = [_as_row(head, len(saved.classes)) for head in heads]
        render.print_table(("model", "file", "answers", "width", "open_clip alone"), rows, ("answers", "width"))
    for head in heads:
        if head.why_not:
            render.say(f"{head.name}: open_clip does not load it alone: {head.why_not}")
    render.say(f"wrote {folder}")


def _say_model(name: str, done: int, total: int) -> None:
    render.say(f"encoding the classes with {name} ({done + 1} of {total})")


def _as_row(head: "Head", classes: int) -> tuple[object, ...]:
    return head.name, head.file, f"{len(head.answers)} of {classes}", head.width, head.open_clip is not None


def _as_json(head: "Head") -> dict[str, Any]:
    return {
        "model": head.name,
        "file": head.file,
        "sha256": head.sha256,
        "width": head.width,
        "answers": len(head.answers),
        "open_clip": head.open_clip is not None,
        "why_not": head.why_not,
    }
