import pytest

from mllctl.backends.facts import known_models
from mllctl.published import paper_models
from mllctl.published.names import hub_model, open_clip_metric, usual_dataset


@pytest.mark.parametrize(
    ("model", "pretrained"),
    [
        ("ViT-B-32", "laion2b_s34b_b79k"),
        ("ViT-B-32 laion2b_s34b_b79k", ""),
        ("ViT-B-32/laion2b_s34b_b79k", ""),
        ("ViT-B-32,laion2b_s34b_b79k", ""),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", ""),
        (" ViT-B-32 ", "LAION2B-s34B-b79K"),
    ],
)
def test_a_model_is_called_as_the_hub_calls_it(model, pretrained):
    assert hub_model(model, pretrained) == "ViT-B-32/laion2b_s34b_b79k"


@pytest.mark.parametrize(
    ("model", "pretrained", "name"),
    [
        ("ViT-H-14", "/weights/h_256.pt", "ViT-H-14//weights/h_256.pt"),
        ("hf-hub:apple/DFN5B", "", "hf-hub:apple/DFN5B"),
        ("BLIP large", "coco", "BLIP large coco"),
        ("a model of mine", "", "a model of mine"),
        ("ViT-B-32", "My-Tag", "ViT-B-32/My-Tag"),
    ],
)
def test_a_name_that_is_no_tag_stays_as_it_is(model, pretrained, name):
    assert hub_model(model, pretrained) == name


def test_all_models_of_the_paper_are_known():
    assert len(set(paper_models())) == 49
    assert set(paper_models()) <= set(known_models())


@pytest.mark.parametrize("name", ["dtd", "vtab/dtd", "wds/vtab/dtd", "DTD", "Describable Textures"])
def test_a_data_set_has_one_name(name):
    assert usual_dataset(name) == "Describable Textures"


def test_an_unknown_data_set_keeps_its_name():
    assert usual_dataset("wds/my_birds") == "wds/my_birds"
    assert open_clip_metric("wds/my_birds") is None
    assert open_clip_metric("FER2013") is None
