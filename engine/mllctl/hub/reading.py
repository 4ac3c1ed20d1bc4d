"""Read a hub: one public function per question.

`Hub.open` takes a snapshot: the generation it found stays readable and unchanged until the hub is
closed, whatever a writer does meanwhile. Rows come back in a stated order.
"""

import dataclasses
import difflib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mllctl.backends.protocol import Float32, ModelCard
from mllctl.errors import HubDamaged, HubExists, NotInHub, QueryRefused
from mllctl.hub.features import Features, batches_of, map_batches
from mllctl.hub.manifest import (
    HISTORY,
    NAME,
    SCHEMA_VERSION,
    HubFile,
    Manifest,
    ModelFile,
    describe,
    read_manifest,
    write_manifest,
)
from mllctl.hub.parts import SCHEMA, OrderFile, new_file, quoted
from mllctl.hub.records import (
    Evidence,
    ImageRows,
    LabelInput,
    LabelState,
    Masks,
    Ordinals,
    PartRows,
    StoredDomain,
    StoredImage,
    StoredModel,
    StoredNode,
    Table,
    Winners,
    find,
)
from mllctl.kernels.arrays import Bool, Int
from mllctl.kernels.order import taken, takers

# DuckDB's kinds; MULTI is what PIVOT unfolds to. Not EXPLAIN: EXPLAIN ANALYZE runs whatever it explains.
QUESTIONS = ("SELECT", "MULTI")
# Tables of a label: how its parts make one. Of some only the last part counts, of some the last that has a key.
LABEL_TABLES = {
    "label_made": "last",
    "label_node": "last",
    "label_state": "block",
    "image_label": "image",
    "label_row": "all",
    "rival_mask": "all",
}
CHOSEN = "SELECT unnest($nodes::UINTEGER[])"
ASKED = "SELECT unnest($models::UINTEGER[])"
FOLDERS = ("staging", "labels", "features", HISTORY)
CARD = tuple(field.name for field in dataclasses.fields(ModelCard) if field.name != "libraries")
CATALOG_TABLES = ("counter", "domain", "domain_embedding", "node", "graph", "edge", "block", "image", "model")


class Hub(AbstractContextManager["Hub"]):
    """One generation of a hub, open for reading. What it says of whole labels it looks up once.

    Attributes:
        path: its folder.
        manifest: the generation that was found.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._db = duckdb.connect(":memory:")
        # Held open, like the files DuckDB attaches: a later commit may sweep them from the folder.
        self._held: dict[str, int] = {}
        self._orders: dict[str, OrderFile] = {}
        try:
            for file in self._mapped_files():
                self._held[file.path] = os.open(path / file.path, os.O_RDONLY)
            self._attach()
        except (duckdb.Error, FileNotFoundError) as error:
            self.close()
            raise HubDamaged(path, str(error).splitlines()[0]) from error
        self._listed = False

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
        self._db.close()
        self._orders.clear()
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the graph ---------------------------------------------------------------------------------

    def nodes(self) -> list[StoredNode]:
        """Return every node, by ordinal."""
        query = """
              SELECT n.node, n.synset, n.name, n.definition, n.lexname, n.caption,
                     coalesce(sum(bit_count(b.live)), 0)::INTEGER AS images
                FROM node n
                LEFT JOIN block b USING (node)
            GROUP BY ALL
            ORDER BY n.node
        """
        return [StoredNode(*row) for row in self._rows(query)]

    def edges(self) -> list[tuple[int, int]]:
        """Return every (parent, child) pair of node ordinals, sorted."""
        return [(parent, child) for parent, child in self._rows("SELECT parent, child FROM edge ORDER BY ALL")]

    def graph_version(self) -> int:
        """Return the number of the last `graph build`; 0 before the first."""
        return int(self._value("SELECT coalesce(max(version), 0) FROM graph"))

    def nodes_outside_graph(self) -> int:
        """Return how many nodes came after the last `graph build`."""
        return int(self._value("SELECT (SELECT count(*) FROM node) - coalesce(max(nodes), 0) FROM graph"))

    def captions(self) -> list[str]:
        """Return every node's caption, by ordinal."""
        return [caption for (caption,) in self._rows("SELECT caption FROM node ORDER BY node")]

    def evidence_nodes(self) -> NDArray[np.bool_]:
        """Say which nodes have a live image, shape (v,)."""
        query = """
              SELECT coalesce(bool_or(b.live <> 0), false) AS held
                FROM node n
                LEFT JOIN block b USING (node)
            GROUP BY n.node
            ORDER BY n.node
        """
        return np.asarray(self._arrays(query)["held"], dtype=np.bool_)

    # -- images and domains ------------------------------------------------------------------------

    def domains(self) -> list[StoredDomain]:
        """Return every domain, by ordinal."""
        query = """
              SELECT d.domain, d.name, d.description, coalesce(sum(bit_count(b.live)), 0)::INTEGER
                FROM domain d
                LEFT JOIN block b USING (domain)
            GROUP BY ALL
            ORDER BY d.domain
        """
        return [StoredDomain(*row) for row in self._rows(query)]

    def caption_index(self) -> bytes | None:
        """Return the caption index as `build_index` stored it, None before the first."""
        if self.manifest.index is None:
            return None
        descriptor = self._held[self.manifest.index.path]
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def domain_embeddings(self) -> Float32:
        """Return the embeddings of the domains' descriptions by ordinal, shape (domains, width)."""
        rows = self._rows("SELECT embedding FROM domain_embedding ORDER BY domain")
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
        return [StoredImage(*row) for row in self._rows(query, {"synset": synset, "domain": domain})]

    def hashes(self) -> set[str]:
        """Return the SHA-256 of every live image."""
        return {sha256 for (sha256,) in self._rows("SELECT sha256 FROM image")}

    def label_input(self) -> LabelInput:
        """Return what every model is shown, and what it is compared with."""
        images = self._arrays("SELECT image, node, block, bit FROM image ORDER BY node, block, bit")
        uris = self._rows("SELECT uri FROM image ORDER BY node, block, bit")
        nodes = self._rows(
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
        for model, *facts, libraries, labelled, missing, unseen in self._rows(query):
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
            raise NotInHub("model", name, difflib.get_close_matches(name, stored, n=2), "`mllctl model list` shows all")
        return stored[name]

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
        chosen, asked = np.unique(np.asarray(nodes, dtype=np.int64)), np.unique(np.asarray(models, dtype=np.int64))
        ordered = np.array([self._has_order(model) for model in asked.tolist()], dtype=np.bool_)
        if not ordered.all():
            by_masks = self.hits_by_masks(chosen, asked[~ordered])
        evidence = self._hits_by_order(chosen, asked[ordered])
        if ordered.all():
            return evidence
        hits, images = (np.zeros((len(asked), *evidence.hits.shape[1:]), dtype=np.int64) for _ in range(2))
        hits[ordered], images[ordered] = evidence.hits, evidence.images
        hits[~ordered], images[~ordered] = by_masks.hits, by_masks.images
        return Evidence(asked, chosen, hits, images)

    def hits_by_masks(self, nodes: Sequence[int] | NDArray[np.int64], models: Sequence[int] | Int) -> Evidence:
        """Count hits as `hits` does, in one pass of SQL over the rival masks of all models."""
        query = """
                WITH chosen AS (SELECT unnest($nodes::UINTEGER[]) AS node),
                     asked AS (SELECT unnest($models::UINTEGER[]) AS model),
                     lost AS (
                         SELECT model, block, bit_or(mask) AS mask
                           FROM rival_mask
                          WHERE node IN (FROM chosen) AND rival IN (FROM chosen) AND model IN (FROM asked)
                       GROUP BY model, block)
              SELECT s.model, b.node, b.domain,
                     sum(bit_count(s.labelled & b.live & ~coalesce(lost.mask, 0::UBIGINT)))::BIGINT AS hits,
                     sum(bit_count(s.labelled & b.live))::BIGINT AS images
                FROM label_state s
                JOIN block b USING (block)
                LEFT JOIN lost ON lost.model = s.model AND lost.block = s.block
               WHERE b.node IN (FROM chosen) AND s.model IN (FROM asked)
            GROUP BY s.model, b.node, b.domain
        """
        chosen, asked = np.unique(np.asarray(nodes, dtype=np.int64)), np.unique(np.asarray(models, dtype=np.int64))
        counts = self._arrays(query, {"nodes": chosen.tolist(), "models": asked.tolist()})
        hits, images = self._no_counts(asked, chosen)
        place = np.searchsorted(asked, counts["model"]), np.searchsorted(chosen, counts["node"]), counts["domain"]
        hits[place], images[place] = counts["hits"], counts["images"]
        return Evidence(asked, chosen, hits, images)

    def _hits_by_order(self, chosen: Int, asked: Int) -> Evidence:
        hits, images = self._no_counts(asked, chosen)
        wanted = np.flatnonzero(np.isin(self._blocks["node"], chosen))
        blocks = {name: column[wanted] for name, column in self._blocks.items()}
        cell = np.searchsorted(chosen, blocks["node"]) * hits.shape[2] + blocks["domain"]
        late, selected = self._late_masks(asked, chosen), _table(chosen)
        # Models that were shown the same images, as most were, have these in the same rows.
        seen: dict[int, tuple[ImageRows, Bool, Int]] = {}
        for m, model in enumerate(asked.tolist()):
            newcomers = self._newcomers(late, model, blocks["block"])
            for file, part in zip(self._parts(self.manifest.orders, model), self._rows_of[model], strict=True):
                if id(part) not in seen:
                    rows = part.within(blocks["block"])
                    seen[id(part)] = rows, (rows.mask & blocks["live"][rows.block]) != 0, cell[rows.block[rows.first]]
                rows, live, cells = seen[id(part)]
                if len(rows.row) == 0:
                    continue
                lost = self._taken(file, rows, selected)
                if newcomers is not None:
                    lost |= (rows.mask & newcomers[rows.block]) != 0
                for counts, counted in ((images, live), (hits, live & ~lost)):
                    of_block = np.add.reduceat(counted.view(np.int8), rows.first, dtype=np.int64)
                    np.add.at(counts[m].reshape(-1), cells, of_block)
        return Evidence(asked, chosen, hits, images)

    def _has_order(self, model: int) -> bool:
        """Say whether there is an Arrow file beside every part of a label: not in a sealed hub, nor in one that was
        upgraded until its labels are made again."""
        return 0 < len(self._parts(self.manifest.orders, model)) == len(self._parts(self.manifest.labels, model))

    def _newcomers(self, late: dict[str, NDArray[Any]], model: int, blocks: Ordinals) -> Masks | None:
        """Return which images of each block nodes take that came after their order was written; None if no node did."""
        newer = late["model"] == model
        if not newer.any():
            return None
        lost = np.zeros(len(blocks), dtype=np.uint64)
        np.bitwise_or.at(lost, np.searchsorted(blocks, late["block"][newer]), late["mask"][newer])
        return lost

    def _taken(self, file: HubFile, rows: ImageRows, selected: Bool) -> Bool:
        order = self._order(file)
        near = order.near(rows)
        lost = taken(near, selected)
        further = np.flatnonzero(~lost & near.full)
        if len(further):
            lost[further] = taken(order.far(rows.row[further]), selected)
        return lost

    def _takers(self, file: HubFile, rows: ImageRows, selected: Bool) -> Int:
        order = self._order(file)
        near = order.near(rows)
        taker = takers(near, selected)
        further = np.flatnonzero((taker < 0) & near.full)
        taker[further] = takers(order.far(rows.row[further]), selected)
        return taker

    def _order(self, file: HubFile) -> OrderFile:
        """Open the ordered rivals of a part; it keeps 3 MB of offsets a model at the paper's scale."""
        try:
            if file.path not in self._orders:
                self._orders[file.path] = OrderFile(self._held[file.path])
            return self._orders[file.path]
        except (pa.ArrowInvalid, ValueError) as error:
            raise HubDamaged(self.path, f"{file.path}: {str(error).splitlines()[0]}") from error

    def _late_masks(self, asked: Int, chosen: Int) -> dict[str, NDArray[Any]]:
        """Return the masks of later parts among the chosen nodes, by block and rival."""
        if all(len(parts) == 1 for parts in self._rows_of.values()):
            return {name: np.zeros(0, np.uint64) for name in ("model", "block", "rival", "mask")}
        query = f"""
              SELECT model, block, rival, mask
                FROM rival_mask
               WHERE part > 0 AND node IN ({CHOSEN}) AND rival IN ({CHOSEN}) AND model IN ({ASKED})
            ORDER BY model, block, rival
        """
        return self._arrays(query, {"nodes": chosen.tolist(), "models": asked.tolist()})

    @cached_property
    def _rows_of(self) -> dict[int, list[PartRows]]:
        """Model -> which images each part of its label holds; the same object where two models have the same."""
        query = "SELECT model, part, block, shown, row::BIGINT AS row FROM label_row ORDER BY model, part, block"
        found = self._arrays(query)
        known: list[PartRows] = []
        parts: dict[int, list[PartRows]] = {}
        for model in self._labelled():
            rows = slice(*np.searchsorted(found["model"], [model, model + 1]))
            edges = np.searchsorted(found["part"][rows], range(len(self._parts(self.manifest.labels, model)) + 1))
            columns = [found[name][rows] for name in ("block", "shown", "row")]
            parts[model] = []
            for start, stop in pairwise(edges.tolist()):
                part = PartRows(*(column[start:stop] for column in columns))
                same = next((other for other in known if other.same(part)), None)
                if same is None:
                    known.append(part)
                parts[model].append(same or part)
        return parts

    @cached_property
    def _blocks(self) -> dict[str, NDArray[Any]]:
        """Block, node, domain and live bits of every block, by ordinal."""
        return self._arrays("SELECT block, node, domain, live FROM block ORDER BY block")

    @cached_property
    def _domain_count(self) -> int:
        return int(self._value("SELECT count(*) FROM domain"))

    @cached_property
    def _states(self) -> dict[int, LabelState]:
        """Model -> what its label says of each block."""
        found = self._arrays("SELECT model, block, labelled, beaten FROM label_state ORDER BY model, block")
        states = {}
        for model in self._labelled():
            rows = slice(*np.searchsorted(found["model"], [model, model + 1]))
            states[model] = LabelState(*(found[name][rows] for name in ("block", "labelled", "beaten")))
        return states

    def winners(self, model: int, nodes: Sequence[int] | NDArray[np.int64]) -> Winners:
        """Return which selected node took each live image of the selected nodes that the model was shown."""
        chosen = np.unique(np.asarray(nodes, dtype=np.int64))
        if not self._has_order(model):
            return self._winners_among_first(model, chosen)
        images = self._arrays(
            f"""
              SELECT i.image, i.node, (i.block::BIGINT << 6) | i.bit AS place
                FROM image i
                JOIN label_state s USING (block)
               WHERE i.node IN ({CHOSEN}) AND s.model = $model AND s.labelled >> i.bit & 1 = 1
            ORDER BY place
            """,
            {"nodes": chosen.tolist(), "model": model},
        )
        image, truth, place = (images[name].astype(np.int64) for name in ("image", "node", "place"))
        winner, blocks = truth.copy(), np.unique(place >> 6)
        for file, part in zip(self._parts(self.manifest.orders, model), self._rows_of[model], strict=True):
            rows = part.within(blocks)
            at, live = find(place, (blocks[rows.block] << 6) | np.bitwise_count(rows.mask - np.uint64(1)))
            if len(at):
                taker = self._takers(file, rows, _table(chosen))[live]
                winner[at] = np.where(taker >= 0, taker, winner[at])
        self._let_newcomers_win(model, chosen, place, image, winner)
        by_image = np.argsort(image)
        return Winners(image[by_image], truth[by_image], winner[by_image])

    def _let_newcomers_win(self, model: int, chosen: Int, place: Int, image: Int, winner: Int) -> None:
        """Set the winner where a node that came after the order was written goes before the winner so far.

        Which of the two goes first is in no file: their embeddings say it, exactly.
        """
        late = self._late_masks(np.array([model]), chosen)
        row, bit = np.nonzero((late["mask"][:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1))
        at, live = find(place, (late["block"][row].astype(np.int64) << 6) | bit)
        rival = late["rival"][row[live]].astype(np.int64)
        if len(at) == 0:
            return
        images, captions = self.features(model)
        for n, node in zip(at.tolist(), rival.tolist(), strict=True):
            pair = captions.take(np.array([winner[n], node])).astype(np.float64)
            held, challenging = pair @ images.take(image[n : n + 1])[0].astype(np.float64)
            if challenging > held or (challenging == held and node < winner[n]):
                winner[n] = node

    def _winners_among_first(self, model: int, chosen: Int) -> Winners:
        query = """
              SELECT l.image, i.node AS truth,
                     coalesce(list_filter(l.rivals, lambda r: list_contains($nodes::UINTEGER[], r))[1]::BIGINT,
                              CASE WHEN l.rank = len(l.rivals) THEN i.node ELSE -1 END) AS winner
                FROM image_label l
                JOIN image i USING (image)
               WHERE l.model = $model AND list_contains($nodes::UINTEGER[], i.node)
            ORDER BY l.image
        """
        found = self._arrays(query, {"nodes": chosen.tolist(), "model": model})
        return Winners(*(found[name].astype(np.int64) for name in ("image", "truth", "winner")))

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
        return {model for (model,) in self._rows(query, {"nodes": np.unique(np.asarray(nodes)).tolist()})}

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
        return dict(self._rows(query))

    def overall_hits(self, model: int) -> int:
        """Return how many live images of a model no competing node takes from their true one."""
        query = """
              SELECT coalesce(sum(bit_count(s.labelled & b.live & ~s.beaten)), 0)::BIGINT
                FROM label_state s
                JOIN block b USING (block)
               WHERE s.model = $model
        """
        return int(self._rows(query, {"model": model})[0][0])

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
        columns = self._arrays(query, {"model": model})
        return columns["place"], columns["mask"]

    # -- what a label is grown from ----------------------------------------------------------------

    def label_files(self, model: int) -> tuple[str, ...]:
        """Return the files of a model's label, one for each of its parts."""
        return tuple(file.path for file in self._parts(self.manifest.labels, model))

    def label_nodes(self, model: int) -> NDArray[np.uint32]:
        """Return the nodes that compete in a model's label, ascending."""
        query = "SELECT node FROM label_node WHERE model = $model ORDER BY node"
        return np.asarray(self._arrays(query, {"model": model})["node"])

    def label_state(self, model: int) -> LabelState:
        """Return what a model's label says of each block."""
        return self._states[model]

    def weakest_runners_up(self, model: int, count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return each labelled image with the similarity of its last runner-up; -inf where it has under `count`."""
        query = """
              SELECT image, CASE WHEN len(runner_up_similarities) < $count THEN '-inf'::FLOAT
                                 ELSE runner_up_similarities[-1] END AS similarity
                FROM image_label
               WHERE model = $model
            ORDER BY image
        """
        found = self._arrays(query, {"model": model, "count": count})
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
        return {image for (image,) in self._rows(query, {"model": model, "nodes": np.asarray(nodes).tolist()})}

    def features(self, model: int) -> tuple[Features, Features]:
        """Return a model's embeddings of images and of captions; empty in a sealed hub."""
        images, captions = (
            Features([batch for file in self._parts(files, model) for batch in self._batches(file)])
            for files in (self.manifest.image_features, self.manifest.caption_features)
        )
        return images, captions

    # -- anything else -----------------------------------------------------------------------------

    def query(self, sql: str) -> Table:
        """Answer a person's SQL over the views and tables. Nothing can be written and no file read.

        Raises:
            QueryRefused: if the query fails, is not one question, or asks for what is closed.
        """
        self._list_orders()
        try:
            kinds = [statement.type.name for statement in self._db.extract_statements(sql)]
            if len(kinds) != 1 or kinds[0] not in QUESTIONS:
                raise QueryRefused(f"give one SELECT, FROM or DESCRIBE, not {', '.join(kinds) or 'nothing'}")
            return self._answer_interruptibly(sql)
        except duckdb.Error as error:
            raise QueryRefused(" ".join(str(error).split("\n\n")[0].split())) from error

    # -- inside ------------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Attach the files of this generation read-only, and put one view over each table."""
        self._db.execute(f"ATTACH {quoted(self.path / self.manifest.catalog.path)} AS catalog (READ_ONLY)")
        for table in CATALOG_TABLES:
            self._db.execute(f"CREATE VIEW {table} AS SELECT * FROM catalog.{table}")
        self._db.execute("CREATE SCHEMA nothing")
        self._db.execute("USE nothing")
        self._db.execute((SCHEMA / "label.sql").read_text())
        self._db.execute("USE main")
        for model in self._labelled():
            for part, file in enumerate(self._parts(self.manifest.labels, model)):
                self._db.execute(f"ATTACH {quoted(self.path / file.path)} AS label_{model}_{part} (READ_ONLY)")
        for table, rule in LABEL_TABLES.items():
            empty = f"SELECT 0::UINTEGER AS model, 0::UTINYINT AS part, * FROM nothing.{table}"
            parts = [part for model in self._labelled() for part in self._select_parts(table, rule, model)]
            self._db.execute(f"CREATE VIEW {table} AS {' UNION ALL '.join([empty, *parts])}")
        self._db.execute((SCHEMA / "views.sql").read_text())
        # Read-only files can still be left by COPY TO and read_text; nothing here needs more files.
        self._db.execute("SET temp_directory = ''")
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")

    def _labelled(self) -> list[int]:
        return sorted({file.model for file in self.manifest.labels})

    def _select_parts(self, table: str, rule: str, model: int) -> list[str]:
        """Return the SELECTs that together are one table of a model's label."""
        files = [f"label_{model}_{part}.{table}" for part in range(len(self._parts(self.manifest.labels, model)))]
        selects = []
        for part, file in enumerate(files):
            later = files[part + 1 :]
            if rule == "last" and later:
                continue
            select = f"SELECT {model}::UINTEGER AS model, {part}::UTINYINT AS part, * FROM {file}"
            if rule not in ("last", "all") and later:
                said_later = " UNION ALL ".join(f"SELECT {rule} FROM {name}" for name in later)
                select += f" WHERE {rule} NOT IN ({said_later})"
            selects.append(select)
        return selects

    def _parts(self, files: Sequence[ModelFile], model: int) -> list[ModelFile]:
        return [file for file in files if file.model == model]

    def _mapped_files(self) -> list[HubFile]:
        """Return the files that are not DuckDB's. Embeddings are looked at only when the hub is changed, or where a
        label has grown."""
        grown = [model for model in self._labelled() if len(self._parts(self.manifest.labels, model)) > 1]
        features = [*self.manifest.image_features, *self.manifest.caption_features]
        index = [self.manifest.index] if self.manifest.index else []
        return [*self.manifest.orders, *index, *(file for file in features if file.model in grown)]

    def _batches(self, file: HubFile) -> list[pa.RecordBatch]:
        """Map an Arrow file of this generation."""
        try:
            if file.path in self._held:
                return batches_of(self._held[file.path])
            return map_batches(self.path / file.path)
        except (pa.ArrowInvalid, OSError) as error:
            raise HubDamaged(self.path, f"{file.path}: {str(error).splitlines()[0]}") from error

    def _list_orders(self) -> None:
        """Let people see the ordered rivals of every image: DuckDB reads the mapped files where they lie."""
        if self._listed:
            return
        selects = ["SELECT 0::UINTEGER AS model, 0::UINTEGER AS image, []::UINTEGER[] AS rivals WHERE false"]
        for n, file in enumerate(self.manifest.orders):
            table = pa.Table.from_batches(self._batches(file))
            self._db.register(f"order_{n}", table)
            padding = 2 ** table.schema.field("near").type.value_type.bit_width - 1
            selects.append(
                f"""
                SELECT {file.model}::UINTEGER, image, list_filter(near || far, lambda r: r <> {padding})
                  FROM order_{n}
                """
            )
        self._db.execute(f"CREATE VIEW rival_order AS {' UNION ALL '.join(selects)}")
        self._listed = True

    def _no_counts(self, asked: Int, chosen: Int) -> tuple[Int, Int]:
        shape = len(asked), len(chosen), self._domain_count
        return np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)

    def _answer_interruptibly(self, sql: str) -> Table:
        """Run a query beside the main thread, in which DuckDB 2.0 mostly overlooks Ctrl-C."""
        with ThreadPoolExecutor(max_workers=1) as beside:
            answer = beside.submit(self._answer, sql)
            try:
                return answer.result()
            except KeyboardInterrupt:
                self._db.interrupt()
                raise

    def _answer(self, sql: str) -> Table:
        cursor = self._db.execute(sql)
        columns = tuple(column[0] for column in cursor.description or ())
        return Table(columns, tuple(cursor.fetchall()))

    def _rows(self, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self._whole():
            return self._db.execute(query, values or {}).fetchall()

    def _arrays(self, query: str, values: dict[str, Any] | None = None) -> dict[str, NDArray[Any]]:
        with self._whole():
            return dict(self._db.execute(query, values or {}).fetchnumpy())

    def _value(self, query: str) -> Any:
        return self._rows(query)[0][0]

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Name the hub where a page inside a file fails its checksum: opening reads only the first few."""
        try:
            yield
        except duckdb.Error as error:
            if "Corrupt" not in str(error):
                raise
            raise HubDamaged(self.path, str(error).splitlines()[0]) from error


def now() -> str:
    """Return the time of day that goes into a manifest."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _table(chosen: Int) -> Bool:
    """Return a table that is True at the chosen nodes, and False at its end, where the padding of lists looks."""
    table = np.zeros(int(chosen[-1]) + 2 if len(chosen) else 1, dtype=np.bool_)
    table[chosen] = True
    return table


def _is_leftover(entry: Path) -> bool:
    """Say whether a creation that was cut off may have left this: empty folders, and the first catalog."""
    if entry.is_dir():
        return entry.name in FOLDERS and all(inner.name.startswith("000000.json") for inner in entry.iterdir())
    return entry.name in (".lock", "catalog-000000.duckdb", f"{NAME}.new")
