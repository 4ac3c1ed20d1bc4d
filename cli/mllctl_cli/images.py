"""`images add`, `images list` and `images remove`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mllctl
from mllctl.errors import InvalidTask, NotInHub, SourceUnreadable
from mllctl.hub import StoredImage
from mllctl.hub.writing import HubChange, change_hub
from mllctl.label import remove_images
from mllctl_cli import render
from mllctl_cli.classes import read_classes
from mllctl_cli.options import HubOption, JsonOption, check_domain, find_node, hub_path

if TYPE_CHECKING:
    from mllctl.images import Recipe, SampleImage, Scan, Skipped
    from mllctl.wordnet import WordNet

SHOWN = 20  # lines about skipped inputs; --json has all
NUMBERS = 8  # of images, in a command that is said

NodeFilter = Annotated[str | None, typer.Option("--node", metavar="SYNSET", help="Only images of this synset.")]
DomainFilter = Annotated[str | None, typer.Option("--domain", metavar="NAME", help="Only images of this domain.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    images = typer.Typer(no_args_is_help=True, help="Sample images, each with one true synset and one domain.")
    images.command()(add)
    images.command("list")(list_)
    images.command()(remove)
    app.add_typer(images, name="images")


def add(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A folder, a .csv, .parquet or .tar file, a pattern, or a recipe."),
    ],
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Where a recipe's images are; SOURCE is its name."),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="NAME", help="Domain of the images for which the source names none."),
    ] = None,
    describe: Annotated[
        list[str] | None,
        typer.Option(
            "--describe",
            metavar="TEXT",
            help="One line that says what images of a new domain look like; NAME=TEXT for one the source names.",
        ),
    ] = None,
    domain_folders: Annotated[
        bool, typer.Option("--domain-folders", help="Folders in SOURCE are domains, class folders are in them.")
    ] = False,
    classes: Annotated[
        Path | None,
        typer.Option("--classes", metavar="FILE", help="What class indexes in shards mean, a line each; or imagenet."),
    ] = None,
    per_node: Annotated[
        int | None, typer.Option("--per-node", metavar="N", min=1, help="At most N images a node and domain.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which ones --per-node draws.")] = 0,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write what was skipped, and why, as CSV.", show_default=False),
    ] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Add sample images from folders, a manifest, shards or a recipe.

    Folders are named by wnid (n02084071), synset (dog.n.01) or lemma (dog). A manifest has the columns path and
    synset, and perhaps domain; a new domain that only it names is described by its name. Shards are webdataset .tar
    files or Parquet files with a column picture. Recipes are imagenet, imagenet-v2, imagenet-sketch, imagenet-a and
    imagenet-r. What cannot be used, or is there already under another class or domain, is reported and skipped (exit
    code 3); words with several senses are listed with the sense that was taken. Nothing is unpacked or copied: keep
    the images where they are.

    Example: mllctl images add ./photos --domain photo --describe "a photograph"
    """
    from mllctl.images import Draw, are_domains
    from mllctl.wordnet import wordnet

    made = _recipe(source, root)
    if made and (classes or domain_folders):
        raise InvalidTask("a recipe knows its classes and its domain; leave out --classes and --domain-folders")
    path = mllctl.find_hub(hub)
    with change_hub(path, f"images add {source}") as change:
        with mllctl.Hub.open(path) as opened:
            known = {stored.name: stored.description for stored in opened.domains()}
        own, described = _own_domain(made, domain, describe or [], known)
        # Before the images are read, which may take long.
        if own and own not in known and not described.get(own):
            raise InvalidTask(f"domain {own!r} is new; say what its images look like with --describe TEXT")
        if report:
            _check_report(report)
        draw = Draw(per_node, seed) if per_node else None
        nouns = wordnet()
        if made and root:
            from mllctl.images import scan_recipe

            found = scan_recipe(made, root, own, nouns, draw=draw)
        else:
            from mllctl.images import scan

            listed = _listed_classes(classes)
            found = scan(source, own, nouns, draw=draw, classes=listed, domain_folders=domain_folders)
        # Neither a domain nor a node comes of images that are there already, under another name.
        with mllctl.Hub.open(path) as opened:
            held = opened.images_held(image.sha256 for image in found.images)
        conflicts = _conflicts(found.images, held, nouns)
        fresh = [image for image in found.images if image.sha256 not in held]
        _add_domains(change, fresh, described)
        change.add_nodes([nouns[image.wnid] for image in fresh])
        added = change.add_images(fresh)
    if report:
        _write_report(found, report)
    if json:
        render.print_json(_added_json(found, added, conflicts))
    else:
        _print_added(found, added)
        _say_conflicts(conflicts)
    if not (made or domain_folders) and are_domains(source, nouns):
        render.say(f"each folder in {source} has class folders in it; if these are domains, give --domain-folders")
    if describe:
        _say_unused(described, known, {image.domain for image in found.images})
    if found.skipped or conflicts:
        raise typer.Exit(3)


def _recipe(source: Path, root: Path | None) -> "Recipe | None":
    """Return the recipe that SOURCE names, if it names one and no file or folder."""
    from mllctl.images import RECIPES, recipe

    if root is not None:
        try:
            return recipe(str(source))
        except ValueError as error:
            raise InvalidTask(f"{error}; without --root, SOURCE is a folder or file") from error
    if str(source) in RECIPES and not source.exists():
        raise InvalidTask(f"say where the images of recipe {str(source)!r} are with --root DIR")
    return None


def _own_domain(
    made: "Recipe | None", domain: str | None, describe: Sequence[str], known: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Return the domain of images without one, and descriptions by domain.

    A description names its domain, `sketch=a sketch`, or is that of --domain. A single one may have an equals sign of
    its own: it is that of --domain if that domain is new, and so needs one.
    """
    own = domain or (made.domain.name if made else "")
    described = {own: made.domain.description} if made and own == made.domain.name else {}
    for text in describe:
        name, equals, rest = text.partition("=")
        named = not own or known.get(own, text) != text or len(describe) > 1 or name.strip() == own
        if equals and name.strip() and rest.strip() and named:
            described[name.strip()] = rest.strip()
        elif own:
            described[own] = text
        else:
            raise InvalidTask(f"--describe {text!r} is of no domain; write NAME={text} or give --domain NAME")
    return own, described


def _listed_classes(path: Path | None) -> Sequence[str]:
    """Return what class indexes mean: the lines of a file, or ImageNet's wnids."""
    from mllctl.images import imagenet_wnids

    if path is None:
        return ()
    if str(path) == "imagenet" and not path.exists():
        return imagenet_wnids()
    return read_classes(path, None)


def _say_unused(described: dict[str, str], known: dict[str, str], found: Collection[str]) -> None:
    """Say which descriptions were for nothing: those of domains that were there, or that no image has."""
    for name in sorted(described):
        if name in known:
            if described[name] != known[name]:
                render.say(f"domain {name!r} was there already and keeps its description: {known[name]}")
        elif name not in found:
            render.say(f"no image is of domain {name!r}, which was described as {described[name]!r}")


def _check_report(path: Path) -> None:
    """Refuse, before the images are read, what could not be written after."""
    if path.exists():
        raise SourceUnreadable(path, "is there already; name a new file")
    if not path.parent.is_dir():
        raise SourceUnreadable(path, "there is no such folder to write it in; make it first")


def _write_report(found: "Scan", path: Path) -> None:
    import csv

    try:
        with path.open("x", newline="", encoding="utf-8") as out:
            rows = csv.writer(out)
            rows.writerow(("path", "reason"))
            rows.writerows((skipped.path, skipped.reason) for skipped in found.skipped)
    except FileExistsError as error:
        raise SourceUnreadable(path, "is there already; name a new file") from error
    render.say(f"wrote {path}")


def _add_domains(change: HubChange, images: Sequence["SampleImage"], described: dict[str, str]) -> None:
    """Add the domains of images; one that only a source names is described by its name."""
    from mllctl.images import Domain

    for name in dict.fromkeys(image.domain for image in images):
        change.add_domain(Domain(name, described.get(name, name.replace("_", " "))))


@dataclass(frozen=True)
class Conflict:
    """An image that is there already under another class or domain, and stays so.

    Attributes:
        path: where it was found.
        wanted: synset and domain it was found under.
        held: those it has.
        image: its number; None if it came earlier in the same source.
    """

    path: str
    wanted: tuple[str, str]
    held: tuple[str, str]
    image: int | None


def _conflicts(images: Sequence["SampleImage"], held: Mapping[str, StoredImage], nouns: "WordNet") -> list[Conflict]:
    """Return the images whose content is there under another class or domain, in the hub or earlier in the source."""
    truths: dict[str, tuple[tuple[str, str], int | None]] = {
        sha256: ((stored.synset, stored.domain), stored.image) for sha256, stored in held.items()
    }
    conflicts = []
    for image in images:
        wanted = nouns[image.wnid].synset, image.domain
        had, number = truths.setdefault(image.sha256, (wanted, None))
        if had != wanted:
            conflicts.append(Conflict(image.uri, wanted, had, number))
    return conflicts


def _say_conflicts(conflicts: Sequence[Conflict]) -> None:
    """Say what stays as it was, a line for each pair of truths."""
    kinds: dict[tuple[object, ...], list[Conflict]] = {}
    for conflict in conflicts:
        kinds.setdefault((conflict.wanted, conflict.held, conflict.image is None), []).append(conflict)
    for alike in list(kinds.values())[:SHOWN]:
        first = alike[0]
        count = f"{len(alike)} images, such as {_one_line(first.path)}," if len(alike) > 1 else _one_line(first.path)
        verb = "are" if len(alike) > 1 else "is"
        where = "earlier in the source" if first.image is None else "there already"
        stays = f"{count} {verb} {where} as {' in '.join(first.held)}, and not added as {' in '.join(first.wanted)}"
        render.say(f"{stays}; {_cure(alike)}")
    if len(kinds) > SHOWN:
        render.say(f"... and {len(kinds) - SHOWN} more such lines; --json lists all")


def _cure(alike: Sequence[Conflict]) -> str:
    numbers = [str(conflict.image) for conflict in alike if conflict.image is not None]
    if not numbers:
        return "leave out the one that is wrong"
    more = " ..." if len(numbers) > NUMBERS else ""
    return f"if that is wrong, first `mllctl images remove {' '.join(numbers[:NUMBERS])}{more}`"


def _added_json(found: "Scan", added: int, conflicts: Sequence[Conflict]) -> dict[str, object]:
    return {
        "added": added,
        "already_there": len(found.images) - added,
        "conflicts": [
            {
                "path": conflict.path,
                **dict(zip(("node", "domain"), conflict.wanted, strict=True)),
                **dict(zip(("held_node", "held_domain"), conflict.held, strict=True)),
                "image": conflict.image,
            }
            for conflict in conflicts
        ],
        "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in found.skipped],
        "reasons": found.reasons(),
        "left_out": found.left_out,
        "guessed": {word: [sense.synset for sense in senses] for word, senses in found.guessed.items()},
    }


def _print_added(found: "Scan", added: int) -> None:
    already = len(found.images) - added
    drawn = f", {found.left_out} not drawn" if found.left_out else ""
    render.print_line(f"{added} images added, {already} already there, {len(found.skipped)} skipped{drawn}")
    lines = list(_skipped_lines(found.skipped))
    for line in lines[:SHOWN]:
        render.say(line)
    if len(lines) > SHOWN:
        render.say(f"... and {len(lines) - SHOWN} more such lines; --json and --report FILE list all")
    for reason, count in list(found.reasons().items())[:SHOWN]:
        render.say(f"{count:>7,} skipped: {reason}")
    _say_senses(found)


def _say_senses(found: "Scan") -> None:
    """Say which senses were taken, first those that are most likely wrong."""
    from mllctl.senses import by_doubt
    from mllctl.wordnet import wordnet

    nouns = wordnet()
    taken = {senses[0].wnid for senses in found.guessed.values()}
    clear = [nouns[wnid] for wnid in dict.fromkeys(image.wnid for image in found.images) if wnid not in taken]
    ordered = by_doubt(found.guessed, clear, nouns)
    for word, likely in ordered[:SHOWN]:
        first, *others = found.guessed[word]
        render.say(f"{word!r} was taken as {first.synset}: {first.definition}")
        if likely != first:
            render.say(f"    beside the others it is more likely {likely.synset}: {likely.definition}")
        for sense in [sense for sense in others if sense != likely][:3]:
            render.say(f"    it may also be {sense.synset}: {sense.definition}")
    if len(ordered) > SHOWN:
        render.say(f"... and {len(ordered) - SHOWN} more words with several senses; --json lists all")
    wrong = [(found.guessed[word][0].synset, likely.synset) for word, likely in ordered]
    if wrong and wrong[0][0] != wrong[0][1]:
        cure = f"`mllctl images remove --node {wrong[0][0]}`, name its folder {wrong[0][1]} and add it again"
        render.say(f"where another sense is meant, as perhaps here, {cure}")


def _skipped_lines(skipped: Sequence["Skipped"]) -> Iterator[str]:
    """Say what was skipped; a folder whose name is no synset is said once, not for each of its images."""

    def place(missed: "Skipped") -> tuple[str, str]:
        folder = Path(missed.path).parent
        return str(folder) if repr(folder.name) in missed.reason else missed.path, missed.reason

    for (where, reason), group in groupby(skipped, key=place):
        count = len(list(group))
        yield f"skipped {_one_line(where)}: {reason}" + (f" ({count} files)" if count > 1 else "")


def _one_line(path: str) -> str:
    """Return a path without what would end the line or command the terminal."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in path)


def list_(
    synset: NodeFilter = None,
    domain: DomainFilter = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """List the sample images of a hub.

    Example: mllctl images list --node dog.n.01
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        images = _find_images(opened, synset, domain)
    if json:
        render.print_json([_as_json(image) for image in images])
        return
    rows = [(image.image, image.synset, image.domain, image.uri) for image in images]
    render.print_table(("image", "node", "domain", "uri"), rows, ("image",))


def remove(
    image: Annotated[
        list[int] | None, typer.Argument(metavar="IMAGE", help="Numbers of images, as `images list` shows them.")
    ] = None,
    synset: NodeFilter = None,
    domain: DomainFilter = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Remove sample images by number, node or domain.

    Labels follow: a node that loses its last image competes no longer.

    Example: mllctl images remove 17 18 --hub ./hub
    """
    if not image and synset is None and domain is None:
        raise InvalidTask("nothing to remove; give image numbers, --node or --domain")
    path = mllctl.find_hub(hub)
    with mllctl.Hub.open(path) as opened:
        live = {stored.image for stored in _find_images(opened, synset, domain)}
    unknown = sorted(set(image or []) - live)
    if unknown:
        raise NotInHub("image", str(unknown[0]), cure="`mllctl images list` shows all")
    chosen = sorted(set(image or live))
    remove_images(path, chosen)
    if json:
        render.print_json({"removed": len(chosen)})
        return
    render.print_line(f"{len(chosen)} images removed")


def _find_images(hub: mllctl.Hub, synset: str | None, domain: str | None) -> list[StoredImage]:
    if synset is not None:
        find_node(hub, synset)
    if domain is not None:
        check_domain(hub, domain)
    return hub.images(synset, domain)


def _as_json(image: StoredImage) -> dict[str, object]:
    return {"image": image.image, "node": image.synset, "domain": image.domain, "uri": image.uri}
