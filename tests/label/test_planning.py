"""A plan is what a labelling then does, known without loading a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mllctl_data
from fakes import FakeModel, InterruptedModel, fake, hub_of_folders, paint_folder, plain_card
from mllctl import label_model
from mllctl.backends.devices import card_in, in_precision
from mllctl.backends.latency import measure_latency
from mllctl.errors import HubReadOnly, InvalidTask, ModelNotLoadable, StageMissing
from mllctl.graph import with_ancestors
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub, seal
from mllctl.images import Domain, scan
from mllctl.label.planning import plan_label, precision_for, refuse_download


def planned(path, source, cache, **options):
    with Hub.open(path) as hub:
        return plan_label(hub, source, cache, **options)


def written(path):
    """Bytes of the vectors that a hub has of its first model."""
    with Hub.open(path) as hub:
        images, captions = hub.features(0)
        return 2 * images.width * (len(images.ordinals) + len(captions.ordinals))


def test_the_plan_of_a_model_of_the_hub_is_what_is_done(painted, painted_copy, tmp_path):
    model = FakeModel("fake/model")
    with change_hub(painted_copy) as change:
        change.add_model(model.card)
    plan = planned(painted_copy, "fake/model", tmp_path)
    files = list(painted.folder.rglob("*.png"))
    assert (plan.model, plan.images, plan.to_show, plan.missing, plan.captions) == ("fake/model", 40, 40, 0, 5)
    assert plan.image_bytes == sum(path.stat().st_size for path in files)
    assert (plan.seconds, plan.cached, plan.download_bytes) == (None, None, None)
    report = label_model(painted_copy, model)
    assert report.shown == plan.to_show
    assert written(painted_copy) == plan.embedding_bytes == 2 * 16 * 45


def test_a_plan_counts_what_is_new_and_neither_what_the_hub_has_nor_what_waits_in_staging(painted, tmp_path, nouns):
    hub = hub_of_folders(tmp_path / "hub", {"photo": painted.folder}, nouns)
    model = FakeModel("fake/model")
    with change_hub(hub) as change:
        change.add_model(model.card)
    with pytest.raises(KeyboardInterrupt):
        label_model(hub, InterruptedModel("fake/model", after=37), batch=1)
    assert planned(hub, "fake/model", tmp_path).to_show == 40 - 32
    # In another precision nothing waits.
    assert planned(hub, "fake/model", tmp_path, precision="bfloat16").to_show == 40
    label_model(hub, model)
    done = planned(hub, "fake/model", tmp_path)
    assert (done.to_show, done.captions, done.image_bytes, done.embedding_bytes) == (0, 0, 0, 0)
    found = scan(paint_folder(tmp_path / "new", ["dog.n.01"], 3, seed=9), "photo", nouns).images
    with change_hub(hub) as change:
        change.add_domain(Domain("photo", "photo"))
        change.add_images(found)
        change.set_graph(with_ancestors((image.wnid for image in found), nouns))
    Path(found[0].uri).unlink()
    grown = planned(hub, "fake/model", tmp_path)
    assert (grown.images, grown.to_show, grown.missing, grown.captions) == (43, 3, 1, 0)
    assert grown.embedding_bytes == 2 * 16 * 2


def test_a_plan_changes_nothing(painted_copy, tmp_path):
    before = sorted(str(path) for path in painted_copy.rglob("*"))
    planned(painted_copy, "ViT-B-32/openai", tmp_path)
    assert sorted(str(path) for path in painted_copy.rglob("*")) == before


def test_the_time_is_that_which_was_measured_for_every_image(painted_copy, tmp_path):
    model = FakeModel("fake/model")
    with change_hub(painted_copy) as change:
        change.add_model(model.card)
    latency = measure_latency(model, tmp_path)
    assert planned(painted_copy, "fake/model", tmp_path).seconds == pytest.approx(40 * latency / 1000)
    assert planned(painted_copy, "fake/model", tmp_path, precision="float16").seconds is None


def test_of_a_model_that_was_never_loaded_the_packages_and_the_cache_tell(painted_copy, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "huggingface"))
    known = planned(painted_copy, "ViT-B-32/laion2b_s34b_b79k", tmp_path)
    assert (known.model, known.to_show, known.cached) == ("ViT-B-32/laion2b_s34b_b79k", 40, False)
    assert (known.embedding_bytes, known.download_bytes) == (2 * 512 * 45, None)
    demo = planned(painted_copy, "demo:generalist", tmp_path)
    assert (demo.model, demo.cached) == ("lite0-minilm/generalist", True)
    assert demo.embedding_bytes is not None
    nobody = planned(painted_copy, "nobody/knows", tmp_path)
    assert (nobody.embedding_bytes, nobody.cached) == (None, None)


def test_images_in_one_pack_are_read_with_it_once(tmp_path, nouns):
    pack = mllctl_data.path("demo", "images.parquet")
    found = scan(pack, "photo", nouns).images[:20]
    hub = tmp_path / "hub"
    Hub.create(hub).close()
    with change_hub(hub) as change:
        graph = with_ancestors((image.wnid for image in found), nouns)
        change.add_nodes(graph.synsets)
        for domain in {image.domain for image in found}:
            change.add_domain(Domain(domain, domain))
        change.add_images(found)
        change.set_graph(graph)
    assert planned(hub, "fake/model", tmp_path).image_bytes == pack.stat().st_size


def test_what_cannot_be_labelled_cannot_be_planned(labelled_copy, tmp_path):
    Hub.create(tmp_path / "empty").close()
    with pytest.raises(StageMissing, match="mllctl images add"):
        planned(tmp_path / "empty", "fake/0", tmp_path)
    seal(labelled_copy)
    with pytest.raises(HubReadOnly):
        planned(labelled_copy, "fake/0", tmp_path)


def test_the_precision_is_the_one_asked_for_else_that_of_the_label_else_float32(labelled, painted_copy):
    assert precision_for(None, None) == "float32"
    assert precision_for(None, "float16") == "float16"
    with Hub.open(labelled.hub) as hub:
        stored = hub.model("fake/0")
    assert precision_for(stored, None) == precision_for(stored, "float32") == "float32"
    with pytest.raises(InvalidTask, match="give --precision float32, or first `mllctl model remove fake/0`"):
        precision_for(stored, "bfloat16")
    label_model(painted_copy, in_precision(fake(0), "bfloat16", "cpu"))
    with Hub.open(painted_copy) as hub:
        assert precision_for(hub.model("fake/0"), None) == "bfloat16"
    with change_hub(painted_copy) as change:
        change.add_model(card_in(plain_card("fake/only-added"), "bfloat16"))
    with Hub.open(painted_copy) as hub:
        assert precision_for(hub.model("fake/only-added"), None) == "float32"
        assert precision_for(hub.model("fake/only-added"), "float16") == "float16"


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_what_would_be_downloaded_is_refused_in_one_line_while_the_network_is_off(tmp_path, monkeypatch, switch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for other in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(other, raising=False)
    refuse_download("ViT-B-32/laion2b_s34b_b79k", tmp_path)
    monkeypatch.setenv(switch, "0")
    refuse_download("ViT-B-32/laion2b_s34b_b79k", tmp_path)
    monkeypatch.setenv(switch, "true")
    with pytest.raises(ModelNotLoadable, match=f"{switch} forbids to download them; unset {switch}") as refused:
        refuse_download("ViT-B-32/laion2b_s34b_b79k", tmp_path)
    assert "\n" not in str(refused.value)
    for source in ("demo:generalist", "ViT-B-32/of/my/own.safetensors", "nobody/knows"):
        refuse_download(source, tmp_path)


def test_a_plan_is_made_without_torch_or_open_clip(painted_copy, tmp_path):
    code = """
import json, pathlib, sys
from mllctl.hub import Hub
from mllctl.label.planning import plan_label
with Hub.open(pathlib.Path(sys.argv[1])) as hub:
    plans = [plan_label(hub, source, pathlib.Path("cache")) for source in ("demo:generalist", "ViT-B-32/openai")]
print(json.dumps([len(plans), sorted(sys.modules)]))
"""
    made = subprocess.run([sys.executable, "-c", code, painted_copy], capture_output=True, text=True, check=True)
    count, modules = json.loads(made.stdout)
    assert count == 2
    assert {"torch", "open_clip", "transformers", "timm", "sentence_transformers"}.isdisjoint(modules)
