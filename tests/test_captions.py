import pytest

from mllctl.captions import class_prompts, clean_classes, node_caption
from mllctl.errors import InvalidTask


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
