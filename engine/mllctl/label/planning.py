"""What a labelling will cost, from what is known without loading a model.

    hub + staging ── images and captions still to show, bytes of their files, bytes of embeddings
    backends.facts, backends.latency ── what must be downloaded, and how long it may take

`mllctl label --plan` prints it. Before its first model is loaded, a labelling asks `settled_label` whether there is
anything to do, and `precision_for` and `refuse_download` whether it can be done. Nothing is written, and neither torch
nor open_clip is imported.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mllctl.backends.demo import read_catalogue
from mllctl.backends.devices import FLOAT32, card_in, precision_of
from mllctl.backends.facts import known_models, model_facts
from mllctl.backends.names import canonical
from mllctl.backends.protocol import ModelCard
from mllctl.backends.registry import read_architecture
from mllctl.backends.unchanged import is_unchanged
from mllctl.errors import ModelNotLoadable
from mllctl.hub import Features, Hub, StoredModel, bundled_hub
from mllctl.images import uris as places
from mllctl.label.experts import is_settled_expert
from mllctl.label.showing import (
    LabelReport,
    check_known,
    embedded,
    label_input,
    unchanged_report,
)
from mllctl.label.staging import staged, staged_cards, staging_of

FLOAT16 = 2  # bytes: what a number of an embedding takes in the hub

# Either keeps huggingface_hub, through which open_clip and transformers download, from the network.
SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_ON = ("1", "ON", "YES", "TRUE")


@dataclass(frozen=True)
class LabelPlan:
    """What one labelling is about to do; None is unknown.

    Attributes:
        model: its name, or its source if it was never loaded here.
        images: live images of the hub.
        to_show: how many of them the model has not been shown.
        missing: how many of those have no file any more.
        image_bytes: size of the files of those it will be shown.
        captions: captions it has not been shown.
        seconds: what the images take on the processor, each alone, reading them not counted.
        embedding_bytes: what will be written.
        cached: whether the model can be loaded without a download.
        download_bytes: size of its weights if it cannot.
    """

    model: str
    images: int
    to_show: int
    missing: int
    image_bytes: int
    captions: int
    seconds: float | None
    embedding_bytes: int | None
    cached: bool | None
    download_bytes: int | None


def plan_label(hub: Hub, source: str, cache: Path, precision: str = FLOAT32) -> LabelPlan:
    """Say what `label_model` would do with a model.

    Args:
        hub: that it would be labelled on.
        source: of the model, as in `load_model`; it need not be in the hub.
        cache: the user's cache folder, in which latencies lie.
        precision: in which it would compute.

    Raises:
        StageMissing: if the hub has no images, or nodes that `graph build` has not seen.
        HubReadOnly: on the bundled demo hub.
    """
    given, source = label_input(hub), canonical(source)
    card = known_card(hub, source)
    known, named = np.zeros(len(given.images), bool), np.zeros(len(given.nodes), bool)
    if card is not None:
        card = card_in(card, precision)
        known, named = embedded(hub, card, given, staging_of(hub.path, card))
    todo = [given.uris[row] for row in np.flatnonzero(~known)]
    size, missing = _size_of(todo)
    captions = int(np.count_nonzero(~named))
    width = card.embedding_width if card else _width(source)
    facts = model_facts(card or _blank_card(source), cache)
    absent = facts.cached is False and card is not None
    return LabelPlan(
        model=card.name if card else source,
        images=len(given.images),
        to_show=len(todo),
        missing=missing,
        image_bytes=size,
        captions=captions,
        seconds=None if facts.latency_ms is None else facts.latency_ms / 1000 * len(todo),
        embedding_bytes=None if width is None else FLOAT16 * width * (len(todo) - missing + captions),
        cached=facts.cached,
        download_bytes=facts.size_bytes if absent else None,
    )


def plan_expert(hub: Hub, source: str) -> LabelPlan | None:
    """Say what `label_expert` would do with an expert; None if a source names none.

    Args:
        hub: that it would be labelled on.
        source: of the expert; it need not be in the hub, but then it must be named `expert:`.

    Raises:
        StageMissing, HubReadOnly: as `plan_label` does.
        HubError: if its label was imported without its answers, and there are images that it lacks.
    """
    stored = next((known for known in hub.experts() if known.card.source == source), None)
    if stored is None and not source.startswith("expert:"):
        return None
    given = label_input(hub)
    known = np.zeros(len(given.images), bool)
    if stored is not None:
        waiting = staged(staging_of(hub.path, stored.card), "image")
        known = Features.joined(hub.features(stored.expert)[0], waiting).held(given.images)
        known |= is_settled_expert(hub, stored)
    todo = [given.uris[row] for row in np.flatnonzero(~known)]
    size, missing = _size_of(todo)
    return LabelPlan(
        model=stored.card.name if stored else source,
        images=len(given.images),
        to_show=len(todo),
        missing=missing,
        image_bytes=size,
        captions=0,
        seconds=None,
        embedding_bytes=FLOAT16 * len(stored.card.heads) * (len(todo) - missing) if stored else None,
        cached=True,
        download_bytes=None,
    )


def settled_label(hub: Hub, source: str, precision: str, cache: Path) -> LabelReport | None:
    """Report on a label to which there is nothing to add, if that is known without loading the model; else None.

    It is where the label is complete and the model's files are those it was loaded from. Other weights make another
    label, so a model with other files, or files that are not known, must be loaded to see whether it is the same.

    Args:
        hub: that it would be labelled on.
        source: of the model.
        precision: in which it would compute.
        cache: the user's cache folder, in which `backends.unchanged` keeps its notes.
    """
    for stored in hub.models():
        complete = stored.state == "complete" and precision_of(stored.card) == precision
        if stored.card.source == source and complete and is_unchanged(stored.card, cache):
            return unchanged_report(hub, stored)
    return None


def known_card(hub: Hub, source: str) -> ModelCard | None:
    """Return the card of a model by its source: from the hub, from work that waits in it, or from the bundled one."""
    for card in (*(stored.card for stored in hub.models()), *staged_cards(hub.path)):
        if card.source == source:
            return card
    if not source.startswith("demo:"):
        return None
    with Hub.open(bundled_hub()) as bundled:
        return next((stored.card for stored in bundled.models() if stored.card.source == source), None)


def precision_for(stored: StoredModel | None, wanted: str | None) -> str:
    """Return the precision to label a model in: as wanted, else as it is labelled already, else float32.

    Raises:
        InvalidTask: if the model has a label in another precision than is wanted.
    """
    if stored is None:
        return wanted or FLOAT32
    if wanted is None:
        return FLOAT32 if stored.state == "none" else precision_of(stored.card)
    check_known([stored], card_in(stored.card, wanted))
    return wanted


def refuse_download(source: str, cache: Path) -> None:
    """Refuse a model that would have to be downloaded while the network is switched off.

    Of models that `models.csv` does not have, only open_clip itself can tell.

    Raises:
        ModelNotLoadable: naming the switch.
    """
    source = canonical(source)
    switch = next((name for name in SWITCHES if os.environ.get(name, "").upper() in _ON), None)
    if switch and source in known_models() and model_facts(_blank_card(source), cache).cached is False:
        reason = f"its weights or its tokenizer are not in Hugging Face's cache, and {switch} forbids to download them"
        raise ModelNotLoadable(source, f"{reason}; unset {switch}, or copy that cache from where they are")


def _size_of(uris: Sequence[str]) -> tuple[int, int]:
    """Return the bytes of all files behind some uris, packs and archives whole, and how many uris have no file."""
    sizes: dict[str, int | None] = {}
    missing = 0
    for uri in uris:
        path, row = places.split_row(uri)
        if row is None:
            path, _ = places.split_member(uri)
        if path not in sizes:
            sizes[path] = _file_size(places.locate(path))
        missing += sizes[path] is None
    return sum(size for size in sizes.values() if size is not None), missing


def _file_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return None


def _blank_card(source: str) -> ModelCard:
    """A card of which only name and source are known."""
    return ModelCard(source, "", "", 0, 0, 0, 1.0, 0.0, "", "", source)


def _width(source: str) -> int | None:
    """Return the width of a model's embeddings from the configuration that open_clip carries, unless it has none."""
    if source.startswith("demo:"):
        return next((demo.width for demo in read_catalogue() if demo.name == source.removeprefix("demo:")), None)
    config = read_architecture(source.partition("/")[0])
    return int(config["embed_dim"]) if config else None
