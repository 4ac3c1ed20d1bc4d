"""Facts on models: the shipped table, the bundled models' own files, and Hugging Face's cache as it lies on disk."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import FakeExpert, fake, plain_card
from mllctl import Hub
from mllctl.backends.facts import expert_facts, known_models, model_facts
from mllctl.backends.latency import measure_latency
from mllctl.hub import bundled_hub


@pytest.fixture(autouse=True)
def hugging_face(tmp_path, monkeypatch):
    """An empty cache in place of the user's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path / "hf"


def download(cache, repository, name, size=3):
    """Put a file where a download would."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text("0123abcd")
    (snapshot / name).write_bytes(bytes(size))


@pytest.fixture(scope="module")
def demo_cards():
    with Hub.open(bundled_hub()) as hub:
        return [model.card for model in hub.models()]


def test_the_demo_models_are_here_with_all_facts_but_their_latency(demo_cards, tmp_path):
    assert len(demo_cards) == 12
    for card in demo_cards:
        facts = model_facts(card, tmp_path)
        assert facts.parameters == card.parameters
        assert facts.cached
        assert not facts.size_estimated
        assert 0 < facts.gflops < 5
        # Files in float32 and a head in float16.
        assert 3.9 * card.parameters < facts.size_bytes < 4.3 * card.parameters
        assert facts.latency_ms is None
        assert "Apache-2.0" in facts.license


def test_a_measured_latency_is_among_the_facts(tmp_path):
    measured = measure_latency(fake(0), tmp_path)
    assert model_facts(fake(0).card, tmp_path).latency_ms == measured


def test_a_demo_model_without_its_packages_is_not_here(demo_cards, tmp_path, monkeypatch):
    monkeypatch.setattr("mllctl.backends.towers._IMAGE_PACKAGE", "no_such_package")
    facts = model_facts(demo_cards[0], tmp_path)
    assert facts.cached is False
    assert (facts.size_bytes, facts.size_estimated) == (4 * demo_cards[0].parameters, True)


def test_a_model_of_open_clip_is_here_once_its_weights_are_downloaded(hugging_face, tmp_path):
    card = plain_card("ViT-B-32/laion2b_s34b_b79k")
    before = model_facts(card, tmp_path)
    assert (before.cached, before.size_bytes, before.size_estimated) == (False, 4 * card.parameters, True)
    assert (before.gflops, before.license) == (14.78, "MIT")
    download(hugging_face, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_config.json")
    assert model_facts(card, tmp_path).cached is False
    download(hugging_face, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_pytorch_model.bin", 17)
    after = model_facts(card, tmp_path)
    assert (after.cached, after.size_bytes, after.size_estimated) == (True, 17, False)


def test_a_file_that_open_clip_names_is_looked_for(hugging_face, tmp_path):
    card = plain_card("ViTamin-S/datacomp1b")
    download(hugging_face, "jienengchen/ViTamin-S", "open_clip_model.safetensors")
    assert model_facts(card, tmp_path).cached is False
    download(hugging_face, "jienengchen/ViTamin-S", "pytorch_model.bin", 19)
    assert model_facts(card, tmp_path).size_bytes == 19
    download(hugging_face, "jienengchen/ViTamin-S", "pytorch_model.safetensors", 23)
    assert model_facts(card, tmp_path).size_bytes == 23


def test_a_model_whose_tokenizer_is_missing_is_not_here(hugging_face, tmp_path):
    card = plain_card("roberta-ViT-B-32/laion2b_s12b_b32k")
    download(hugging_face, "laion/CLIP-ViT-B-32-roberta-base-laion2B-s12B-b32k", "open_clip_model.safetensors", 29)
    facts = model_facts(card, tmp_path)
    assert (facts.cached, facts.size_bytes, facts.size_estimated) == (False, 29, False)
    download(hugging_face, "roberta-base", "tokenizer.json")
    assert model_facts(card, tmp_path).cached


def test_a_checkpoint_of_ones_own_has_the_operations_of_its_architecture_and_no_licence(tmp_path):
    path = tmp_path / "openai.safetensors"
    card = plain_card("ViT-B-32/openai")
    card = type(card)(**{**vars(card), "source": f"ViT-B-32/{path}"})
    gone = model_facts(card, tmp_path)
    assert (gone.cached, gone.size_estimated, gone.license, gone.gflops) == (False, True, None, 14.78)
    path.write_bytes(bytes(31))
    here = model_facts(card, tmp_path)
    assert (here.cached, here.size_bytes, here.license) == (True, 31, None)


def test_folders_configurations_and_repositories_are_looked_for(hugging_face, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    weights = folder / "open_clip_model.safetensors"
    sources = {f"local-dir:{folder}": 31, f"{folder}/open_clip_config.json,{weights}": 31, "hf-hub:org/name": 37}
    cards = {source: replace(plain_card("a/b"), source=source) for source in sources}
    assert {model_facts(card, tmp_path).cached for card in cards.values()} == {False}
    weights.write_bytes(bytes(31))
    (folder / "other.safetensors").write_bytes(bytes(3))
    download(hugging_face, "org/name", "open_clip_model.safetensors", 37)
    for source, card in cards.items():
        facts = model_facts(card, tmp_path)
        assert (facts.cached, facts.size_bytes, facts.license) == (True, sources[source], None)


def test_files_of_classifiers_and_folders_of_sentence_transformers_are_looked_for(tmp_path):
    (tmp_path / "0_CLIPModel").mkdir()
    weights = tmp_path / "0_CLIPModel" / "model.safetensors"
    sources = (f"conse:timm/resnet18@{weights},top=3", f"conse:onnx/{weights},labels=/a@b/c", f"st:{tmp_path}")
    cards = [replace(plain_card("a/b"), source=source) for source in sources]
    assert [model_facts(card, tmp_path).cached for card in cards] == [False] * 3
    weights.write_bytes(bytes(41))
    assert {(model_facts(card, tmp_path).cached, model_facts(card, tmp_path).size_bytes) for card in cards} == {
        (True, 41)
    }
    assert model_facts(replace(plain_card("a/b"), source="st:clip-ViT-B-32"), tmp_path).cached is None


def test_a_file_called_like_a_tag_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("openai").write_bytes(bytes(5))
    assert model_facts(plain_card("ViT-B-32/openai"), tmp_path).cached is False
    Path("mine.pt").write_bytes(bytes(5))
    assert model_facts(plain_card("ViT-B-32/mine.pt"), tmp_path).size_bytes == 5


def test_of_a_model_that_nobody_knows_only_its_card_speaks(tmp_path):
    facts = model_facts(plain_card("own/model"), tmp_path)
    assert (facts.parameters, facts.size_bytes, facts.size_estimated) == (1, 4, True)
    assert (facts.gflops, facts.license, facts.cached) == (None, None, None)


def test_the_table_holds_the_facts_of_the_paper():
    known = known_models()
    assert known["ViT-B-32/openai"].gflops == 14.78
    assert known["EVA02-E-14/laion2b_s4b_b115k"].gflops == 2311.42
    assert known["nllb-clip-base-siglip/v1"].gflops == 472.91
    papers = {name.partition("/")[0] for name, row in known.items() if "Table 6" in row.source}
    # Five more are those of the paper with QuickGELU, which costs what GELU does.
    assert len(papers) == 34 + 5
    assert known["RN50-quickgelu/openai"].gflops == known["RN50/openai"].gflops == 18.18


def test_a_licence_is_told_only_where_its_source_is():
    known = known_models()
    assert {row.license for row in known.values()} == {None, "MIT", "Apache-2.0", "MIT AND Apache-2.0"}
    assert known["RN50/openai"].license == known["ViT-H-14/laion2b_s32b_b79k"].license == "MIT"
    for name in ("ViT-B-32/metaclip_fullcc", "ViT-B-16/dfn2b", "EVA02-B-16/merged2b_s8b_b131k", "nllb-clip-base/v1"):
        assert known[name].license is None
    assert all(row.source for row in known.values() if row.license or row.gflops)


def test_operations_are_those_of_the_architecture():
    for name, row in known_models().items():
        if not name.startswith("lite0-"):
            arch = name.partition("/")[0]
            assert {other.gflops for key, other in known_models().items() if key.startswith(f"{arch}/")} == {row.gflops}


@pytest.mark.towers
def test_the_table_says_of_open_clips_models_where_open_clip_has_them():
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    known = {name: row for name, row in known_models().items() if not name.startswith("lite0-")}
    assert set(known) <= {f"{arch}/{tag}" for arch, tag in open_clip.list_pretrained()}
    for name, row in known.items():
        assert get_pretrained_cfg(*name.split("/"))["hf_hub"] == row.weights
        assert open_clip.get_model_config(name.split("/")[0])["text_cfg"].get("hf_tokenizer_name", "") == row.tokenizer


@pytest.mark.towers
def test_open_clip_and_the_table_look_in_the_same_place(hugging_face, tmp_path, monkeypatch):
    """open_clip itself finds the file that `cached` is about, with the network off."""
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    download(hugging_face, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_pytorch_model.bin")
    assert model_facts(plain_card("ViT-B-32/laion2b_s34b_b79k"), tmp_path).cached
    found = download_pretrained(get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k"), cache_dir=str(hugging_face))
    assert Path(found).name == "open_clip_pytorch_model.bin"


def test_facts_are_gathered_without_torch_or_open_clip():
    code = """
import json, pathlib, sys
from mllctl import Hub
from mllctl.backends.facts import model_facts
from mllctl.hub import bundled_hub
from mllctl.limits import Limits, admit
with Hub.open(bundled_hub()) as hub:
    cards = [model.card for model in hub.models()]
import dataclasses
cards.append(dataclasses.replace(cards[0], name="ViT-B-32/openai", source="ViT-B-32/openai"))
facts = {card.name: model_facts(card, pathlib.Path("cache")) for card in cards}
kept, _ = admit(list(facts), facts, Limits(cached_only=True))
print(json.dumps([len(kept), sorted(sys.modules)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, modules = json.loads(done.stdout)
    assert kept >= 12
    assert {"torch", "open_clip", "transformers", "timm", "sentence_transformers", "scipy"}.isdisjoint(modules)
    assert "huggingface_hub.file_download" in modules


def test_of_an_expert_its_parameters_are_known_and_what_follows_from_them():
    card = FakeExpert("colours/things", ("car.n.01",)).card
    facts = expert_facts(card)
    assert (facts.parameters, facts.size_bytes, facts.size_estimated, facts.cached) == (5, 4 * 5, True, True)
    assert (facts.gflops, facts.latency_ms, facts.license) == (None, None, None)
    plugin = expert_facts(replace(card, parameters=0, source="mine:things"))
    assert (plugin.parameters, plugin.size_bytes, plugin.cached) == (None, None, None)
