"""Label, select and reuse vision-language models.

    graph -> captions -> index --+
                                 +-> select -> reuse -> evaluate
    models -> label -> hub ------+

Each word is a module; data goes one way, and imports never go against it. Arithmetic is in
`kernels`, foreign libraries are in `backends`, SQL is in `hub`; `demo` walks the whole road on
the images and models that are shipped.

    import mllctl

    with mllctl.Hub.open(mllctl.find_hub()) as hub:
        selection = mllctl.select_models(hub, ["cat", "dog"], domain="photograph")
    print(selection.names[selection.single])

Importing this package imports neither torch nor any other heavy library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mllctl.backends import load_model
    from mllctl.backends.sentence import sentence_encoder
    from mllctl.errors import MllctlError
    from mllctl.evaluate import evaluate_hub
    from mllctl.hub import Hub, find_hub
    from mllctl.index import build_index
    from mllctl.label import label_model
    from mllctl.reuse.ensemble import Ensemble, Prediction
    from mllctl.reuse.examples import with_examples
    from mllctl.reuse.heads import export_heads
    from mllctl.reuse.saved import read_selection, save_selection
    from mllctl.select import Selection, select_models

    __version__: str

__all__ = [
    "Ensemble",
    "Hub",
    "MllctlError",
    "Prediction",
    "Selection",
    "build_index",
    "evaluate_hub",
    "export_heads",
    "find_hub",
    "label_model",
    "load_model",
    "read_selection",
    "save_selection",
    "select_models",
    "sentence_encoder",
    "with_examples",
]

# Each name is imported when it is first asked for: a query takes less time than importing all that labels and tests.
_HOME = {
    "Ensemble": "reuse.ensemble",
    "Hub": "hub",
    "MllctlError": "errors",
    "Prediction": "reuse.ensemble",
    "Selection": "select",
    "build_index": "index",
    "evaluate_hub": "evaluate",
    "export_heads": "reuse.heads",
    "find_hub": "hub",
    "label_model": "label",
    "load_model": "backends",
    "read_selection": "reuse.saved",
    "save_selection": "reuse.saved",
    "select_models": "select",
    "sentence_encoder": "backends.sentence",
    "with_examples": "reuse.examples",
}


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("mllctl")
        if name not in _HOME:
            raise AttributeError(f"module 'mllctl' has no attribute {name!r}")
        return getattr(import_module(f"mllctl.{_HOME[name]}"), name)

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
