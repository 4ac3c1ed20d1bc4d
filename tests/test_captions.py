import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.captions import class_prompts, class_texts, clean_classes, node_caption, read_captions, without_captions
from mllctl.errors import InvalidTask

SHARED = Path(__file__).parents[2] / "shared" / "data"


def test_a_node_caption_is_name_and_definition():
    assert node_caption("dog", "a domestic animal") == "dog which is a domestic animal"


def test_prompts_fill_the_template_with_each_class_as_it_is():
    assert class_prompts(["dog", "{} {0} %s"]) == ["a photo of dog", "a photo of {} {0} %s"]
    assert class_prompts(["dog"], "{}, drawn {by hand}") == ["dog, drawn {by hand}"]


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "{class}", ""])
def test_a_template_that_does_not_hold_the_class_once_is_refused(template):
    with pytest.raises(InvalidTask, match="template"):
        class_prompts(["dog"], template)


def test_classes_are_stripped_and_stay_in_order():
    assert clean_classes([" hot dog\n", "apple", "Apple"]) == ("hot dog", "apple", "Apple")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "no classes"),
        (["dog", ""], "class 2 is empty"),
        (["dog", "cat", "\t"], "class 3 is empty"),
        (["dog", "cat", " dog"], "'dog' stands twice, as number 1 and 3"),
    ],
)
def test_classes_that_make_no_task_are_refused(classes, message):
    with pytest.raises(InvalidTask, match=message) as refusal:
        clean_classes(classes)
    assert refusal.value.exit_code == 2


# -- the texts a class is matched by ------------------------------------------------------------------


def test_a_class_is_matched_by_its_name_alone():
    assert class_texts([" dog\n", "{domain}"]) == [("dog",), ("{domain}",)]


def test_a_class_with_captions_is_matched_by_them_and_another_by_the_template():
    captions = {"dog": ("an animal", "a pet"), "spare": ("unused",)}
    assert class_texts(["cat", " dog "], captions, "{class}, {task}", task="pets") == [
        ("cat, pets",),
        ("an animal", "a pet"),
    ]
    assert without_captions(["cat", " dog "], captions) == ["cat"]


def test_all_fields_of_a_template_are_filled_in_one_pass():
    template = "{class} in {domain}, {task}, {class} {"
    assert class_texts(["{task}"], None, template, "{class}s", "x") == [("{task} in {class}s, x, {task} {",)]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a photo of {}", r"has \{\}; it may have \{class\}, \{domain\} and \{task\}"),
        ("{class} {colour}", r"has \{colour\}"),
        ("{ class }", r"has \{ class \}"),
        ("{class!r}", r"has \{class!r\}"),
        ("a photo", r"must have \{class\}"),
        ("", r"must have \{class\}"),
        ("{task}", r"must have \{class\}"),
        ("{class}, {domain}", r"has \{domain\}; say it with --domain TEXT"),
    ],
)
def test_a_matching_template_that_cannot_be_filled_is_refused(template, message):
    with pytest.raises(InvalidTask, match=message):
        class_texts(["dog"], {"dog": ("an animal",)}, template, domain="", task="pets")


def test_captions_of_none_of_the_classes_are_refused():
    with pytest.raises(InvalidTask, match="none of these classes, but of 'Dog', 'cat', 'eel'; name classes as the"):
        class_texts(["dog"], {"Dog": ("x",), "cat": ("x",), "eel": ("x",), "fox": ("x",)})
    assert class_texts(["dog"], {}) == [("dog",)]


# -- files of captions --------------------------------------------------------------------------------

REFUSED = {
    "nothing": (b"", "is not JSON (Expecting value"),
    "cut off": (b'{"dog": "an anim', "is not JSON (Unterminated string"),
    "no JSON": (b"dog: an animal\n", "is not JSON"),
    "a picture": (b"\x89PNG\r\n", "is not UTF-8 text (byte 0); save it as UTF-8"),
    "latin-1": ('{"café": "a place"}'.encode("latin-1"), "is not UTF-8 text (byte 5)"),
    "utf-16": ('{"dog": "x"}'.encode("utf-16-le"), "is not JSON"),
    "too deep": (b'{"a":' * 100_000, "is not JSON"),
    "a long number": (b'{"dog": ' + b"1" * 5000 + b"}", "is not JSON"),
    "a list": (b'["dog"]', "holds no captions; write an object such as"),
    "null": (b"null", "holds no captions"),
    "no classes": (b"{}", "holds no captions"),
    "a number": (b'{"dog": 1}', "'dog' has no text, nor a list of texts"),
    "an object": (b'{"dog": {"en": "animal"}}', "'dog' has no text, nor a list of texts"),
    "no captions": (b'{"dog": []}', "'dog' has no text, nor a list of texts"),
    "an empty caption": (b'{"dog": ""}', "caption 1 of 'dog' is no text; write it or remove it"),
    "a blank caption": (b'{"dog": ["x", " \\n"]}', "caption 2 of 'dog' is no text"),
    "a null caption": (b'{"dog": ["x", null]}', "caption 2 of 'dog' is no text"),
    "a list in a list": (b'{"dog": [["x"]]}', "caption 1 of 'dog' is no text"),
    "an empty class": (b'{"dog": "x", " ": "x"}', "a class is empty"),
    "a class twice": (b'{"dog": "x", "cat": "x", "dog": "y"}', "class 'dog' stands twice; put its captions into one"),
    "a class twice but for blanks": (b'{"dog": "x", " dog ": "y"}', "class 'dog' stands twice"),
    "half a letter": (b'{"dog": "\\ud83d"}', "caption 1 of 'dog' is not UTF-8 text"),
    "half a letter in a class": (b'{"\\ud83d": "x"}', "a class is not UTF-8 text"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_holds_no_captions_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "captions.json").write_bytes(content)
    with pytest.raises(InvalidTask) as refusal:
        read_captions(tmp_path / "captions.json")
    assert f"captions.json{'' if message.startswith(('is ', 'holds ')) else ':'} {message}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_of_captions_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidTask, match=r"no file .*gone.json; give a JSON file"):
        read_captions(tmp_path / "gone.json")
    with pytest.raises(InvalidTask, match="is a folder; give a JSON file"):
        read_captions(tmp_path)


# Names that are the same but for white space come up all the time.
names = st.text(st.sampled_from("aé🐦 \n\t"), max_size=3)
captions = names | st.lists(names, max_size=3)


@given(st.lists(st.tuples(names, captions), max_size=4), st.booleans(), st.sampled_from(["utf-8", "utf-8-sig"]))
def test_what_is_read_is_what_stands_in_the_file_or_there_is_an_error(tmp_path_factory, pairs, ascii_, encoding):
    inner = ", ".join(f"{json.dumps(k, ensure_ascii=ascii_)}: {json.dumps(v, ensure_ascii=ascii_)}" for k, v in pairs)
    path = tmp_path_factory.getbasetemp() / "captions.json"
    path.write_bytes(f"{{{inner}}}".encode(encoding))
    expected = {k.strip(): tuple(c.strip() for c in ([v] if isinstance(v, str) else v)) for k, v in pairs}
    if len(expected) == len(pairs) > 0 and all(k and v and all(v) for k, v in expected.items()):
        assert read_captions(path) == expected
        assert class_texts([f" {name}\n" for name in expected], read_captions(path)) == list(expected.values())
    else:
        with pytest.raises(InvalidTask):
            read_captions(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the project")
def test_captions_released_with_the_paper_are_read_and_stand_for_their_classes():
    for path in sorted((SHARED / "captions").glob("*.json")):
        captions = read_captions(path)
        raw = json.loads(path.read_text(encoding="utf-8"))
        assert sum(map(len, captions.values())) == sum(map(len, raw.values())), path.name
        assert class_texts(list(raw), captions) == list(captions.values()), path.name
