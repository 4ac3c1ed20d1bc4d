"""`images add`, `images list` and `images remove`."""

from pathlib import Path
from typing import Annotated

import typer

import mllctl
from mllctl.errors import InvalidTask, NotInHub
from mllctl.hub import StoredImage
from mllctl.hub.writing import change_hub
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, hub_path

SHOWN = 20  # skipped inputs printed one by one; --json has all


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    images = typer.Typer(no_args_is_help=True, help="Sample images, each with one true synset and one domain.")
    images.command()(add)
    images.command("list")(list_)
    images.command()(remove)
    app.add_typer(images, name="images")


def add(
    source: Annotated[Path, typer.Argument(help="A folder of folders, or a manifest (.csv, .parquet).")],
    domain: Annotated[str, typer.Option("--domain", help="Domain of images for which the source names none.")],
    describe: Annotated[
        str | None, typer.Option("--describe", help="One line that says what images of a new domain look like.")
    ] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Add sample images from an ImageFolder or a manifest.

    Folders are named by wnid (n02084071), synset (dog.n.01) or lemma (dog). A manifest has columns path and synset,
    perhaps domain. Images that cannot be read are reported and skipped (exit code 3); words with several senses are
    listed with the sense that was taken.

    Example: mllctl images add ./photos --domain photo --describe "a photograph" --hub ./hub
    """
    from mllctl.graph import wordnet
    from mllctl.images import Domain, scan

    path = hub_path(hub)
    with mllctl.Hub.open(path) as opened:
        known = {stored.name for stored in opened.domains()}
    nouns = wordnet()
    found = scan(source, domain, nouns)
    with change_hub(path) as change:
        for name in dict.fromkeys(image.domain for image in found.images):
            if name not in known and name == domain and describe is None:
                raise InvalidTask(f"domain {name!r} is new; say what its images look like with --describe TEXT")
            change.add_domain(Domain(name, describe if name == domain and describe else name.replace("_", " ")))
        change.add_nodes([nouns[image.wnid] for image in found.images])
        added = change.add_images(found.images)
    facts = {
        "added": added,
        "already_there": len(found.images) - added,
        "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in found.skipped],
        "guessed": {word: [sense.synset for sense in senses] for word, senses in found.guessed.items()},
    }
    if json:
        render.print_json(facts)
    else:
        render.print_line(f"{added} images added, {facts['already_there']} already there, {len(found.skipped)} skipped")
        for skipped in found.skipped[:SHOWN]:
            render.say(f"skipped {skipped.path}: {skipped.reason}")
        if len(found.skipped) > SHOWN:
            render.say(f"... and {len(found.skipped) - SHOWN} more; --json lists all")
        for word, senses in found.guessed.items():
            others = "; ".join(f"{sense.synset} ({sense.definition})" for sense in senses[1:4])
            render.say(f"{word!r} was taken as {senses[0].synset} ({senses[0].definition}); it may also be {others}")
    if found.skipped:
        raise typer.Exit(3)


def list_(
    synset: Annotated[str | None, typer.Option("--node", help="Only images of this synset.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", help="Only images of this domain.")] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """List the sample images of a hub.

    Example: mllctl images list --node dog.n.01
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        images = opened.images(synset, domain)
    if json:
        render.print_json([_as_json(image) for image in images])
        return
    rows = [(image.image, image.synset, image.domain, image.uri) for image in images]
    render.print_table(("image", "node", "domain", "uri"), rows, ("image",))


def remove(
    image: Annotated[list[int] | None, typer.Argument(help="Numbers of images, as `images list` shows them.")] = None,
    synset: Annotated[str | None, typer.Option("--node", help="All images of this synset.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", help="All images of this domain.")] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Remove sample images; labels stay valid for those that remain.

    Example: mllctl images remove 17 18 --hub ./hub
    """
    if not image and synset is None and domain is None:
        raise InvalidTask("nothing to remove; give image numbers, --node or --domain")
    path = hub_path(hub)
    with mllctl.Hub.open(path) as opened:
        live = [stored.image for stored in opened.images(synset, domain)]
    unknown = sorted(set(image or []) - set(live))
    if unknown:
        raise NotInHub("image", str(unknown[0]), cure="`mllctl images list` shows all")
    chosen = image or live
    with change_hub(path) as change:
        change.remove_images(chosen)
    if json:
        render.print_json({"removed": len(chosen)})
        return
    render.print_line(f"{len(chosen)} images removed")


def _as_json(image: StoredImage) -> dict[str, object]:
    return {"image": image.image, "node": image.synset, "domain": image.domain, "uri": image.uri}
