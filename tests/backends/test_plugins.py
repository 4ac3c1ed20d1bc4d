"""A class of the user's own: the example of docs/backends.md works, and what does not keep the protocol is refused."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from mllctl import label_model, load_model, select_models
from mllctl.backends import load_expert
from mllctl.backends.plugins import GROUP, check_protocol, load_plugin, plugin_names
from mllctl.errors import ModelNotLoadable
from mllctl.hub import Hub
from mllctl.label import label_expert

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
SOURCE = "colours:dog-cat-apple"


def example(language, about=""):
    """The block of a language in the page, of several that which has some words in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (block,) = [block for block in blocks if about in block]
    return block


def install(folder, module, code, points):
    """What pip leaves of a package with one module: the module, and a note of its entry points."""
    folder.joinpath(f"{module}.py").write_text(code)
    note = folder / f"{module}-1.0.dist-info"
    note.mkdir()
    (note / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"{prefix} = {target}" for prefix, target in points.items()]
    (note / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder from which packages are found."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    monkeypatch.undo()
    for module in ("my_models", "other_models", "broken_models"):
        import sys

        sys.modules.pop(module, None)


@pytest.fixture
def colours(site):
    """The package of the page, installed."""
    points = tomllib.loads(example("toml"))["project"]["entry-points"][GROUP]
    install(site, "my_models", example("python", "class Colours:"), points)
    return load_model(SOURCE)


def test_the_example_of_the_page_labels_a_hub_and_is_selected_for_what_it_knows(colours, exact, exact_copy):
    report = label_model(exact_copy, colours)
    assert (report.model, report.shown) == ("colours/dog-cat-apple", 30)
    with Hub.open(exact_copy) as hub:
        assert hub.model("colours/dog-cat-apple").state == "complete"
        selection = select_models(hub, ["dog", "cat", "apple"], encoder=exact.encoder)
    at = selection.names.index("colours/dog-cat-apple")
    # Red, green and blue: no image of these three goes to another of them.
    assert selection.hits[at].tolist() == selection.images[at].tolist()
    assert (selection.class_precision[at] >= selection.class_precision).all()


def test_the_expert_of_the_page_is_labelled_on_a_hub_and_is_no_vision_language_model(site, painted_copy):
    points = {"brightness": "my_models:Brightness"}
    install(site, "my_models", example("python", "class Brightness:"), points)
    expert = load_expert("brightness:plain")
    report = label_expert(painted_copy, expert)
    assert (report.model, report.shown, report.hits) == ("brightness/plain", 40, None)
    with Hub.open(painted_copy) as hub:
        stored = hub.expert("brightness/plain")
        assert (stored.card, stored.state) == (expert.card, "complete")
    with pytest.raises(ModelNotLoadable, match="it is an expert"):
        load_model("brightness:plain")


def test_the_example_is_about_ten_lines_of_a_class():
    body = example("python", "class Colours:").split("class Colours:")[1].split("def unit")[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 10


def test_the_page_names_the_group_that_is_searched(colours):
    assert list(tomllib.loads(example("toml"))["project"]["entry-points"]) == [GROUP]
    assert "colours" in plugin_names()


def test_a_prefix_that_no_package_answers_to_is_refused_with_those_there_are(colours):
    with pytest.raises(ModelNotLoadable, match=r"no installed package answers to nothing: \(there is .*colours:"):
        load_plugin("nothing", "x")


def test_two_packages_that_answer_to_one_prefix_are_refused(colours, site):
    install(site, "other_models", example("python", "class Colours:"), {"colours": "other_models:Colours"})
    with pytest.raises(ModelNotLoadable, match="my_models:Colours and other_models:Colours both answer"):
        load_plugin("colours", "dog")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module_anywhere", "cannot be imported"),
        ("", "cannot be imported"),
        ("load = 3", "cannot be called with"),
        ("def load(rest): return rest", "cannot be called with"),
        ("def load(rest, device): return rest", "has no card"),
        ("def load(rest, device): open('/no/such/file')", "failed with FileNotFoundError"),
        ("def load(rest, device): raise ValueError", "failed with ValueError"),
    ],
)
def test_a_package_that_gives_no_model_is_refused_in_one_line(site, code, reason):
    install(site, "broken_models", code, {"broken": "broken_models:load"})
    with pytest.raises(ModelNotLoadable, match=reason) as caught:
        load_plugin("broken", "x")
    assert "\n" not in str(caught.value)


class Bent:
    """The model of the page with one thing bent."""

    def __init__(self, model, images=lambda rows: rows, texts=lambda rows: rows, **card):
        import dataclasses

        self._model, self._images, self._texts = model, images, texts
        self.card = dataclasses.replace(model.card, **card)

    def encode_images(self, images):
        return self._images(self._model.encode_images(images))

    def encode_texts(self, texts):
        return self._texts(self._model.encode_texts(texts))


@pytest.mark.parametrize(
    ("bent", "reason"),
    [
        ({"images": lambda rows: rows.astype(np.float64)}, "encode_images returned a float64 array"),
        ({"images": lambda rows: rows.tolist()}, "encode_images returned a list"),
        ({"texts": lambda rows: rows[:1]}, r"encode_texts of two returned shape \(1, 3\)"),
        ({"texts": lambda rows: rows * np.float32(2)}, "encode_texts returned vectors of length 2,"),
        ({"images": lambda rows: rows * np.float32(np.nan)}, "encode_images returned what is not finite"),
        ({"embedding_width": 4}, r"shape \(2, 3\), not \(2, 4\)"),
        ({"embedding_width": 0}, "must be positive"),
        ({"source": "dog-cat-apple"}, "make it 'colours:dog-cat-apple'"),
        ({"name": " "}, "name is empty"),
        ({"image_size": "8"}, "image_size is '8', which is no int"),
        ({"parameters": True}, "parameters is True, which is no int"),
        ({"logit_scale": 0.0}, "logit_scale must be above 0"),
        ({"logit_bias": float("nan")}, "logit_bias finite"),
        ({"libraries": {"numpy": 2}}, "names and versions"),
        ({"libraries": None}, "libraries is None"),
    ],
)
def test_what_does_not_keep_the_protocol_is_named(colours, bent, reason):
    with pytest.raises(ModelNotLoadable, match=reason) as caught:
        check_protocol(SOURCE, Bent(colours, **bent))
    assert "\n" not in str(caught.value)
    check_protocol(SOURCE, Bent(colours))


def test_a_card_of_another_class_is_refused(colours):
    colours.card = {"name": "x"}
    with pytest.raises(ModelNotLoadable, match="not dict"):
        check_protocol(SOURCE, colours)
