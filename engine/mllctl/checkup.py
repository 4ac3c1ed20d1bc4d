"""Look over an installation and a hub, and say what is wrong and how to mend it.

Each check is one function that gives one `Finding`. Nothing is changed.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mllctl.backends.sentence import is_exported
from mllctl.errors import MllctlError
from mllctl.hub import Hub, cache_folder
from mllctl.hub.manifest import changed_files
from mllctl.hub.writing import bare_models, cannot_grow


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what to say about it."""

    what: str
    well: bool
    remark: str


def check_installation() -> Iterator[Finding]:
    """Look for the packages a plain install leaves to choice, and for what is made on first use."""
    has_faiss = importlib.util.find_spec("faiss") is not None
    yield Finding("FAISS", has_faiss, "installed" if has_faiss else "missing; pip install 'mllctl[cpu]'")
    exported = is_exported(cache=cache_folder())
    remark = "exported to the cache" if exported else "will be exported on first use (about 15 s)"
    yield Finding("sentence encoder", True, remark)


def check_hub(path: Path) -> Iterator[Finding]:
    """Check the files of a hub against its manifest, and every stage against the one before it."""
    try:
        hub = Hub.open(path)
    except MllctlError as error:
        yield Finding("hub", False, str(error))
        return
    with hub:
        changed = changed_files(path, hub.manifest)
        remark = f"{changed[0]} is not what was written; restore the hub from a copy" if changed else "as written"
        yield Finding("files", not changed, remark)
        yield _check_graph(hub)
        yield _check_index(hub)
        yield from _check_labels(hub)


def _check_graph(hub: Hub) -> Finding:
    outside = hub.nodes_outside_graph()
    if hub.graph_version() == 0 or outside:
        return Finding("graph", False, "nodes are not in the graph yet; run `mllctl graph build`")
    return Finding("graph", True, f"version {hub.graph_version()}, {len(hub.captions())} nodes")


def _check_index(hub: Hub) -> Finding:
    made = hub.manifest.index
    if made is None:
        return Finding("index", False, "none; run `mllctl index build`")
    if (made.nodes, made.domains) != (len(hub.captions()), len(hub.domains())):
        return Finding("index", False, "older than its captions; run `mllctl index build`")
    return Finding("index", True, f"{made.nodes} captions by {made.encoder}")


def _check_labels(hub: Hub) -> Iterator[Finding]:
    models = hub.models()
    if not models:
        yield Finding("labels", False, "no models; run `mllctl label ARCH/WEIGHTS`")
    for model in models:
        if model.state != "complete":
            reason = (
                f"{model.missing} images and {model.unseen} nodes not seen yet" if model.labelled else "not labelled"
            )
            bare = model.model in bare_models(hub.manifest)
            cure = cannot_grow([model.card.name]) if bare else f"run `mllctl label {model.card.name}`"
            yield Finding(f"label of {model.card.name}", False, f"{reason}; {cure}")
    complete = sum(model.state == "complete" for model in models)
    if complete:
        yield Finding("labels", True, f"{complete} of {len(models)} complete")
