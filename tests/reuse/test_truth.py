"""What an image truly shows, found among the classes however it is written."""

import pytest

from mllctl.reuse.truth import TruthFinder


@pytest.mark.parametrize(
    ("word", "class_"),
    [
        ("polar bear", 0),
        ("Polar_Bear", 0),
        ("polar-bear", 0),
        ("polar_bear.n.01", 0),
        ("crane", 1),
        ("2", 2),
        ("3", 2),
        ("bank", -1),
        ("", -1),
        ("no such", -1),
        ("9", -1),
    ],
)
def test_a_word_is_found_by_its_name_then_loosely_then_by_number(word, class_):
    finder = TruthFinder(["polar bear", "crane.n.04", "3", "Bank", "BANK"])
    assert finder.find(word) == class_
    assert finder.known == (class_ >= 0)
    assert dict(finder.unknown) == ({} if class_ >= 0 or not word else {word: 1})
