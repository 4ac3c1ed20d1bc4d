"""A method is handed what it says it sees, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from mllctl.methods import METHODS, Afterwards, Asked, Choice, FewImages

TRUTH = np.array([0, 1, 1])
FEW = FewImages(TRUTH, np.full((2, 3, 2), 0.5), (np.ones((3, 2)), np.ones((3, 2))))
ASKED = Asked(
    name="t",
    classes=("a", "b"),
    domain="photo",
    models=("m", "n"),
    parameters=np.array([1.0, 2.0]),
    universal=np.array([0.3, 0.4]),
    random=np.random.default_rng(0),
    select=lambda **_: None,
    typical=np.array([0.5, 0.6]),
    few=FEW,
    blend=lambda *_: None,
    liken=lambda _: None,
    texts=np.ones((2, 3)),
)
AFTERWARDS = Afterwards(
    np.array([[0.1, 0.2]]), np.array([0.8, 0.9]), np.full((2, 3, 2), 0.5), TRUTH, np.ones((1, 2, 3))
)


def handed(method):
    seen = []

    def choose(asked, afterwards):
        seen.append((asked, afterwards))
        return Choice(np.zeros((1, 2)))

    replace(method, choose=choose)(ASKED, AFTERWARDS)
    return seen[0]


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_handed_that_a_method_does_not_say_it_sees(name):
    method = METHODS[name]
    asked, afterwards = handed(method)
    of_hub = (asked.select, asked.typical, asked.blend, asked.liken)
    if method.sees in ("facts", "other tasks", "truth"):
        assert of_hub == (None,) * 4
    if method.need not in ("universal", "texts"):
        assert np.isnan(asked.universal).all()
    assert (asked.texts is not None) == (method.need == "texts")
    assert (asked.few is not None) == (method.sees in ("few images", "unlabelled images"))
    if method.sees == "unlabelled images":
        assert (asked.few.truth == -1).all()
    assert (afterwards is not None) == (method.sees in ("other tasks", "truth"))
    if method.sees == "other tasks":
        assert np.isnan(afterwards.reached).all()
        assert (afterwards.probability, afterwards.truth) == (None, None)


def test_what_a_method_says_it_sees_is_handed():
    asked, afterwards = handed(METHODS["few-mll"])
    assert asked.few is FEW
    assert None not in (asked.select, asked.blend)
    assert afterwards is None
    assert handed(METHODS["oracle"])[1] is AFTERWARDS
    assert handed(METHODS["inb"])[0].universal is ASKED.universal
    assert handed(METHODS["best-on-average"])[1].others is AFTERWARDS.others
