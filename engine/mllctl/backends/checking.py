"""What speaks against a model before it is loaded: neither torch nor open_clip is imported, and no network is asked.

    check_source("ViT-B-32/gone", cache)     refuses at once what `load_model` refuses after seconds of imports

Names, files and configurations are looked at. What passes may still not be loadable: weights that do not fit, a
repository that is not there, a plugin's own reasons. Called by `label`, whose plan loads nothing.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from mllctl.backends import open_clip_models
from mllctl.backends.demo import find_model
from mllctl.backends.names import absolute, clean_tag, split_source
from mllctl.backends.registry import pretrained_models, read_architecture


def check_source(source: str, cache: Path) -> None:
    """Refuse a source that cannot be loaded, as far as names and files tell.

    Args:
        source: as in `load_model`.
        cache: the user's cache folder, in which the models of another release of open_clip are listed.

    Raises:
        ModelNotLoadable: saying what `load_model` would say.
    """
    read = split_source(source)
    if read.kind == "open_clip":
        check_model(read.first, read.second, cache)
    elif read.kind == "config":
        open_clip_models.read_configured(absolute(read.first), absolute(read.second))
    elif read.kind in _CHECKS:
        _CHECKS[read.kind](read.first)


def check_model(arch: str, weights: str, cache: Path) -> None:
    """Refuse what is neither a pretrained tag of an architecture nor a checkpoint with its configuration beside it.

    Raises:
        ModelNotLoadable: with near names.
    """
    source = f"{arch}/{weights}"
    known = {model.model: model for model in pretrained_models(cache)}
    tagged = known.get(f"{arch}/{clean_tag(weights)}")
    if tagged:
        if tagged.instead:
            raise open_clip_models.other_activation(arch, clean_tag(weights), tagged.instead)
        return
    if read_architecture(arch) is None:
        raise open_clip_models.no_architecture(source, arch, known)
    path = absolute(weights)
    if not path.is_file():
        own = [name for name in known if name.startswith(f"{arch}/")]
        raise open_clip_models.no_weights(source, arch, weights, own)
    open_clip_models.read_beside(f"{arch}/{path}", path)


def _check_folder(folder: str) -> None:
    open_clip_models.read_folder(absolute(folder))


def _check_sentence_model(name_or_folder: str) -> None:
    from mllctl.backends.sentence_models import read_name

    read_name(name_or_folder)


def _check_classifier(spec: str) -> None:
    from mllctl.backends.classifiers import IMAGENET, read_labels, read_spec

    asked = read_spec(spec)
    # ImageNet's names are timm's, which would be imported for them.
    if asked.options.get("labels") != IMAGENET:
        read_labels(asked)


# Prefix -> what looks at the rest; of a plugin only the plugin knows.
_CHECKS: Mapping[str, Callable[[str], object]] = {
    "demo": find_model,
    "hf-hub": open_clip_models.check_repository_name,
    "local-dir": _check_folder,
    "st": _check_sentence_model,
    "conse": _check_classifier,
}
