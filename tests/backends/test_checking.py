"""What is refused before a model is loaded is what loading it would refuse, in the same words."""

import json
import subprocess
import sys

import pytest

from mllctl import load_model
from mllctl.backends.checking import check_source
from mllctl.backends.facts import known_models
from mllctl.backends.names import CONFIG
from mllctl.errors import ModelNotLoadable

MEAN = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
WHOLE = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": MEAN}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a checkpoint that says nothing of itself, and folders with configurations that say too little."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").touch()
    for name, content in (("bare", {}), ("unprepared", {**WHOLE, "preprocess_cfg": {}}), ("empty", WHOLE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text(json.dumps(content))
    (tmp_path / "bare" / "mine.safetensors").touch()


@pytest.mark.parametrize(
    "source",
    [
        "ViT-B-32/gone",
        "ViT-B-32:openai",
        "ViT-B-23/openai",
        "ViT-B-32/mine.safetensors",
        "ViT-B-32/bare/mine.safetensors",
        "../ViT-B-32/openai",
        "bare/open_clip_config.json,mine.safetensors",
        "unprepared/open_clip_config.json,mine.safetensors",
        "empty/open_clip_config.json,gone.safetensors",
        "gone.json,mine.safetensors",
        "local-dir:gone",
        "local-dir:bare",
        "local-dir:empty",
        "local-dir:",
        "hf-hub:gone",
        "st:./gone",
        "conse:gone",
        "conse:timm/resnet18@gone.safetensors",
        "conse:timm/resnet18@mine.safetensors",
        "demo:gone",
        "gone",
    ],
)
def test_what_is_refused_is_what_loading_refuses(source, tmp_path):
    with pytest.raises(ModelNotLoadable) as loading:
        load_model(source)
    with pytest.raises(ModelNotLoadable) as checking:
        check_source(source, tmp_path)
    assert str(checking.value) == str(loading.value)


def test_every_pretrained_model_passes_under_the_name_it_is_loaded_by(tmp_path):
    for name, model in known_models().items():
        if model.weights:
            check_source(model.instead or name, tmp_path)
    check_source("demo:generalist", tmp_path)


def test_nothing_heavy_is_imported_for_it(tmp_path):
    code = """
import json, pathlib, sys
from mllctl.backends.checking import check_source
from mllctl.errors import ModelNotLoadable
for source in sys.argv[1:]:
    try:
        check_source(source, pathlib.Path("cache"))
    except ModelNotLoadable:
        pass
print(json.dumps(sorted(sys.modules)))
"""
    sources = ("ViT-B-32/gone", "local-dir:bare", "st:./gone", "conse:timm/resnet18@mine.safetensors,labels=imagenet")
    made = subprocess.run([sys.executable, "-c", code, *sources], capture_output=True, text=True, check=True)
    heavy = {"torch", "open_clip", "transformers", "timm", "sentence_transformers"}
    assert heavy.isdisjoint(json.loads(made.stdout))
