from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.errors import InvalidTask
from mllctl.senses import by_doubt, find_meanings, marked_synset, plain_name, singulars
from mllctl.wordnet import wordnet

CLASSNAMES = Path(__file__).parents[2] / "shared" / "data" / "classnames"


def meant(nouns, *classes, known=()):
    """Synset of each class, or None."""
    return [meaning.synset and meaning.synset.synset for meaning in find_meanings(classes, nouns, known)]


@pytest.mark.parametrize(
    ("company", "crane", "seal"),
    [
        (("heron", "stork", "flamingo", "pelican"), "crane.n.05", "seal.n.09"),
        (("bulldozer", "forklift", "excavator"), "crane.n.04", None),
        (("walrus", "otter", "whale"), "crane.n.05", "seal.n.09"),
    ],
)
def test_a_word_means_what_its_company_is(nouns, company, crane, seal):
    assert meant(nouns, "crane", *company)[0] == crane
    assert seal is None or meant(nouns, "seal", *company)[0] == seal


def test_alone_a_word_means_what_it_most_often_does_unless_the_hub_knows_better(nouns):
    tiger, animal = nouns.senses("tiger")
    assert meant(nouns, "tiger") == [tiger.synset]
    assert meant(nouns, "tiger", known={animal.wnid}) == [animal.synset]


def test_a_word_of_one_sense_is_clear_and_has_no_rival(nouns):
    [giraffe] = find_meanings(["giraffe"], nouns)
    assert (giraffe.synset.synset, giraffe.others, giraffe.lead) == ("giraffe.n.01", (), float("inf"))


def test_the_lead_over_the_next_sense_grows_with_company(nouns):
    leads = [
        find_meanings(["crane", *birds], nouns)[0].lead for birds in ([], ["bulldozer", "heron"], ["heron", "stork"])
    ]
    assert leads == sorted(leads)
    assert min(leads) >= 0


@pytest.mark.parametrize(
    "class_", ["crane#crane.n.05", "crane #crane.n.05", "crane # crane.n.05", "crane#n02012849", "n02012849 crane"]
)
def test_whoever_marks_a_sense_has_it_in_any_company(nouns, class_):
    [meaning, *_] = find_meanings([class_, "bulldozer", "forklift", "excavator"], nouns)
    assert (meaning.synset.synset, meaning.found, meaning.others) == ("crane.n.05", "given", ())
    assert meaning.given == class_
    assert plain_name(class_) == "crane"


@pytest.mark.parametrize("class_", ["crane#crane.n.99", "crane#crane.v.01", "crane#bird", "crane#n00000000", "a#noun"])
def test_a_mark_that_names_no_synset_is_refused_with_an_example(nouns, class_):
    with pytest.raises(InvalidTask, match=r"write it like `crane#crane\.n\.04`"):
        find_meanings([class_], nouns)


@pytest.mark.parametrize("class_", ["C#", "#1", "C# code", "#"])
def test_a_sharp_that_marks_nothing_is_part_of_the_name(nouns, class_):
    assert marked_synset(class_, nouns) is None
    assert plain_name(class_) == class_


@pytest.mark.parametrize(
    ("class_", "plain"),
    [
        ("0 - zero", "zero"),
        ("12. cat", "cat"),
        ("(3) cat", "cat"),
        ("4: cat", "cat"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n02085620_Chihuahua", "Chihuahua"),
        ("Apply_Eye_Makeup", "Apply Eye Makeup"),
        ("  hot   dog ", "hot dog"),
        ("3.5 tons", "3.5 tons"),
        ("747-400", "747-400"),
        ("20kph Speed limit", "20kph Speed limit"),
        ("n02084071", "n02084071"),
        ("5", "5"),
        ("7 - ", "7 - "),
        ("_", "_"),
    ],
)
def test_a_plain_name_is_without_numbering_underscores_wnid_and_spare_space(class_, plain):
    assert plain_name(class_) == plain


@given(st.text(alphabet="ab #_-.1n0", max_size=12))
def test_a_plain_name_is_never_empty_and_plain_already(class_):
    plain = plain_name(class_)
    assert plain or not class_
    assert "_" not in plain or plain == class_


@pytest.mark.parametrize(
    ("class_", "synset"),
    [
        ("cats", "cat.n.01"),
        ("knives", "knife.n.01"),
        ("wolves", "wolf.n.01"),
        ("mice", "mouse.n.01"),
        ("boxes", "box.n.01"),
        ("cherries", "cherry.n.03"),
        ("firemen", "fireman.n.04"),
        ("pine trees", "pine.n.01"),
        ("cup cakes", "cupcake.n.01"),
        ("polar-bear", "ice_bear.n.01"),
    ],
)
def test_plurals_and_other_spellings_are_the_word(nouns, class_, synset):
    [meaning] = find_meanings([class_], nouns)
    assert meaning.found == "name"
    assert synset in {sense.synset for sense in (meaning.synset, *meaning.others)}


def test_a_plural_that_is_a_word_of_its_own_stays(nouns):
    [meaning] = find_meanings(["glasses"], nouns)
    assert (meaning.word, meaning.synset.synset) == ("glasses", "spectacles.n.01")
    assert "glass" in set(singulars("glasses"))


@pytest.mark.parametrize(
    ("class_", "word"),
    [
        ("annual crop land", "land"),
        ("residential buildings or homes", "building"),
        ("field of wheat", "field"),
        ("highway or road", "highway"),
        ("dog (animal)", "dog"),
        ("grilled salmon", "salmon"),
        ("dog, domestic dog, Canis familiaris", "dog"),
    ],
)
def test_a_name_that_is_no_noun_is_known_by_its_head(nouns, class_, word):
    [meaning] = find_meanings([class_], nouns)
    assert (meaning.word, meaning.found) == (word, "part")


@pytest.mark.parametrize("class_", ["xyzzy", "banded", "turn right ahead", "", "123456", "n99999999", "sad", "led"])
def test_what_is_no_noun_means_nothing(nouns, class_):
    [meaning] = find_meanings([class_], nouns)
    assert (meaning.synset, meaning.word, meaning.others) == (None, "", ())


def test_capitals_tell_a_name_only_where_other_names_have_none(nouns):
    assert meant(nouns, "Crane", "truth")[0] == "crane.n.01"  # the poet
    assert meant(nouns, "Crane", "Truth")[0] == "crane.n.04"  # the machine
    assert meant(nouns, "DVD") == ["videodisk.n.01"]


@given(st.permutations(["crane", "seal", "mouse", "bat", "heron", "Turkey", "no such word", "cup of tea", "dogs"]))
def test_the_order_of_classes_does_not_matter(classes):
    ordered = {meaning.given: meaning for meaning in find_meanings(sorted(classes), wordnet())}
    assert {meaning.given: meaning for meaning in find_meanings(classes, wordnet())} == ordered


@given(st.lists(st.sampled_from(["crane", "bat", "seal", "ray", "keyboard", "mouse", "xyzzy"]), min_size=1, max_size=6))
def test_every_sense_of_a_word_is_taken_or_left(classes):
    for meaning in find_meanings(classes, wordnet()):
        senses = wordnet().senses(meaning.word)
        found = [sense for sense in (meaning.synset, *meaning.others) if sense]
        assert len(found) == len(set(found))
        assert set(found) <= set(senses)
        assert meaning.lead >= 0
        assert len(find_meanings([meaning.given], wordnet())[0].others) == len(meaning.others)


@pytest.mark.parametrize("task", ["animal-photo", "animal-flat"])
def test_the_demo_tasks_mean_what_their_authors_meant(nouns, task):
    from mllctl.demo import demo_tasks

    [found] = [known for known in demo_tasks() if known.name == task]
    assert None not in meant(nouns, *found.classes)


@pytest.mark.skipif(not CLASSNAMES.is_dir(), reason="class names of public tasks are not committed")
@pytest.mark.parametrize(
    ("task", "class_", "synset"),
    [
        ("cifar_100", "mouse", "mouse.n.01"),
        ("cifar_100", "seal", "seal.n.09"),
        ("cifar_100", "ray", "ray.n.07"),
        ("oxford_iiit_pet", "Boxer", "boxer.n.04"),
        ("stl_10", "horse", "horse.n.01"),
        ("food_101", "steak", "steak.n.01"),
        ("fer2013", "sad", None),
    ],
)
def test_names_of_public_tasks_mean_what_they_show(nouns, task, class_, synset):
    classes = (CLASSNAMES / f"{task}.txt").read_text(encoding="utf-8").splitlines()
    meanings = {meaning.given: meaning.synset for meaning in find_meanings(classes, nouns)}
    assert (meanings[class_] and meanings[class_].synset) == synset


def test_words_are_ordered_by_how_likely_another_sense_is_meant(nouns):
    words = {word: nouns.senses(word) for word in ("dog", "heron", "crane", "stork")}
    (word, likely), *others = by_doubt(words, [nouns.senses("flamingo")[0]], nouns)
    assert (word, words[word][0].synset, likely.synset) == ("crane", "crane.n.04", "crane.n.05")
    assert dict(others) == {word: words[word][0] for word in ("dog", "heron", "stork")}
    assert by_doubt({}, [], nouns) == []
