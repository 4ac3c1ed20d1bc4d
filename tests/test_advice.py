from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import WordEncoder
from mllctl.advice import (
    Advice,
    advise,
    cleaned_classes,
    estimate_tokens,
    evidence_wnids,
    nodes_of_classes,
    read_meanings,
    readable_classes,
)
from mllctl.captions import clean_classes
from mllctl.errors import StageMissing
from mllctl.hub import Hub
from mllctl.senses import find_meanings
from mllctl.wordnet import wordnet

CLASSNAMES = Path(__file__).parents[2] / "shared" / "data" / "classnames"
TASKS = [
    "cifar_100",
    "describable_textures",
    "eurosat",
    "fer2013",
    "food_101",
    "gtsrb",
    "oxford_iiit_pet",
    "resisc45",
    "stl_10",
]

# As people have them: every way to be wrong, unclear or ugly is common.
names = st.lists(
    st.sampled_from(
        [
            *("dog", "Dog", "dogs", "0 - dog", "hot_dog", "hot dog", "glass", "glasses", "crane", "Crane"),
            *("crane#crane.n.04", "crane#crane.n.05", "crane#nothing", "n02084071", "n02012849 crane", "dog.n.01"),
            *("", " ", "xyzzy", "xyzzys", "banded", "field of wheat", "C#", "_", "caf\udce9"),
        ]
    ),
    min_size=1,
    max_size=8,
)


def advice_on(*classes, nodes=None, words=""):
    nouns = wordnet()
    return advise(classes, read_meanings(classes, nouns), nouns, nodes, words)


def kinds(*classes, **more):
    """Kind of each piece of advice -> the classes it is about."""
    found = {}
    for piece in advice_on(*classes, **more):
        found.setdefault(piece.kind, []).append(piece.class_)
    return found


def test_names_that_mean_one_thing_need_no_advice():
    assert advice_on("giraffe", "airplane", "sunflower") == ()


# -- what select refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [(), ("",), (" ", "\t")])
def test_no_class_at_all_is_wrong(classes):
    [piece] = advice_on(*classes)
    assert (piece.class_, piece.kind, piece.wrong) == (None, "empty", True)
    assert cleaned_classes(classes, wordnet()) == ()


def test_empty_names_are_wrong_and_told_by_number():
    [piece] = advice_on("giraffe", "", "airplane", " ")
    assert piece == Advice("", "empty", "number 2, 4 is empty; remove it or name it")
    assert cleaned_classes(["giraffe", "", "airplane"], wordnet()) == ("giraffe", "airplane")


@pytest.mark.parametrize(
    "again",
    ["giraffe", " giraffe ", "Giraffe", "GIRAFFE", "giraffes", "0 - giraffe", "giraffe_"],
)
def test_a_duplicate_is_wrong_however_it_is_written(again):
    [piece, *_] = advice_on("giraffe", "airplane", again)
    assert (piece.class_, piece.kind, piece.wrong) == ("giraffe", "duplicate", True)
    assert "number 1, and again as number 3" in piece.remark
    assert cleaned_classes(["giraffe", "airplane", again], wordnet()) == ("giraffe", "airplane")


@pytest.mark.parametrize(
    ("one", "other"),
    [("glass", "glasses"), ("hot dog", "dog"), ("crane#crane.n.04", "crane#crane.n.05"), ("pine", "pining")],
)
def test_what_looks_alike_need_not_be_a_duplicate(one, other):
    assert "duplicate" not in kinds(one, other)
    assert cleaned_classes([one, other], wordnet()) == (one, other)


def test_words_that_wordnet_does_not_know_have_plurals_too():
    assert kinds("gnorp", "gnorps")["duplicate"] == ["gnorp"]
    assert "duplicate" not in kinds("gnorps", "xyzzy")


def test_a_mark_that_names_no_synset_is_wrong_and_left_out():
    [piece, *_] = advice_on("crane#crane.n.99", "heron")
    assert (piece.kind, piece.wrong, piece.proposal) == ("mark", True, "crane")
    assert "write it like `crane#crane.n.04`" in piece.remark
    assert cleaned_classes(["crane#crane.n.99", "heron"], wordnet()) == ("crane", "heron")


def test_what_is_not_text_is_wrong_and_left_out():
    [piece] = advice_on("giraffe", "caf\udce9")
    assert (piece.kind, piece.wrong) == ("unreadable", True)
    assert readable_classes(["giraffe", "caf\udce9"]) == ("giraffe",)


# -- how names are written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_", "kind", "proposal"),
    [
        ("polar_bear", "underscores", "polar bear"),
        ("0 - giraffe", "numbering", "giraffe"),
        ("001.Black_footed_Albatross", "underscores", "Black footed Albatross"),
        ("001.Black_footed_Albatross", "numbering", "Black footed Albatross"),
        ("n02439033", "wnid", "giraffe"),
        ("giraffe.n.01", "wnid", "giraffe"),
        ("n02085620-Chihuahua", "wnid", "Chihuahua#chihuahua.n.03"),
        ("n02012849", "wnid", "crane#crane.n.05"),
    ],
)
def test_what_no_encoder_was_trained_on_is_proposed_as_words(class_, kind, proposal):
    [piece] = [piece for piece in advice_on(class_, "airplane") if piece.kind == kind]
    assert (piece.class_, piece.proposal, piece.wrong) == (class_, proposal, False)
    assert cleaned_classes([class_], wordnet()) == (proposal,)


def test_a_cleaned_name_means_what_it_meant(nouns):
    given_ = ["n02012849", "n03126707", "n02085620-Chihuahua", "crane_#crane.n.04"]
    before = [meaning.synset for meaning in read_meanings(given_, nouns)]
    assert [meaning.synset for meaning in read_meanings(cleaned_classes(given_, nouns), nouns)][:3] == before[:3]


def test_a_name_longer_than_the_context_of_clip_is_told_with_how_that_was_estimated():
    [piece] = [piece for piece in advice_on("giraffe " * 25) if piece.kind == "long"]
    # a photo of: 1 + 2 + 1, giraffe: 3, start and end: 2
    assert f"perhaps {4 + 25 * 3 + 2} tokens, estimated" in piece.remark
    assert "long" not in kinds("giraffe " * 23)


def test_tokens_are_estimated_by_letters_signs_and_bytes():
    assert estimate_tokens("") == 2
    assert estimate_tokens("bulldog, 12") == 2 + 3 + 1 + 2
    assert estimate_tokens("café") == 2 + 5
    assert estimate_tokens("猫") == 2 + 3


# -- what names mean ----------------------------------------------------------------------------------


def test_a_sense_that_hardly_leads_is_told_with_how_to_choose_the_next():
    [piece] = [piece for piece in advice_on("tiger") if piece.kind == "doubtful"]
    assert "taken as tiger.n.01 (a fierce or audacious person)" in piece.remark
    assert "write `tiger#tiger.n.02`" in piece.remark
    [meaning] = find_meanings(["tiger#tiger.n.02"], wordnet())
    assert meaning.synset.synset == "tiger.n.02"
    assert "doubtful" not in kinds("tiger#tiger.n.02")


def test_a_sense_that_leads_clearly_is_only_mentioned():
    pieces = [piece for piece in advice_on("crane", "heron", "stork", "egret") if piece.class_ == "crane"]
    assert [piece.kind for piece in pieces] == ["senses"]
    assert "write" not in pieces[0].remark


def test_a_name_known_by_a_part_is_told_with_the_part():
    [piece] = [piece for piece in advice_on("annual crop land", "giraffe") if piece.kind == "part"]
    assert piece.class_ == "annual crop land"
    assert "known only by 'land': taken as land.n." in piece.remark


def test_a_name_wordnet_does_not_know_is_told():
    assert kinds("gnorp", "giraffe", "airplane") == {"unknown": ["gnorp"]}


def test_a_name_of_another_kind_than_most_classes_is_told():
    pieces = advice_on("Bombay", "Siamese cat", "beagle", "Great Dane", "dachshund")
    [piece] = [piece for piece in pieces if piece.kind == "unlike"]
    assert piece.class_ == "Bombay"
    assert "taken as mumbai.n.01" in piece.remark
    assert piece.remark.endswith("most classes are of the kind animal")
    assert kinds("striped", "dotted", "banded", "paisley")["unlike"] == ["paisley"]
    assert "unlike" not in kinds("airplane", "giraffe", "sunflower")


def test_classes_of_one_meaning_cannot_be_told_apart():
    found = kinds("car", "automobile", "giraffe")
    assert found["same meaning"] == ["car", "automobile"]
    assert "same meaning" not in kinds("car", "Car")


def test_one_name_for_two_meanings_is_one_name_to_a_model():
    assert kinds("crane#crane.n.04", "crane#crane.n.05") == {"same name": ["crane#crane.n.04", "crane#crane.n.05"]}


def test_classes_with_the_same_nodes_cannot_be_told_apart():
    shared = ("dog.n.01", "wolf.n.01")
    nodes = {"giraffe": shared, "airplane": shared, "sunflower": ("rose.n.01",), "xyzzy": ()}
    pieces = [piece for piece in advice_on(*nodes, nodes=nodes) if piece.kind == "same nodes"]
    assert [piece.class_ for piece in pieces] == ["giraffe", "airplane"]
    assert {piece.remark for piece in pieces} == {
        "2 classes are most like the same nodes (dog.n.01, wolf.n.01); a hub can hardly tell them apart"
    }


def test_what_one_meaning_explains_is_not_said_of_nodes_again():
    shared = ("car.n.01",)
    found = kinds("car", "automobile", nodes={"car": shared, "automobile": shared})
    assert "same meaning" in found
    assert "same nodes" not in found


# -- templates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "words", "template"),
    [
        (("striped", "dotted", "paisley"), "Close-up textures", "a photo of a {} texture"),
        (("angry", "happy"), "facial expressions", "a photo of a {} face"),
        (("stop", "yield"), "traffic signs", 'a photo of a "{}" traffic sign'),
        (("forest", "river"), "satellite", "a satellite photo of {}"),
        (("angry", "disgusted", "happy", "neutral"), "", "a photo of something {}"),
        (("riding a horse", "playing guitar", "juggling"), "", "a photo of a person {}"),
        (("ramen", "samosa", "pizza", "pho"), "", "a photo of {}, a type of food"),
        (("crane", "seal", "mouse", "heron"), "", "a photo of {}, a type of animal"),
        (("giraffe", "airplane", "ship"), "", None),
        (("giraffe", "zebra"), "", None),
        (("wedding", "earring", "king", "building"), "", None),
    ],
)
def test_a_template_is_proposed_by_the_users_words_or_by_what_the_names_are(classes, words, template):
    found = [piece for piece in advice_on(*classes, words=words) if piece.kind == "template"]
    assert [piece.proposal for piece in found] == [template] * (template is not None)
    assert all(piece.class_ is None and not piece.wrong for piece in found)


# -- the whole ----------------------------------------------------------------------------------------


@given(names)
def test_cleaned_classes_make_a_task_and_are_clean(classes):
    nouns = wordnet()
    cleaned = cleaned_classes(classes, nouns)
    if not readable_classes(classes):
        assert cleaned == ()
        return
    assert clean_classes(cleaned) == cleaned
    assert cleaned_classes(cleaned, nouns) == cleaned
    left = advise(cleaned, read_meanings(cleaned, nouns), nouns)
    assert not any(piece.wrong for piece in left)
    assert not {"underscores", "numbering", "wnid"} & {piece.kind for piece in left if piece.class_ != "_"}


@given(names)
def test_advice_is_about_classes_that_were_given_and_wrong_ones_come_first(classes):
    pieces = advice_on(*classes)
    assert {piece.class_ for piece in pieces} <= {None, *(class_.strip() for class_ in classes)}
    wrong = [piece.wrong for piece in pieces]
    assert wrong == sorted(wrong, reverse=True)


@given(names, st.randoms(use_true_random=False))
def test_of_what_is_doubtful_the_order_of_classes_does_not_matter(classes, random):
    shuffled = random.sample(classes, len(classes))
    places = {"empty", "duplicate", "unreadable"}  # are told by number
    before, after = (
        {piece for piece in advice_on(*given_) if piece.kind not in places} for given_ in (classes, shuffled)
    )
    assert before == after


def test_a_hub_tells_its_evidence_and_the_nodes_of_a_class(exact, nouns):
    with Hub.open(exact.hub) as hub:
        assert {nouns[wnid].synset for wnid in evidence_wnids(hub, nouns)} == {
            "dog.n.01",
            "wolf.n.01",
            "cat.n.01",
            "apple.n.01",
            "car.n.01",
        }
        nodes = nodes_of_classes(hub, ["0 - dog", "dog", "apple", ""], exact.encoder, wordnet())
        assert nodes == {
            "0 - dog": ("dog.n.01",),
            "dog": ("dog.n.01",),
            "apple": ("apple.n.01",),
        }
        with pytest.raises(StageMissing, match="index build"):
            nodes_of_classes(hub, ["dog"], WordEncoderOfOthers("dog"), wordnet())


class WordEncoderOfOthers(WordEncoder):
    fingerprint = "0" * 64


@pytest.mark.skipif(not CLASSNAMES.is_dir(), reason="class names of public tasks are not committed")
@pytest.mark.parametrize("task", TASKS)
def test_public_tasks_are_nothing_to_refuse_and_stay_as_they_are(nouns, task):
    classes = (CLASSNAMES / f"{task}.txt").read_text(encoding="utf-8").splitlines()
    pieces = advice_on(*classes)
    assert not any(piece.wrong for piece in pieces)
    assert cleaned_classes(classes, nouns) == tuple(classes)
    assert {piece.class_ for piece in pieces} <= {None, *classes}


@pytest.mark.skipif(not CLASSNAMES.is_dir(), reason="class names of public tasks are not committed")
@pytest.mark.parametrize(
    ("task", "template"),
    [
        ("cifar_100", None),
        ("describable_textures", "a photo of something {}"),
        ("fer2013", "a photo of something {}"),
        ("food_101", "a photo of {}, a type of food"),
        ("oxford_iiit_pet", "a photo of {}, a type of animal"),
        ("stl_10", None),
    ],
)
def test_public_tasks_are_proposed_the_template_that_fits(task, template):
    classes = (CLASSNAMES / f"{task}.txt").read_text(encoding="utf-8").splitlines()
    found = [piece.proposal for piece in advice_on(*classes) if piece.kind == "template"]
    assert found == [template] * (template is not None)
