"""Models of the user's own: a Python package says which prefix it answers to, under the entry point group below.

    [project.entry-points."mllctl.backends"]
    mine = "my_package:load"

`load_model("mine:REST", device)` then calls `my_package.load("REST", device)`, which returns an object that keeps
`protocol.VisionLanguageModel` or `protocol.Expert`. What it returns is looked at once, before any image of a hub is
shown to it.
docs/backends.md has an example.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

import numpy as np
from PIL import Image

from mllctl.backends.protocol import Expert, ExpertCard, ModelCard, VisionLanguageModel
from mllctl.errors import ModelNotLoadable

GROUP = "mllctl.backends"
PAGE = "docs/backends.md"

# Type of a card's field -> what may stand there.
_KINDS: Mapping[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    dict[str, str]: (dict,),
    tuple[str, ...]: (tuple,),
}

SUM = 1e-2  # by how much probabilities may miss 1 together
UNIT = 1e-3  # by how much a length may miss 1: float16 embeddings of a thousand numbers do by half of that


def plugin_names() -> tuple[str, ...]:
    """Return the prefixes that installed packages answer to, in alphabetical order."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load_plugin(prefix: str, rest: str, device: str = "cpu") -> VisionLanguageModel | Expert:
    """Load a model through a package of the user's own.

    Args:
        prefix: what stands before the colon of a source.
        rest: what stands behind it; its meaning is the package's own.
        device: where it is to run, such as `cpu` or `cuda:1`.

    Raises:
        ModelNotLoadable: if no package, or more than one, answers to the prefix; if it cannot be imported or fails
            for want of a file; or if what it returns does not keep the protocol, saying where.
    """
    source = f"{prefix}:{rest}"
    point = _find_point(prefix, source)
    load = _import(point, source)
    try:
        model = load(rest, device)
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        # What loading raises where files are missing or do not fit; of all else its author wants the traceback.
        lines = str(error).splitlines()
        said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise ModelNotLoadable(source, f"{point.value} failed with {said}") from error
    check_protocol(source, model)
    return cast("VisionLanguageModel | Expert", model)


def check_protocol(source: str, model: object) -> None:
    """Look at a model's card and at what it makes of two images and two texts; of an expert, of two images.

    Args:
        source: what its card must give as its source.
        model: anything.

    Raises:
        ModelNotLoadable: saying what it has or makes that it should not.
    """
    if hasattr(model, "log_probability"):
        _check_expert(source, model)
        return
    for name in ("card", "encode_images", "encode_texts"):
        if not hasattr(model, name):
            raise _wrong(source, f"what it returned ({type(model).__name__}) has no {name}")
    card = model.card  # type: ignore[attr-defined]
    _check_card(source, card)
    _check_vectors(source, "encode_images", model.encode_images(_two_images()), card)  # type: ignore[attr-defined]
    _check_vectors(source, "encode_texts", model.encode_texts(["a dog", "two red cars"]), card)  # type: ignore[attr-defined]


def _find_point(prefix: str, source: str) -> EntryPoint:
    # A package may be found twice, as where it is installed in place.
    found = {point.value: point for point in entry_points(group=GROUP) if point.name == prefix}
    if not found:
        known = ", ".join(f"{name}:" for name in plugin_names()) or "none"
        cure = f"there is {known}; install its package, or write one as {PAGE} shows"
        raise ModelNotLoadable(source, f"no installed package answers to {prefix}: ({cure})")
    if len(found) > 1:
        raise ModelNotLoadable(source, f"{' and '.join(sorted(found))} both answer to {prefix}:; uninstall one")
    return next(iter(found.values()))


def _import(point: EntryPoint, source: str) -> Callable[[str, str], object]:
    try:
        load = point.load()
    except (ImportError, AttributeError) as error:
        raise ModelNotLoadable(source, f"{point.value} cannot be imported ({error}); install it again") from error
    if not callable(load) or not _takes_two(load):
        raise _wrong(source, f"{point.value} cannot be called with (rest, device)")
    return load  # type: ignore[no-any-return]


def _takes_two(load: Callable[..., object]) -> bool:
    try:
        inspect.signature(load).bind("rest", "cpu")
    except TypeError:
        return False
    except ValueError:  # no signature, as some functions written in C
        return True
    return True


def _check_expert(source: str, expert: Any) -> None:
    card = getattr(expert, "card", None)
    _check_fields(source, card, ExpertCard)
    assert isinstance(card, ExpertCard)
    if not card.heads or not all(isinstance(head, str) for head in card.heads):
        raise _wrong(source, "its card's heads must be texts, one an output, empty where it has no name")
    answers = expert.log_probability(_two_images())
    _check_array(source, "log_probability", answers, len(card.heads))
    total = np.exp(answers.astype(np.float64)).sum(axis=1)
    if np.abs(total - 1).max() > SUM:
        raise _wrong(source, f"log_probability returned what sums to {total[0]:.4g}, not 1; give log softmax of logits")


def _check_card(source: str, card: object) -> None:
    _check_fields(source, card, ModelCard)
    assert isinstance(card, ModelCard)
    if card.embedding_width < 1:
        raise _wrong(source, "its card's parameters, image_size and embedding_width must be positive")
    if not (math.isfinite(card.logit_scale) and card.logit_scale > 0 and math.isfinite(card.logit_bias)):
        raise _wrong(source, "its card's logit_scale must be above 0, and logit_bias finite")


def _check_fields(source: str, card: object, kind: type[ModelCard] | type[ExpertCard]) -> None:
    if not isinstance(card, kind):
        wanted = f"mllctl.backends.protocol.{kind.__name__}, not {type(card).__name__}"
        raise _wrong(source, f"its card must be a {wanted}")
    for field in dataclasses.fields(card):
        value = getattr(card, field.name)
        if isinstance(value, bool) or not isinstance(value, _KINDS[field.type]):
            name = getattr(field.type, "__name__", field.type)
            raise _wrong(source, f"its card's {field.name} is {value!r}, which is no {name}")
        if isinstance(value, str) and not value.strip():
            raise _wrong(source, f"its card's {field.name} is empty")
    if card.parameters < 0 or card.image_size < 1:
        raise _wrong(source, "its card's parameters, image_size and embedding_width must be positive")
    if not all(isinstance(text, str) for pair in card.libraries.items() for text in pair):
        raise _wrong(source, "its card's libraries must be names and versions, both text")
    if card.source != source:
        raise _wrong(source, f"its card's source is {card.source!r}, which would not load it again; make it {source!r}")


def _check_vectors(source: str, method: str, vectors: object, card: ModelCard) -> None:
    _check_array(source, method, vectors, card.embedding_width)
    assert isinstance(vectors, np.ndarray)
    lengths = np.linalg.norm(vectors, axis=1)
    if np.abs(lengths - 1).max() > UNIT:
        raise _wrong(source, f"{method} returned vectors of length {lengths[0]:.4g}, not 1; divide by their length")


def _check_array(source: str, method: str, vectors: object, width: int) -> None:
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32:
        kind = f"{vectors.dtype} array" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise _wrong(source, f"{method} returned a {kind}, not a NumPy array of float32")
    if vectors.shape != (2, width):
        raise _wrong(source, f"{method} of two returned shape {vectors.shape}, not {(2, width)} as its card says")
    if not np.isfinite(vectors).all():
        raise _wrong(source, f"{method} returned what is not finite")


def _two_images() -> Sequence[Image.Image]:
    """Two images of unlike sizes, not square."""
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, size=(*size, 3)).astype(np.uint8)) for size in ((40, 64), (96, 48))]


def _wrong(source: str, what: str) -> ModelNotLoadable:
    return ModelNotLoadable(source, f"{what}; {PAGE} shows how it should be")
