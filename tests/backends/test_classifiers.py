"""Any classifier by ConSE: the bundled one is as it always was, and networks of timm, torchvision and ONNX work alike.

Networks are small ones with random weights; the sentence encoder is the packaged one.
"""

import functools
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mllctl import label_model
from mllctl.backends import classifiers
from mllctl.backends.classifiers import load_classifier, read_spec
from mllctl.backends.conse import ClassifierModel, ConseModel, combine_classes, packaged_encoder
from mllctl.backends.plugins import check_protocol
from mllctl.errors import ModelNotLoadable
from mllctl.hub import Hub, bundled_hub

LABELS = ("dog, domestic dog", "cat", "apple", "car, auto", "wolf")
NAMES = tuple(label.split(",")[0] for label in LABELS)


@pytest.fixture(scope="module")
def encoder():
    return packaged_encoder()


@pytest.fixture(autouse=True)
def one_encoder(encoder, monkeypatch):
    """The real encoder, loaded once."""
    monkeypatch.setattr(classifiers, "packaged_encoder", functools.partial(lambda device: encoder))


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (200 + n, 240, 3), dtype=np.uint8)) for n in range(3)]


@pytest.fixture(scope="module")
def timm_network():
    import timm
    import torch

    torch.manual_seed(1)
    return timm.create_model("test_resnet", pretrained=False, num_classes=len(LABELS)).eval()


@pytest.fixture
def timm_file(timm_network, tmp_path):
    from safetensors.torch import save_file

    save_file(timm_network.state_dict(), tmp_path / "five.safetensors")
    (tmp_path / "five.txt").write_text("\n".join([*LABELS, ""]))
    return tmp_path / "five.safetensors"


def write_onnx(path, classes=5, size=16, batch="images", softmax=False):
    """A classifier that multiplies the mean colour by a matrix."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    matrix = np.random.default_rng(5).normal(size=(3, classes)).astype(np.float32) * 3
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("MatMul", ["colour", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probability"], axis=1),
    ]
    result = "probability" if softmax else "logits"
    graph = helper.make_graph(
        nodes if softmax else nodes[:3],
        "colours",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    path.with_suffix(".txt").write_text("\n".join(LABELS))
    return matrix


def by_hand(logits, encoder, top):
    """f(x) of the docstring, an image at a time."""
    rows = []
    for row in np.asarray(logits, np.float64):
        p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        best = sorted(range(len(p)), key=lambda y: -p[y])[:top]
        f = sum(p[y] * encoder.encode([NAMES[y]])[0].astype(np.float64) for y in best)
        rows.append(f / np.linalg.norm(f))
    return np.array(rows)


# -- the bundled model --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled_model():
    return ConseModel("conse-top10", 10, 128, 20.0)


@pytest.mark.towers
def test_the_bundled_model_has_the_card_it_always_had(bundled_model):
    with Hub.open(bundled_hub()) as hub:
        stored = hub.model("lite0-conse/conse-top10").card
    card = bundled_model.card
    assert card.identity == stored.identity
    assert set(card.libraries) == set(stored.libraries)
    assert {**vars(card), "libraries": 0} == {**vars(stored), "libraries": 0}


@pytest.mark.towers
def test_the_bundled_model_embeds_as_it_was_written_before_it_was_shared(bundled_model, encoder, images):
    import torch

    from mllctl.backends import towers
    from mllctl.backends.conse import class_names
    from mllctl.backends.open_clip_models import image_transform

    network = towers.image_network().to(memory_format=torch.channels_last)
    pixels = torch.stack([image_transform(towers.preprocess(128))(image) for image in images])
    with torch.inference_mode():
        best, classes = network(pixels.to(memory_format=torch.channels_last)).softmax(dim=1).topk(10, dim=1)
    vectors = encoder.encode(class_names())[classes.numpy()]
    assert (bundled_model.encode_images(images) == combine_classes(best.numpy(), vectors)).all()


def test_a_mean_of_no_classes_or_of_more_than_there_are_is_a_wrong_argument(timm_file, encoder):
    classifier = load_classifier(f"timm/test_resnet@{timm_file}")._classifier
    for top in (0, 6):
        with pytest.raises(ValueError, match=rf"top must be in \[1, 5\], got {top}"):
            ClassifierModel(classifier, encoder, "a/b", "c", top, 20.0)


# -- kinds --------------------------------------------------------------------------------------------


def test_a_timm_network_embeds_by_the_equation(timm_file, timm_network, encoder, images):
    import timm.data
    import torch

    model = load_classifier(f"timm/test_resnet@{timm_file},top=3")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(timm_network), is_training=False)
    with torch.inference_mode():
        logits = timm_network(torch.stack([transform(image) for image in images])).numpy()
    np.testing.assert_allclose(model.encode_images(images), by_hand(logits, encoder, 3), atol=1e-4)
    np.testing.assert_allclose(model.encode_texts(["a dog"]), encoder.encode(["a dog"]))
    check_protocol(f"conse:timm/test_resnet@{timm_file},top=3", model)
    assert (model.card.name, model.card.kind) == ("conse-test_resnet/five-top3", "conse")
    assert model.card.libraries["timm"] == version("timm")
    assert model.encode_images([]).shape == (0, 384)


def test_a_torchvision_network_is_loaded_from_a_training_checkpoint(tmp_path, encoder, images):
    import torch
    from torchvision import models

    torch.manual_seed(2)
    network = models.get_model("squeezenet1_1", weights=None, num_classes=len(LABELS)).eval()
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "squeeze.pth")
    (tmp_path / "names.txt").write_text("\n".join(LABELS))
    model = load_classifier(f"torchvision/squeezenet1_1@{tmp_path}/squeeze.pth,labels={tmp_path}/names.txt")
    transform = models.get_model_weights("squeezenet1_1").DEFAULT.transforms()
    with torch.inference_mode():
        logits = network(torch.stack([transform(image) for image in images])).numpy()
    # All five classes: fewer than the usual ten.
    np.testing.assert_allclose(model.encode_images(images), by_hand(logits, encoder, 5), atol=1e-4)
    assert (model.card.name, model.card.image_size) == ("conse-squeezenet1_1/squeeze", 224)


@pytest.mark.parametrize("network", ["googlenet", "inception_v3"])
def test_the_oldest_networks_of_torchvision_shift_colours_as_with_weights_of_its_own(tmp_path, network, images):
    import torch
    from torchvision import models

    torch.manual_seed(2)
    options = {"weights": None, "num_classes": len(LABELS), "init_weights": False}
    torch.save(models.get_model(network, **options).state_dict(), tmp_path / "old.pth")
    (tmp_path / "old.txt").write_text("\n".join(LABELS))
    model = load_classifier(f"torchvision/{network}@{tmp_path}/old.pth")
    assert model._classifier._network.transform_input


def test_a_checkpoint_of_several_devices_is_loaded_as_that_of_one(timm_file, timm_network):
    import torch

    spread = timm_file.with_suffix(".pth")
    torch.save({"model": {f"module.{name}": tensor for name, tensor in timm_network.state_dict().items()}}, spread)
    one, several = (load_classifier(f"timm/test_resnet@{file}").card for file in (timm_file, spread))
    assert one.fingerprint == several.fingerprint


def test_a_tag_of_timm_chooses_the_transform(timm_file):
    """One name of timm stands for weights that were trained with other colours and sizes."""
    import timm
    import torch

    file = timm_file.with_suffix(".pth")
    torch.save(timm.create_model("resnet18", num_classes=len(LABELS)).state_dict(), file)
    plain, tagged = (load_classifier(f"timm/{name}@{file}").card for name in ("resnet18", "resnet18.tv_in1k"))
    assert "crop_pct 0.95; input_size (3, 224, 224); interpolation bicubic" in plain.preprocess
    assert "crop_pct 0.875; input_size (3, 224, 224); interpolation bilinear" in tagged.preprocess
    with pytest.raises(ModelNotLoadable, match=r"Invalid pretrained tag \(no\) for resnet18. timm has resnet18\.a1"):
        load_classifier(f"timm/resnet18.no@{file}")


@pytest.mark.parametrize("batch", ["images", 1, 2])
@pytest.mark.parametrize("softmax", [False, True])
def test_an_onnx_file_gives_the_same_by_logits_and_by_probabilities_in_batches_of_any_size(
    tmp_path, encoder, images, batch, softmax
):
    path = tmp_path / "colours.onnx"
    matrix = write_onnx(path, batch=batch, softmax=softmax)
    model = load_classifier(f"onnx/{path},normalise=half,top=2")
    small = [image.resize((16, 16)) for image in images]
    colour = np.array([(np.asarray(image) / 255).mean(axis=(0, 1)) for image in small]) * 2 - 1
    np.testing.assert_allclose(model.encode_images(small), by_hand(colour @ matrix, encoder, 2), atol=1e-4)
    assert model.card.name == "conse-onnx/colours-top2"
    assert model.card.preprocess.count("probabilities") == softmax
    assert (model.card.image_size, model.card.parameters) == (16, 3 * 5 + encoder.parameters)


def test_a_hub_is_labelled_with_a_classifier(tmp_path, painted_copy):
    write_onnx(tmp_path / "colours.onnx")
    model = load_classifier(f"onnx/{tmp_path}/colours.onnx")
    assert label_model(painted_copy, model).shown == 40
    with Hub.open(painted_copy) as hub:
        assert hub.model("conse-onnx/colours").card.source == f"conse:onnx/{tmp_path}/colours.onnx"


def test_an_open_size_is_that_of_the_option_and_other_sizes_are_refused(tmp_path):
    write_onnx(tmp_path / "open.onnx", size="side")
    write_onnx(tmp_path / "fixed.onnx", size=16)
    assert load_classifier(f"onnx/{tmp_path}/open.onnx").card.image_size == 224
    assert load_classifier(f"onnx/{tmp_path}/open.onnx,size=32").card.image_size == 32
    with pytest.raises(ModelNotLoadable, match="takes 16 x 16 pixels, not 32 x 32"):
        load_classifier(f"onnx/{tmp_path}/fixed.onnx,size=32")


def test_weights_beside_an_onnx_file_belong_to_its_fingerprint(tmp_path):
    import onnx

    write_onnx(tmp_path / "colours.onnx")
    model = onnx.load(tmp_path / "colours.onnx")
    options = {"save_as_external_data": True, "location": "beside.bin", "size_threshold": 0}
    onnx.save_model(model, tmp_path / "colours.onnx", **options)
    before = load_classifier(f"onnx/{tmp_path}/colours.onnx").card
    beside = bytearray((tmp_path / "beside.bin").read_bytes())
    beside[2] ^= 1
    (tmp_path / "beside.bin").write_bytes(beside)
    after = load_classifier(f"onnx/{tmp_path}/colours.onnx").card
    assert after.fingerprint != before.fingerprint
    assert after.parameters == before.parameters


def test_other_names_of_classes_or_another_top_make_another_model_of_the_same_weights(timm_file):
    card = load_classifier(f"timm/test_resnet@{timm_file}").card
    assert load_classifier(f"timm/test_resnet@{timm_file}").card.identity == card.identity
    assert load_classifier(f"timm/test_resnet@{timm_file},top=2").card.identity != card.identity
    timm_file.with_suffix(".txt").write_text("\n".join(reversed(LABELS)))
    other = load_classifier(f"timm/test_resnet@{timm_file}").card
    assert other.fingerprint == card.fingerprint
    assert other.identity != card.identity


# -- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "a classifier is named conse:timm/NAME@WEIGHTS"),
        ("keras/x@y", "a classifier is named"),
        ("timm/test_resnet", "a classifier is named"),
        ("timm/@FILE", "a classifier is named"),
        ("timm/test_resnet@FILE,colour=3", "no option 'colour'; there are labels, top, size, normalise"),
        ("timm/test_resnet@/no/such.safetensors", "there is no file /no/such.safetensors"),
        ("timm/test_resnett@FILE", "timm has no network 'test_resnett'; did you mean test_resnet"),
        ("torchvision/resnet17@FILE", "torchvision has no network 'resnet17'; did you mean resnet1"),
        ("timm/test_vit@FILE", "does not fit test_vit with 5 classes; "),
        ("timm/test_resnet@FILE,labels=imagenet", "does not fit test_resnet with 1000 classes; "),
        ("timm/test_resnet@FILE,labels=/no/names.txt", "cannot be read from /no/names.txt; give ,labels=FILE"),
        ("timm/test_resnet@FILE,top=6", "top=6 is more than the 5 classes"),
        ("timm/test_resnet@FILE,top=0", "top=0 is not a number from 1"),
        ("timm/test_resnet@FILE,top=many", "top=many is not a number from 1"),
        ("timm/test_resnet@FILE,size=64", "size= is for ONNX files only"),
        ("onnx/FILE", "cannot be opened as ONNX; "),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_line(timm_file, spec, reason):
    with pytest.raises(ModelNotLoadable) as caught:
        load_classifier(spec.replace("FILE", str(timm_file)))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("\n\n", "names no class"),
        ("dog\n\ncat\n", "line 2 of .* names no class"),
        ("dog\n, cat\n", "line 2 of .* names no class"),
        ("dog\ncat\n", "does not fit test_resnet with 2 classes"),
    ],
)
def test_labels_that_do_not_name_every_output_are_refused(timm_file, lines, reason):
    timm_file.with_suffix(".txt").write_text(lines)
    with pytest.raises(ModelNotLoadable, match=reason):
        load_classifier(f"timm/test_resnet@{timm_file}")


def test_an_onnx_file_with_another_number_of_outputs_or_another_input_is_refused(tmp_path):
    write_onnx(tmp_path / "six.onnx", classes=6)
    with pytest.raises(ModelNotLoadable, match=r"shape \(2, 6\) for 2 images, not \(images, 5\)"):
        load_classifier(f"onnx/{tmp_path}/six.onnx")
    with pytest.raises(ModelNotLoadable, match="normalise=some is none of imagenet, half, none"):
        load_classifier(f"onnx/{tmp_path}/six.onnx,normalise=some")


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path, timm_file):
    import pickle

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was-run",)

    bad = tmp_path / "bad.pth"
    bad.write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=2))
    bad.with_suffix(".txt").write_text("\n".join(LABELS))
    with pytest.raises(ModelNotLoadable, match="not made of tensors alone"):
        load_classifier(f"timm/test_resnet@{bad}")
    assert not (tmp_path / "was-run").exists()


def test_a_spec_is_taken_apart_at_its_first_separators(tmp_path):
    odd = tmp_path / "a@b" / "w.onnx"
    odd.parent.mkdir()
    odd.touch()
    spec = read_spec(f"timm/resnet18.a1_in1k@{odd},labels=/x=y,top=5")
    assert (spec.network, spec.weights) == ("resnet18.a1_in1k", odd)
    assert json.dumps(spec.options) == '{"labels": "/x=y", "top": "5"}'
    assert read_spec(f"onnx/{odd}").network == "w"


def test_a_source_loads_the_same_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "w.onnx").touch()
    monkeypatch.chdir(tmp_path)
    source = f"conse:onnx/{tmp_path}/w.onnx,labels={tmp_path}/names.txt,top=3"
    assert read_spec("onnx/w.onnx,labels=names.txt,top=3").source == source
    assert read_spec(source.removeprefix("conse:")).source == source
    assert read_spec("timm/resnet18@w.onnx,labels=imagenet").source == (
        f"conse:timm/resnet18@{tmp_path}/w.onnx,labels=imagenet"
    )
