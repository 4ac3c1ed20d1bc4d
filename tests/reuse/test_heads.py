"""Heads answer as mllctl does, by open_clip and safetensors alone; the folder they are in is whole or not there."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import oracles
from fakes import FakeModel, fake
from mllctl import load_model
from mllctl.errors import ModelNotLoadable, SourceUnreadable
from mllctl.kernels.ensemble import WEIGHTINGS
from mllctl.reuse.ensemble import Ensemble
from mllctl.reuse.heads import FORMAT, export_heads
from mllctl.reuse.saved import SavedModel, SavedSelection, Told

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "reuse.md", ROOT / "README.md"]
CLASSES = ("dog", "wolf", "red apple")
TEMPLATES = ("a photo of {}", "a drawing of the {}")

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
# One tiny model of each kind: a scale alone, and a scale with a bias.
MODELS = {
    "vit": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": TEXT,
    },
    "siglip": {
        "embed_dim": 64,
        "vision_cfg": {
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
            "image_size": 160,
        },
        "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
        "custom_text": True,
        "init_logit_bias": -10,
    },
}
# Not the default, so that a transform that is not the model's own is seen.
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear", "resize_mode": "squash"}


def saved_of(cards, members, templates=TEMPLATES, weighting="uniform", temperatures=(), classes=CLASSES):
    prompts = tuple(tuple(template.replace("{}", class_) for template in templates) for class_ in classes)
    warm = dict(enumerate(temperatures))
    models = tuple(SavedModel.of(card, warm.get(m, 1.0)) for m, card in enumerate(cards))
    told = Told(None, None, (), "each", {}, 1, 0.5, (True,) * len(classes), "use", "by hand")
    return SavedSelection(tuple(classes), templates, prompts, models, np.array(members), weighting, told)


def by_fakes(source, device="cpu"):
    return fake(int(source.removeprefix("fake/")))


@pytest.fixture
def simple():
    """Three fake models, of which the second does not answer `dog`."""
    return saved_of([fake(n).card for n in range(3)], [[0, 2], [1, -1], [2, 1]], temperatures=(1.0, 2.0))


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


# -- by open_clip alone -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Tiny models as open_clip saves them, and a photograph that is not square."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("real")
    for name, config in MODELS.items():
        folder = root / name
        folder.mkdir()
        content = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
        (folder / "open_clip_config.json").write_text(json.dumps(content))
        torch.manual_seed(3)
        model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
        save_file(dict(model.state_dict()), folder / "open_clip_model.safetensors")
    pixels = np.random.default_rng(0).integers(0, 255, size=(40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "photo.jpg", quality=95)
    cards = {name: load_model(f"local-dir:{root / name}").card for name in MODELS}
    return SimpleNamespace(root=root, photo=root / "photo.jpg", cards=cards)


def code_blocks(page):
    blocks = re.findall(r"^```python\n(.+?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block for block in blocks if "safetensors.torch" in block]


BLOCKS = [pytest.param(block, id=f"{page.stem}-{n}") for page in PAGES for n, block in enumerate(code_blocks(page))]


def test_the_page_shows_five_lines():
    [block] = code_blocks(PAGES[0])
    imports, _, lines = block.partition("\n\n")
    assert imports.startswith("import ")
    assert len(lines.splitlines()) == 5


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("block", BLOCKS)
def test_the_lines_shown_answer_as_mllctl_does(real, tmp_path, monkeypatch, block, name):
    assert "mllctl" not in block
    saved = saved_of([real.cards[name]], [[0]] * 3, temperatures=(1.5,))
    export_heads(saved, tmp_path / "heads")
    (tmp_path / "photo.jpg").symlink_to(real.photo)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block, names)
    expected = Ensemble.load(saved).predict("photo.jpg").confidence
    np.testing.assert_allclose(names["probability"].tolist(), expected, atol=1e-5)
    assert np.ptp(expected) > 1e-4


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_manifest_is_enough_for_the_whole_ensemble(real, tmp_path, weighting):
    import open_clip
    import torch
    from safetensors.torch import load_file

    members = [[0, 1], [1, -1], [0, -1]]
    saved = saved_of(real.cards.values(), members, weighting=weighting, temperatures=(0.7, 1.5))
    export_heads(saved, tmp_path / "heads")
    told = manifest_of(tmp_path / "heads")
    answers = []
    for entry in told["models"]:
        content = (tmp_path / "heads" / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        head = load_file(tmp_path / "heads" / entry["file"])
        model, transform = open_clip.create_model_from_pretrained(**entry["open_clip"])
        with torch.inference_mode():
            image = model.eval().encode_image(transform(Image.open(real.photo))[None], normalize=True)
            answers.append((head["scale"] * image @ head["text"].T).softmax(-1).tolist())
    expected = Ensemble.load(saved).predict([real.photo]).confidence
    found = oracles.ensemble_confidence(answers, told["members"], told["weighting"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [entry["answers"] for entry in told["models"]] == [[0, 2], [0, 1]]


def test_a_trained_sigmoid_is_that_of_open_clip(real, tmp_path):
    import open_clip
    import torch
    from safetensors.torch import load_file

    prompts = ["a photo of a dog", "a photo of a wolf"]
    saved = saved_of([real.cards["siglip"]], [[0]] * 2, ("a photo of a {}",), temperatures=(1.5,), classes=CLASSES[:2])
    [head] = export_heads(saved, tmp_path / "heads")
    tensors = load_file(tmp_path / "heads" / head.file)
    assert tensors["bias"] == head.bias == -10
    model, transform = open_clip.create_model_from_pretrained(**head.open_clip)
    with torch.inference_mode():
        pixels = transform(Image.open(real.photo))[None]
        tokens = open_clip.get_tokenizer(head.open_clip["model_name"])(prompts)
        logits = model.eval().get_logits(pixels, tokens)[0]
        cosine = model.encode_image(pixels, normalize=True) @ tensors["text"].T
    np.testing.assert_allclose(head.temperature * tensors["scale"] * cosine + tensors["bias"], logits, atol=1e-4)


def checkpoint_of(real, folder, name="epoch_1.pt", config="open_clip_config.json"):
    """The tiny ViT as a checkpoint that is not called as open_clip calls it."""
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    state = load_file(real.root / "vit" / "open_clip_model.safetensors")
    if name.endswith(".pt"):
        torch.save(state, folder / name)
    else:
        save_file(state, folder / name)
    (folder / config).write_text(json.dumps({"model_cfg": MODELS["vit"], "preprocess_cfg": PREPROCESS}))
    return folder / name


def test_a_checkpoint_of_ones_own_is_loaded_with_its_transform(real, tmp_path):
    import open_clip

    (tmp_path / "tiny-vit-of-heads.json").write_text(json.dumps(MODELS["vit"]))
    open_clip.add_model_config(tmp_path / "tiny-vit-of-heads.json")
    path = checkpoint_of(real, tmp_path / "own")
    card = load_model(f"tiny-vit-of-heads/{path}").card
    [head] = export_heads(saved_of([card], [[0]] * 3), tmp_path / "heads")
    assert head.open_clip["pretrained"] == str(path)
    model, transform = open_clip.create_model_from_pretrained(**head.open_clip)
    photo = Image.open(real.photo)
    image = model.eval().encode_image(transform(photo)[None], normalize=True).detach()
    np.testing.assert_allclose(image, load_model(card.source).encode_images([photo]), atol=1e-5)


def test_a_configuration_is_found_beside_the_first_weights_of_a_folder(real, tmp_path):
    beside = checkpoint_of(real, tmp_path / "beside", "mine.safetensors")
    second = checkpoint_of(real, tmp_path / "second", "mine.safetensors")
    shutil.copy(second, second.with_name("model.safetensors"))
    apart = checkpoint_of(real, tmp_path / "apart", "other.safetensors", "config.json")
    configs = ("open_clip_config.json", "open_clip_config.json", "config.json")
    files = (beside, second, apart)
    cards = [load_model(f"{path.with_name(config)},{path}").card for config, path in zip(configs, files, strict=True)]
    cards = [replace(card, name=str(n)) for n, card in enumerate(cards)]
    heads = export_heads(saved_of(cards, [[0, 1, 2]] * 3), tmp_path / "heads")
    assert [head.open_clip for head in heads] == [{"model_name": f"local-dir:{beside.parent}"}, None, None]
    assert f"copy {apart.parent}/config.json as open_clip_config.json and {apart} into" in heads[2].why_not


@pytest.mark.parametrize(
    ("source", "kind", "arguments", "why_not"),
    [
        (
            "ViT-B-32/laion2b_s34b_b79k",
            "open_clip",
            {"model_name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"},
            None,
        ),
        ("hf-hub:org/name", "open_clip", {"model_name": "hf-hub:org/name"}, None),
        ("demo:animal-colour", "open_clip", None, "open_clip has no demo: models"),
        ("st:clip-ViT-B-32", "sentence_transformers", None, "no model of open_clip; mllctl loads it as st:clip"),
        ("conse:timm/resnet18", "conse", None, "of kind conse"),
        ("mine:whatever", "my own", None, "of kind my own"),
    ],
)
def test_how_open_clip_loads_a_model_or_why_not(tmp_path, source, kind, arguments, why_not):
    model = fake(0)
    model.card = replace(model.card, source=source, kind=kind)
    [head] = export_heads(saved_of([model.card], [[0]] * 3), tmp_path / "heads", lambda *_: model)
    assert head.open_clip == arguments
    assert (why_not or "") in (head.why_not or "")
    [entry] = manifest_of(tmp_path / "heads")["models"]
    assert (entry["open_clip"], entry["why_not"]) == (head.open_clip, head.why_not)


# -- what is written ----------------------------------------------------------------------------------


@pytest.mark.parametrize("templates", [TEMPLATES, TEMPLATES[:1]])
def test_a_head_is_what_the_ensemble_computes_with(simple, tmp_path, templates):
    from safetensors import safe_open

    saved = saved_of([fake(n).card for n in range(3)], [[0], [1], [2]], templates, temperatures=(1.0, 2.0))
    heads = export_heads(saved, tmp_path / "heads", by_fakes)
    members = Ensemble.load(saved, by_fakes).members
    for head, member in zip(heads, members, strict=True):
        with safe_open(tmp_path / "heads" / head.file, "np") as file:
            metadata = file.metadata()
            text, scale, bias = (file.get_tensor(name) for name in ("text", "scale", "bias"))
        assert metadata == {"format": FORMAT, "model": head.name, "classes": json.dumps(CLASSES)}
        assert {text.dtype, scale.dtype, bias.dtype} == {np.dtype(np.float32)}
        assert (text.shape, scale.shape, bias.shape) == ((3, head.width), (), ())
        np.testing.assert_array_equal(text, member.prompts.astype(np.float32))
        np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, atol=1e-6)
        assert scale == head.scale == 50 / head.temperature
    assert [head.temperature for head in heads] == [1, 2, 1]
    told = manifest_of(tmp_path / "heads")
    assert told["classes"] == list(CLASSES)
    assert told["templates"] == list(templates)


def test_the_same_selection_is_the_same_bytes(simple, tmp_path):
    for name in ("one", "two"):
        export_heads(simple, tmp_path / name, by_fakes)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_no_two_models_share_a_file_and_none_leaves_the_folder(tmp_path):
    names = ["a/b", "a__b", "a-b", "A/B", "../b", "", "é" * 300]
    models = {name: FakeModel(name or "unnamed", seed=1) for name in names}
    cards = [model.card for model in models.values()]
    heads = export_heads(
        saved_of(cards, [range(len(names))] * 3), tmp_path / "heads", lambda name, _: models.get(name, models[""])
    )
    files = {head.file.casefold() for head in heads}
    assert len(files) == len(names)
    assert all(re.fullmatch(r"[\w.-]+\.safetensors", file, re.ASCII) for file in files)
    assert {path.name for path in (tmp_path / "heads").iterdir()} == {"manifest.json", *(head.file for head in heads)}
    assert [path.name for path in tmp_path.iterdir()] == ["heads"]


def test_progress_is_told_before_each_model(simple, tmp_path):
    told = []
    export_heads(simple, tmp_path / "heads", by_fakes, progress=lambda *what: told.append(what))
    assert told == [("fake/0", 0, 3), ("fake/1", 1, 3), ("fake/2", 2, 3)]


# -- whole or not there -------------------------------------------------------------------------------


def never(source, device="cpu"):
    raise AssertionError("a model was loaded for nothing")


def test_what_is_there_is_kept_unless_it_is_an_export_to_be_replaced(simple, tmp_path):
    folder = tmp_path / "heads"
    export_heads(simple, folder, by_fakes)
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    with pytest.raises(SourceUnreadable, match="heads: is there already; name a new folder or give --force"):
        export_heads(simple, folder, never)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before
    fewer = saved_of([fake(0).card], [[0]] * 3)
    export_heads(fewer, folder, by_fakes, replace=True)
    assert sorted(path.name for path in folder.iterdir()) == ["0-fake-0.safetensors", "manifest.json"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SourceUnreadable, match=r"holds notes.txt, which is no part of it; move it away"):
        export_heads(simple, folder, never, replace=True)
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["heads"]


@pytest.mark.parametrize(
    "content", [None, "no json", "[]", '{"format": "mllctl heads"}', '{"format": "other", "models": []}']
)
def test_a_folder_that_is_no_export_is_never_replaced(simple, tmp_path, content):
    folder = tmp_path / "precious"
    folder.mkdir()
    if content is not None:
        (folder / "manifest.json").write_text(content)
    with pytest.raises(SourceUnreadable, match="holds no exported heads and is not replaced; name a new folder"):
        export_heads(simple, folder, never, replace=True)
    assert folder.is_dir()


def test_a_place_that_is_none_is_refused_before_a_model_is_loaded(simple, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for name, reason in (("file", "is a file"), ("link", "is a link to nothing"), ("no/heads", "no such folder")):
        with pytest.raises(SourceUnreadable, match=reason) as refused:
            export_heads(simple, tmp_path / name, never, replace=True)
        assert "\n" not in str(refused.value)


def test_the_folder_of_a_link_is_replaced_and_the_link_stays(simple, tmp_path):
    export_heads(simple, tmp_path / "heads", by_fakes)
    (tmp_path / "link").symlink_to(tmp_path / "heads")
    export_heads(saved_of([fake(1).card], [[0]] * 3), tmp_path / "link", by_fakes, replace=True)
    assert (tmp_path / "link").is_symlink()
    assert len(manifest_of(tmp_path / "heads")["models"]) == 1


@pytest.mark.parametrize("replace", [False, True])
def test_an_interruption_leaves_what_was_there(simple, tmp_path, replace):
    if replace:
        export_heads(simple, tmp_path / "heads", by_fakes)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def load(source, device="cpu"):
        if source == "fake/2":
            raise KeyboardInterrupt
        return by_fakes(source)

    with pytest.raises(KeyboardInterrupt):
        export_heads(simple, tmp_path / "heads", load, replace=replace)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == (["heads"] if replace else [])


def test_what_cannot_be_put_in_place_leaves_what_was_there(simple, tmp_path, monkeypatch):
    folder = tmp_path / "heads"
    export_heads(simple, folder, by_fakes)
    rename = Path.rename

    def failing(path, target):
        if path.name == "made":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        export_heads(saved_of([fake(1).card], [[0]] * 3), folder, by_fakes, replace=True)
    assert len(manifest_of(folder)["models"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["heads"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from fakes import fake
from mllctl.reuse.heads import export_heads
from mllctl.reuse.saved import read_selection

def load(source, device="cpu"):
    if source == "fake/2":
        os.kill(os.getpid(), signal.SIGKILL)
    return fake(int(source[-1]))

export_heads(read_selection(Path(sys.argv[1])), Path("heads"), load)
"""


def test_a_killed_export_is_no_folder_and_the_next_one_is_whole(simple, tmp_path):
    simple.write(tmp_path / "selection.json")
    arguments = [sys.executable, "-c", KILLED, "selection.json", str(ROOT / "tests")]
    killed = subprocess.run(arguments, cwd=tmp_path, env=os.environ, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "heads").exists()
    export_heads(simple, tmp_path / "heads", by_fakes)
    assert len(manifest_of(tmp_path / "heads")["models"]) == 3


def test_other_weights_and_damaged_ones_are_refused(simple, tmp_path):
    with pytest.raises(ModelNotLoadable, match="its weights are not those"):
        export_heads(simple, tmp_path / "heads", lambda source, device: FakeModel(source, seed=99))

    def damaged(source, device):
        model = by_fakes(source)
        model.encode_texts = lambda texts: np.full((len(texts), 16), np.nan, np.float32)
        return model

    with pytest.raises(ModelNotLoadable, match="embeddings that are not numbers"):
        export_heads(simple, tmp_path / "heads", damaged)
    assert list(tmp_path.iterdir()) == []
