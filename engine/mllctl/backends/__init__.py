"""The only importers of torch, open_clip, sentence_transformers, onnxruntime, faiss and openai.

    protocol           what the engine asks of them: `Encoder`, `VisionLanguageModel`, `ModelCard`
    sentence           sentence encoders, by ONNX where they have been exported
    remembering        embeddings of texts, kept in the cache
    names              what people type for a model, taken apart
    open_clip_models   any open_clip model
    checking           what speaks against a model before it is loaded
    hugging_face       files of its repositories: here, or why they cannot be had
    registry           every pretrained model of the installed open_clip
    facts              what a model costs, and whether its weights are here
    unchanged          whether a model's files are those it was loaded from
    towers             the frozen towers of the demo hub, from the packages that carry them
    demo               packaged towers and shipped heads, composed into open_clip models
    conse              a classifier as a vision-language model, nothing trained
    classifiers        classifiers for it: timm, torchvision, ONNX
    experts            classifiers asked for what each of their heads answers
    packaged           experts whose weights are in packages
    sentence_models    CLIP-like models of sentence-transformers
    plugins            models of the user's own, by an entry point
    canary             what a model makes of a few fixed images, to see that it is still the same
    devices            where a model runs and in how many bits
    sharing            one transform of a batch for several models
    gently             a model in smaller batches once memory ran out
    latency            how long a model takes for one image on this machine
    comparison         where images are compared with nodes: this processor or a graphics card
    vectors            nearest neighbours among captions
    llm                language models that write captions, behind any OpenAI-compatible endpoint

`load_model` is the way to a vision-language model, `load_expert` to an expert, `sentence.sentence_encoder` to an
encoder. Each library is imported by the function that needs it: importing this package imports none of them.
"""

from importlib import import_module
from typing import TypeGuard, cast

from mllctl.backends.names import split_source
from mllctl.backends.protocol import Expert, VisionLanguageModel
from mllctl.errors import ModelNotLoadable

__all__ = ["is_expert", "load_any", "load_expert", "load_model"]

# Prefix -> where a function (rest, device) -> model is found; imported when such a model is asked for.
_LOADERS = {
    "demo": ("mllctl.backends.demo", "load_demo"),
    "hf-hub": ("mllctl.backends.open_clip_models", "open_repository"),
    "local-dir": ("mllctl.backends.open_clip_models", "open_folder"),
    "st": ("mllctl.backends.sentence_models", "load_sentence_model"),
    "conse": ("mllctl.backends.classifiers", "load_classifier"),
}

_EXPERT = "it is an expert, which has no texts; `mllctl select --experts` chooses among experts"


def load_model(source: str, device: str = "cpu") -> VisionLanguageModel:
    """Load a vision-language model.

    Args:
        source: one of

            ViT-B-32/laion2b_s34b_b79k            a pretrained tag of open_clip; `:`, `,` and `__` are as good as `/`
            ViT-B-32//weights/mine.safetensors    a checkpoint, with open_clip_config.json beside it
            config.json,mine.safetensors          a configuration and a checkpoint
            hf-hub:org/name                       a Hugging Face repository that open_clip reads
            local-dir:/path                       a folder with open_clip_config.json and a checkpoint
            demo:NAME                             a model of the demo hub
            st:NAME, conse:NAME                   models of other kinds; see `sentence_models` and `classifiers`
            PREFIX:REST                           whatever a plugin has registered under its prefix
        device: where torch runs it, such as `cpu` or `cuda:0`.

    Raises:
        ModelNotLoadable: if there is no such model, its weights cannot be had, or how its images are prepared is not
            known.
    """
    read = split_source(source)
    if read.kind == "expert":
        raise ModelNotLoadable(source, _EXPERT)
    if read.kind in _LOADERS:
        module, function = _LOADERS[read.kind]
        found: VisionLanguageModel = getattr(import_module(module), function)(read.first, device)
        return found
    # By module, not by name: tests put other models in its place.
    from mllctl.backends import open_clip_models

    if read.kind == "open_clip":
        return open_clip_models.open_model(read.first, read.second, device)
    if read.kind == "config":
        return open_clip_models.open_configured(read.first, read.second, device)
    plugin: VisionLanguageModel | Expert = import_module("mllctl.backends.plugins").load_plugin(
        read.kind, read.first, device
    )
    if is_expert(plugin):
        raise ModelNotLoadable(source, _EXPERT)
    return cast("VisionLanguageModel", plugin)


def load_expert(source: str, device: str = "cpu") -> Expert:
    """Load an expert: a classifier with heads of its own.

    Args:
        source: `expert:` and what `backends.experts` reads, or what a plugin has registered under its prefix.
        device: where it runs.

    Raises:
        ModelNotLoadable: if there is no such expert, it is a vision-language model, or its weights cannot be had.
    """
    loaded = load_any(source, device)
    if not is_expert(loaded):
        raise ModelNotLoadable(source, "it is a vision-language model, not an expert; name it without --experts")
    return loaded


def load_any(source: str, device: str = "cpu") -> VisionLanguageModel | Expert:
    """Load a vision-language model or an expert, whichever a source names.

    Raises:
        ModelNotLoadable: if there is no such model, or its weights cannot be had.
    """
    read = split_source(source)
    if read.kind == "expert":
        expert: Expert = import_module("mllctl.backends.experts").open_expert(read.first, device)
        return expert
    if read.kind in _LOADERS or read.kind in ("open_clip", "config"):
        return load_model(source, device)
    plugin: VisionLanguageModel | Expert = import_module("mllctl.backends.plugins").load_plugin(
        read.kind, read.first, device
    )
    return plugin


def is_expert(model: VisionLanguageModel | Expert) -> TypeGuard[Expert]:
    """Say whether a model is an expert."""
    return hasattr(model, "log_probability")
