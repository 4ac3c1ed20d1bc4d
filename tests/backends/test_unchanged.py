"""A model's files are the same, or it is loaded: what could be another model never passes for the one that is known."""

import json
import shutil

import pytest

from fakes import plain_card
from mllctl.backends.facts import known_models
from mllctl.backends.names import CONFIG
from mllctl.backends.unchanged import is_unchanged, remember_files, stamp_files


@pytest.fixture
def folder(tmp_path):
    """A folder as `local-dir:` takes it, with a checkpoint and a tokenizer."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps({"model_cfg": {"text_cfg": {}}}))
    (folder / "open_clip_model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def sources(folder):
    weights = folder / "open_clip_model.safetensors"
    return [f"local-dir:{folder}", f"{folder / CONFIG},{weights}", f"RN50/{weights}"]


def test_the_stamp_stays_while_the_files_do(folder):
    for source in sources(folder):
        assert stamp_files(source) == stamp_files(source) is not None


@pytest.mark.parametrize("name", [CONFIG, "open_clip_model.safetensors"])
def test_the_stamp_is_another_once_a_file_is_written_again(folder, name):
    before = [stamp_files(source) for source in sources(folder)]
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    for source, stamp in zip(sources(folder), before, strict=True):
        assert stamp_files(source) not in (None, stamp)


def test_the_stamp_is_another_once_a_library_is(folder, monkeypatch):
    before = [stamp_files(source) for source in sources(folder)]
    monkeypatch.setattr("mllctl.backends.unchanged.version", lambda library: "another")
    for source, stamp in zip(sources(folder), before, strict=True):
        assert stamp_files(source) not in (None, stamp)


def test_files_that_are_not_all_known_have_no_stamp(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    assert stamp_files("plugin:anything") is None
    assert stamp_files("st:clip-ViT-B-32") is None
    assert stamp_files("ViT-B-32/laion2b_s34b_b79k") is None
    assert stamp_files("hf-hub:org/name") is None
    (folder / CONFIG).write_text(json.dumps({"model_cfg": {"text_cfg": {"hf_tokenizer_name": "org/name"}}}))
    assert stamp_files(sources(folder)[1]) is None
    (folder / CONFIG).unlink()
    assert stamp_files(sources(folder)[1]) is None
    assert stamp_files(sources(folder)[2]) is None
    shutil.rmtree(folder)
    assert stamp_files(sources(folder)[0]) is None


def test_a_pretrained_model_has_a_stamp_of_weights_and_tokenizer(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    known = known_models()["ViT-B-16-SigLIP/webli"]
    repository, _, name = known.weights.rpartition("/")
    weights = cached(tmp_path, repository, name or "open_clip_model.safetensors")
    assert stamp_files("ViT-B-16-SigLIP/webli") is None
    tokenizer = cached(tmp_path, known.tokenizer, "tokenizer_config.json")
    seen = {stamp_files("ViT-B-16-SigLIP/webli")}
    for file in (weights, tokenizer):
        file.write_bytes(b"another")
        seen.add(stamp_files("ViT-B-16-SigLIP/webli"))
    assert None not in seen
    assert len(seen) == 3


def cached(folder, repository, name):
    """Put a file where Hugging Face's cache has it."""
    root = folder / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text("abc")
    file = root / "snapshots" / "abc" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"content")
    return file


def test_only_the_very_model_that_was_loaded_is_unchanged(folder, tmp_path):
    source = f"local-dir:{folder}"
    card = plain_card(source)
    assert not is_unchanged(card, tmp_path)
    remember_files(card, None, tmp_path)
    assert not is_unchanged(card, tmp_path)
    remember_files(card, stamp_files(source), tmp_path)
    assert is_unchanged(card, tmp_path)
    assert not is_unchanged(plain_card(source, fingerprint="other weights"), tmp_path)
    (folder / "tokenizer.json").write_text('{"more": 1}')
    assert not is_unchanged(card, tmp_path)
