"""A selection, put right by a few labelled images of the user's own.

    DIR/CLASS/*.jpg ── read_examples ── every candidate is shown them once ── hits ─┐
    Selection ── what names make one expect of each model on each class ───────────┴─ with_examples ── Selection

Nothing is trained. Embeddings are kept in the user's cache by model and picture: the same images again load no model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mllctl.captions import PROMPT, class_prompts
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.hub import Hub
from mllctl.images import Skipped
from mllctl.images.listing import FOLDER, list_images
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.examples import blended_precision, chance_better, worth_of_names
from mllctl.reuse.ensemble import encode_classes
from mllctl.reuse.showing import Showing, show_images
from mllctl.reuse.truth import NONE, TruthFinder
from mllctl.select import Doubt, Selection, Shown, judge, rank
from mllctl.senses import plain_name


@dataclass(frozen=True)
class Examples:
    """Labelled images.

    Attributes:
        uris: of the images.
        truth: class of each, shape (i,).
        skipped: files that cannot be used, and why.
    """

    uris: tuple[str, ...]
    truth: Int
    skipped: tuple[Skipped, ...] = ()


def read_examples(
    folder: Path | str,
    classes: Sequence[str],
    passed: Callable[[str], None] | None = None,
    cure: str = "name folders as the classes, or add it with --class",
) -> Examples:
    """List the images of a folder whose folders are named as the classes.

    Args:
        folder: DIR/CLASS/*.jpg.
        classes: of the task.
        passed: told of each file that has no image's ending.
        cure: what to do where a folder is none of the classes.

    Raises:
        InvalidTask: if a folder is none of the classes.
        SourceUnreadable: if there is no such folder, or no image in it.
    """
    finder = TruthFinder(classes)
    uris, truth, skipped = [], [], []
    for row in list_images([str(folder)], FOLDER, None, passed):
        if isinstance(row, Skipped):
            skipped.append(row)
            continue
        place = finder.find(row.word)
        if place == NONE:
            raise InvalidTask(f"{folder}: {row.word!r} is none of the classes; {cure}")
        uris.append(row.uri)
        truth.append(place)
    return Examples(tuple(uris), np.array(truth, dtype=np.int64), tuple(skipped))


def with_examples(
    hub: Hub,
    selection: Selection,
    examples: Examples | Path | str,
    templates: Sequence[str] = (PROMPT,),
    showing: Showing | None = None,
) -> Selection:
    """Show labelled images to the candidates of a selection, and choose anew by what they and the hub say.

    Without images it is the same selection.

    Args:
        hub: the one that was asked, open for reading.
        selection: what `select_models` returned; its candidates are loaded, and no other model.
        examples: labelled images, or the folder of them.
        templates: prompts, each with `{}` where the class goes, by which models tell the classes apart.
        showing: how.

    Raises:
        InvalidTask: if a folder is none of the classes, or a template is none.
        SourceUnreadable: if there is no such folder, or no image in it.
        ModelNotLoadable: if a candidate cannot be loaded, or is not the one that was labelled.
    """
    given = examples if isinstance(examples, Examples) else read_examples(examples, selection.classes)
    if not given.uris:
        return selection
    right, read, unread = _shown(selection, given, templates, showing or Showing())
    if len(unread) and not len(read):
        raise SourceUnreadable(unread[0].path, f"{unread[0].reason}; no example can be read")
    return blended(hub, selection, right, given.truth[read], (*given.skipped, *unread))


def blended(hub: Hub, selection: Selection, right: Bool, truth: Int, skipped: tuple[Skipped, ...] = ()) -> Selection:
    """Choose anew by what candidates showed on labelled images.

    Args:
        hub: the one that was asked, open for reading.
        selection: what `select_models` returned.
        right: whether each candidate takes each image for its class, shape (m, i).
        truth: class of each image, shape (i,).
        skipped: images that could not be used.
    """
    if not len(truth):
        return selection
    count = len(selection.classes)
    images = np.bincount(truth, minlength=count)
    hits = np.array([np.bincount(truth[of], minlength=count) for of in right], dtype=np.int64)
    prior = expected(hub, selection)
    worth = worth_of_names(selection.transfer.max(axis=0, initial=0.0), selection.covered)
    belief = blended_precision(prior, hits, images, worth)
    covered = selection.covered | (images > 0)
    ranked = rank(belief.mean, np.clip(belief.mean, 0, 1), covered, selection.overall, selection.options)
    mean = belief.mean.mean(axis=1)
    others = [m for m in np.argsort(-mean, kind="stable").tolist() if m != ranked.single]

    def ahead_of(other: int) -> float:
        if other == ranked.single:
            return 1.0
        return chance_better(belief, right, images, ranked.single, other, worth)

    doubt = Doubt(others[0] if others else None, ahead_of(others[0]) if others else 1.0, ahead_of(selection.overall))
    return replace(
        selection,
        covered=covered,
        class_precision=belief.mean,
        reuse=ranked.reuse,
        answers=ranked.answers,
        single=ranked.single,
        doubt=doubt,
        verdict=judge(doubt, covered, ranked.single == selection.overall, "the hub and your images have"),
        examples=Shown(images, hits, prior, worth, belief, skipped),
    )


def expected(hub: Hub, selection: Selection) -> Float:
    """Return what names make one expect of each model on each class, in [0, 1], shape (m, c).

    On a class for which no node speaks it is the model's mean over the others; where none speaks for any, what the
    model reaches in typical tasks of the hub.
    """
    share, covered = selection.belief.mean @ selection.part, selection.covered
    if covered.all():
        return share
    if covered.any():
        mean = share[:, covered].mean(axis=1)
    else:
        typical = hub.typical_precision([model.model for model in selection.models])
        known = ~np.isnan(typical)
        mean = np.where(known, typical, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(np.where(covered, share, mean[:, None]))


def _shown(
    selection: Selection, examples: Examples, templates: Sequence[str], showing: Showing
) -> tuple[Bool, Int, tuple[Skipped, ...]]:
    """Return what each candidate has right, shape (m, i), which images that is about, and what could not be read."""
    names = [plain_name(class_) for class_ in selection.classes]
    prompts = list(zip(*[class_prompts(names, template) for template in templates], strict=True))
    won: list[Bool] = []
    unread: dict[int, str] = {}
    for model, vectors, reasons in show_images(selection.models, examples.uris, showing):
        # Scale and bias are the same for all classes and do not change which comes first.
        cosine = np.nan_to_num(vectors) @ encode_classes(model, prompts, showing.cache).T
        won.append(cosine.argmax(axis=1) == examples.truth)
        unread |= reasons
    read = np.array([n for n in range(len(examples.uris)) if n not in unread], dtype=np.int64)
    skipped = tuple(Skipped(examples.uris[n], unread[n]) for n in sorted(unread))
    return np.array(won)[:, read], read, skipped
