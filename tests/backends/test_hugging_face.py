"""What is in Hugging Face's cache is taken without asking; what is not is refused at once, in a line with a cure."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mllctl import load_model
from mllctl.backends import open_clip_models
from mllctl.backends.hugging_face import cached_file, check_files, weight_names
from mllctl.errors import ModelNotLoadable

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
TAG = {"mean": (0.1, 0.2, 0.3), "std": (0.3, 0.2, 0.1), "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty cache, and a network that answers what a test puts into `answers`; every question is kept."""
    hub = SimpleNamespace(cache=tmp_path / "hf", answers={}, asked=[])

    def get_hf_file_metadata(url, **_):
        hub.asked.append(url.partition("huggingface.co/")[2])
        answer = hub.answers.get(hub.asked[-1].rpartition("/")[2])
        if answer:
            raise answer

    def hf_hub_download(*_, **__):
        raise AssertionError("nothing is to be downloaded")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub.cache))
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", get_hf_file_metadata)
    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", hf_hub_download)
    return hub


@pytest.fixture
def tag(monkeypatch):
    """An architecture with weights in the table: `tiny-tag/mine`, of org/name."""
    import open_clip

    open_clip_models._register_config("tiny-tag", CONFIG)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-tag", {"mine": {**TAG, "hf_hub": "org/name/"}})
    return "tiny-tag/mine"


def put(hub, repository, file, name):
    """Put a file where a download would."""
    folder = hub.cache / f"models--{repository.replace('/', '--')}"
    (folder / "snapshots" / "0123").mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text("0123")
    shutil.copy(file, folder / "snapshots" / "0123" / name)


def refusal(function, *arguments):
    with pytest.raises(ModelNotLoadable) as refused:
        function(*arguments)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def http_error(kind, status, code=None):
    """An error as huggingface_hub makes one of a server's answer."""
    from huggingface_hub import errors

    response = SimpleNamespace(status_code=status, headers={"X-Error-Code": code or ""}, request=None)
    return getattr(errors, kind)(f"{status} Client Error.\n\nmore lines", response=response)


def test_a_tag_in_the_cache_is_loaded_as_a_pickle_of_tensors_without_asking_for_safetensors(hub, tag, tmp_path):
    import open_clip
    import torch

    torch.save(open_clip.create_model("tiny-tag").state_dict(), tmp_path / "w.bin")
    put(hub, "org/name", tmp_path / "w.bin", "open_clip_pytorch_model.bin")
    model = load_model(tag)
    assert model.card.name == model.card.source == tag
    for said in ("mean (0.1, 0.2, 0.3)", "interpolation bilinear", "resize_mode squash", "size (16, 16)"):
        assert said in model.card.preprocess
    assert not hub.asked


def test_without_a_network_a_tag_and_a_repository_are_refused_after_one_question(hub, tag):
    from huggingface_hub.errors import HfHubHTTPError

    # As httpx or requests raise it: whichever huggingface_hub uses.
    lost = next(base for base in HfHubHTTPError.__mro__ if base.__module__.partition(".")[0] != "huggingface_hub")
    hub.answers = dict.fromkeys(
        ("open_clip_model.safetensors", "open_clip_config.json"), lost("[Errno -2] Name or service not known")
    )
    for source in (tag, "hf-hub:org/name"):
        said = refusal(load_model, source)
        assert "org/name is not in Hugging Face's cache, and the network says: [Errno -2] Name or service" in said
        assert said.endswith("type local-dir:PATH")
    assert [question.rpartition("/")[2] for question in hub.asked] == list(hub.answers)


def test_a_tokenizer_that_is_missing_is_asked_for_before_anything_is_built(hub, tag, tmp_path, monkeypatch):
    import open_clip
    from safetensors.torch import save_file

    save_file(open_clip.create_model("tiny-tag").state_dict(), tmp_path / "w")
    put(hub, "org/name", tmp_path / "w", "open_clip_model.safetensors")
    text = {**CONFIG["text_cfg"], "hf_tokenizer_name": "roberta-none"}
    open_clip_models._register_config("tiny-tag", {**CONFIG, "text_cfg": text})
    hub.answers = {"tokenizer_config.json": OSError("no route to host")}
    assert "roberta-none is not in Hugging Face's cache, and the network says: no route" in refusal(load_model, tag)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (("RepositoryNotFoundError", 401), "org/name is not at Hugging Face, or private; check the name"),
        (("GatedRepoError", 403), "org/name wants its terms accepted"),
        (("RemoteEntryNotFoundError", 404), "org/name has no a or b; check the name"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_line(hub, error, said):
    hub.answers = dict.fromkeys("ab", http_error(*error))
    assert said in refusal(check_files, "x", "org/name", ("a", "b"))


def test_a_server_that_is_busy_is_left_to_the_download_and_the_second_name_is_asked_too(hub):
    hub.answers = {"a": http_error("HfHubHTTPError", 503)}
    check_files("x", "org/name", ("a", "b"))
    hub.answers = {"a": http_error("RemoteEntryNotFoundError", 404)}
    check_files("x", "org/name", ("a", "b"))
    assert [question.rpartition("/")[2] for question in hub.asked] == ["a", "a", "b"]


def test_what_is_no_name_of_a_repository_is_refused_and_cached_nowhere():
    assert cached_file("a--b/c", ("x",)) is None
    assert "a--b/c is no name of a repository" in refusal(load_model, "hf-hub:a--b/c")


def test_weights_have_the_names_that_open_clip_tries():
    from open_clip.pretrained import HF_WEIGHTS_NAME, _get_safe_alternatives

    for name in ("", "pytorch_model.bin", "a.pth", "a.pt", "b.c.bin"):
        tried = [*_get_safe_alternatives(name or HF_WEIGHTS_NAME), name or HF_WEIGHTS_NAME]
        assert list(weight_names(name)) == tried
    assert Path(weight_names("x.safetensors")[0]).name == "x.safetensors"
