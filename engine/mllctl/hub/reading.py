"""Read a hub: one public function per question.

`Hub.open` takes a snapshot: the generation it found stays readable and unchanged until the hub is
closed, whatever a writer does meanwhile. Rows come back in a stated order.
"""

import dataclasses
import difflib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
from numpy.typing import NDArray

from mllctl.backends.protocol import Float32, ModelCard
from mllctl.errors import HubDamaged, HubExists, NotInHub, QueryRefused
from mllctl.hub.manifest import NAME, SCHEMA_VERSION, Manifest, describe, read_manifest, write_manifest
from mllctl.hub.records import Evidence, LabelInput, StoredDomain, StoredImage, StoredModel, StoredNode, Table

# DuckDB's kinds; MULTI is what PIVOT unfolds to. Not EXPLAIN: EXPLAIN ANALYZE runs whatever it explains.
QUESTIONS = ("SELECT", "MULTI")
SCHEMA = Path(__file__).parent / "schema"
LABEL_TABLES = ("label_made", "label_node", "label_state", "rival_mask", "image_label")
CARD = tuple(field.name for field in dataclasses.fields(ModelCard) if field.name != "libraries")
CATALOG_TABLES = ("counter", "domain", "domain_embedding", "node", "graph", "edge", "block", "image", "model")


class Hub(AbstractContextManager["Hub"]):
    """One generation of a hub, open for reading.

    Attributes:
        path: its folder.
        manifest: the generation that was found.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        # Held open, like the files DuckDB attaches: a later commit may sweep it from the folder.
        self._index = (path / manifest.index.path).open("rb") if manifest.index else None
        self._db = duckdb.connect(":memory:")
        try:
            self._attach()
        except duckdb.Error as error:
            self.close()
            raise HubDamaged(path, str(error).splitlines()[0]) from error

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open the newest generation of the hub at `path`.

        Raises:
            HubNotFound, HubDamaged, HubTooNew: as their names say.
        """
        folder = Path(path)
        return cls(folder, read_manifest(folder))

    @classmethod
    def create(cls, path: Path | str) -> Self:
        """Make an empty hub at `path` and open it.

        Raises:
            HubExists: if the folder holds anything but leftovers of a creation that was cut off.
        """
        folder = Path(path)
        if folder.exists() and not (folder.is_dir() and all(_is_leftover(entry) for entry in folder.iterdir())):
            raise HubExists(folder)
        for inner in ("staging", "labels", "features"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        catalog = folder / "catalog-000000.duckdb"
        catalog.unlink(missing_ok=True)
        with duckdb.connect(str(catalog)) as db:
            db.execute((SCHEMA / "catalog.sql").read_text())
        entry = describe(folder, catalog.name)
        write_manifest(folder, Manifest(SCHEMA_VERSION, 0, read_only=False, catalog=entry))
        return cls.open(folder)

    def close(self) -> None:
        """Let go of the files."""
        self._db.close()
        if self._index:
            self._index.close()

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
        if self._index is None:
            return None
        self._index.seek(0)
        return self._index.read()

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
        images = self._arrays("SELECT image, node, block, bit FROM image ORDER BY block, bit")
        uris = self._rows("SELECT uri FROM image ORDER BY block, bit")
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
        with the tie rule of the kernels, in integers, in one pass over the rival masks.

        Args:
            nodes: V_sel, ordinals.
            models: model ordinals.

        Returns:
            Evidence over `nodes` and `models`, both ascending; zeros where nothing was labelled.
        """
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
        domains = int(self._value("SELECT count(*) FROM domain"))
        hits, images = (np.zeros((len(asked), len(chosen), domains), dtype=np.int64) for _ in range(2))
        place = np.searchsorted(asked, counts["model"]), np.searchsorted(chosen, counts["node"]), counts["domain"]
        hits[place], images[place] = counts["hits"], counts["images"]
        return Evidence(asked, chosen, hits, images)

    def unseen_nodes(self, nodes: Sequence[int] | NDArray[np.int64]) -> set[int]:
        """Return the labelled models that were not compared with all of `nodes` or not shown all their images."""
        query = """
                WITH chosen AS (SELECT unnest($nodes::UINTEGER[]) AS node)
              SELECT m.model
                FROM (SELECT DISTINCT model FROM label_made) m
               WHERE EXISTS (SELECT 1 FROM chosen c
                              WHERE NOT EXISTS (SELECT 1 FROM label_node l
                                                 WHERE l.model = m.model AND l.node = c.node))
                  OR EXISTS (SELECT 1 FROM block b JOIN chosen USING (node)
                              WHERE b.live <> 0
                                AND NOT EXISTS (SELECT 1 FROM label_state s
                                                 WHERE s.model = m.model AND s.block = b.block
                                                   AND (b.live & ~s.labelled) = 0))
            ORDER BY m.model
        """
        return {model for (model,) in self._rows(query, {"nodes": np.asarray(nodes).tolist()})}

    def overall_precision(self) -> dict[int, float]:
        """Return each labelled model's mean precision over all nodes with evidence: model -> mean."""
        query = """
                WITH node_precision AS (
                         SELECT l.model, i.node, count(*) FILTER (l.rank = 0) / count(*) AS precision
                           FROM image_label l
                           JOIN image i USING (image)
                       GROUP BY l.model, i.node)
              SELECT model, avg(precision ORDER BY node)
                FROM node_precision
            GROUP BY model
            ORDER BY model
        """
        return dict(self._rows(query))

    def rival_masks(self, model: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return a model's rival masks as (block << 32 | rival, mask), sorted by the first."""
        query = """
              SELECT (block::UBIGINT << 32) | rival AS place, mask
                FROM rival_mask
               WHERE model = $model
            ORDER BY place
        """
        columns = self._arrays(query, {"model": model})
        return columns["place"], columns["mask"]

    def winners(self, model: int, nodes: Sequence[int] | NDArray[np.int64]) -> dict[int, int | None]:
        """Return which selected node took each image of the selected nodes: image -> node.

        None where a shipped hub, which keeps only the first rivals, does not know.
        """
        query = """
                WITH chosen AS (SELECT unnest($nodes::UINTEGER[]) AS node)
              SELECT l.image,
                     coalesce(list_filter(l.rivals, lambda r: list_contains($nodes::UINTEGER[], r))[1],
                              CASE WHEN l.rank = len(l.rivals) THEN i.node END)
                FROM image_label l
                JOIN image i USING (image)
               WHERE l.model = $model AND i.node IN (FROM chosen)
            ORDER BY l.image
        """
        rows = self._rows(query, {"nodes": np.asarray(nodes).tolist(), "model": model})
        return dict(rows)

    # -- anything else -----------------------------------------------------------------------------

    def query(self, sql: str) -> Table:
        """Answer a person's SQL over the views and tables. Nothing can be written and no file read.

        Raises:
            QueryRefused: if the query fails, is not one question, or asks for what is closed.
        """
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
        self._db.execute(f"ATTACH '{_quoted(self.path / self.manifest.catalog.path)}' AS catalog (READ_ONLY)")
        for table in CATALOG_TABLES:
            self._db.execute(f"CREATE VIEW {table} AS SELECT * FROM catalog.{table}")
        self._db.execute("CREATE SCHEMA nothing")
        self._db.execute("USE nothing")
        self._db.execute((SCHEMA / "label.sql").read_text())
        self._db.execute("USE main")
        for file in self.manifest.labels:
            self._db.execute(f"ATTACH '{_quoted(self.path / file.path)}' AS label_{file.model} (READ_ONLY)")
        for table in LABEL_TABLES:
            parts = [
                f"SELECT {file.model}::UINTEGER AS model, * FROM label_{file.model}.{table}"
                for file in self.manifest.labels
            ]
            empty = f"SELECT 0::UINTEGER AS model, * FROM nothing.{table}"
            self._db.execute(f"CREATE VIEW {table} AS {' UNION ALL '.join([empty, *parts])}")
        self._db.execute((SCHEMA / "views.sql").read_text())
        # Read-only files can still be left by COPY TO and read_text; nothing here needs more files.
        self._db.execute("SET temp_directory = ''")
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")

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


def _is_leftover(entry: Path) -> bool:
    """Say whether a creation that was cut off may have left this: empty folders, and the first catalog."""
    if entry.is_dir():
        return entry.name in ("staging", "labels", "features") and not any(entry.iterdir())
    return entry.name in (".lock", "catalog-000000.duckdb", f"{NAME}.new")


def _quoted(path: Path) -> str:
    """Escape a path for ATTACH, which takes no parameters."""
    return str(path).replace("'", "''")
