"""Features that models of a hub have of labelled images, for `scoring`.

    DIR/CLASS/*.jpg ── every model is shown them once ── FeatureTask ── scoring.rank_models

Embeddings are kept in the user's cache by model and picture: the same images again load no model.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mllctl.backends.protocol import Encoder
from mllctl.errors import InvalidTask, NotInHub, SourceUnreadable, StageMissing
from mllctl.hub import Hub, StoredModel
from mllctl.images import Skipped
from mllctl.images.listing import FOLDER, list_images
from mllctl.reuse.showing import Showing, show_images
from mllctl.scoring import FeatureTask, ModelFeatures, with_f_labels


def image_features(
    hub: Hub,
    folder: Path | str,
    names: Sequence[str] | None = None,
    encoders: Sequence[Encoder] = (),
    showing: Showing | None = None,
    passed: Callable[[str], None] | None = None,
) -> tuple[FeatureTask, tuple[Skipped, ...]]:
    """Show the models of a hub labelled images, and return their embeddings as features of one task.

    Args:
        hub: open for reading; its models need no label.
        folder: DIR/CLASS/*.jpg; a class is what its folder is called.
        names: of the models; all when None.
        encoders: of texts, for F-labels: `a photo of CLASS`; none without.
        showing: how images are shown.
        passed: told of each file that has no image's ending.

    Returns:
        (the task, files that could not be used and why)

    Raises:
        SourceUnreadable: if there is no such folder, or no image that can be read.
        InvalidTask: if all are of one class.
        NotInHub: if the hub has no model of a name.
        StageMissing: if it has none at all.
        ModelNotLoadable: if a model cannot be loaded, or is not the one the hub knows.
    """
    models = _models(hub, names)
    rows = list(list_images([str(folder)], FOLDER, None, passed))
    skipped = [row for row in rows if isinstance(row, Skipped)]
    usable = [row for row in rows if not isinstance(row, Skipped)]
    home = Path(folder).absolute()
    loose = [row for row in usable if Path(row.uri).absolute().parent == home]
    if len(loose) < len(usable):
        skipped += [Skipped(row.uri, "not in a class folder") for row in loose]
        usable = [row for row in usable if row not in loose]
    if len({row.word for row in usable}) == 1:
        one = usable[0].word
        raise InvalidTask(f"{folder}: all images are of {one!r}; put those of each class into a folder of its own")
    uris = [row.uri for row in usable]
    vectors, unread = [], dict[int, str]()
    for _, seen, reasons in show_images(models, uris, showing or Showing()):
        vectors.append(seen)
        unread |= reasons
    skipped += [Skipped(uris[n], reason) for n, reason in sorted(unread.items())]
    kept = [n for n in range(len(uris)) if n not in unread]
    if not kept:
        raise SourceUnreadable(folder, f"{skipped[0].reason}; no image can be read" if skipped else "it has no images")
    classes, labels = np.unique([usable[n].word for n in kept], return_inverse=True)
    if len(classes) < 2:
        raise InvalidTask(
            f"{folder}: all images are of {classes[0]!r}; put those of each class into a folder of its own"
        )
    task = FeatureTask(
        tuple(
            ModelFeatures(model.card.name, seen[kept].astype(np.float64), None)
            for model, seen in zip(models, vectors, strict=True)
        ),
        labels.reshape(-1).astype(np.int64),
        tuple(map(str, classes.tolist())),
        None,
        (),
    )
    return (with_f_labels(task, encoders) if encoders else task), tuple(skipped)


def _models(hub: Hub, names: Sequence[str] | None) -> list[StoredModel]:
    models = list(hub.models())
    if not models:
        raise StageMissing("the hub has no models yet", "mllctl model add ARCH/WEIGHTS")
    if names is None:
        return models
    by_name = {model.card.name: model for model in models}
    for name in names:
        if name not in by_name:
            raise NotInHub("model", name, cure="`mllctl model list` shows all")
    return [by_name[name] for name in names]
