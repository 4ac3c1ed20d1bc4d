"""Every pretrained model of the installed open_clip, with what is known of it before anything is downloaded.

    models.csv                        all ids of open_clip `MADE_FROM`, read without importing it
    the user's cache/registry         for any other release: its own list, made once by importing it

Parameters are counted on torch's meta device, where a model has shapes and no weights; `assets/models.py` did so for
`models.csv`. `mllctl model list --pretrained` prints what is here.
"""

import dataclasses
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mllctl.backends.facts import KnownModel, known_models
from mllctl.errors import InvalidTask, ModelNotLoadable
from mllctl.files import write_whole

MADE_FROM = "3.3.0"  # the release of open_clip_torch whose models are in `models.csv`


@dataclass(frozen=True)
class Architecture:
    """What open_clip's configuration says of an architecture, whatever its weights.

    Attributes:
        parameters: number of weights; None if it cannot be built with the libraries and files that are here.
        image_size: side of the square it sees, in pixels.
        context_length: tokens of the longest text.
        embedding_width: d.
    """

    parameters: int | None
    image_size: int
    context_length: int
    embedding_width: int


def pretrained_models(cache: Path, patterns: Sequence[str] = ()) -> list[KnownModel]:
    """Return the pretrained models of the installed open_clip, sorted by name.

    Args:
        cache: the user's cache folder, used where the installed release is not `MADE_FROM`.
        patterns: such as `ViT-B*`, of which a name must match one, in upper or lower case; `*` stands for slashes,
            too. None at all: every model.

    Raises:
        InvalidTask: if no model matches.
    """
    release = version("open_clip_torch")
    models = _shipped() if release == MADE_FROM else _of_release(release, cache)
    wanted = [pattern.lower() for pattern in patterns]
    found = [model for model in models if not wanted or any(fnmatchcase(model.model.lower(), like) for like in wanted)]
    if not found:
        inside = [f"*{pattern.strip('*')}*" for pattern in patterns]
        wider = next((like for like in inside if any(fnmatchcase(m.model.lower(), like.lower()) for m in models)), None)
        cure = f"try '{wider}'" if wider else "`mllctl model list --pretrained` shows all"
        raise InvalidTask(f"no pretrained model is named like {' or '.join(patterns)}; {cure}")
    return sorted(found, key=lambda model: model.model)


def describe_architecture(arch: str) -> Architecture:
    """Build an architecture without weights and say what it is; takes up to a few seconds.

    Raises:
        KeyError: if open_clip has no such architecture.
    """
    import open_clip

    config = open_clip.get_model_config(arch)
    if config is None:
        raise KeyError(arch)
    size = config["vision_cfg"].get("image_size", open_clip.CLIPVisionCfg.image_size)
    return Architecture(
        parameters=_count_parameters(arch),
        image_size=size if isinstance(size, int) else max(size),
        context_length=config["text_cfg"].get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
        embedding_width=config["embed_dim"],
    )


def read_architecture(arch: str) -> dict[str, Any] | None:
    """Return open_clip's configuration of an architecture without importing it; None if it carries none."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model_configs"
    # Among the names that are there: a name that was typed may be any path.
    if f"{arch}.json" not in {path.name for path in folder.glob("*.json")}:
        return None
    config: dict[str, Any] = json.loads((folder / f"{arch}.json").read_text(encoding="utf-8"))
    return config


def _shipped() -> list[KnownModel]:
    return [model for model in known_models().values() if model.weights]


def _of_release(release: str, cache: Path) -> list[KnownModel]:
    """Return the models of another release than the shipped table was made from; kept in the cache."""
    path = cache / "registry" / f"open_clip-{release}.json"
    try:
        return [KnownModel(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (FileNotFoundError, ValueError, TypeError):
        pass  # not there, not whole, or of another mllctl: it is made again
    models = _list_installed()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps([dataclasses.asdict(model) for model in models]))
    return models


def _list_installed() -> list[KnownModel]:
    """Ask open_clip itself; of models that are not in `models.csv` their architecture is built."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    from mllctl.backends.open_clip_models import quickgelu_name

    known, built, models = known_models(), dict[str, Architecture](), []
    for arch, tag in open_clip.list_pretrained():
        name = f"{arch}/{tag}"
        if name in known:
            models.append(known[name])
            continue
        built[arch] = built.get(arch) or describe_architecture(arch)
        models.append(
            KnownModel(
                model=name,
                gflops=next((row.gflops for row in known.values() if row.model.startswith(f"{arch}/")), None),
                license=None,
                imagenet_top1=None,
                weights=get_pretrained_cfg(arch, tag).get("hf_hub", ""),
                tokenizer=open_clip.get_model_config(arch)["text_cfg"].get("hf_tokenizer_name", ""),
                instead=quickgelu_name(arch, tag) or "",
                source="",
                **dataclasses.asdict(built[arch]),
            )
        )
    return models


def _count_parameters(arch: str) -> int | None:
    import open_clip
    import torch

    from mllctl.backends.open_clip_models import _check_text, _quietly, _unloadable

    unbuilt: tuple[type[Exception], ...] = (ModelNotLoadable, *_unloadable())
    try:
        _check_text(arch, arch)
        with _quietly(), torch.device("meta"):
            model = open_clip.create_model(arch, load_weights=False, pretrained_text=False, device="meta")
    except unbuilt:
        # The configuration of a text tower lies at Hugging Face, or a tower is newer than the timm that is here.
        return None
    return int(sum(parameter.numel() for parameter in model.parameters()))
