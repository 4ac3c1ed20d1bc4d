"""A CLIP of sentence-transformers keeps the protocol: a tiny one with random weights, made here."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mllctl import label_model
from mllctl.backends.plugins import check_protocol
from mllctl.backends.sentence_models import load_sentence_model
from mllctl.errors import ModelNotLoadable
from mllctl.hub import Hub

WIDTH = 24
WORDS = ("<|startoftext|>", "<|endoftext|>", "<unk>", "a", "photo", "of", "dog", "cat", "red", "car", "which", "is")


def write_tokenizer(folder):
    """A tokenizer of whole words that frames each text as CLIP's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    start, end = WORDS[:2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, 0), (end, 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        eos_token=end,
        pad_token=end,
        unk_token="<unk>",
        model_max_length=16,
    ).save_pretrained(folder)


def write_clip(folder):
    """A CLIP of two small layers, as sentence-transformers keeps one: modules.json with its CLIPModel."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(7)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(WORDS), "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    config = CLIPConfig(
        text_config={**tower, **text, "pad_token_id": 1},
        vision_config={**tower, "image_size": 32, "patch_size": 16},
        projection_dim=WIDTH,
    )
    inner = folder / "0_CLIPModel"
    CLIPModel(config).save_pretrained(inner)
    write_tokenizer(inner)
    pixels = {"do_resize": True, "size": {"shortest_edge": 32}, "do_center_crop": True, "resample": 3}
    pixels |= {"crop_size": {"height": 32, "width": 32}, "do_normalize": True, "do_rescale": True}
    pixels |= {"rescale_factor": 1 / 255, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    pixels |= {"image_processor_type": "CLIPImageProcessor", "processor_class": "CLIPProcessor"}
    (inner / "preprocessor_config.json").write_text(json.dumps(pixels))
    kind = "sentence_transformers.models.CLIPModel"
    modules = [{"idx": 0, "name": "0", "path": inner.name, "type": kind}]
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("st") / "tiny-clip"
    folder.mkdir()
    write_clip(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load_sentence_model(str(folder))


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (30 + n, 40, 3), dtype=np.uint8)) for n in range(4)]


def test_it_keeps_the_protocol(model, folder):
    check_protocol(f"st:{folder}", model)
    assert model.card.name == "sentence-transformers/tiny-clip"
    assert (model.card.kind, model.card.image_size, model.card.embedding_width) == ("sentence_transformers", 32, WIDTH)


def test_scale_and_parameters_are_those_of_the_network(model, folder):
    from transformers import CLIPModel

    network = CLIPModel.from_pretrained(folder / "0_CLIPModel")
    assert model.card.logit_scale == pytest.approx(network.logit_scale.exp().item())
    assert model.card.logit_bias == 0
    assert model.card.parameters == sum(tensor.numel() for tensor in network.parameters())


def test_embeddings_are_those_of_transformers(model, folder, images):
    import torch
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    network = CLIPModel.from_pretrained(folder / "0_CLIPModel").eval()
    pixels = CLIPImageProcessor.from_pretrained(folder / "0_CLIPModel")(images, return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(folder / "0_CLIPModel")(["a photo of a dog"], return_tensors="pt")
    with torch.inference_mode():
        both = network(**pixels, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    np.testing.assert_allclose(model.encode_images(images), both.image_embeds, atol=1e-5)
    np.testing.assert_allclose(model.encode_texts(["a photo of a dog"]), both.text_embeds, atol=1e-5)


def test_a_vector_does_not_depend_on_its_neighbours(model, images):
    texts = ["dog", "a photo of a red car which is a dog", "cat", "a red cat"]
    alone = np.concatenate([model.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(model.encode_texts(texts), alone, atol=1e-6)
    alone = np.concatenate([model.encode_images([image]) for image in images])
    np.testing.assert_allclose(model.encode_images(images), alone, atol=1e-6)
    assert len(set(map(bytes, alone))) == len(images)


def test_images_of_any_mode_are_seen_and_nothing_gives_nothing(model, images):
    grey = images[0].convert("L")
    np.testing.assert_allclose(model.encode_images([grey]), model.encode_images([grey.convert("RGB")]))
    assert model.encode_images([]).shape == model.encode_texts([]).shape == (0, WIDTH)
    # Longer than the model reads: cut, not refused.
    assert np.isfinite(model.encode_texts(["dog " * 100])).all()


def test_the_identity_is_of_weights_and_transform_and_not_of_the_folder(model, folder, tmp_path):
    again = load_sentence_model(str(shutil.copytree(folder, tmp_path / "a" / folder.name)))
    assert again.card.identity == model.card.identity
    other = shutil.copytree(folder, tmp_path / "b" / folder.name)
    path = other / "0_CLIPModel" / "preprocessor_config.json"
    path.write_text(path.read_text().replace("0.25", "0.3"))
    changed = load_sentence_model(str(other)).card
    assert changed.fingerprint == model.card.fingerprint
    assert changed.identity != model.card.identity


def test_a_folder_is_loaded_again_from_anywhere(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert load_sentence_model(".").card.source == f"st:{folder}"
    assert load_sentence_model(".").card.name == "sentence-transformers/tiny-clip"


def test_a_hub_is_labelled_with_it(model, painted_copy):
    assert label_model(painted_copy, model).shown == 40
    with Hub.open(painted_copy) as hub:
        assert hub.model(model.card.name).card == model.card


def test_a_model_that_brings_code_is_refused_and_the_code_is_not_run(folder, tmp_path):
    bad = shutil.copytree(folder, tmp_path / "bad")
    (bad / "mine.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\nclass Mine: pass\n")
    (bad / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "mine.Mine"}]))
    with pytest.raises(ModelNotLoadable, match=r"brings code of its own \(mine.Mine\)"):
        load_sentence_model(str(bad))
    assert not (tmp_path / "was-run").exists()


def test_weights_in_a_pickle_are_refused(folder, tmp_path):
    import torch
    from safetensors.torch import load_file

    bad = shutil.copytree(folder, tmp_path / "bad")
    weights = bad / "0_CLIPModel" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(ModelNotLoadable) as caught:
        load_sentence_model(str(bad))
    assert "\n" not in str(caught.value)


@pytest.mark.towers
def test_a_model_of_texts_alone_is_refused():
    from mllctl.backends.towers import text_folder

    with pytest.raises(ModelNotLoadable, match="embeds texts only"):
        load_sentence_model(str(text_folder()))


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": 1}'])
def test_modules_that_cannot_be_understood_are_refused(tmp_path, content):
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(ModelNotLoadable, match=r"modules.json cannot be understood"):
        load_sentence_model(str(tmp_path))


def test_what_is_not_here_is_refused_with_what_the_network_said(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotLoadable, match=r"'st:no-such': sentence-transformers/no-such is not .* type st:PATH"):
        load_sentence_model("no-such")


def test_no_name_is_refused():
    with pytest.raises(ModelNotLoadable, match="st:ID or st:FOLDER"):
        load_sentence_model(" ")
