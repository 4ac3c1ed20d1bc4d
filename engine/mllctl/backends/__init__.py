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

`load_model` is the way to a vision-language model, `sentence.sentence_encoder` to an encoder. Each
library is imported by the function that needs it: importing this package imports none of them.
"""

from importlib import import_module

from mllctl.backends.names import split_source
from mllctl.backends.protocol import VisionLanguageModel

__all__ = ["load_model"]

# Prefix -> where a function (rest, device) -> model is found; imported when such a model is asked for.
_LOADERS = {
    "demo": ("mllctl.backends.demo", "load_demo"),
    "hf-hub": ("mllctl.backends.open_clip_models", "open_repository"),
    "local-dir": ("mllctl.backends.open_clip_models", "open_folder"),
    "st": ("mllctl.backends.sentence_models", "load_sentence_model"),
    "conse": ("mllctl.backends.classifiers", "load_classifier"),
}


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
    plugin: VisionLanguageModel = import_module("mllctl.backends.plugins").load_plugin(read.kind, read.first, device)
    return plugin
