"""F-labels: what is to be told of images, of whatever kind, as vectors of sentence encoders, for EMMS.

    categories   a photo of CLASS                                 ──┐
    texts        captions, answers, as they are                   ──┼── encoders ── one width ── (c or n, e, k)
    boxes        what is in it, where, how large; coordinates     ──┘

Encoders have widths of their own, and EMMS adds up one column of each. The columns of narrower ones are repeated until
all are as wide as the widest. Columns are brought to variance 1 by EMMS, so that each encoder then has the same
variance in all, and a weight says how well an encoder's vectors are reached. Columns of zeros in place of repeated
ones would have less to be reached: the narrowest encoder would get all the weight, whatever it says.

Which column of one encoder meets which of another has no meaning, here as in the paper, whose encoders are all 1,024
wide: the weighted sum is a target of its own, not a likeness of meanings.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mllctl.backends.protocol import Encoder
from mllctl.captions import class_prompts
from mllctl.errors import InvalidTask
from mllctl.kernels.arrays import Float
from mllctl.scoring.boxes import box_texts
from mllctl.scoring.reading import FeatureTask


def with_f_labels(task: FeatureTask, encoders: Sequence[Encoder]) -> FeatureTask:
    """Return the task with F-labels that encoders make of its boxes, else its texts, else its classes.

    Args:
        task: without F-labels.
        encoders: k of them, of distinct names.

    Raises:
        InvalidTask: if it has F-labels already, or numbers alone, or an encoder is named twice.
    """
    names = tuple(encoder.name for encoder in encoders)
    if len(set(names)) < len(names):
        raise InvalidTask(f"an encoder is named twice: {', '.join(names)}")
    if task.f_labels is not None:
        raise InvalidTask("f_labels.npz holds F-labels already; move it away, or leave out --encoders")
    classes = [] if task.labels is None else [task.classes[label] for label in task.labels]
    things = task.texts if task.texts is not None else tuple(classes)
    if task.boxes is not None:
        made = with_coordinates(encode_once(box_texts(things, task.boxes), encoders), task.boxes)
    elif task.texts is not None:
        made = encode_once(task.texts, encoders)
    elif task.labels is not None:
        made = encode_once(class_prompts(task.classes), encoders)
    else:
        raise InvalidTask(
            "encoders read labels, texts and boxes; there are targets alone, give --scores logme_regression"
        )
    return replace(task, f_labels=made, foundation=names)


def encode_once(texts: Sequence[str], encoders: Sequence[Encoder]) -> Float:
    """Return the vectors of texts, shape (n, e, k), e that of the widest encoder; none sees a text twice."""
    distinct, place = np.unique(np.array(texts), return_inverse=True)
    rows = place.reshape(-1)
    return of_one_width([np.asarray(one.encode(distinct.tolist()), dtype=np.float64) for one in encoders])[rows]


def of_one_width(tables: Sequence[Float]) -> Float:
    """Repeat the columns of narrower tables until all are as wide as the widest.

    Args:
        tables: k of them, shapes (n, e_k).

    Returns:
        shape (n, max e_k, k); column j of table k is its column j mod e_k.
    """
    width = max(table.shape[1] for table in tables)
    return np.stack([table[:, np.arange(width) % table.shape[1]] for table in tables], axis=2)


def with_coordinates(f_labels: Float, boxes: Float) -> Float:
    """Put as many columns of coordinates beside the vectors as these have: what and where weigh the same.

    Args:
        f_labels: shape (n, e, k).
        boxes: shape (n, 4).

    Returns:
        shape (n, 2 e, k).
    """
    width, models = f_labels.shape[1:]
    places = boxes[:, np.arange(width) % 4]
    return np.concatenate([f_labels, np.repeat(places[:, :, None], models, axis=2)], axis=1)
