"""`doctor`: is everything in order, the installation and the hub or the classes of a task?"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import mllctl
from mllctl.advice import (
    Advice,
    advise,
    cleaned_classes,
    evidence_wnids,
    nodes_of_classes,
    read_meanings,
)
from mllctl.captions import clean_classes
from mllctl.checkup import check_hub, check_installation
from mllctl.errors import InvalidTask
from mllctl.senses import Meaning
from mllctl.wordnet import wordnet
from mllctl_cli import render
from mllctl_cli.classes import ClassesOption, ClassOption, read_classes
from mllctl_cli.options import DomainOption, HubOption, JsonOption, hub_path, index_encoder

TaskOption = Annotated[
    str | None, typer.Option("--task", metavar="TEXT", help="Kind of task, in words, such as 'facial expressions'.")
]
ProposeOption = Annotated[
    Path | None, typer.Option("--propose", metavar="OUT", help="New file to write the cleaned classes to.")
]
COLUMNS = ("", "class", "remark", "write")
NAMES_SHOWN = 4
LETTERS_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(doctor)


def doctor(
    classes: ClassesOption = None,
    class_: ClassOption = None,
    domain: DomainOption = None,
    task: TaskOption = None,
    propose: ProposeOption = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Check installation, hub and stages, and say how to mend them.

    With classes, it checks their names instead: how they are written, what they are taken to mean, and which cannot be
    told apart. It proposes cleaned names and changes no file.

    Exits with 1 if anything is wrong; of classes, what `select` would refuse or take for two: empty names, duplicates
    but for case, plural or spelling, and marks that name no synset.

    Example: mllctl doctor --classes classes.txt --propose cleaned.txt
    """
    if classes or class_:
        well = _check_classes(read_classes(classes, class_), f"{domain or ''} {task or ''}", propose, hub, json)
    elif propose or domain or task:
        raise InvalidTask(
            "--propose, --domain and --task are about classes; name them by --classes FILE or --class NAME"
        )
    else:
        well = _check_hub(hub, json)
    if not well:
        raise typer.Exit(1)


def _check_hub(hub: Path | None, json: bool) -> bool:
    findings = [*check_installation(), *check_hub(hub_path(hub))]
    if json:
        render.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [("well" if finding.well else "WRONG", finding.what, finding.remark) for finding in findings]
        render.print_table(("", "check", "remark"), rows)
    return all(finding.well for finding in findings)


def _check_classes(names: list[str], words: str, propose: Path | None, hub: Path | None, json: bool) -> bool:
    nouns = wordnet()
    with mllctl.Hub.open(hub_path(hub)) as opened:
        meanings = read_meanings(names, nouns, evidence_wnids(opened, nouns))
        nodes = nodes_of_classes(opened, names, index_encoder(opened), nouns) if opened.manifest.index else None
    advice = advise(names, meanings, nouns, nodes, words)
    cleaned = cleaned_classes(names, nouns)
    if propose:
        _write(propose, clean_classes(cleaned))
    if json:
        render.print_json(advice_json(advice, meanings, cleaned))
    elif advice:
        _print_advice(advice)
    else:
        render.say(f"nothing to say against {len(meanings)} classes")
    if nodes is None:
        render.say("no caption index, so classes are not compared by their nodes; run `mllctl index build`")
    return not any(piece.wrong for piece in advice)


def advice_json(advice: Sequence[Advice], meanings: Sequence[Meaning], cleaned: Sequence[str]) -> dict[str, Any]:
    """Return advice as docs/cli.md documents it."""
    return {
        "advice": [
            {
                "class": piece.class_,
                "kind": piece.kind,
                "wrong": piece.wrong,
                "remark": piece.remark,
                "proposal": piece.proposal,
            }
            for piece in advice
        ],
        "classes": [
            {
                "class": meaning.given,
                "found": meaning.found if meaning.synset else None,
                "word": meaning.word,
                "synset": meaning.synset.synset if meaning.synset else None,
                "others": [sense.synset for sense in meaning.others],
            }
            for meaning in meanings
        ],
        "cleaned": list(cleaned),
    }


def _write(path: Path, classes: Sequence[str]) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(f"{class_}\n" for class_ in classes)
    except FileExistsError as error:
        raise InvalidTask(f"{path} is there already and is not changed; name a new file") from error
    render.say(f"wrote {len(classes)} classes to {path}")


def _print_advice(advice: Sequence[Advice]) -> None:
    """Print a row a remark; classes of which the same is said share one. Templates are about all of them."""
    together: dict[tuple[str, str], list[Advice]] = {}
    for piece in advice:
        if piece.kind != "template":
            together.setdefault((piece.kind, piece.remark), []).append(piece)
    rows = [_row(pieces) for pieces in together.values()]
    # Columns that would be empty leave their width to the others.
    filled = [n for n in range(len(COLUMNS)) if any(row[n] for row in rows)]
    if rows:
        render.print_table([COLUMNS[n] for n in filled], [[row[n] for n in filled] for row in rows])
    for piece in advice:
        if piece.kind == "template":
            render.print_line(f"{piece.remark}: mllctl predict --template '{piece.proposal}'")


def _row(pieces: Sequence[Advice]) -> tuple[str, str, str, str]:
    names = [repr(_shortened(piece.class_)) for piece in pieces if piece.class_ is not None]
    proposals = [piece.proposal for piece in pieces if piece.proposal is not None]
    return "WRONG" if pieces[0].wrong else "", _listed(names), pieces[0].remark, _listed(proposals)


def _shortened(name: str) -> str:
    return name if len(name) <= LETTERS_SHOWN else f"{name[:LETTERS_SHOWN]}..."


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - NAMES_SHOWN} more" if len(items) > NAMES_SHOWN else ""
    return ", ".join(items[:NAMES_SHOWN]) + more
