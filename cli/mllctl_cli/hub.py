"""`init`, `demo build` and `hub info|log|diff|restore|compact|upgrade|export|import`."""

import dataclasses
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import mllctl
from mllctl.errors import InvalidTask
from mllctl.history import HubDifference, SavedTask, diff_hub, read_saved_tasks
from mllctl.hub import bundled_hub, read_history
from mllctl.hub.bundling import Contents, export_labels, import_labels, read_bundle
from mllctl.hub.manifest import SCHEMA_VERSION
from mllctl.hub.upgrading import upgrade_hub
from mllctl.hub.writing import restore_hub
from mllctl.label import compact_labels
from mllctl_cli import render
from mllctl_cli.classes import ClassesOption, read_classes
from mllctl_cli.options import (
    DEFAULT_ENCODER,
    DomainOption,
    HubOption,
    JsonOption,
    hub_path,
    index_encoder,
    open_encoder,
)

NAMES_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(init)
    demo = typer.Typer(no_args_is_help=True, help="The demo hub.")
    demo.command("build")(build)
    app.add_typer(demo, name="demo")
    hub = typer.Typer(no_args_is_help=True, help="The hub as a whole.")
    for command in (info, log, diff, restore, compact, upgrade, export):
        hub.command()(command)
    hub.command("import")(import_)
    app.add_typer(hub, name="hub")


def init(
    path: Annotated[
        Path, typer.Argument(metavar="DIR", help="An empty or new folder; ./hub without it.", show_default=False)
    ] = Path("hub"),
    json: JsonOption = False,
) -> None:
    """Make an empty hub.

    Example: mllctl init ./hub
    """
    mllctl.Hub.create(path).close()
    if json:
        render.print_json({"path": str(path)})
    render.say(f"made an empty hub at {path}; next: `mllctl images add DIR --domain NAME --describe TEXT --hub {path}`")


def build(
    path: Annotated[
        Path, typer.Argument(metavar="DIR", help="An empty or new folder, or a demo hub that is not finished.")
    ],
    json: JsonOption = False,
) -> None:
    """Build the demo hub from shipped images and heads.

    Every demo model and expert is shown every graph image with its real towers: a few minutes on two cores. The labels
    of models are then compared with those of the bundled demo hub. Interrupted, the same command goes on where it
    stopped.

    Example: mllctl demo build ./demo-hub
    """
    from mllctl.demo import build_demo, compare_labels, demo_expert_sources

    with render.progress() as progress:
        encoder = open_encoder(DEFAULT_ENCODER)
        build_demo(path, encoder, render.say, progress, None, demo_expert_sources())
    with mllctl.Hub.open(path) as built, mllctl.Hub.open(bundled_hub()) as bundled:
        differences = compare_labels(built, bundled)
    if json:
        render.print_json([{"model": d.model, "bits": d.bits, "compared": d.compared} for d in differences])
        return
    rows = [(d.model, d.compared, d.bits) for d in differences]
    render.print_table(
        ("model", "image-node pairs", "differ from the bundled hub"),
        rows,
        ("image-node pairs", "differ from the bundled hub"),
    )
    same = sum(d.bits == 0 for d in differences)
    render.say(f"{same} of {len(differences)} labels are bit for bit those of the bundled hub; the hub is at {path}")


def info(hub: HubOption = None, json: JsonOption = False) -> None:
    """Show what a hub holds and which stages are up to date.

    Example: mllctl hub info --hub ./hub
    """
    path = hub_path(hub)
    with mllctl.Hub.open(path) as opened:
        facts = _facts(opened)
    if json:
        render.print_json(facts)
        return
    render.print_facts({**facts, "bytes": f"{facts['bytes']:,}"})


def log(hub: HubOption = None, json: JsonOption = False) -> None:
    """List the generations of a hub that are kept, newest first.

    Each change makes one; the last ten are kept. `new bytes` are of files that the generation before did not have.

    Example: mllctl hub log --hub ./hub
    """
    path = hub_path(hub)
    facts = _generations(path)[::-1]
    if json:
        render.print_json(facts)
        return
    shown = {"new_bytes": "{:,}".format, "made": _to_the_minute}
    rows = [tuple(shown.get(key, str)(value) for key, value in fact.items()) for fact in facts]
    columns = ("generation", "made", "by", "images", "models", "new bytes")
    render.print_table(columns, rows, ("generation", "images", "models", "new bytes"))


def diff(
    before: Annotated[int, typer.Argument(metavar="BEFORE", help="Number of a generation, as `hub log` shows it.")],
    after: Annotated[
        int | None, typer.Argument(metavar="AFTER", help="Another; the newest without it.", show_default=False)
    ] = None,
    tasks: Annotated[
        Path | None,
        typer.Option("--tasks", metavar="FILE", help="Saved tasks: JSON, each with name, classes, domain_text."),
    ] = None,
    classes: ClassesOption = None,
    domain: DomainOption = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two generations, and the selections of saved tasks.

    A task is a file of them (--tasks), or the classes and domain that `select` takes.

    Example: mllctl hub diff 5 --classes classes.txt --domain satellite
    """
    path = hub_path(hub)
    with mllctl.Hub.open(path) as opened:
        asked = _asked_tasks(tasks, classes, domain)
        encoder = index_encoder(opened) if asked else None
        last = opened.manifest.generation if after is None else after
    difference = diff_hub(path, before, last, asked, encoder)
    if json:
        render.print_json(_difference_json(difference))
        return
    _print_difference(difference)


def restore(
    generation: Annotated[
        int, typer.Argument(metavar="GENERATION", help="Number of a generation, as `hub log` shows it.")
    ],
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Make a past generation of a hub the newest again.

    It becomes a new generation; what came after it stays in the log and can be restored too.

    Example: mllctl hub restore 5 --hub ./hub
    """
    path = mllctl.find_hub(hub)
    made = restore_hub(path, generation).generation
    if json:
        render.print_json({"restored": generation, "generation": made})
        return
    render.print_line(f"generation {made} is as generation {generation} was")


def compact(
    model: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models by name; without any, those that have grown.")
    ] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Merge the parts of labels that have grown.

    Made from stored embeddings; no model is run. Answers stay the same and come a little faster.

    Example: mllctl hub compact --hub ./hub
    """
    path = mllctl.find_hub(hub)
    merged = compact_labels(path, model or None)
    if json:
        render.print_json({"merged": merged})
        return
    for name in merged:
        render.print_line(f"{name}: its label is one part")
    if not merged:
        render.say("every label is one part")


def upgrade(hub: HubOption = None, json: JsonOption = False) -> None:
    """Bring a hub that an earlier mllctl wrote to this one's schema.

    Labels whose embeddings the hub has are made again from them.

    Example: mllctl hub upgrade --hub ./hub
    """
    path = mllctl.find_hub(hub)
    before = upgrade_hub(path)
    if before < SCHEMA_VERSION:
        with mllctl.Hub.open(path) as opened:
            ordered = {file.model for file in opened.manifest.orders}
            embedded = {file.model for file in opened.manifest.image_features}
            bare = [m.card.name for m in opened.models() if m.labelled and m.model in embedded - ordered]
        compact_labels(path, bare)
    if json:
        render.print_json({"before": before, "now": SCHEMA_VERSION})
    elif before < SCHEMA_VERSION:
        render.print_line(f"{path} has schema version {SCHEMA_VERSION} now; it had {before}")
    else:
        render.say(f"{path} has schema version {SCHEMA_VERSION} already")


def export(
    labels: Annotated[
        Path, typer.Option("--labels", metavar="BUNDLE", help="The file to write; gzipped if it ends in `.gz`.")
    ],
    licenses: Annotated[
        list[Path] | None,
        typer.Option(
            "--licenses", metavar="PATH", help="A file, or a folder of files, on whose the images are; repeatable."
        ),
    ] = None,
    no_order: Annotated[
        bool, typer.Option("--no-order", help="Leave out all rivals of an image but the first eight.")
    ] = False,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Put in what models made of the images, so that labels can grow.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Write the labels of a hub as one file, for others to select by.

    Graph, captions, caption index, domains, labels and cards of models and experts go into it, no images and no
    weights. Answers are the same wherever it is imported; without orders, some winners are not known. Where images lay
    goes with it.

    Example: mllctl hub export --labels labels.tar --licenses licences/
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        contents = export_labels(
            opened, labels, licenses or (), orders=not no_order, embeddings=embeddings, overwrite=force
        )
    if json:
        render.print_json({"path": str(labels), "bytes": labels.stat().st_size, **_contents_json(contents)})
        return
    whose = f"{len(contents.models)} models" + (f" and {len(contents.experts)} experts" if contents.experts else "")
    render.print_line(f"{labels}: labels of {whose}, {labels.stat().st_size:,} bytes")
    if not contents.licenses:
        render.say("nothing in it says whose the images are; --licenses PATH puts their licences in")


def import_(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A file that `hub export` has written.")],
    show: Annotated[bool, typer.Option("--show", help="Check it and say what is in it; import nothing.")] = False,
    hub: Annotated[
        Path | None,
        typer.Option(
            "--hub",
            metavar="DIR",
            help="A hub, or a new folder for one. Else $MLLCTL_HUB, else ./hub.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take labels that others have made into a hub, or make one.

    Every byte of the bundle is checked first. A hub that has the same nodes and images gets the labels of models and
    experts that are not labelled in it; any other graph is refused.

    Example: mllctl hub import labels.tar --hub ./hub
    """
    if show:
        _show_contents(read_bundle(bundle), json)
        return
    imported = import_labels(bundle, hub or Path(os.environ.get("MLLCTL_HUB") or "hub"))
    if json:
        render.print_json({**dataclasses.asdict(imported), "path": str(imported.path)})
        return
    for name in imported.taken:
        render.print_line(f"{name}: imported")
    for name in imported.skipped:
        render.say(f"{name}: its label is here already")
    if imported.created:
        render.say(
            f"made a hub at {imported.path}; next: `mllctl select --class cat --class dog --hub {imported.path}`"
        )
    elif not imported.taken:
        render.say(f"nothing is new; {imported.path} is as it was")


def _show_contents(contents: Contents, json: bool) -> None:
    facts = _contents_json(contents)
    if json:
        render.print_json(facts)
        return
    named = {"models": len(contents.models), "experts": len(contents.experts), "size": f"{contents.size:,}"}
    render.print_facts({**facts, **named, "licenses": contents.licenses or "none"})
    render.print_line()
    rows = [(m.name, m.license, m.state, m.images, m.source, m.fingerprint[:12]) for m in contents.models]
    rows += [(e.name, None, e.state, e.images, e.source, e.fingerprint[:12]) for e in contents.experts]
    columns = ("model", "licence of the weights", "label", "images", "source", "fingerprint")
    render.print_table(columns, rows, ("images",))


def _contents_json(contents: Contents) -> dict[str, Any]:
    return {**dataclasses.asdict(contents), "licenses": list(contents.licenses)}


def _generations(path: Path) -> list[dict[str, Any]]:
    facts, known = [], set()
    for manifest in read_history(path):
        with mllctl.Hub.open(path, manifest.generation) as opened:
            facts.append(
                {
                    "generation": manifest.generation,
                    "made": manifest.made,
                    "note": manifest.note,
                    "images": sum(domain.images for domain in opened.domains()),
                    "models": len(opened.models()),
                    "new_bytes": sum(file.size for file in manifest.files() if file.path not in known),
                }
            )
        known = {file.path for file in manifest.files()}
    return facts


def _to_the_minute(time: str) -> str:
    return datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M")


def _asked_tasks(tasks: Path | None, classes: Path | None, domain: str | None) -> list[SavedTask]:
    saved = read_saved_tasks(tasks) if tasks else []
    if classes:
        saved.append(SavedTask(str(classes), tuple(read_classes(classes, None)), domain))
    elif domain:
        raise InvalidTask("--domain goes with --classes FILE")
    return saved


def _print_difference(difference: HubDifference) -> None:
    added, removed = difference.images
    facts = {
        "images": f"{added} added, {removed} removed",
        "nodes with evidence": f"{_listed(difference.nodes_gained)} gained, {_listed(difference.nodes_lost)} lost",
        "models added": _listed(difference.models_added),
        "models removed": _listed(difference.models_removed),
        "labels changed": _listed(difference.models_relabelled),
    }
    render.print_facts(facts)
    if not difference.tasks:
        return
    render.print_line()
    rows = []
    for task in difference.tasks:
        rows.append((task.task, "all classes", *map(_named, task.single)) if task.changed else (task.task, "", "", ""))
        rows += [("", name, *map(_named, pair)) for name, pair in task.classes.items()]
        for generation, why in zip((difference.before, difference.after), task.refused, strict=True):
            if why:
                render.say(f"{task.task}: generation {generation} has no answer: {why}")
    rows = [row if any(row[1:]) else (row[0], "the same", "", "") for row in rows]
    render.print_table(("task", "class", f"generation {difference.before}", f"generation {difference.after}"), rows)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{len(names)} ({', '.join(names[:NAMES_SHOWN])}{more})" if names else "0"


def _named(model: str | None) -> str:
    return model or "no answer"


def _difference_json(difference: HubDifference) -> dict[str, Any]:
    added, removed = difference.images
    return {
        "before": difference.before,
        "after": difference.after,
        "images_added": added,
        "images_removed": removed,
        "nodes_gained": list(difference.nodes_gained),
        "nodes_lost": list(difference.nodes_lost),
        "models_added": list(difference.models_added),
        "models_removed": list(difference.models_removed),
        "models_relabelled": list(difference.models_relabelled),
        "tasks": [
            {
                "task": task.task,
                "changed": task.changed,
                "single": {"before": task.single[0], "after": task.single[1]},
                "classes": [
                    {"class": name, "before": before, "after": after} for name, (before, after) in task.classes.items()
                ],
                "refused": {"before": task.refused[0], "after": task.refused[1]},
            }
            for task in difference.tasks
        ],
    }


def _facts(hub: mllctl.Hub) -> dict[str, object]:
    nodes, domains, models = hub.nodes(), hub.domains(), hub.models()
    index = hub.manifest.index
    return {
        "path": str(hub.path),
        "generation": hub.manifest.generation,
        "schema_version": hub.manifest.schema_version,
        "read_only": hub.manifest.read_only,
        "bytes": sum(file.size for file in hub.manifest.files()),
        "nodes": len(nodes),
        "nodes_with_images": sum(node.images > 0 for node in nodes),
        "images": sum(domain.images for domain in domains),
        "domains": {domain.name: domain.images for domain in domains},
        "graph_version": hub.graph_version(),
        "index": _index_state(hub, len(nodes), len(domains)),
        "encoder": index.encoder if index else None,
        "models": len(models),
        "label_parts": len(hub.manifest.labels),
        "labelled": sum(model.state == "complete" for model in models),
    }


def _index_state(hub: mllctl.Hub, nodes: int, domains: int) -> str:
    index = hub.manifest.index
    if index is None:
        return "none"
    return "complete" if (index.nodes, index.domains) == (nodes, domains) else "stale"
