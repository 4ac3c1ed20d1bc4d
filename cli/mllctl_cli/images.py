"""`images add`, `images list` and `images remove`."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mllctl
from mllctl.errors import InvalidTask, NotInHub
from mllctl.hub import StoredImage
from mllctl.hub.writing import HubChange, change_hub
from mllctl.label import remove_images
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, check_domain, find_node, hub_path

if TYPE_CHECKING:
    from mllctl.images import Scan, Skipped

SHOWN = 20  # lines about skipped inputs; --json has all

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
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder of folders, or a .csv or .parquet file.")],
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="NAME", help="Domain of the images for which the source names none."),
    ] = None,
    describe: Annotated[
        str | None,
        typer.Option("--describe", metavar="TEXT", help="One line that says what images of a new domain look like."),
    ] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Add sample images from an ImageFolder or a manifest.

    Folders are named by wnid (n02084071), synset (dog.n.01) or lemma (dog). A manifest has the columns path and
    synset, and perhaps domain; a new domain that only it names is described by its name. What cannot be used is
    reported and skipped (exit code 3); words with several senses are listed with the sense that was taken.

    Example: mllctl images add ./photos --domain photo --describe "a photograph"
    """
    from mllctl.images import scan
    from mllctl.wordnet import wordnet

    path = mllctl.find_hub(hub)
    with change_hub(path, f"images add {source}") as change:
        with mllctl.Hub.open(path) as opened:
            known = {stored.name: stored.description for stored in opened.domains()}
        # Before the images are read, which may take long.
        if domain is not None and domain not in known and not describe:
            raise InvalidTask(f"domain {domain!r} is new; say what its images look like with --describe TEXT")
        nouns = wordnet()
        found = scan(source, domain or "", nouns)
        _add_domains(change, found, {domain: describe} if domain and describe else {})
        change.add_nodes([nouns[image.wnid] for image in found.images])
        added = change.add_images(found.images)
    if json:
        render.print_json(_added_json(found, added))
    else:
        _print_added(found, added)
    if domain in known and describe not in (None, known[domain]):
        render.say(f"domain {domain!r} was there already and keeps its description: {known[domain]}")
    if found.skipped:
        raise typer.Exit(3)


def _add_domains(change: HubChange, found: "Scan", described: dict[str, str]) -> None:
    """Add the domains of what was found; one that only a manifest names is described by its name."""
    from mllctl.images import Domain

    for name in dict.fromkeys(image.domain for image in found.images):
        if not name:
            raise InvalidTask("some images have no domain; name one with --domain NAME")
        change.add_domain(Domain(name, described.get(name, name.replace("_", " "))))


def _added_json(found: "Scan", added: int) -> dict[str, object]:
    return {
        "added": added,
        "already_there": len(found.images) - added,
        "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in found.skipped],
        "guessed": {word: [sense.synset for sense in senses] for word, senses in found.guessed.items()},
    }


def _print_added(found: "Scan", added: int) -> None:
    already = len(found.images) - added
    render.print_line(f"{added} images added, {already} already there, {len(found.skipped)} skipped")
    lines = list(_skipped_lines(found.skipped))
    for line in lines[:SHOWN]:
        render.say(line)
    if len(lines) > SHOWN:
        render.say(f"... and {len(lines) - SHOWN} more such lines; --json lists all")
    for word, senses in found.guessed.items():
        render.say(f"{word!r} was taken as {senses[0].synset}: {senses[0].definition}")
        for sense in senses[1:4]:
            render.say(f"    it may also be {sense.synset}: {sense.definition}")


def _skipped_lines(skipped: Sequence["Skipped"]) -> Iterator[str]:
    """Say what was skipped; a folder whose name is no synset is said once, not for each of its images."""

    def place(missed: "Skipped") -> tuple[str, str]:
        folder = Path(missed.path).parent
        return str(folder) if repr(folder.name) in missed.reason else missed.path, missed.reason

    for (where, reason), group in groupby(skipped, key=place):
        count = len(list(group))
        yield f"skipped {where}: {reason}" + (f" ({count} files)" if count > 1 else "")


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
