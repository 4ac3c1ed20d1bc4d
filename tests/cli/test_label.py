"""`mllctl label`: what its options do, what it says on the way, and that Ctrl-C leaves threads and hub in order."""

import dataclasses
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes import FakeModel, InterruptedModel
from mllctl.backends import devices, open_clip_models
from mllctl.backends.canary import CAPTIONS
from mllctl.backends.names import CONFIG
from mllctl.errors import ModelNotLoadable
from mllctl.hub import Hub
from mllctl_cli import render

# What says enough of a checkpoint to try and load it.
CONFIGURED = {
    "model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}},
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def hub(hubs, tmp_path):
    """A hub of five nodes and 45 images whose three models have not seen the last five."""
    return shutil.copytree(hubs.outdated, tmp_path / "outdated")


@pytest.fixture
def loaded(monkeypatch):
    """What models were asked for, and on which device."""
    asked = []

    def open_fake(arch, weights, device="cpu"):
        asked.append((f"{arch}/{weights}", device))
        return FakeModel(f"{arch}/{weights}")

    monkeypatch.setattr(open_clip_models, "open_model", open_fake)
    return asked


def test_several_models_are_numbered_on_the_way(run, hub):
    done = run("label", "fake/new", "fake/newer", "--hub", hub, "--batch", 8, "--workers", 3, "--text-batch", 2)
    assert done.code == 0, done.err
    assert [line.partition(" images in ")[0] for line in done.err.splitlines() if " images in " in line] == [
        "mllctl: 1/2 fake/new: 45",
        "mllctl: 2/2 fake/newer: 45",
    ]
    assert [line.split(",")[0] for line in done.out.splitlines()] == [
        "fake/new: 45 images shown",
        "fake/newer: 45 images shown",
    ]


def test_one_model_has_no_number(run, hub):
    canary, progress = run("label", "fake/new", "--hub", hub).err.splitlines()
    assert canary.startswith("mllctl: fake/new: it finds the captions of ")
    assert progress.startswith("mllctl: fake/new: 45 images in 0:0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "tpu"], "--device tpu: no such device; give auto, cpu, cuda"),
        (["--device", "cuda"], "torch finds no cuda here; give --device auto or --device cpu"),
        (["--precision", "int8"], "give one of float32, bfloat16, float16"),
        (["--workers", "-1"], "see `mllctl label --help`"),
        (["--text-batch", "0"], "see `mllctl label --help`"),
    ],
)
def test_what_is_not_there_is_one_line_before_a_model_is_loaded(run, hub, loaded, monkeypatch, options, message):
    monkeypatch.setattr(devices, "_count_devices", lambda: {"cuda": 0, "mps": 0})
    done = run("label", "fake/new", "--hub", hub, *options)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert loaded == []


def test_the_model_is_loaded_on_the_device_that_was_chosen(run, hub, loaded, monkeypatch):
    monkeypatch.setattr(devices, "_count_devices", lambda: {"cuda": 2, "mps": 0})
    monkeypatch.setattr("mllctl_cli.label.likely_on", lambda device: compared.append(device))
    compared = []
    for options in ([], ["--device", "cuda:1"], ["--device", "cpu"]):
        run("label", "fake/new", "--hub", hub, *options)
    assert loaded == [("fake/new", "cuda"), ("fake/new", "cuda:1"), ("fake/new", "cpu")]
    assert compared == ["cuda", "cuda:1"]


def test_a_label_goes_on_in_its_precision_and_is_not_mixed_with_another(run, hub, loaded):
    assert run("label", "fake/half", "--precision", "bfloat16", "--hub", hub).code == 0
    assert run("label", "fake/half", "--hub", hub).out.startswith("fake/half: its label is complete already")
    asked = len(loaded)
    refused = run("label", "fake/half", "fake/new", "--precision", "float32", "--hub", hub)
    assert (refused.code, refused.out, len(loaded)) == (2, "", asked)
    assert (
        "fake/half is labelled in bfloat16, which does not mix with float32; give --precision bfloat16" in refused.err
    )


def test_a_label_that_cannot_grow_is_refused_before_its_model_is_loaded(run, hub, loaded, tmp_path):
    run("hub", "export", "--labels", "bundle.tar", "--hub", hub)
    run("hub", "import", "bundle.tar", "--hub", tmp_path / "new")
    for command in (["label", "fake/0"], ["label", "fake/0", "--plan"]):
        refused = run(*command, "--hub", tmp_path / "new")
        assert (refused.code, refused.out) == (1, "")
        assert "was imported without its embeddings" in refused.err
    done = run("label", "--all", "--hub", tmp_path / "new")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("mllctl: the label of fake/0 (and of 2 more) was imported without its embeddings")
    assert loaded == []


def test_a_plan_is_a_table_of_models_and_does_nothing(run, hub, loaded):
    with Hub.open(hub) as opened:
        before = opened.manifest
    shown = run("label", "--all", "--plan", "--hub", hub)
    assert shown.code == 0
    head, *rows = shown.out.splitlines()
    assert head.split("  ")[0] == "model"
    assert [row.split()[:3] for row in rows] == [["fake/0", "45", "5"], ["fake/1", "45", "5"], ["fake/2", "45", "5"]]
    assert "`mllctl model time NAME`" in shown.err
    plans = run("label", "fake/0", "fake/new", "--plan", "--hub", hub, "--json").json
    assert [(plan["model"], plan["to_show"], plan["embedding_bytes"]) for plan in plans] == [
        ("fake/0", 5, 2 * 16 * 5),
        ("fake/new", 45, None),
    ]
    with Hub.open(hub) as opened:
        assert opened.manifest == before
    assert loaded == []
    assert run("label", "--all", "--plan", "--hub", hub).code == 0


def test_a_complete_label_is_said_to_be_complete_and_nothing_is_committed(run, hub, loaded):
    assert run("label", "fake/0", "--hub", hub).code == 0
    before = run("hub", "info", "--hub", hub, "--json").json
    again = run("label", "fake/0", "--hub", hub)
    assert again.out.startswith("fake/0: its label is complete already, ")
    assert run("label", "fake/0", "--hub", hub, "--json").json[0]["changed"] is False
    assert run("hub", "info", "--hub", hub, "--json").json == before


def test_a_model_is_not_loaded_to_see_that_its_label_is_complete_unless_its_files_have_changed(run, hub, loaded):
    weights = Path("mine.safetensors").absolute()
    weights.write_bytes(b"weights")
    (weights.parent / CONFIG).write_text(json.dumps(CONFIGURED))
    command = ("label", f"RN50/{weights}", "--hub", hub)
    assert run(*command).code == 0
    assert len(loaded) == 1
    again = run(*command)
    assert (again.code, again.err, len(loaded)) == (0, "", 1)
    assert again.out.startswith(f"RN50/{weights}: its label is complete already, ")
    stat = weights.stat()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run(*command).code == 0
    assert len(loaded) == 2
    (weights.parent / CONFIG).write_text(json.dumps({**CONFIGURED, "more": 1}))
    assert run(*command).code == 0
    assert len(loaded) == 3
    assert run(*command).code == 0
    assert len(loaded) == 3


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("ViT-B-32/gone", "'gone' is neither a file nor a tag of ViT-B-32; did you mean ViT-B-32/"),
        ("ViT-Z-99/openai", "open_clip has no architecture 'ViT-Z-99'; did you mean"),
        ("ViT-B-32/openai", "trained with QuickGELU, which ViT-B-32 does not have; type ViT-B-32-quickgelu/openai"),
        ("local-dir:gone", "there is no folder "),
        ("gone.json,gone.safetensors", "gone.json; open_clip saves it with a model's weights"),
        ("st:./gone", "there is no folder "),
        ("conse:onnx/gone.onnx", "there is no file gone.onnx; give the path of the weights"),
        ("demo:generalis", "no such demo model; did you mean generalist"),
        ("hf-hub:gone", "a repository is named hf-hub:ORG/NAME"),
    ],
)
def test_a_plan_refuses_what_a_label_would_refuse(run, hub, source, reason):
    refused = run("label", source, "--plan", "--hub", hub)
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert reason in refused.err
    assert run("label", source, "--hub", hub).err == refused.err
    several = run("label", source, "fake/0", "--plan", "--hub", hub)
    assert (several.code, several.out.splitlines()[1].split()[0]) == (3, "fake/0")


def test_a_plan_of_a_new_model_counts_what_an_interrupted_label_has_left(run, hub, loaded, monkeypatch):
    monkeypatch.setattr(
        open_clip_models,
        "open_model",
        lambda arch, weights, device: InterruptedModel(f"{arch}/{weights}", after=len(CAPTIONS) + 20),
    )
    command = ("label", "fake/new", "--hub", hub, "--batch", 1)
    assert run(*command).code == 130
    [plan] = run(*command, "--plan", "--json").json
    assert (plan["model"], plan["to_show"], plan["captions"]) == ("fake/new", 45 - 16, 5)
    [other] = run(*command, "--plan", "--precision", "bfloat16", "--json").json
    assert other["to_show"] == 45


def test_a_model_of_the_hub_is_found_however_its_name_is_typed(run, hub, loaded):
    for name in ("fake/0", "fake:0", "fake__0"):
        [plan] = run("label", name, "--plan", "--hub", hub, "--json").json
        assert (plan["model"], plan["to_show"]) == ("fake/0", 5)


def test_a_plan_of_nothing_says_so(run, hubs, tmp_path):
    done = shutil.copytree(hubs.labelled, tmp_path / "done")
    shown = run("label", "--all", "--plan", "--hub", done)
    assert (shown.code, shown.out, shown.err) == (0, "", "mllctl: every label is complete\n")
    assert run("label", "--all", "--plan", "--hub", done, "--json").json == []


def test_weights_that_must_not_be_downloaded_are_one_line(run, hub, loaded, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused = run("label", "ViT-B-32/laion2b_s34b_b79k", "--hub", hub)
    assert (refused.code, refused.out, loaded) == (1, "", [])
    assert refused.err.startswith(
        "mllctl: cannot load model 'ViT-B-32/laion2b_s34b_b79k': its weights or its tokenizer"
    )
    assert refused.err.count("\n") == 1


def test_of_several_models_one_that_cannot_be_loaded_is_skipped(run, hub, loaded, monkeypatch):
    def open_some(arch, weights, device="cpu"):
        if weights == "gone":
            raise ModelNotLoadable(f"{arch}/{weights}", "it is gone")
        return FakeModel(f"{arch}/{weights}")

    monkeypatch.setattr(open_clip_models, "open_model", open_some)
    done = run("label", "fake/gone", "fake/new", "--hub", hub)
    assert done.code == 3
    assert done.out.startswith("fake/new: 45 images shown")
    assert done.err.splitlines()[0] == "mllctl: cannot load model 'fake/gone': it is gone; going on"
    assert [report["model"] for report in run("label", "fake/gone", "fake/new", "--hub", hub, "--json").json] == [
        "fake/new"
    ]
    refused = run("label", "fake/gone", "ViT-B-32/gone", "--hub", hub)
    assert (refused.code, refused.out) == (1, "")
    first, last = refused.err.splitlines()
    assert first == "mllctl: cannot load model 'fake/gone': it is gone; going on"
    assert last.startswith(
        "mllctl: cannot load model 'ViT-B-32/gone': 'gone' is neither a file nor a tag of ViT-B-32; "
    )


def test_a_model_that_has_changed_is_refused_and_its_label_stays(run, hub, monkeypatch):
    def open_changed(arch, weights, device="cpu"):
        model = FakeModel(f"{arch}/{weights}", seed=seed)
        model.card = dataclasses.replace(model.card, fingerprint="the same")
        return model

    monkeypatch.setattr(open_clip_models, "open_model", open_changed)
    seed = 1
    assert run("label", "fake/new", "--hub", hub).code == 0
    seed = 2
    for command in ("label", "model add"):
        refused = run(*command.split(), "fake/new", "--hub", hub)
        assert refused.code == 1
        assert "it gives other embeddings than when its canary was taken" in refused.err
        assert "mllctl model remove fake/new" in refused.err
    with Hub.open(hub) as opened:
        assert opened.model("fake/new").state == "complete"


# -- progress -----------------------------------------------------------------------------------------


@pytest.fixture
def lines(capsys):
    """Progress on a pipe, with a clock that is set by hand."""
    now = [0.0]
    progress = render.ProgressLines(lambda: now[0])

    def at(seconds, *step):
        now[0] = seconds
        progress(*step)
        return capsys.readouterr().err

    return SimpleNamespace(at=at)


def test_a_pipe_gets_a_line_every_half_a_minute_and_one_at_the_end(lines):
    assert lines.at(0, "a/b", 0, 1000) == ""
    assert lines.at(29, "a/b", 290, 1000) == ""
    assert lines.at(30, "a/b", 300, 1000) == "mllctl: a/b: 300 of 1000 images, 10.0 images/s, 1:10 left\n"
    assert lines.at(59, "a/b", 590, 1000) == ""
    assert lines.at(61, "a/b", 610, 1000) == "mllctl: a/b: 610 of 1000 images, 10.0 images/s, 0:39 left\n"
    assert lines.at(100, "a/b", 1000, 1000) == "mllctl: a/b: 1000 images in 1:40, 10.0 images/s\n"


def test_what_an_earlier_run_did_takes_no_part_in_the_speed(lines):
    assert lines.at(5, "a/b", 900, 1000) == ""
    assert lines.at(55, "a/b", 950, 1000) == "mllctl: a/b: 950 of 1000 images, 1.0 images/s, 0:50 left\n"


def test_where_nothing_was_to_be_done_there_is_no_speed(lines):
    assert lines.at(0, "a/b", 40, 40) == "mllctl: a/b: 40 images\n"


def test_times_are_read_as_on_a_clock():
    assert [render.duration(seconds) for seconds in (0, 7.4, 59.6, 750, 11100)] == [
        "0:00",
        "0:07",
        "1:00",
        "12:30",
        "3:05:00",
    ]


# -- Ctrl-C -------------------------------------------------------------------------------------------

SLOW = """
import sys, time
sys.path.insert(0, sys.argv.pop(1))
from fakes import FakeModel, InterruptedModel
from mllctl.backends import checking, open_clip_models
import mllctl_cli.main as cli

class Slow(FakeModel):
    def encode_images(self, images):
        print("shown", flush=True)
        time.sleep(0.3)
        return super().encode_images(images)

open_clip_models.open_model = lambda arch, weights, device: Slow(f"{arch}/{weights}")
checking.check_model = lambda arch, weights, cache: None
cli.main()
"""


def test_ctrl_c_stops_the_workers_and_the_same_command_goes_on(hub, run, loaded, request):
    command = ["label", "fake/slow", "--hub", str(hub), "--batch", "1", "--workers", "3", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(request.config.rootpath / "tests"), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(len(CAPTIONS) + 20):  # of the canary one each, then of the hub
        assert process.stdout.readline() == "shown\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    canary, interrupted = err.splitlines()
    assert canary.startswith("mllctl: fake/slow: it finds the captions of ")
    assert interrupted == "mllctl: interrupted; the hub is whole, and the same command goes on from here"
    with Hub.open(hub) as opened:
        assert [model.card.name for model in opened.models()] == ["fake/0", "fake/1", "fake/2"]
    # Sixteen batches of one were put down.
    done = run(*command)
    assert done.code == 0, done.err
    assert done.out.startswith("fake/slow: 29 images shown")
    assert list((hub / "staging").iterdir()) == []


def test_a_plan_has_the_documented_keys(run, hub):
    documented = runpy.run_path(str(DOCS / "write_cli.py"))["KEYS"]["label, with --plan"]
    [plan] = run("label", "fake/0", "--plan", "--hub", hub, "--json").json
    assert [f"[].{key}" for key in plan] == list(documented)
