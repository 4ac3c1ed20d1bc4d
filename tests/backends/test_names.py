"""Names of models: every form leads to the model, its key does not depend on how it was typed, and a refusal says
what to type."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mllctl import backends, load_model
from mllctl.backends import names, open_clip_models
from mllctl.backends.facts import known_models
from mllctl.backends.names import Source, canonical, split_source
from mllctl.errors import ModelNotLoadable

ARCH = "tiny"
CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
PREPROCESS = {"mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1], "size": 99}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with a model, and its architecture known to open_clip as `tiny`."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("names") / "mine"
    folder.mkdir()
    open_clip_models._register_config(ARCH, CONFIG)
    model = open_clip.create_model(ARCH)
    save_file(dict(model.state_dict()), folder / "weights.safetensors")
    write_config(folder)
    return folder


@pytest.fixture
def folder(shared, tmp_path):
    return shutil.copytree(shared, tmp_path / "mine")


def write_config(folder, **changes):
    content = {"model_cfg": CONFIG, "preprocess_cfg": PREPROCESS} | changes
    (folder / names.CONFIG).write_text(json.dumps(content))


def refusal(source):
    with pytest.raises(ModelNotLoadable) as refused:
        load_model(str(source))
    assert "\n" not in str(refused.value)
    return str(refused.value)


# -- taken apart --------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", ["/", ":", ",", "__"])
@pytest.mark.parametrize("known", ["ViT-B-32/laion2b_s34b_b79k", "convnext_base_w/laion2b_s13b_b82k_augreg"])
def test_a_name_is_the_same_whichever_separator_is_typed(known, separator):
    typed = known.replace("/", separator)
    assert canonical(typed) == known
    assert split_source(typed) == Source("open_clip", *known.split("/"))


def test_every_pretrained_id_is_taken_apart_at_any_separator():
    for known in known_models():
        for separator in ("/", ":", ",", "__"):
            assert canonical(known.replace("/", separator)) == known


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        ("hf-hub:org/a:b", Source("hf-hub", "org/a:b")),
        ("local-dir:/a/b,c", Source("local-dir", "/a/b,c")),
        ("st:clip-ViT-B-32", Source("st", "clip-ViT-B-32")),
        ("conse:resnet18/a", Source("conse", "resnet18/a")),
        ("demo:generalist", Source("demo", "generalist")),
        ("a/c.json,w/x.safetensors", Source("config", "a/c.json", "w/x.safetensors")),
        ("a/c.json:w/x.safetensors", Source("config", "a/c.json", "w/x.safetensors")),
        ("ViT-B-32//a/x__y,z.pt", Source("open_clip", "ViT-B-32", "/a/x__y,z.pt")),
        (" ViT-B-32:openai ", Source("open_clip", "ViT-B-32", "openai")),
    ],
)
def test_a_form_is_recognised(typed, source):
    assert split_source(typed) == source


def test_a_plugin_prefix_goes_before_the_separator(monkeypatch):
    monkeypatch.setattr("mllctl.backends.plugins.plugin_names", lambda: ("mine",))
    assert split_source("mine:a/b") == Source("mine", "a/b")
    assert canonical("mine:a/b") == "mine:a/b"


def test_the_prefixes_of_plugins_are_among_the_forms_and_prefixes_that_a_refusal_names(monkeypatch):
    monkeypatch.setattr("mllctl.backends.plugins.plugin_names", lambda: ("mine",))
    assert "expert:NAME or mine:REST" in refusal("nothing")
    known = "demo:, hf-hub:, local-dir:, st:, conse:, expert:, mine:"
    unknown = f"and colors: is none of the prefixes {known}; `mllctl model list"
    assert unknown in str(open_clip_models.no_architecture("colors/x", "colors", known_models()))
    assert "prefix" not in str(open_clip_models.no_architecture("ViT-Z-99/x", "ViT-Z-99", known_models()))


def test_what_is_no_name_is_refused_with_the_nearest(tmp_path):
    assert "say which weights, such as ViT-B-32/" in refusal("ViT-B-32")
    assert "did you mean convnext_" in refusal("convnext_base_laion2b")
    assert "type local-dir:" in refusal(tmp_path)
    assert "there is no such path" in refusal("/no/such/file.pt")
    assert "nothing follows the prefix" in refusal("local-dir:")
    (tmp_path / "x.pt").write_bytes(b"")
    assert f"type ARCH/{tmp_path}/x.pt" in refusal(tmp_path / "x.pt")


def test_names_are_taken_apart_without_torch():
    code = "import sys, mllctl.backends.names as n; n.canonical('a:b'); n.canonical('x'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_prefix_has_a_loader():
    assert set(backends._LOADERS) | {"expert"} == set(names.PREFIXES)
    for module, function in backends._LOADERS.values():
        assert callable(getattr(import_module(module), function))


# -- loaded -------------------------------------------------------------------------------------------


def test_every_form_loads_the_same_weights_under_a_key_that_loads_again(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    keys = {
        "local-dir:mine": "local-dir/mine",
        "local-dir:./mine/": "local-dir/mine",
        f"local-dir:{folder}": "local-dir/mine",
        "tiny/mine/weights.safetensors": "tiny/weights",
        "tiny:mine/weights.safetensors": "tiny/weights",
        "tiny,mine/weights.safetensors": "tiny/weights",
        f"tiny__{folder}/weights.safetensors": "tiny/weights",
        "mine/open_clip_config.json,mine/weights.safetensors": "mine/weights",
        "mine/open_clip_config.json:mine/weights.safetensors": "mine/weights",
    }
    cards = {typed: load_model(typed).card for typed in keys}
    assert {typed: card.name for typed, card in cards.items()} == keys
    assert len({card.fingerprint for card in cards.values()}) == 1
    assert len({card.preprocess for card in cards.values()}) == 1
    assert len({card.source for card in cards.values()}) == 3
    monkeypatch.chdir("/")
    for source in {card.source for card in cards.values()}:
        again = load_model(source).card
        assert again in [replace(card, source=source) for card in cards.values()]
        assert again.source == source


def test_a_repository_is_loaded_from_the_cache_of_hugging_face(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    revision = tmp_path / "hf" / "models--org--name" / "snapshots" / ("0" * 40)
    revision.parent.mkdir(parents=True)
    (folder / "weights.safetensors").rename(folder / "open_clip_model.safetensors")
    shutil.copytree(folder, revision)
    (revision.parents[1] / "refs").mkdir()
    (revision.parents[1] / "refs" / "main").write_text("0" * 40)
    card = load_model("hf-hub:org/name").card
    assert card.name == card.source == "hf-hub:org/name"
    assert "mean [0.1, 0.2, 0.3]" in card.preprocess
    assert "org/other is not in Hugging Face's cache" in refusal("hf-hub:org/other")
    assert "hf-hub:ORG/NAME" in refusal("hf-hub:name")


def test_the_transform_is_that_of_the_configuration_and_of_the_models_size(folder):
    model = load_model(f"tiny/{folder}/weights.safetensors")
    assert model.card.image_size == 16
    white = model.transform(Image.fromarray(np.full((20, 30, 3), 255, np.uint8)))
    assert white.shape == (3, 16, 16)
    np.testing.assert_allclose(white[:, 0, 0], [0.9 / 0.3, 0.8 / 0.2, 0.7 / 0.1], rtol=1e-5)


def test_what_is_not_known_to_open_clip_is_refused_with_the_nearest(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert "did you mean ViT-B-32/laion2b_s34b_b79k" in refusal("ViT-B32/laion2b_s34b_b79k")
    assert "did you mean ViT-B-32/laion2b_s34b_b79k" in refusal("ViT-B-32/laion2b_s34b_b97k")
    assert "neither a file nor a tag of tiny" in refusal("tiny/gone.safetensors")


def test_a_checkpoint_alone_is_refused_with_the_cure(folder):
    (folder / names.CONFIG).unlink()
    said = refusal(f"tiny/{folder}/weights.safetensors")
    assert "does not say how its images are prepared" in said
    assert f"type CONFIG.json,{folder}/weights.safetensors" in said


@pytest.mark.parametrize(
    "source",
    ["tiny/{}/weights.safetensors", "local-dir:{}", "{0}/open_clip_config.json,{0}/weights.safetensors"],
)
@pytest.mark.parametrize("preprocess", [None, {}, {"mean": [0, 0, 0]}])
def test_a_configuration_that_does_not_prepare_images_is_refused(folder, source, preprocess):
    write_config(folder, preprocess_cfg=preprocess)
    assert "add preprocess_cfg with the mean, std" in refusal(source.format(folder))


def test_weights_of_another_activation_are_refused_with_the_cure(folder):
    write_config(folder, model_cfg={**CONFIG, "quick_gelu": True})
    said = refusal(f"tiny/{folder}/weights.safetensors")
    assert "is of another architecture than tiny: quick_gelu is True and not None" in said
    cure = said.rpartition("type ")[2]
    assert load_model(cure).card.name == "mine/weights"
    assert "type ViT-B-32-quickgelu/openai" in refusal("ViT-B-32:OpenAI")


@pytest.mark.parametrize(
    ("vision", "text", "said"),
    [
        ({"head_width": 16}, {}, "vision_cfg.head_width is 16 and not 8"),
        (
            {"pool_type": "avg"},
            {"pool_type": "last"},
            "text_cfg.pool_type is last and not argmax, vision_cfg.pool_type",
        ),
        ({"image_size": 32}, {}, "vision_cfg.image_size is 32 and not 16"),
        ({}, {"hf_tokenizer_name": "x"}, "text_cfg.hf_tokenizer_name is x and not None"),
    ],
)
def test_weights_of_an_architecture_that_only_the_configuration_shows_are_refused(folder, vision, text, said):
    config = {**CONFIG, "vision_cfg": CONFIG["vision_cfg"] | vision, "text_cfg": CONFIG["text_cfg"] | text}
    write_config(folder, model_cfg=config)
    assert said in refusal(f"tiny/{folder}/weights.safetensors")


def test_what_is_for_training_only_and_defaults_that_are_spelled_out_are_no_other_architecture(folder):
    vision = {**CONFIG["vision_cfg"], "patch_dropout": 0.5, "mlp_ratio": 4, "pool_type": "tok"}
    write_config(folder, model_cfg={**CONFIG, "vision_cfg": vision, "quick_gelu": False, "init_logit_scale": 2.0})
    assert load_model(f"tiny/{folder}/weights.safetensors").card.name == "tiny/weights"


@pytest.mark.parametrize("source", ["local-dir:{}", "{0}/open_clip_config.json,{0}/weights.safetensors"])
@pytest.mark.parametrize(
    ("tower", "change", "said"),
    [
        ("vision_cfg", {"image_size": 32}, "have 5 positions and its configuration 17 (visual.positional_embedding)"),
        ("text_cfg", {"context_length": 6}, "give the context_length they were trained with"),
    ],
)
def test_positions_are_not_stretched_to_another_size(folder, source, tower, change, said):
    """open_clip resizes them without a word, and the embeddings are nobody's."""
    write_config(folder, model_cfg={**CONFIG, tower: CONFIG[tower] | change})
    assert said in refusal(source.format(folder))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": None}, "add preprocess_cfg with the mean, std"),
        ({"mean": [0.5, 0.5]}, "is [0.5, 0.5]; it must be three numbers"),
        ({"mean": "openai"}, "is 'openai'; it must be three numbers"),
        ({"std": [1, 0, 1]}, "is [1, 0, 1]; it must be three numbers above 0"),
        ({"std": float("nan")}, "must be three numbers above 0"),
        ({"interpolation": "nearest"}, "is 'nearest'; it must be bicubic or bilinear"),
        ({"resize_mode": "crop"}, "is 'crop'; it must be shortest or longest or squash"),
        ({"mode": "L"}, "is 'L'; it must be RGB"),
    ],
)
def test_a_transform_that_open_clip_would_replace_or_fail_on_is_refused(folder, change, said):
    write_config(folder, preprocess_cfg=PREPROCESS | change)
    assert said in refusal(f"local-dir:{folder}")


def test_a_mean_of_nought_is_nought(folder):
    """open_clip takes a single 0 for nothing said, and its own mean instead."""
    write_config(folder, preprocess_cfg={"mean": 0, "std": 0.5, "resize_mode": None})
    white = load_model(f"local-dir:{folder}").transform(Image.new("RGB", (16, 16), "white"))
    np.testing.assert_allclose(white, 2.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        (json.dumps({"model_cfg": {**CONFIG, "vision_cfg": {"head_width": 0}}, "preprocess_cfg": PREPROCESS}), "zero"),
        (json.dumps({"model_cfg": {**CONFIG, "text_cfg": []}, "preprocess_cfg": PREPROCESS}), "list"),
        ("[]", "is no JSON object"),
        (json.dumps({"preprocess_cfg": PREPROCESS}), "needs model_cfg"),
        (json.dumps({"model_cfg": {**CONFIG, "colour": 1}, "preprocess_cfg": PREPROCESS}), "colour"),
    ],
)
def test_a_configuration_that_is_none_is_refused(folder, content, said):
    (folder / names.CONFIG).write_text(content)
    assert said in refusal(f"local-dir:{folder}")


def test_a_configuration_that_asks_to_run_code_is_refused(folder):
    text = {**CONFIG["text_cfg"], "hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}
    write_config(folder, model_cfg={**CONFIG, "text_cfg": text})
    for source in (f"local-dir:{folder}", f"tiny/{folder}/weights.safetensors"):
        assert "take trust_remote_code out of it" in refusal(source)


def test_a_folder_that_lacks_something_is_refused(folder):
    weights = folder / "weights.safetensors"
    assert "there is no folder" in refusal(f"local-dir:{folder}/gone")
    write_config(folder, model_cfg={**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "hf_tokenizer_name": "org/name"}})
    assert "holds no tokenizer; put the files of org/name into it" in refusal(f"local-dir:{folder}")
    write_config(folder)
    assert "there is no checkpoint" in refusal(f"{folder}/{names.CONFIG},{folder}/gone.safetensors")
    weights.write_bytes(b"\x00" * 20)
    refusal(f"local-dir:{folder}")
    weights.unlink()
    assert "holds no checkpoint" in refusal(f"local-dir:{folder}")


class Trap:
    """What a pickle would run."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "model.pth"])
def test_a_pickle_is_never_run(folder, name, monkeypatch):
    import torch

    monkeypatch.chdir(folder)
    (folder / "weights.safetensors").unlink()
    torch.save({"state_dict": Trap()}, folder / name)
    for source in (f"local-dir:{folder}", f"tiny/{name}", f"{names.CONFIG},{name}"):
        assert "not made of tensors alone" in refusal(source)
    assert not Path("sprung").exists()


@pytest.mark.parametrize("place", ["tower", "tokenizer"])
def test_code_beside_a_text_tower_or_a_tokenizer_is_never_run_whatever_is_answered(folder, place, monkeypatch):
    """transformers asks on the terminal whether to run it, and takes what comes from a pipe for an answer."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(folder / "modules"))
    (folder / "evil.py").write_text(f"open({str(folder / 'sprung')!r}, 'w')\nclass Evil: pass\n")
    kinds = {"AutoConfig": "evil.Evil", "AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).write_text(json.dumps({"model_type": "evil", "tokenizer_class": "Evil", "auto_map": kinds}))
    text = {**CONFIG["text_cfg"], "hf_tokenizer_name": "x"} | (
        {"hf_model_name": str(folder)} if place == "tower" else {}
    )
    write_config(folder, model_cfg={**CONFIG, "text_cfg": text})
    assert "brings code of its own, which is not run" in refusal(f"local-dir:{folder}")
    assert not (folder / "sprung").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning:torch", "ignore::DeprecationWarning")
def test_what_holds_no_tensors_is_refused_and_says_why(folder):
    import torch
    from safetensors.torch import save_file

    (folder / "weights.safetensors").unlink()
    safe, other = folder / "model.safetensors", folder / "model.pth"
    save_file({}, safe)
    assert "holds no tensors" in refusal(f"local-dir:{folder}")
    for content in (
        b"",
        b"<html>",
        (1 << 62).to_bytes(8, "little") + b"{}",
        (99_999_999).to_bytes(8, "little") + b"{}",
    ):
        safe.write_bytes(content)
        assert "model.safetensors cannot be read" in refusal(f"local-dir:{folder}")
    safe.unlink()
    other.write_bytes(b"")
    assert "model.pth cannot be read" in refusal(f"local-dir:{folder}")
    torch.save([torch.zeros(1)], other)
    assert "model.pth cannot be read" in refusal(f"local-dir:{folder}")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(other))
    assert "not made of tensors alone" in refusal(f"local-dir:{folder}")


def test_a_bias_that_the_configuration_does_not_know_is_refused_with_the_cure(folder):
    import torch
    from safetensors.torch import load_file, save_file

    weights = folder / "weights.safetensors"
    save_file(load_file(weights) | {"logit_bias": torch.tensor(-3.0)}, weights)
    assert "add init_logit_bias to its model_cfg" in refusal(f"local-dir:{folder}")
    write_config(folder, model_cfg={**CONFIG, "init_logit_bias": 0})
    assert load_model(f"local-dir:{folder}").card.logit_bias == -3
    assert "init_logit_bias is 0 and not None" in refusal(f"tiny/{weights}")


def test_a_fingerprint_is_of_the_numbers_that_were_loaded_and_not_of_the_file(folder):
    import torch
    from safetensors.torch import load_file, save_file

    weights = folder / "weights.safetensors"
    state = load_file(weights)

    def fingerprint():
        return load_model(f"local-dir:{folder}").card.fingerprint

    before = fingerprint()
    save_file({name: tensor.half() for name, tensor in state.items()}, weights)
    rounded = fingerprint()
    assert rounded != before
    save_file({name: tensor.half().float() for name, tensor in state.items()}, weights)
    assert fingerprint() == rounded
    weights.unlink()
    trained = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}
    torch.save(trained, folder / "model.pth")
    assert fingerprint() == before


def test_the_preferred_checkpoint_of_a_folder_is_that_of_open_clip(tmp_path):
    from open_clip.factory import _find_checkpoint_in_dir

    for name in ("b.safetensors", "a.bin", "model.pth", "pytorch_model.bin", "open_clip_pytorch_model.safetensors"):
        (tmp_path / name).touch()
        assert names.find_checkpoints(tmp_path)[0] == Path(_find_checkpoint_in_dir(tmp_path))
