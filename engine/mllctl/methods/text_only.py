"""ModelGPT: what models would reach, told from texts alone by a linear model of the other tasks.

Source: LOVM (Zohar et al. 2023, arXiv 2306.08893). Features of a model on a task are what it reaches on the universal
sample set (INB) and what it makes of captions and synonyms (`kernels.text_scores`). The linear model learns from what
models reach on the other tasks; as the released code ranks models, it learns by how much they differ from the mean of
their task, which texts need not tell.
"""

from collections.abc import Callable

import numpy as np

from mllctl.kernels.arrays import Float
from mllctl.kernels.regression import predict_linear
from mllctl.kernels.text_scores import CLASSIFICATION
from mllctl.methods.baselines import best_together, mean_known
from mllctl.methods.protocol import Afterwards, Asked, Choice, Method, as_score, known

_SAID, _NEAR = slice(None, len(CLASSIFICATION)), slice(len(CLASSIFICATION), None)


def _learned(columns: slice, universal: bool) -> Callable[[Asked, Afterwards | None], Choice]:
    def choose(asked: Asked, afterwards: Afterwards | None) -> Choice:
        seen = known(afterwards)
        assert asked.texts is not None
        assert seen.texts is not None
        texts = [*seen.texts[:, :, columns], asked.texts[:, columns]]
        *features, here = [np.column_stack([of_task, asked.universal]) if universal else of_task for of_task in texts]
        difference = seen.others - mean_known(seen.others.T)[:, None]
        return Choice(as_score(predict_linear(_rows(features, here), difference.ravel(), here)))

    return choose


def _rows(features: list[Float], like: Float) -> Float:
    """Put models of all tasks below one another, shape (t * m, f)."""
    return np.concatenate([np.empty((0, like.shape[1])), *features])


def _method(name: str, about: str, columns: slice, universal: bool = False) -> Method:
    return Method(name, about, "other tasks", _learned(columns, universal), need="texts")


_WHOLE = _method("modelgpt", "ModelGPT: INB and text scores (LOVM)", slice(None), universal=True)
TEXT_ONLY = (
    _WHOLE,
    best_together(_WHOLE, 3),
    _method("modelgpt-c", "the same, of how captions are classified alone", _SAID),
    _method("modelgpt-g", "the same, of how near texts lie to classes alone", _NEAR),
)
