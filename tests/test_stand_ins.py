import pytest

from mllctl.errors import InvalidTask
from mllctl.stand_ins import HYPONYMS, find_stand_ins


def test_captions_are_the_gloss_and_what_is_below(nouns):
    [dog] = find_stand_ins(["dog"], "pen drawings", nouns=nouns)
    named, gloss, *below = dog.captions
    assert named == "pen drawings of dog"
    assert gloss.startswith("a photo of a member of the genus Canis")
    assert below == [f"a photo of {kind.name}" for kind in nouns.hyponyms("n02084071")[:HYPONYMS]]


def test_synonyms_are_other_words_and_what_is_above_but_not_the_name(nouns):
    [dog] = find_stand_ins(["Dog"], nouns=nouns)
    assert set(dog.synonyms) >= {"a photo of domestic dog", "a photo of canine", "a photo of domestic animal"}
    assert not {"a photo of dog", "a photo of Dog"} & set(dog.synonyms)


def test_a_class_means_what_its_company_is(nouns):
    crane, *_ = find_stand_ins(["crane", "bulldozer", "forklift", "excavator"], nouns=nouns)
    assert "lifts and moves heavy objects" in crane.captions[1]


def test_a_class_that_is_in_no_dictionary_has_variants_of_its_name(nouns):
    [unknown] = find_stand_ins(["zx-81q"], "icons", nouns=nouns)
    assert unknown.captions == ("icons of zx-81q", "a photo of Zx-81Q", "a photo of zx 81q")
    assert unknown.synonyms == ("a photo of Zx-81Q", "a photo of zx 81q")


def test_captions_that_are_given_are_taken_as_they_are(nouns):
    dog, cat = find_stand_ins([" dog", "cat"], captions={"dog": ("a small animal",)}, nouns=nouns)
    assert dog.captions == ("a small animal",)
    assert len(cat.captions) > 1
    assert dog.synonyms


def test_a_mark_says_what_is_meant_and_is_not_read_aloud(nouns):
    [machine] = find_stand_ins(["crane#crane.n.04"], "photos", nouns=nouns)
    assert machine.captions[0] == "photos of crane"
    with pytest.raises(InvalidTask, match="no noun synset"):
        find_stand_ins(["crane#crane.n.77"], nouns=nouns)
