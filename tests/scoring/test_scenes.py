"""The small data of `benchmarks/scenes.py`: the same for a seed, and its answers are true of its pictures."""

import runpy
from pathlib import Path

import numpy as np
import pytest

SCENES = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "scenes.py"))


@pytest.mark.parametrize("make", SCENES["KINDS"], ids=lambda make: make.__name__)
def test_a_seed_makes_the_same_rows_again(make):
    one, again, other = (make(20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.questions == again.questions
    assert [picture.tobytes() for picture in one.pictures] == [picture.tobytes() for picture in again.pictures]
    assert all((one.told[name] == again.told[name]).all() for name in one.told)
    assert any((one.told[name] != other.told[name]).any() for name in one.told)
    assert {len(values) for values in one.told.values()} == {20}


def test_things_lie_apart_on_their_canvas_and_answers_are_true_of_them():
    random = np.random.default_rng(0)
    for _ in range(50):
        scene = SCENES["compose"](random)
        assert len(set(scene.names)) == len(scene.names) == len(scene.boxes)
        covered = np.zeros(scene.canvas.size, dtype=int)
        for left, top, right, bottom in scene.boxes.astype(int):
            covered[left:right, top:bottom] += 1
        assert covered.max() == 1
        assert covered.sum() == sum((right - left) * (bottom - top) for left, top, right, bottom in scene.boxes)
        for question, answer in [asked for kind in SCENES["_questions"](scene) for asked in kind]:
            words = question.rstrip("?").split()
            if words[0] == "how":
                assert SCENES["NUMBERS"].index(answer) == scene.areas.count(words[2].removesuffix("s"))
            elif words[:2] == ["is", "there"]:
                assert (" ".join(words[3:]) in scene.names) == (answer == "yes")
            elif "left" in words:
                beside = scene.names.index(" ".join(words[7:]))
                assert scene.boxes[scene.names.index(answer), 2] <= scene.boxes[beside, 0]
            else:
                assert scene.areas[scene.names.index(answer)] == words[1]


def test_no_question_of_text_says_its_answer():
    kind = SCENES["text_questions"](500, np.random.default_rng(0))
    answers = kind.told["texts"].tolist()
    assert len(set(answers)) == 500
    assert not [answer for answer, question in zip(answers, kind.questions, strict=True) if answer in question]
