"""What models and data sets of published tables are called here.

A model is called as the hub calls it, `arch/tag`; a data set as open_clip's tables do, whose names people read most
easily. `mllctl_data/published/datasets.csv` has the other names of each, and the metric open_clip reports.
"""

import csv
from functools import cache

import mllctl_data
from mllctl.backends.facts import known_models
from mllctl.backends.names import canonical, clean_tag

_PREFIX = "open_clip:"
_FOLDERS = ("wds/", "wds_")  # of data sets that CLIP_benchmark reads as webdatasets


def hub_model(model: str, pretrained: str = "") -> str:
    """Return a model as the hub names it.

    Args:
        model: architecture, or both as `ViT-B-32 openai`, `ViT-B-32,openai` or `open_clip:ViT-B-32/openai`.
        pretrained: tag or path of the weights, where it stands apart.
    """
    arch, _, rest = model.strip().removeprefix(_PREFIX).partition(" ")
    tag = pretrained.strip() or rest.strip()
    if (pretrained.strip() and rest) or " " in tag:
        return " ".join([model.strip(), pretrained.strip()]).strip()
    if not tag:
        return canonical(arch)
    cleaned = f"{arch}/{clean_tag(tag)}"
    return cleaned if cleaned in known_models() else f"{arch}/{tag}"


def usual_dataset(name: str) -> str:
    """Return what a data set is called in open_clip's tables; one that is not known keeps its name."""
    plain = name.strip()
    for folder in _FOLDERS:
        plain = plain.removeprefix(folder)
    return _aliases().get(plain.lower(), name.strip())


def open_clip_metric(dataset: str) -> str | None:
    """Return the metric that open_clip's table of results reports for a data set; None where that is not known."""
    return next((row["open_clip_metric"] or None for row in _datasets() if row["dataset"] == dataset), None)


@cache
def _datasets() -> tuple[dict[str, str], ...]:
    with mllctl_data.path("published", "datasets.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def _aliases() -> dict[str, str]:
    names = ((row["dataset"], [row["dataset"], *row["aliases"].split("|")]) for row in _datasets())
    return {alias.lower(): dataset for dataset, aliases in names for alias in aliases}
