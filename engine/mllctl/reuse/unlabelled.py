"""How much each sample domain of a hub counts for a task, read from unlabelled images of the user's own.

    images ── one model of the hub ── embeddings ─┐
    Hub ───── embeddings of its sample images ────┴─ weights of domains ── select_models(domain_weights=...)

The model is the one whose embeddings tell the hub's domains best apart. docs/decisions.md says what this is worth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mllctl.errors import SourceUnreadable, StageMissing
from mllctl.hub import Hub, StoredModel
from mllctl.images import Skipped
from mllctl.images.listing import list_images
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.domains import domain_mixture, domain_scores
from mllctl.reuse.showing import Showing, show_images

WORDS = 10.0  # images that a domain in words is worth
LEAST = 1.0  # and that knowing nothing is worth: no domain is ruled out by few images
MOST_IMAGES = 20_000  # of the hub; more would not change a mean


@dataclass(frozen=True)
class Likeness:
    """What unlabelled images are like.

    Attributes:
        weights: name of a domain -> how much an image of it counts; they sum to 1.
        model: the name of the model that saw them.
        images: how many it saw.
        skipped: files that could not be used, and why.
    """

    weights: dict[str, float]
    model: str
    images: int
    skipped: tuple[Skipped, ...]


def weigh_by_images(
    hub: Hub,
    folder: Path | str | Sequence[str],
    words: Mapping[str, float] | None = None,
    among: Sequence[str] | None = None,
    showing: Showing | None = None,
    passed: Callable[[str], None] | None = None,
) -> Likeness:
    """Say how much each sample domain counts for images like those in a folder.

    Args:
        hub: open for reading, with embeddings.
        folder: images, and folders of them; or their uris.
        words: what the user's words for the domain make the weights, which then count as 10 images.
        among: names of models that may be loaded, such as the candidates of a selection; None for all.
        showing: how images are shown.
        passed: told of each file that has no image's ending.

    Raises:
        SourceUnreadable: if there is no image that can be read.
        StageMissing: if no model has embeddings in the hub, as in the bundled one.
        ModelNotLoadable: if the model cannot be loaded, or is not the one that was labelled.
    """
    rows = list(list_images([str(folder)], passed=passed)) if isinstance(folder, Path | str) else folder
    uris = [row if isinstance(row, str) else row.uri for row in rows if not isinstance(row, Skipped)]
    model, known, domain = best_teller(hub, among)
    [(_, vectors, unread)] = show_images([model], uris, showing or Showing())
    skipped = [row for row in rows if isinstance(row, Skipped)]
    skipped += [Skipped(uris[n], unread[n]) for n in sorted(unread)]
    seen = vectors[[n for n in range(len(uris)) if n not in unread]]
    if not len(seen):
        raise SourceUnreadable(skipped[0].path, f"{skipped[0].reason}; no image can be read")
    weights = likeness(known, domain, seen, hub, words)
    return Likeness(weights, model.card.name, len(seen), tuple(skipped))


def likeness(
    known: Float, domain: Int, seen: Float, hub: Hub, words: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return how much each domain counts, by embeddings of images of known domain and of the user's."""
    names = [stored.name for stored in hub.domains()]
    prior = np.full(len(names), LEAST / len(names))
    if words:
        prior += WORDS * np.array([words[name] for name in names])
    mixture = domain_mixture(domain_scores(known, domain, len(names), seen), prior)
    return dict(zip(names, mixture.tolist(), strict=True))


def best_teller(hub: Hub, among: Sequence[str] | None = None) -> tuple[StoredModel, Float, Int]:
    """Return the model whose embeddings tell domains of the hub's images best apart, with these embeddings.

    Told are images of every second node by those of the others. Ties go to the first model.

    Returns:
        (model, embeddings of sample images, shape (i, d), their domains, shape (i,))

    Raises:
        StageMissing: if no model has embeddings.
    """
    images = hub.images()
    images = images[:: 1 + (len(images) - 1) // MOST_IMAGES]
    held = {file.model for file in hub.manifest.image_features}
    models = [m for m in hub.models() if m.model in held and (among is None or m.card.name in among)]
    names = [stored.name for stored in hub.domains()]
    ordinal = np.array([image.image for image in images])
    domain = np.array([names.index(image.domain) for image in images])
    _, node = np.unique([image.synset for image in images], return_inverse=True)
    best: tuple[float, StoredModel, Float, Int] | None = None
    for model in models:
        features = hub.features(model.model)[0]
        there = features.held(ordinal)
        known, truth, half = features.take(ordinal[there]).astype(np.float64), domain[there], node[there] % 2 == 0
        if not half.any() or half.all():
            share = 0.0
        else:
            told = domain_scores(known[half], truth[half], len(names), known[~half]).argmax(axis=1)
            share = float((told == truth[~half]).mean())
        if best is None or share > best[0]:
            best = (share, model, known, truth)
    if best is None:
        bundled = hub.manifest.read_only
        reason = "the bundled demo hub is without embeddings, by which images are compared" if bundled else None
        cure = "mllctl demo build DIR`, then `mllctl select --hub DIR" if bundled else "mllctl label --all"
        raise StageMissing(reason or "no model that may be loaded has embeddings of the hub's images", cure)
    return best[1:]
