"""Methods that see a few images of the task: hits, transferability scores, and MLL put right by them.

The scores are those of `kernels.transferability`; what they measure, how well features could be trained on, is not what
is asked here, where nothing is trained, and that is why they are among the methods.
"""

from collections.abc import Callable

import numpy as np

from mllctl.kernels import transferability as kernels
from mllctl.kernels.arrays import Float, Int
from mllctl.methods.labels import ENSEMBLE_SIZE, choice_of
from mllctl.methods.protocol import Afterwards, Asked, Choice, FewImages, Method, as_score


def _seen(asked: Asked) -> FewImages:
    assert asked.few is not None
    return asked.few


def _hits(asked: Asked, _: Afterwards | None) -> Choice:
    few = _seen(asked)
    return Choice(as_score((few.probability.argmax(axis=2) == few.truth).mean(axis=1)))


def _of_features(score: Callable[[Float, Int], float]) -> Callable[[Asked, Afterwards | None], Choice]:
    def choose(asked: Asked, _: Afterwards | None) -> Choice:
        few = _seen(asked)
        return Choice(as_score(np.array([score(features, few.truth) for features in few.features])))

    return choose


def _leep(asked: Asked, _: Afterwards | None) -> Choice:
    few = _seen(asked)
    return Choice(as_score(np.array([kernels.leep(outputs, few.truth) for outputs in few.probability])))


def _nce(asked: Asked, _: Afterwards | None) -> Choice:
    few = _seen(asked)
    return Choice(as_score(np.array([kernels.nce(outputs.argmax(axis=1), few.truth) for outputs in few.probability])))


def _blended(asked: Asked, _: Afterwards | None) -> Choice:
    few = _seen(asked)
    assert asked.select is not None
    assert asked.blend is not None
    selection = asked.select(domain=asked.domain or None, k=ENSEMBLE_SIZE)
    place = [asked.models.index(name) for name in selection.names]
    right = few.probability[place].argmax(axis=2) == few.truth
    return choice_of(asked, asked.blend(selection, right, few.truth), "one", 1, "uniform")


def _likened(asked: Asked, _: Afterwards | None) -> Choice:
    assert asked.liken is not None
    return choice_of(asked, asked.liken(_seen(asked).features), "one", 1, "uniform")


FEW_SHOT = (
    Method("few-hits", "the model with most hits on a few labelled images", "few images", _hits),
    Method("few-mll", "MLL by default, put right by a few labelled images", "few images", _blended),
    Method(
        "few-unlabelled",
        "MLL, told the domain by a few images without their truth",
        "unlabelled images",
        _likened,
        need="embeddings",
    ),
    Method("few-logme", "LogME on a few labelled images", "few images", _of_features(kernels.logme)),
    Method(
        "few-h-score",
        "the regularised H-score on a few labelled images",
        "few images",
        _of_features(kernels.regularized_h_score),
    ),
    Method("few-parc", "PARC on a few labelled images", "few images", _of_features(kernels.parc)),
    Method("few-leep", "LEEP of zero-shot answers on a few labelled images", "few images", _leep),
    Method("few-nce", "NCE of zero-shot answers on a few labelled images", "few images", _nce),
)
