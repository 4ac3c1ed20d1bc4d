"""The registry: every id of the installed open_clip, with facts that open_clip's own configurations confirm."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mllctl.backends import registry
from mllctl.backends.facts import known_models, pretrained_facts
from mllctl.backends.registry import describe_architecture, pretrained_models
from mllctl.errors import InvalidTask


def test_the_installed_release_is_listed_whole(tmp_path):
    import open_clip

    listed = [model.model for model in pretrained_models(tmp_path)]
    assert listed == sorted(f"{arch}/{tag}" for arch, tag in open_clip.list_pretrained())
    assert not list(tmp_path.iterdir()), "models.csv is of another open_clip; run assets/models.py"


def test_sizes_are_those_of_open_clips_configurations(tmp_path):
    import open_clip

    for model in pretrained_models(tmp_path):
        config = open_clip.get_model_config(model.model.partition("/")[0])
        assert model.embedding_width == config["embed_dim"]
        assert model.image_size == config["vision_cfg"]["image_size"]
        assert model.context_length == config["text_cfg"].get("context_length", 77)


@pytest.mark.parametrize("arch", ["ViT-B-32", "RN50", "coca_ViT-B-32"])
def test_parameters_are_counted_without_weights(tmp_path, arch):
    counted = describe_architecture(arch)
    listed = {model.parameters for model in pretrained_models(tmp_path, [f"{arch}/*"])}
    assert listed == {counted.parameters}


def test_parameters_and_accuracy_are_those_of_the_paper():
    known = known_models()
    assert all(row.parameters for row in known.values())
    assert (known["ViT-B-32/openai"].parameters, known["ViT-B-32/openai"].imagenet_top1) == (151_277_313, 0.6332)
    assert round(known["nllb-clip-base/v1"].parameters / 1e6, 2) == 501.89
    assert round(known["xlm-roberta-large-ViT-H-14/frozen_laion5b_s13b_b90k"].parameters / 1e6, 2) == 1193.01
    assert sum(row.imagenet_top1 is not None for row in known.values()) == 49


def test_a_name_to_use_instead_is_a_name_of_the_list_with_the_same_weights():
    known = known_models()
    renamed = [row for row in known.values() if row.instead]
    assert known["ViT-B-32/openai"].instead == "ViT-B-32-quickgelu/openai"
    assert len(renamed) == 27
    for row in renamed:
        assert known[row.instead].weights == row.weights
        assert not known[row.instead].instead


def test_patterns_match_whole_names_in_any_case(tmp_path):
    found = [model.model for model in pretrained_models(tmp_path, ["vit-b-32/O*", "*roberta-ViT-B-32/*"])]
    assert found == ["ViT-B-32/openai", "roberta-ViT-B-32/laion2b_s12b_b32k"]
    with pytest.raises(InvalidTask, match=r"named like ViT-B; try '\*ViT-B\*'"):
        pretrained_models(tmp_path, ["ViT-B"])


def test_facts_are_known_before_a_download(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    facts = pretrained_facts(known_models()["ViT-B-32/laion2b_s34b_b79k"])
    assert (facts.cached, facts.size_estimated, facts.size_bytes) == (False, True, 4 * facts.parameters)
    assert (facts.gflops, facts.license, facts.latency_ms) == (14.78, "MIT", None)


def test_another_release_is_asked_once_and_its_new_models_are_described(tmp_path, monkeypatch):
    import open_clip

    asked = []

    def list_pretrained():
        asked.append(1)
        return [("ViT-B-32", "openai"), ("ViT-S-32", "brand_new")]

    monkeypatch.setattr(registry, "version", lambda package: "99.0")
    monkeypatch.setattr(open_clip, "list_pretrained", list_pretrained)
    for _ in range(2):
        old, new = pretrained_models(tmp_path)
        assert old == known_models()["ViT-B-32/openai"]
        assert (new.model, new.embedding_width, new.image_size, new.license) == ("ViT-S-32/brand_new", 384, 224, None)
        assert round(new.parameters / 1e6, 2) == 63.09
    assert len(asked) == 1
    (tmp_path / "registry" / "open_clip-99.0.json").write_text("[{}")
    assert len(pretrained_models(tmp_path)) == len(asked) == 2


def test_an_architecture_that_cannot_be_built_here_has_no_known_parameters(monkeypatch):
    """As those of a later open_clip, of which timm has no tower yet or the network no configuration."""
    import open_clip

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for vision, text in (({"timm_model_name": "from_the_future"}, {}), ({}, {"hf_model_name": "org/name"})):
        config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
        monkeypatch.setattr(open_clip, "get_model_config", lambda _, config=config: config)
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "strange", config)
        found = describe_architecture("strange")
        assert (found.parameters, found.image_size, found.context_length) == (None, 224, 77)


def list_models(tmp_path, *arguments):
    code = f"""
import sys
from mllctl_cli.main import main
try:
    main({["model", "list", "--pretrained", *arguments]!r})
except SystemExit as end:
    print(end.code, "torch" in sys.modules, "open_clip" in sys.modules, file=sys.stderr)
"""
    environment = {"PATH": "/usr/bin:/bin", "MLLCTL_CACHE": str(tmp_path), "HF_HOME": str(tmp_path), "COLUMNS": "80"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_the_command_lists_without_torch_on_a_terminal_of_80_columns(tmp_path):
    shown = list_models(tmp_path, "ViT-B-32*", "--max-params", "151.28M", "--license", "MIT")
    assert shown.stderr.splitlines()[-1] == "0 False False"
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "MIT" in shown.stdout
    assert "ViT-B-32-256" not in shown.stdout
    assert "as ViT-B-32-quickgelu/" in shown.stderr


def test_the_command_prints_the_documented_keys(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    table = page.partition("`--json`, with --pretrained:")[2].partition("\n\n##")[0].partition("`--json`")[0]
    [row] = json.loads(list_models(tmp_path, "RN50-quickgelu/openai", "--json").stdout)
    assert [f"[].{key}" for key in row] == re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert row["imagenet_top1"] is None
    assert row["cached"] is False


def test_limits_that_leave_nothing_are_refused_with_the_nearest(tmp_path):
    shown = list_models(tmp_path, "ViT-B-32/*", "--max-params", "10M")
    assert shown.stderr.splitlines()[-1].startswith("2 ")
    assert "loosen --max-params first" in shown.stderr
