"""The only importers of torch, open_clip, sentence_transformers, onnxruntime, faiss and openai.

    protocol           what the engine asks of them: `Encoder`, `VisionLanguageModel`, `ModelCard`
    sentence           sentence encoders, by ONNX where they have been exported
    open_clip_models   any open_clip model
    towers             the frozen towers of the demo hub, from the packages that carry them
    demo               packaged towers and shipped heads, composed into open_clip models
    conse              ImageNet's class names as a vision-language model, nothing trained
    latency            how long a model takes for one image on this machine
    facts              what a model costs, and whether its weights are here
    vectors            nearest neighbours among captions
    llm                language models that write captions, behind any OpenAI-compatible endpoint

`load_model` is the way to a vision-language model, `sentence.sentence_encoder` to an encoder. Each
library is imported by the function that needs it: importing this package imports none of them.
"""

from mllctl.backends.protocol import VisionLanguageModel
from mllctl.errors import ModelNotLoadable

__all__ = ["load_model"]


def load_model(source: str, device: str = "cpu") -> VisionLanguageModel:
    """Load a vision-language model.

    Args:
        source: `demo:NAME`; or `arch/weights`, as in `ViT-B-32/laion2b_s34b_b79k`, where the weights
            may also be the path of a checkpoint: `ViT-B-32//weights/mine.safetensors`.
        device: where torch runs it, such as `cpu` or `cuda:0`.

    Raises:
        ModelNotLoadable: if there is no such model, or its weights cannot be had.
    """
    if source.startswith("demo:"):
        from mllctl.backends.demo import load_demo

        return load_demo(source.removeprefix("demo:"), device)
    arch, slash, weights = source.partition("/")
    if not (arch and slash and weights):
        raise ModelNotLoadable(source, "a model is named demo:NAME, arch/weights-tag or arch/path/to/checkpoint")
    from mllctl.backends.open_clip_models import open_model

    return open_model(arch, weights, device)
