"""Read a hub: one public function per question.

`Hub.open` takes a snapshot: the generation it found stays readable and unchanged until the hub is
closed, whatever a writer does meanwhile. Rows come back in a stated order.
"""

import dataclasses
import difflib
import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mllctl.backends.protocol import ExpertCard, Float32, ModelCard
from mllctl.errors import HubExists, NotInHub
from mllctl.hub.counting import Counting
from mllctl.hub.features import Features
from mllctl.hub.manifest import (
    HISTORY,
    NAME,
    SCHEMA_VERSION,
    Manifest,
    describe,
    read_manifest,
    write_manifest,
)
from mllctl.hub.parts import SCHEMA, new_file
from mllctl.hub.records import (
    Evidence,
    HeadTotals,
    LabelInput,
    LabelState,
    Masks,
    Ordinals,
    StoredDomain,
    StoredExpert,
    StoredImage,
    StoredModel,
    StoredNode,
    Table,
    Winners,
)
from mllctl.hub.snapshot import Snapshot
from mllctl.kernels.arrays import Int
from mllctl.kernels.typical import chance_of_hit

TYPICAL = 30  # classes; the tasks people publish have 10 to 1,000, those of the demo 20 to 53
TYPICAL_IMAGES = 20_000  # of a model that a mean over the whole hub is taken from, about
FOLDERS = ("staging", "labels", "features", HISTORY)
CARD = tuple(field.name for field in dataclasses.fields(ModelCard) if field.name != "libraries")
EXPERT_CARD = tuple(field.name for field in dataclasses.fields(ExpertCard) if field.name not in ("heads", "libraries"))


class Hub(AbstractContextManager["Hub"]):
    """One generation of a hub, open for reading. What it says of whole labels it looks up once.

    Attributes:
        path: its folder.
        manifest: the generation that was found.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._snapshot = Snapshot(path, manifest)
        self._counting = Counting(self._snapshot)

    @classmethod
    def open(cls, path: Path | str, generation: int | None = None) -> Self:
        """Open a hub.

        Args:
            path: its folder.
            generation: one that is kept (`Hub.history`); the newest when None.

        Raises:
            HubNotFound, HubDamaged, HubTooNew, HubTooOld: as their names say.
            NotInHub: if there is no such generation.
        """
        folder = Path(path)
        return cls(folder, read_manifest(folder, generation))

    @classmethod
    def create(cls, path: Path | str) -> Self:
        """Make an empty hub at `path` and open it.

        Raises:
            HubExists: if the folder holds anything but leftovers of a creation that was cut off.
        """
        folder = Path(path)
        if folder.exists() and not (folder.is_dir() and all(_is_leftover(entry) for entry in folder.iterdir())):
            raise HubExists(folder)
        for inner in FOLDERS:
            (folder / inner).mkdir(parents=True, exist_ok=True)
        catalog = folder / "catalog-000000.duckdb"
        # Small pages here too: a table or an index takes a page at least, and each generation has its catalog.
        with new_file(catalog) as db:
            db.execute((SCHEMA / "catalog.sql").read_text())
        entry = describe(folder, catalog.name)
        write_manifest(folder, Manifest(SCHEMA_VERSION, 0, read_only=False, catalog=entry, made=now(), note="init"))
        return cls.open(folder)

    def close(self) -> None:
        """Let go of the files."""
        self._snapshot.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the graph ---------------------------------------------------------------------------------

    def nodes(self) -> list[StoredNode]:
        """Return every node, by ordinal."""
        return list(self._nodes)

    @cached_property
    def _nodes(self) -> list[StoredNode]:
        query = """
              SELECT n.node, n.synset, n.name, n.definition, n.lexname, n.caption,
                     coalesce(sum(bit_count(b.live)), 0)::INTEGER AS images
                FROM node n
                LEFT JOIN block b USING (node)
            GROUP BY ALL
            ORDER BY n.node
        """
        return [StoredNode(*row) for row in self._snapshot.rows(query)]

    def edges(self) -> list[tuple[int, int]]:
        """Return every (parent, child) pair of node ordinals, sorted."""
        return [(parent, child) for parent, child in self._snapshot.rows("SELECT parent, child FROM edge ORDER BY ALL")]

    def graph_version(self) -> int:
        """Return the number of the last `graph build`; 0 before the first."""
        return int(self._snapshot.value("SELECT coalesce(max(version), 0) FROM graph"))

    def nodes_outside_graph(self) -> int:
        """Return how many nodes came after the last `graph build`."""
        return int(self._snapshot.value("SELECT (SELECT count(*) FROM node) - coalesce(max(nodes), 0) FROM graph"))

    def captions(self) -> list[str]:
        """Return every node's caption, by ordinal."""
        return [caption for (caption,) in self._snapshot.rows("SELECT caption FROM node ORDER BY node")]

    def evidence_nodes(self) -> NDArray[np.bool_]:
        """Say which nodes have a live image, shape (v,)."""
        query = """
              SELECT coalesce(bool_or(b.live <> 0), false) AS held
                FROM node n
                LEFT JOIN block b USING (node)
            GROUP BY n.node
            ORDER BY n.node
        """
        return np.asarray(self._snapshot.arrays(query)["held"], dtype=np.bool_)

    # -- images and domains ------------------------------------------------------------------------

    def domains(self) -> list[StoredDomain]:
        """Return every domain, by ordinal."""
        return list(self._domains)

    @cached_property
    def _domains(self) -> list[StoredDomain]:
        query = """
              SELECT d.domain, d.name, d.description, coalesce(sum(bit_count(b.live)), 0)::INTEGER
                FROM domain d
                LEFT JOIN block b USING (domain)
            GROUP BY ALL
            ORDER BY d.domain
        """
        return [StoredDomain(*row) for row in self._snapshot.rows(query)]

    def caption_index(self) -> bytes | None:
        """Return the caption index as `build_index` stored it, None before the first."""
        if self.manifest.index is None:
            return None
        return self._snapshot.held(self.manifest.index)

    def domain_embeddings(self) -> Float32:
        """Return the embeddings of the domains' descriptions by ordinal, shape (domains, width)."""
        rows = self._snapshot.rows("SELECT embedding FROM domain_embedding ORDER BY domain")
        return np.array([embedding for (embedding,) in rows], dtype=np.float32)

    def images(self, synset: str | None = None, domain: str | None = None) -> list[StoredImage]:
        """Return live images, by ordinal; only those of a synset or a domain if one is given."""
        query = """
              SELECT i.image, i.node, n.synset, d.name, i.block, i.bit, i.uri
                FROM image i
                JOIN node n USING (node)
                JOIN block b USING (block)
                JOIN domain d USING (domain)
               WHERE n.synset = coalesce($synset, n.synset) AND d.name = coalesce($domain, d.name)
            ORDER BY i.image
        """
        return [StoredImage(*row) for row in self._snapshot.rows(query, {"synset": synset, "domain": domain})]

    def images_held(self, hashes: Iterable[str]) -> dict[str, StoredImage]:
        """Return the live images that have one of these contents: SHA-256 -> image."""
        query = """
              SELECT i.sha256, i.image, i.node, n.synset, d.name, i.block, i.bit, i.uri
                FROM image i
                JOIN (SELECT DISTINCT unnest($hashes::VARCHAR[]) AS sha256) USING (sha256)
                JOIN node n USING (node)
                JOIN block b USING (block)
                JOIN domain d USING (domain)
            ORDER BY i.image
        """
        rows = self._snapshot.rows(query, {"hashes": list(hashes)})
        return {sha256: StoredImage(*row) for sha256, *row in rows}

    def label_input(self) -> LabelInput:
        """Return what every model is shown, and what it is compared with."""
        images = self._snapshot.arrays("SELECT image, node, block, bit FROM image ORDER BY node, block, bit")
        uris = self._snapshot.rows("SELECT uri FROM image ORDER BY node, block, bit")
        nodes = self._snapshot.rows(
            "SELECT node, caption FROM node WHERE node IN (SELECT node FROM block WHERE live <> 0) ORDER BY node"
        )
        return LabelInput(
            graph_version=self.graph_version(),
            nodes=np.array([node for node, _ in nodes], dtype=np.uint32),
            captions=tuple(caption for _, caption in nodes),
            images=images["image"],
            image_node=images["node"],
            block=images["block"],
            bit=images["bit"],
            uris=tuple(uri for (uri,) in uris),
        )

    # -- models and labels -------------------------------------------------------------------------

    def models(self) -> list[StoredModel]:
        """Return every model, by ordinal."""
        return list(self._models)

    @cached_property
    def _models(self) -> list[StoredModel]:
        query = """
              SELECT m.* EXCLUDE (libraries), m.libraries,
                     coalesce(s.labelled, 0)::INTEGER,
                     (SELECT coalesce(sum(bit_count(live)), 0) FROM block)::INTEGER - coalesce(s.labelled, 0)::INTEGER,
                     (SELECT count(DISTINCT b.node) FROM block b
                       WHERE b.live <> 0
                         AND b.node NOT IN (SELECT l.node FROM label_node l WHERE l.model = m.model))::INTEGER
                FROM model m
                LEFT JOIN (SELECT model, sum(bit_count(labelled & live)) AS labelled
                             FROM label_state JOIN block USING (block) GROUP BY model) s USING (model)
            ORDER BY m.model
        """
        stored = []
        for model, *facts, libraries, labelled, missing, unseen in self._snapshot.rows(query):
            card = ModelCard(**dict(zip(CARD, facts, strict=True)), libraries=json.loads(libraries))
            stored.append(StoredModel(model, card, labelled, missing, unseen))
        return stored

    def model(self, name: str) -> StoredModel:
        """Return one model by name.

        Raises:
            NotInHub: if there is none; close names are suggested.
        """
        stored = {model.card.name: model for model in self.models()}
        if name not in stored:
            raise NotInHub("model", name, _close_names(name, stored), "`mllctl model list` shows all")
        return stored[name]

    def experts(self) -> list[StoredExpert]:
        """Return every expert, by ordinal."""
        return list(self._experts)

    @cached_property
    def _experts(self) -> list[StoredExpert]:
        query = f"""
              SELECT e.expert, {", ".join(f"e.{name}" for name in EXPERT_CARD)}, e.heads, e.libraries,
                     coalesce(s.labelled, 0)::INTEGER,
                     (SELECT coalesce(sum(bit_count(live)), 0) FROM block)::INTEGER - coalesce(s.labelled, 0)::INTEGER
                FROM expert_made e
                LEFT JOIN (SELECT expert, sum(bit_count(shown & live)) AS labelled
                             FROM expert_block JOIN block USING (block) GROUP BY expert) s USING (expert)
            ORDER BY e.expert
        """
        stored = []
        for expert, *facts, heads, libraries, labelled, missing in self._snapshot.rows(query):
            named = dict(zip(EXPERT_CARD, facts, strict=True))
            card = ExpertCard(**named, heads=tuple(heads), libraries=json.loads(libraries))
            stored.append(StoredExpert(expert, card, labelled, missing))
        return stored

    def expert(self, name: str) -> StoredExpert:
        """Return one expert by name.

        Raises:
            NotInHub: if there is none; close names are suggested.
        """
        stored = {expert.card.name: expert for expert in self.experts()}
        if name not in stored:
            raise NotInHub("expert", name, _close_names(name, stored), "`mllctl model list` shows all")
        return stored[name]

    def head_totals(self, expert: int, nodes: Sequence[int] | Int) -> HeadTotals:
        """Return what an expert's heads answered on the images of some nodes, by block."""
        query = """
              SELECT b.node::BIGINT AS node, b.domain::BIGINT AS domain, bit_count(s.shown)::BIGINT AS images, s.total,
                     bit_count(s.shown & b.live)::BIGINT AS live
                FROM expert_block s
                JOIN block b USING (block)
               WHERE s.expert = $expert AND s.shown <> 0 AND b.node IN (SELECT unnest($nodes::UINTEGER[]))
            ORDER BY b.node, s.block
        """
        found = self._snapshot.lists(query, {"expert": expert, "nodes": _ordinals(nodes).tolist()})
        heads = next((len(stored.card.heads) for stored in self._experts if stored.expert == expert), 1)
        # Of no rows a matrix has no width.
        total = found["total"].reshape(-1, heads)
        return HeadTotals(found["node"], found["domain"], found["images"], found["live"], total)

    def shown_images(self, expert: int) -> tuple[Ordinals, Masks]:
        """Return the blocks of an expert's label, ascending, and which of their images are in the sums."""
        query = "SELECT block, shown FROM expert_block WHERE expert = $expert ORDER BY block"
        found = self._snapshot.arrays(query, {"expert": expert})
        return found["block"], found["shown"]

    def expert_files(self, expert: int) -> tuple[str, ...]:
        """Return the files of an expert's label, one for each of its parts."""
        return tuple(file.path for file in self._snapshot.expert_labels(expert))

    def hits(self, nodes: Sequence[int] | NDArray[np.int64], models: Sequence[int]) -> Evidence:
        """Count hits of each model on the images of each selected node, apart for each domain.

        An image is a hit iff it was labelled, is live, and no selected node beats its true node: Eq 5
        with the tie rule of the kernels, in integers. Looks along the ordered rivals of each image until a selected
        one comes, which is seldom far; models whose order a sealed hub has left out are counted by their masks.

        Args:
            nodes: V_sel, ordinals.
            models: model ordinals.

        Returns:
            Evidence over `nodes` and `models`, both ascending; zeros where nothing was labelled.
        """
        return self._counting.hits(_ordinals(nodes), _ordinals(models))

    def hits_by_masks(self, nodes: Sequence[int] | Int, models: Sequence[int] | Int) -> Evidence:
        """Count hits as `hits` does, in one pass of SQL over the rival masks of all models."""
        return self._counting.by_masks(_ordinals(nodes), _ordinals(models))

    def winners(self, model: int, nodes: Sequence[int] | Int) -> Winners:
        """Return which selected node took each live image of the selected nodes that the model was shown."""
        return self._counting.winners(model, _ordinals(nodes))

    def unseen_nodes(self, nodes: Sequence[int] | NDArray[np.int64]) -> set[int]:
        """Return the labelled models that were not compared with all of `nodes` or not shown all their images."""
        query = """
                WITH chosen AS (SELECT unnest($nodes::UINTEGER[]) AS node),
                     labelled AS (SELECT DISTINCT model FROM label_made),
                     seen AS (SELECT model, count(*) AS nodes FROM label_node JOIN chosen USING (node) GROUP BY model),
                     due AS (SELECT b.block, b.live FROM block b JOIN chosen USING (node) WHERE b.live <> 0),
                     shown AS (SELECT s.model, count(*) AS blocks
                                 FROM label_state s JOIN due USING (block)
                                WHERE due.live & ~s.labelled = 0
                                GROUP BY s.model)
              SELECT m.model
                FROM labelled m
                LEFT JOIN seen ON seen.model = m.model
                LEFT JOIN shown ON shown.model = m.model
               WHERE coalesce(seen.nodes, 0) < (SELECT count(*) FROM chosen)
                  OR coalesce(shown.blocks, 0) < (SELECT count(*) FROM due)
            ORDER BY m.model
        """
        return {model for (model,) in self._snapshot.rows(query, {"nodes": np.unique(np.asarray(nodes)).tolist()})}

    def overall_precision(self) -> dict[int, float]:
        """Return each labelled model's mean precision over all nodes with evidence: model -> mean."""
        return dict(self._overall_precision)

    @cached_property
    def _overall_precision(self) -> dict[int, float]:
        query = """
                WITH node_precision AS (
                         SELECT s.model, b.node,
                                sum(bit_count(s.labelled & b.live & ~s.beaten))
                              / sum(bit_count(s.labelled & b.live)) AS precision
                           FROM label_state s
                           JOIN block b USING (block)
                       GROUP BY s.model, b.node
                         HAVING sum(bit_count(s.labelled & b.live)) > 0)
              SELECT model, avg(precision ORDER BY node)
                FROM node_precision
            GROUP BY model
            ORDER BY model
        """
        return dict(self._snapshot.rows(query))

    def typical_precision(self, models: Sequence[int], classes: int = TYPICAL) -> NDArray[np.float64]:
        """Return each model's precision on each node in tasks whose other classes are drawn from all nodes.

        Every task there can be is counted (`chance_of_hit`). Of a large hub every so-many-th image is looked at.

        Args:
            models: model ordinals.
            classes: of a task, the true node included; at least 1. Of fewer nodes all compete.

        Returns:
            mean over a node's images, NaN where a model was shown none, shape (m, v).
        """
        found = self._ranks
        precision = np.full((len(models), len(self._nodes)), np.nan)
        for place, model in enumerate(models):
            rows = slice(*np.searchsorted(found["model"], [model, model + 1]))
            if rows.start == rows.stop:
                continue
            node, competing = found["node"][rows], int(found["nodes"][rows.start])
            hit = chance_of_hit(competing, classes)[np.minimum(found["rank"][rows], competing - 1)]
            seen = np.bincount(node, minlength=precision.shape[1])
            total = np.bincount(node, weights=hit, minlength=precision.shape[1])
            precision[place] = np.divide(total, seen, out=precision[place], where=seen > 0)
        return precision

    @cached_property
    def _ranks(self) -> dict[str, NDArray[Any]]:
        """How many nodes beat the true one of an image, and of how many, by model: every so-many-th image."""
        query = """
                WITH size AS (SELECT model, count(*) AS nodes
                                FROM label_node
                               WHERE node IN (SELECT node FROM block WHERE live <> 0)
                            GROUP BY model)
              SELECT l.model, l.image, i.node, l.rank, nodes
                FROM image_label l
                JOIN image i USING (image)
                JOIN size USING (model)
               WHERE l.image % $step = 0
        """
        images = int(self._snapshot.value("SELECT count(*) FROM image"))
        found = self._snapshot.arrays(query, {"step": max(1, images // TYPICAL_IMAGES)})
        # DuckDB takes twice as long to sort a million rows.
        order = np.lexsort((found["image"], found["model"]))
        return {name: column[order] for name, column in found.items()}

    def overall_hits(self, model: int) -> int:
        """Return how many live images of a model no competing node takes from their true one."""
        query = """
              SELECT coalesce(sum(bit_count(s.labelled & b.live & ~s.beaten)), 0)::BIGINT
                FROM label_state s
                JOIN block b USING (block)
               WHERE s.model = $model
        """
        return int(self._snapshot.rows(query, {"model": model})[0][0])

    def rival_masks(self, model: int) -> tuple[Masks, Masks]:
        """Return a model's rival masks as (block << 32 | rival, mask), sorted by the first: live images and nodes."""
        query = """
              SELECT (block::UBIGINT << 32) | rival AS place, bit_or(mask & live) AS mask
                FROM rival_mask
                JOIN block USING (block)
               WHERE model = $model AND rival IN (SELECT node FROM block WHERE live <> 0)
            GROUP BY place
              HAVING bit_or(mask & live) <> 0
            ORDER BY place
        """
        columns = self._snapshot.arrays(query, {"model": model})
        return columns["place"], columns["mask"]

    # -- what a label is grown from ----------------------------------------------------------------

    def label_files(self, model: int) -> tuple[str, ...]:
        """Return the files of a model's label, one for each of its parts."""
        return tuple(file.path for file in self._snapshot.labels(model))

    def label_nodes(self, model: int) -> NDArray[np.uint32]:
        """Return the nodes that compete in a model's label, ascending."""
        query = "SELECT node FROM label_node WHERE model = $model ORDER BY node"
        return np.asarray(self._snapshot.arrays(query, {"model": model})["node"])

    def label_state(self, model: int) -> LabelState:
        """Return what a model's label says of each block."""
        return self._states[model]

    @cached_property
    def _states(self) -> dict[int, LabelState]:
        """Model -> what its label says of each block."""
        found = self._snapshot.arrays("SELECT model, block, labelled, beaten FROM label_state ORDER BY model, block")
        states = {}
        for model in self._snapshot.labelled():
            rows = slice(*np.searchsorted(found["model"], [model, model + 1]))
            states[model] = LabelState(*(found[name][rows] for name in ("block", "labelled", "beaten")))
        return states

    def weakest_runners_up(self, model: int, count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return each labelled image with the similarity of its last runner-up; -inf where it has under `count`."""
        query = """
              SELECT image, CASE WHEN len(runner_up_similarities) < $count THEN '-inf'::FLOAT
                                 ELSE runner_up_similarities[-1] END AS similarity
                FROM image_label
               WHERE model = $model
            ORDER BY image
        """
        found = self._snapshot.arrays(query, {"model": model, "count": count})
        return found["image"], found["similarity"]

    def images_near(self, model: int, nodes: Sequence[int] | NDArray[np.uint32]) -> set[int]:
        """Return the live images among whose rivals or runners-up any of `nodes` is."""
        query = """
              SELECT DISTINCT i.image
                FROM rival_mask r
                JOIN image i USING (block)
               WHERE r.model = $model AND r.rival IN (SELECT unnest($nodes::UINTEGER[])) AND r.mask >> i.bit & 1 = 1
               UNION
              SELECT image
                FROM image_label
               WHERE model = $model AND list_has_any(runners_up, $nodes::UINTEGER[])
        """
        return {image for (image,) in self._snapshot.rows(query, {"model": model, "nodes": np.asarray(nodes).tolist()})}

    def features(self, model: int) -> tuple[Features, Features]:
        """Return a model's embeddings of images and of captions; empty in a sealed hub.

        Of an expert, log-probabilities of images and nothing.
        """
        return self._snapshot.features(model)

    # -- anything else -----------------------------------------------------------------------------

    def query(self, sql: str) -> Table:
        """Answer a person's SQL over the views and tables. Nothing can be written and no file read.

        Raises:
            QueryRefused: if the query fails, is not one question, or asks for what is closed.
        """
        return self._snapshot.answer(sql)


def now() -> str:
    """Return the time of day that goes into a manifest."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _close_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to two names like this one; people leave out what is before the slash, or what is behind it."""
    whole = {part.lower(): full for full in known for part in (full.rpartition("/")[2], full.partition("/")[0], full)}
    inside = [full for part, full in whole.items() if name.lower() in part]
    near = [whole[part] for part in difflib.get_close_matches(name.lower(), whole, n=2)]
    return list(dict.fromkeys([*near, *inside]))[:2]


def _ordinals(given: Sequence[int] | Int) -> Int:
    return np.unique(np.asarray(given, dtype=np.int64))


def _is_leftover(entry: Path) -> bool:
    """Say whether a creation that was cut off may have left this: empty folders, and the first catalog."""
    if entry.is_dir():
        return entry.name in FOLDERS and all(inner.name.startswith("000000.json") for inner in entry.iterdir())
    return entry.name in (".lock", "catalog-000000.duckdb", f"{NAME}.new")
