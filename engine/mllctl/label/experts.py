"""Show experts the sample images of a hub, and keep what their heads answered: the Semantic DAG label (Eq 1).

    images.feeding ── expert.log_probability ── float16 ── sums by block ── commit

Log-probabilities are an expert's logits but for a constant an image, which no softmax over heads sees. They are kept,
so an image that comes or goes costs its block; a new node costs its images, and what it inherits (Eq 2) is worked out
when it is asked for.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mllctl.backends.protocol import Expert, ExpertCard
from mllctl.errors import HubError, HubReadOnly, InvalidTask, ModelNotLoadable, SourceUnreadable
from mllctl.hub import Features, Hub, LabelInput, StoredExpert
from mllctl.hub.experts import write_expert
from mllctl.hub.features import Float16
from mllctl.hub.records import Masks, Ordinals, find
from mllctl.hub.writing import EXPERT, HubChange, bare_experts, cannot_grow, change_hub
from mllctl.images import Skipped
from mllctl.images.feeding import WORKERS
from mllctl.label.showing import BATCH, LabelReport, label_input
from mllctl.label.staging import (
    WRITER_WAIT,
    Progress,
    Viewer,
    hold,
    put_card,
    show_images,
    staged,
    staging_of,
)

BLOCKS_AT_ONCE = 256

Before = tuple[Ordinals, Masks]


def label_expert(
    path: Path,
    expert: Expert,
    progress: Progress | None = None,
    batch: int = BATCH,
    *,
    workers: int = WORKERS,
) -> LabelReport:
    """Label `expert` on the hub at `path`: `label_experts` with one."""
    return label_experts(path, [expert], progress, batch, workers=workers)[0]


def label_experts(
    path: Path,
    experts: Sequence[Expert],
    progress: Progress | None = None,
    batch: int = BATCH,
    *,
    workers: int = WORKERS,
) -> list[LabelReport]:
    """Label experts on the hub at `path` in one pass over the images, adding those that are new, and commit each.

    What an expert was shown before it is not shown again; where nothing is new nothing is committed.

    Args:
        path: the hub's folder.
        experts: anything that keeps the protocol, of different weights.
        progress: called before the first batch and after each.
        batch: images handed to an expert at once.
        workers: threads that decode images ahead.

    Raises:
        StageMissing: if the hub has no images, or nodes that `graph build` has not seen.
        HubReadOnly: on the bundled demo hub.
        SourceUnreadable: if not one image can be read.
        InvalidTask: if the hub has another model of such a name.
        HubError: if a label was imported without its answers, and there are images that it lacks.
        ModelNotLoadable: if what comes out is not numbers.
    """
    with Hub.open(path) as hub:
        given = label_input(hub)
        for expert in experts:
            check_expert(hub, expert.card)
        settled = _settled(hub, experts)
    # In the order of blocks, whatever their nodes: a batch decides the last bits of an answer.
    order = np.lexsort((given.bit, given.block))
    with ExitStack() as held:
        viewers = {
            expert.card.identity: _viewer(held, path, expert, given, order)
            for expert in experts
            if expert.card.identity not in settled
        }
        todo = order[
            np.isin(order, np.concatenate([order[:0], *(viewer.todo for viewer in viewers.values())]))
        ].tolist()
        skipped = show_images(list(viewers.values()), batch, given, todo, progress, workers)
        return [
            settled.get(expert.card.identity)
            or _report(path, expert.card, viewers[expert.card.identity], given, skipped)
            for expert in experts
        ]


def _settled(hub: Hub, experts: Sequence[Expert]) -> dict[str, LabelReport]:
    """Return the reports of those whose labels were imported without their answers and lack nothing."""
    reports = {}
    for card in (expert.card for expert in experts):
        known = _known(hub, card)
        if known and is_settled_expert(hub, known):
            report = LabelReport(card.name, known.labelled, shown=0, skipped=(), hits=None, changed=False)
            reports[card.identity] = report
    return reports


def _viewer(held: ExitStack, path: Path, expert: Expert, given: LabelInput, order: NDArray[np.int64]) -> Viewer:
    """Take hold of an expert's staging, and find the images that it has not answered."""
    staging = staging_of(path, expert.card)
    staging.mkdir(parents=True, exist_ok=True)
    held.enter_context(hold(staging, path))
    put_card(staging, expert.card)
    known = _held(path, expert.card, staging).held(given.images)
    return Viewer(_seeing(expert), staging, order[~known[order]])


def _report(
    path: Path, card: ExpertCard, viewer: Viewer, given: LabelInput, skipped: Mapping[int, Skipped]
) -> LabelReport:
    """Commit what an expert has answered."""
    mine = tuple(skipped[row] for row in viewer.todo.tolist() if row in skipped)
    if mine and len(mine) == len(given.images):
        raise SourceUnreadable(mine[0].path, f"{mine[0].reason}; no image of the hub can be read")
    changed = _commit(path, card, viewer.staging)
    shutil.rmtree(viewer.staging)
    return LabelReport(card.name, len(given.images), len(viewer.todo) - len(mine), mine, None, changed=changed)


def check_expert(hub: Hub, card: ExpertCard) -> None:
    """Refuse an expert that would take the name of another model.

    Raises:
        InvalidTask: if the hub has a vision-language model, or an expert from elsewhere, of this name.
    """
    others = {model.card.name: model.card.source for model in hub.models()}
    others |= {one.card.name: one.card.source for one in hub.experts() if one.card.fingerprint != card.fingerprint}
    source = others.get(card.name, card.source)
    if source != card.source:
        cure = f"rename the file or folder, or first `mllctl model remove {card.name}`"
        raise InvalidTask(f"the hub has another model of the name {card.name}, from {source}; {cure}")


def is_settled_expert(hub: Hub, stored: StoredExpert) -> bool:
    """Say whether nothing can be added to the label of an expert, which was imported without its answers.

    Raises:
        HubError: if there is something to add.
    """
    if stored.state == "none" or stored.expert not in bare_experts(hub.manifest):
        return False
    if stored.state != "complete":
        raise HubError(cannot_grow([stored.card.name]), hub.path)
    return True


def follow_removal(change: HubChange, hub: Hub, given: LabelInput) -> None:
    """Take images that are no longer in `given` out of the sums of all experts.

    An expert whose label was imported without its answers keeps them: what it showed remains true.
    """
    for stored in hub.experts():
        images, _ = hub.features(stored.expert)
        file = hub.path / "staging" / EXPERT
        if len(images.ordinals) and _write_part(file, stored.card, given, images, hub.shown_images(stored.expert)):
            change.put_expert(stored.expert, file, whole=False)


def compact_experts(path: Path, names: Collection[str] | None = None) -> list[str]:
    """Make labels of experts that consist of several parts again, as one part, from the answers in the hub.

    Args:
        path: the hub's folder.
        names: experts; all with more than one part when None.

    Returns:
        The experts whose label was made again.

    Raises:
        HubReadOnly, HubBusy: as their names say.
        HubError: if a label was imported without its answers.
    """
    with Hub.open(path) as hub:
        if hub.manifest.read_only:
            raise HubReadOnly(path)
        chosen = [one for one in hub.experts() if _is_chosen(hub, one, names)]
        bare = [one.card.name for one in chosen if one.labelled and one.expert in bare_experts(hub.manifest)]
        if bare:
            raise HubError(cannot_grow(bare), path)
    for stored in chosen:
        with change_hub(path, f"hub compact {stored.card.name}", WRITER_WAIT) as change, Hub.open(path) as hub:
            given, (images, _) = hub.label_input(), hub.features(stored.expert)
            seen = given.take(images.held(given.images))
            file = path / "staging" / EXPERT
            _write_part(file, stored.card, given, images, _nothing())
            change.put_expert(stored.expert, file, whole=True)
            change.put_features(stored.expert, "image", images.parts(seen.images), whole=True)
    return [stored.card.name for stored in chosen]


def _is_chosen(hub: Hub, stored: StoredExpert, names: Collection[str] | None) -> bool:
    if names is not None:
        return stored.card.name in names
    return len(hub.expert_files(stored.expert)) > 1


def _seeing(expert: Expert) -> Callable[[Sequence[Image.Image]], Float16]:
    def see(images: Sequence[Image.Image]) -> Float16:
        answers = expert.log_probability(images).astype(np.float16)
        if not np.isfinite(answers).all():
            raise ModelNotLoadable(expert.card.name, "it gives answers that are not numbers; its weights are damaged")
        return answers

    return see


def _commit(path: Path, card: ExpertCard, staging: Path) -> bool:
    """Commit what waits in `staging`; say whether anything was new, the card included."""
    with Hub.open(path) as hub:
        known = _known(hub, card)
        given, images = hub.label_input(), _joined(hub, known, staging)
        before = hub.shown_images(known.expert) if known else _nothing()
        if known and known.card == card and not any(_changed(given, images, before)[1].tolist()):
            return False
    with change_hub(path, f"label {card.name}", WRITER_WAIT) as change, Hub.open(path) as hub:
        known = _known(hub, card)
        given, images = hub.label_input(), _joined(hub, known, staging)
        before = hub.shown_images(known.expert) if known else _nothing()
        for other in hub.experts():
            if other.card.name == card.name and known is None:
                change.remove_expert(other.expert)
        stored = hub.features(known.expert)[0] if known else Features([])
        fresh = given.images[~stored.held(given.images) & images.held(given.images)]
        _write_part(staging / EXPERT, card, given, images, before)
        ordinal = change.put_expert(known.expert if known else None, staging / EXPERT, whole=known is None)
        if len(fresh):
            change.put_features(ordinal, "image", images.parts(fresh))
    return True


def _known(hub: Hub, card: ExpertCard) -> StoredExpert | None:
    """Return this very expert as the hub has it."""
    return next((one for one in hub.experts() if one.card.identity == card.identity), None)


def _held(path: Path, card: ExpertCard, staging: Path) -> Features:
    with Hub.open(path) as hub:
        return _joined(hub, _known(hub, card), staging)


def _joined(hub: Hub, known: StoredExpert | None, staging: Path) -> Features:
    """Return what an expert has answered, in the hub or in `staging`."""
    stored = hub.features(known.expert)[0] if known else Features([])
    return Features.joined(stored, staged(staging, "image"))


def _nothing() -> Before:
    return np.zeros(0, np.uint32), np.zeros(0, np.uint64)


# -- sums ---------------------------------------------------------------------------------------------


def _write_part(file: Path, card: ExpertCard, given: LabelInput, images: Features, before: Before) -> bool:
    """Write the card and the blocks whose images are no longer those of the label; say whether there are any."""
    blocks, shown = _changed(given, images, before)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_expert(file, card, _sums(given, images, blocks, shown, len(card.heads)))
    return len(blocks) > 0


def _changed(given: LabelInput, images: Features, before: Before) -> tuple[Ordinals, Masks]:
    """Return the blocks that are not summed up as they should be, ascending, and which images should be in each."""
    seen = given.take(images.held(given.images))
    blocks = np.union1d(seen.block, before[0])
    now, earlier = np.zeros(len(blocks), np.uint64), np.zeros(len(blocks), np.uint64)
    place = np.searchsorted(blocks, seen.block)
    np.bitwise_or.at(now, place, np.uint64(1) << seen.bit.astype(np.uint64))
    at, there = find(before[0], blocks)
    earlier[there] = before[1][at]
    changed = now != earlier
    return blocks[changed].astype(np.uint32), now[changed]


def _sums(
    given: LabelInput, images: Features, blocks: Ordinals, shown: Masks, heads: int
) -> Iterator[tuple[Ordinals, Masks, NDArray[np.float64]]]:
    """Yield blocks with the sums of what the expert answered on their images, a few hundred at a time."""
    seen = given.take(images.held(given.images) & np.isin(given.block, blocks))
    for start in range(0, len(blocks), BLOCKS_AT_ONCE):
        few = slice(start, start + BLOCKS_AT_ONCE)
        place, here = find(blocks[few], seen.block)
        order = np.argsort(place, kind="stable")
        answers = images.take(seen.images[here][order]).astype(np.float64)
        filled, first = np.unique(place[order], return_index=True)
        total = np.zeros((len(blocks[few]), heads))
        if len(filled):
            total[filled] = np.add.reduceat(answers, first)
        yield blocks[few], shown[few], total
