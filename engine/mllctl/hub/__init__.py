"""The hub: models, graph and labels, a folder of immutable files behind one manifest.

    manifest.py   which files make up the hub now; replaced atomically
    schema/       the tables of a catalog and of a label, and the views people query
    finding.py    which hub a caller means
    reading.py    Hub: create, open, and one function per question
    snapshot.py   the files of one generation, attached and mapped
    counting.py   hits and winners, by order and by masks
    writing.py    HubChange: everything that changes a hub, committed as one new generation
    following.py  HubReader: the newest generation for a process that lives long
    upgrading.py  hubs that an earlier mllctl wrote
    parts.py      LabelWriter: a model's label as it is written, in bounded memory
    experts.py    a part of an expert's label as it is written
    features.py   a model's embeddings, mapped from Arrow files
    records.py    what goes in and comes out: frozen dataclasses and arrays

All SQL of mllctl is in this package. A reader holds one generation and is never blocked; a writer
makes new files beside the old ones and then replaces the manifest. Whatever kills a process leaves
at most orphans, which the next commit sweeps.
"""

from mllctl.hub.features import Features
from mllctl.hub.finding import bundled_hub, cache_folder, find_hub
from mllctl.hub.following import HubReader
from mllctl.hub.manifest import Manifest, read_history
from mllctl.hub.reading import Hub
from mllctl.hub.records import (
    Evidence,
    HeadTotals,
    LabelInput,
    LabelState,
    StoredDomain,
    StoredExpert,
    StoredImage,
    StoredModel,
    StoredNode,
    Table,
    Winners,
)

__all__ = [
    "Evidence",
    "Features",
    "HeadTotals",
    "Hub",
    "HubReader",
    "LabelInput",
    "LabelState",
    "Manifest",
    "StoredDomain",
    "StoredExpert",
    "StoredImage",
    "StoredModel",
    "StoredNode",
    "Table",
    "Winners",
    "bundled_hub",
    "cache_folder",
    "find_hub",
    "read_history",
]
