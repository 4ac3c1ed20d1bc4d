"""Questions, answers that are kept, and runs that go on; over a real connection to tests/chat_server.py."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_server import ChatServer, completes, fails, written
from mllctl.captions import class_texts, read_captions
from mllctl.errors import InvalidTask, LanguageModelFailed, NoCaptions
from mllctl.writing_captions import caption_prompt, check_target, plan_captions, save_captions, write_captions

CLASSES = ["crane", "heron", "stork"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ChatServer() as server:
        yield server


@pytest.fixture
def write(server, tmp_path):
    def write(classes=CLASSES, domain="satellite", task="bird watching", n=2, model="writer", **options):
        options = {"cache": tmp_path / "cache", "base_url": server.url, "retries": 0, **options}
        return write_captions(classes, domain, task, n, model, **options)

    return write


def plan(tmp_path, classes=CLASSES, domain="satellite", task="bird watching", n=2, model="writer"):
    return plan_captions(classes, domain, task, n, model, tmp_path / "cache")


# -- questions ----------------------------------------------------------------------------------------


def test_a_prompt_names_class_domain_task_number_and_length():
    prompt = caption_prompt("hot {dog}", "flat icons", "food classification", 3)
    for part in (
        "hot {dog}",
        "flat icons",
        "food classification",
        "3 different captions",
        "50 words",
        '{"captions": [',
    ):
        assert part in prompt
    assert "one caption" in caption_prompt("dog", None, None, 1)


def test_without_domain_and_task_a_prompt_has_those_of_the_paper():
    assert caption_prompt("cat", None, "", 1) == caption_prompt("cat", "natural picture", "image classification", 1)


def test_a_class_is_asked_for_in_plain_words_and_answered_under_its_own_name(write, server):
    done = write(["crane#crane.n.04", "hot_dog", "3 - zebra"])
    assert list(done.captions) == ["crane#crane.n.04", "hot_dog", "3 - zebra"]
    for plain, prompt in zip(["crane", "hot dog", "zebra"], server.prompts, strict=True):
        assert f"Class: {plain}.\n" in prompt


# Few values, so that equal questions come up all the time.
questions = st.tuples(
    st.sampled_from(["cat", "dog"]),
    st.sampled_from([None, "natural picture", "satellite"]),
    st.sampled_from([None, "pets"]),
    st.integers(1, 2),
    st.sampled_from(["writer", "poet"]),
)


@given(questions, questions)
def test_an_answer_is_kept_by_prompt_model_and_number(tmp_path_factory, one, other):
    def asked(class_, domain, task, n, model):
        [question] = plan(tmp_path_factory.getbasetemp(), [class_], domain, task, n, model)
        return (question.prompt, model, n), question.file

    (one_key, one_file), (other_key, other_file) = asked(*one), asked(*other)
    assert (one_key == other_key) == (one_file == other_file)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": []}, "no classes"),
        ({"classes": ["dog", "dog "]}, "'dog' stands twice"),
        ({"n": 0}, "captions per class must be at least 1, got 0"),
        ({"model": " "}, "the language model has no name; give it as --model NAME"),
        ({"domain": "caf\udce9"}, "domain is not UTF-8 text"),
        ({"task": "caf\udce9"}, "task is not UTF-8 text"),
        ({"model": "caf\udce9"}, "model is not UTF-8 text"),
    ],
)
def test_what_makes_no_question_is_refused(tmp_path, changed, message):
    with pytest.raises(InvalidTask, match=message):
        plan(tmp_path, **changed)


def test_a_plan_asks_and_writes_nothing_and_needs_no_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    assert [question.captions for question in plan(tmp_path, [" crane ", "heron"])] == [None, None]
    assert list(tmp_path.iterdir()) == []


# -- answers ------------------------------------------------------------------------------------------


def test_each_class_is_asked_for_once_in_the_order_of_the_task(write, server, tmp_path):
    seen = []
    done = write(progress=lambda *step: seen.append(step))
    prompts = [question.prompt for question in plan(tmp_path)]
    assert server.prompts == prompts
    assert done.captions == {
        class_: tuple(written(prompt)[:2]) for class_, prompt in zip(CLASSES, prompts, strict=True)
    }
    assert (list(done.captions), done.asked, done.skipped) == (CLASSES, 3, {})
    assert seen == [("crane", 1, 3), ("heron", 2, 3), ("stork", 3, 3)]


def test_what_was_answered_is_not_asked_again(write, server, monkeypatch):
    before = write()
    monkeypatch.setitem(sys.modules, "openai", None)  # with nothing to ask, not even the library is needed
    again = write()
    assert (again.captions, again.asked) == (before.captions, 0)
    assert len(server.questions) == 3


def test_another_question_is_asked(write, server):
    write()
    for changed in ({"n": 3}, {"domain": None}, {"task": None}):
        write(**changed)
    with pytest.raises(LanguageModelFailed, match="does not exist"):
        write(model="poet")
    assert len(server.questions) == 4 * 3 + 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_goes_on_where_it_stopped(write, server, stop):
    def interrupt(class_, done, total):
        if done == 2:
            raise stop

    with pytest.raises(stop):
        write(progress=interrupt)
    assert (len(server.questions), write().asked, len(server.questions)) == (2, 1, 3)


def test_a_run_whose_server_fails_goes_on_where_it_stopped(write, server):
    server.replies += [completes(), fails(401, "expired")]
    with pytest.raises(LanguageModelFailed, match="expired"):
        write()
    done = write()
    assert (list(done.captions), done.asked, len(server.questions)) == (CLASSES, 2, 4)


def test_a_refused_class_is_skipped_and_asked_for_again_next_time(write, server):
    server.replies += [completes(), completes(refusal="No."), completes()]
    done = write()
    assert (list(done.captions), done.asked) == (["crane", "stork"], 2)
    assert done.skipped == {"heron": "the model refused: No"}
    assert list(write().captions) == CLASSES


def test_when_every_class_is_refused_the_first_refusal_is_the_error(write, server):
    server.replies += [completes(refusal=f"No {class_}.") for class_ in CLASSES]
    with pytest.raises(NoCaptions, match="no captions of 'crane': the model refused: No crane; try another --model"):
        write()


@pytest.mark.parametrize("damage", [b"", b'{"captions": ["a"', b'{"captions": ["a"]}', b"\xff"])
def test_a_kept_answer_that_is_damaged_is_asked_for_again(write, server, tmp_path, damage):
    before = write()
    plan(tmp_path)[1].file.write_bytes(damage)
    again = write()
    assert (again.captions, again.asked) == (before.captions, 1)
    assert server.prompts[3] == plan(tmp_path)[1].prompt


def test_the_cache_holds_whole_answers_and_nothing_else(write, tmp_path):
    write()
    kept = {question.file: question.prompt for question in plan(tmp_path)}
    assert set((tmp_path / "cache" / "captions").iterdir()) == set(kept)
    for file, prompt in kept.items():
        assert json.loads(file.read_text()) == {"model": "writer", "prompt": prompt, "captions": written(prompt)[:2]}


# -- files ----------------------------------------------------------------------------------------------

caption = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(len)


@given(st.dictionaries(caption, st.lists(caption, min_size=1, max_size=3), min_size=1, max_size=4))
def test_saved_captions_are_read_as_they_were(tmp_path_factory, captions):
    path = tmp_path_factory.getbasetemp() / "captions.json"
    save_captions(captions, path)
    assert read_captions(path) == {class_: tuple(texts) for class_, texts in captions.items()}


def test_saved_captions_stand_for_their_classes(write, tmp_path):
    done = write()
    save_captions(done.captions, tmp_path / "captions.json")
    assert class_texts(CLASSES, read_captions(tmp_path / "captions.json")) == list(done.captions.values())


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "captions.json").mkdir()
    with pytest.raises(IsADirectoryError):
        save_captions({"dog": ("an animal",)}, tmp_path / "captions.json")
    assert [path.name for path in tmp_path.iterdir()] == ["captions.json"]


def test_a_file_that_is_to_be_written_is_new_or_may_be_replaced(tmp_path):
    file = tmp_path / "captions.json"
    check_target(file, replace=False)
    file.write_text("{}")
    check_target(file, replace=True)
    for path, message in [
        (file, "exists; name another file, or replace it with --force"),
        (tmp_path, "is not a file"),
        (tmp_path / "gone" / "captions.json", "no folder .*gone; make it"),
    ]:
        with pytest.raises(InvalidTask, match=message):
            check_target(path, replace=False)
