"""Change a hub: a `HubChange` gathers everything and commits it as one new generation.

    with change_hub(path) as change:
        change.add_domain(...)
        ...

Changes are made to copies in `staging/`; leaving the block without an error moves them into place
and replaces the manifest. An error, or a kill at any point, leaves the old generation as it was.
One process at a time may hold a change; readers never wait.
"""

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from filelock import FileLock, Timeout

from mllctl.backends.protocol import Float32, ModelCard
from mllctl.captions import node_caption
from mllctl.errors import HubBusy, HubDamaged, HubError, HubReadOnly, NotInHub
from mllctl.graph import Graph
from mllctl.hub.features import Float16, write_features
from mllctl.hub.manifest import (
    HISTORY,
    HubFile,
    IndexFile,
    Manifest,
    ModelFile,
    describe,
    past_manifest,
    read_history,
    read_manifest,
    sync_folder,
    write_manifest,
)
from mllctl.hub.parts import LABEL, ORDER, new_file, new_label, quoted
from mllctl.hub.reading import now
from mllctl.hub.records import Ordinals
from mllctl.hub.snapshot import CATALOG_TABLES
from mllctl.images import Domain, SampleImage
from mllctl.wordnet import Synset

BLOCK_BITS = 64
AnyFile = TypeVar("AnyFile", bound=HubFile)
# Fields of a manifest -> folder and ending of their files.
PLACES = {
    "labels": "labels/.duckdb",
    "orders": "labels/.arrow",
    "image_features": "features/-image.arrow",
    "caption_features": "features/-caption.arrow",
    "experts": "labels/.duckdb",
}
EXPERT = "expert.duckdb"  # in a folder of staging: a part of an expert's label


@contextmanager
def change_hub(path: Path, note: str = "", wait: float = 0.0) -> Iterator["HubChange"]:
    """Hold the one writer's place of a hub; commit on leaving, forget everything on an error.

    Args:
        path: the hub's folder.
        note: what the change is, in a few words, for `hub log`.
        wait: seconds to wait for another writer.

    Raises:
        HubBusy: if another process holds it that long.
        HubReadOnly: if this is the bundled demo hub.
    """
    if read_manifest(path).read_only:
        raise HubReadOnly(path)
    with only_writer(path, wait):
        change = HubChange(path, read_manifest(path), note)
        try:
            yield change
            change.commit()
        finally:
            change.abandon()


@contextmanager
def only_writer(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the writer's place of a hub.

    Raises:
        HubBusy: if another process holds it that long.
    """
    lock = FileLock(path / ".lock", timeout=wait)
    try:
        lock.acquire()
    except Timeout as error:
        raise HubBusy(path) from error
    try:
        yield
    finally:
        lock.release()


class HubChange:
    """The next generation of a hub, while it is being made."""

    def __init__(self, path: Path, manifest: Manifest, note: str = "") -> None:
        self.path = path
        self._old = manifest
        self._new = replace(manifest, generation=manifest.generation + 1, made=now(), note=note)
        self._moves: list[str] = []
        _clear_staging(path)
        name = f"catalog-{self._new.generation:06d}.duckdb"
        staged = self._staged(name)
        shutil.copyfile(path / manifest.catalog.path, staged)
        try:
            self._db = duckdb.connect(str(staged))
        except duckdb.Error as error:
            staged.unlink()
            raise HubDamaged(path, f"{manifest.catalog.path} is not a DuckDB file") from error
        self._run("BEGIN")

    # -- images and domains ------------------------------------------------------------------------

    def add_domain(self, domain: Domain) -> None:
        """Add a domain, unless one of that name is there already."""
        self._run(
            """
            INSERT INTO domain
            SELECT (SELECT count(*) FROM domain), $name, $description
             WHERE $name NOT IN (SELECT name FROM domain)
            """,
            {"name": domain.name, "description": domain.description},
        )

    def add_nodes(self, synsets: Sequence[Synset]) -> None:
        """Append the synsets that are not nodes yet, in the order given."""
        known = {wnid for (wnid,) in self._run("SELECT wnid FROM node")}
        new = [synset for synset in dict.fromkeys(synsets) if synset.wnid not in known]
        if not new:
            return
        rows = pa.table(
            {
                "node": pa.array(range(len(known), len(known) + len(new)), pa.uint32()),
                "synset": [synset.synset for synset in new],
                "wnid": [synset.wnid for synset in new],
                "name": [synset.name for synset in new],
                "definition": [synset.definition for synset in new],
                "lexname": [synset.lexname for synset in new],
                "caption": [node_caption(synset.name, synset.definition) for synset in new],
            }
        )
        self._insert("node", rows)

    def add_images(self, images: Sequence[SampleImage]) -> int:
        """Append images that are not there yet, by content; their synsets must be nodes.

        Each goes to the next free bit of its node's and domain's last block.

        Returns:
            How many were new.
        """
        node = dict(self._run("SELECT wnid, node FROM node"))
        domain = dict(self._run("SELECT name, domain FROM domain"))
        held = {sha256 for (sha256,) in self._run("SELECT sha256 FROM image")}
        open_block = {
            (n, d): [block, used]
            for n, d, block, used in self._run(
                "SELECT node, domain, max(block), arg_max(used, block) FROM block GROUP BY node, domain"
            )
        }
        next_block, next_image = self._counter("block"), self._counter("image")
        rows: list[tuple[int, int, int, int, str, str]] = []
        bits: dict[int, list[int]] = {}
        places: dict[int, tuple[int, int]] = {}
        for image in images:
            if image.sha256 in held:
                continue
            held.add(image.sha256)
            key = node[image.wnid], domain[image.domain]
            place = open_block.get(key)
            if place is None or place[1] == BLOCK_BITS:
                place = open_block[key] = [next_block, 0]
                next_block += 1
            block, bit = place
            place[1] += 1
            bits.setdefault(block, []).append(bit)
            places[block] = key
            rows.append((next_image, key[0], block, bit, image.uri, image.sha256))
            next_image += 1
        if rows:
            self._insert("image", pa.table(list(map(pa.array, zip(*rows, strict=True))), names=list("abcdef")))
            changed = [
                (block, *places[block], max(given) + 1, sum(1 << bit for bit in given)) for block, given in bits.items()
            ]
            columns = [pa.array(column, pa.uint64()) for column in zip(*changed, strict=True)]
            self._db.register("changed", pa.table(columns, names=["block", "node", "domain", "used", "live"]))
            self._run(
                """
                INSERT INTO block SELECT * FROM changed
                ON CONFLICT (block) DO UPDATE SET used = excluded.used, live = block.live | excluded.live
                """
            )
            self._db.unregister("changed")
        self._set_counter("block", next_block)
        self._set_counter("image", next_image)
        return len(rows)

    def remove_images(self, images: Sequence[int]) -> None:
        """Take images out: their bits die and are never given out again.

        Raises:
            HubError: if a node loses its last image, and a label was imported without the embeddings to follow that.
        """
        gone = {"images": list(images)}
        self._run(
            """
            UPDATE block SET live = live & ~g.mask
              FROM (SELECT block, bit_or(1::UBIGINT << bit) AS mask
                      FROM image WHERE image IN (SELECT unnest($images)) GROUP BY block) g
             WHERE g.block = block.block
            """,
            gone,
        )
        bare = self._bare_models()
        if bare:
            lost = self._run(
                """
                  SELECT node, synset
                    FROM node
                   WHERE node IN (SELECT node FROM image WHERE image IN (SELECT unnest($images)))
                     AND node NOT IN (SELECT node FROM block WHERE live <> 0)
                ORDER BY node
                """,
                gone,
            )
            stuck = self._comparing(bare, {node for node, _ in lost})
            if stuck:
                last = next(synset for node, synset in lost if node in stuck[min(stuck)])
                reason = cannot_grow(self._names(stuck))
                raise HubError(f"these are the last images of {last!r}, and {reason}", self.path)
        self._run("DELETE FROM image WHERE image IN (SELECT unnest($images))", gone)

    # -- the graph and its index -------------------------------------------------------------------

    def set_graph(self, graph: Graph) -> bool:
        """Add the nodes and edges of a graph, as a new version if anything is new.

        Returns:
            Whether anything was new.
        """
        before = self._size()
        self.add_nodes(graph.synsets)
        node = dict(self._run("SELECT wnid, node FROM node"))
        ordinal = [node[synset.wnid] for synset in graph.synsets]
        edges = [(ordinal[parent], ordinal[child]) for parent, child in graph.edges]
        if edges:
            columns = [pa.array(column, pa.uint32()) for column in zip(*edges, strict=True)]
            self._insert("edge", pa.table(columns, names=["parent", "child"]), on_conflict="DO NOTHING")
        [(built,)] = self._run("SELECT max(nodes) FROM graph")
        changed = self._size() != before or built != self._size()[0]
        if changed:
            self._run("INSERT INTO graph SELECT coalesce(max(version), 0) + 1, (SELECT count(*) FROM node) FROM graph")
        return changed

    def set_index(self, index: bytes, nodes: int, domains: Float32, encoder: str, fingerprint: str) -> None:
        """Store a caption index over the first `nodes` nodes with the embeddings of the first domains.

        If others were added meanwhile the index is older than its captions, and readers say so.
        """
        name = f"nodes-{self._new.generation:06d}.faiss"
        self._staged(name).write_bytes(index)
        embedding = pa.array(list(domains), pa.list_(pa.float32()))
        self._run("DELETE FROM domain_embedding")
        ordinal = pa.array(range(len(domains)), pa.uint32())
        self._insert("domain_embedding", pa.table([ordinal, embedding], names=["domain", "embedding"]))
        placeholder = IndexFile(name, 0, "", nodes, len(domains), encoder, fingerprint)
        self._new = replace(self._new, index=placeholder)

    # -- models ------------------------------------------------------------------------------------

    def add_model(self, card: ModelCard) -> int:
        """Add a model, or renew the card of the model of that name; return its ordinal.

        Other weights under a known name make another model, and so does the same prepared in another way: the old
        label goes.
        """
        query = "SELECT model, fingerprint, preprocess, tokenizer, image_size FROM model WHERE name = $name"
        known = next(iter(self._run(query, {"name": card.name})), None)
        if known and known[1:] != (card.fingerprint, card.preprocess, card.tokenizer, card.image_size):
            self.remove_model(card.name)
            known = None
        model = known[0] if known else self._counter("model")
        if known:
            self._run("DELETE FROM model WHERE model = $model", {"model": model})
        else:
            self._set_counter("model", model + 1)
        facts = {**asdict(card), "libraries": json.dumps(card.libraries, sort_keys=True)}
        columns = ", ".join(facts)
        values = ", ".join(f"${name}" for name in facts)
        self._run(f"INSERT INTO model (model, {columns}) VALUES ($model, {values})", {**facts, "model": model})
        return int(model)

    def remove_model(self, name: str) -> None:
        """Take a model out with its label and its embeddings.

        Raises:
            NotInHub: if there is none of that name.
        """
        gone = self._run("DELETE FROM model WHERE name = $name RETURNING model", {"name": name})
        if not gone:
            raise NotInHub("model", name, cure="`mllctl model list` shows all")
        self._new = self._new.without_model(gone[0][0])

    def put_label(self, model: int, folder: Path, *, whole: bool) -> None:
        """Move in what a `LabelWriter` has finished.

        Args:
            model: ordinal.
            folder: where it lies.
            whole: whether it takes the place of any label the model had, or is one more part of it.

        Raises:
            HubError: if it is one more part of a label that was imported without its embeddings.
        """
        if not whole:
            self._refuse_bare(model)
        stem = f"labels/{model:06d}-{self._new.generation:06d}"
        for field, source, suffix in (("labels", LABEL, "duckdb"), ("orders", ORDER, "arrow")):
            (folder / source).replace(self._staged(f"{stem}.{suffix}"))
            self._put(field, ModelFile(f"{stem}.{suffix}", 0, "", model), whole=whole)

    def put_expert(self, expert: int | None, file: Path, *, whole: bool) -> int:
        """Move in a part of an expert's label that `hub.experts.write_expert` has made.

        Args:
            expert: ordinal, None for one that is new.
            file: where it lies.
            whole: whether it takes the place of any label the expert had, or is one more part of it.

        Returns:
            Its ordinal.
        """
        if expert is None:
            expert = self.add_expert()
        name = f"labels/{expert:06d}-{self._new.generation:06d}.duckdb"
        file.replace(self._staged(name))
        self._put("experts", ModelFile(name, 0, "", expert), whole=whole)
        return expert

    def add_expert(self) -> int:
        """Return the ordinal of an expert that is new; its card comes with its label."""
        expert = self._counter("model")
        self._set_counter("model", expert + 1)
        return expert

    def remove_expert(self, expert: int) -> None:
        """Take an expert out with its label and its answers."""
        self._new = self._new.without_model(expert)

    def put_features(
        self, model: int, kind: str, parts: Iterable[tuple[Ordinals, Float16]], *, whole: bool = False
    ) -> None:
        """Store a model's embeddings of images or captions.

        Args:
            model: ordinal.
            kind: `image` or `caption`.
            parts: ordinals of images or nodes, and their vectors, shape (n, d).
            whole: whether they take the place of those it had, or are added to them.

        Raises:
            HubError: if the model's label was imported without the embeddings that it was made from.
        """
        self._refuse_bare(model)
        name = f"features/{model:06d}-{self._new.generation:06d}-{kind}.arrow"
        write_features(self._staged(name), parts)
        self._put(f"{kind}_features", ModelFile(name, 0, "", model), whole=whole)

    def _put(self, field: str, file: ModelFile, *, whole: bool) -> None:
        kept = [known for known in getattr(self._new, field) if not (whole and known.model == file.model)]
        # Sorting is stable: of one model, the parts stay by age.
        files = tuple(sorted([*kept, file], key=lambda known: known.model))
        self._new = replace(self._new, **{field: files})  # type: ignore[arg-type]

    def reserve(self, kind: str, following: int) -> None:
        """See to it that no ordinal below `following` is given out, `kind` being a row of `counter`."""
        self._set_counter(kind, max(following, self._counter(kind)))

    # -- what another hub has made -----------------------------------------------------------------

    def fill(self, tables: Mapping[str, pa.Table]) -> None:
        """Take the whole catalog of another hub, ordinals and all; this one must be empty.

        Args:
            tables: all of `CATALOG_TABLES`.
        """
        for name in CATALOG_TABLES:
            if name != "counter":
                self._insert(name, tables[name], by_name=True)
        self._reserve_as(tables, ("model", "image", "block"))

    def reserve_places(self, tables: Mapping[str, pa.Table]) -> None:
        """See to it that no place another hub has given out is given to an image here: its labels may speak of it.

        Args:
            tables: `counter` and `block` of that hub, whose live images are those of this one.
        """
        self._reserve_as(tables, ("image", "block"))
        self._db.register("incoming", tables["block"])
        self._run(
            """
            UPDATE block SET used = i.used
              FROM incoming i
             WHERE i.block = block.block AND i.used > block.used
            """
        )
        self._db.unregister("incoming")

    def put_files(self, model: int, files: Mapping[str, Sequence[Path]]) -> None:
        """Move in the label, and what goes with it, that another hub has of a model or expert which has none here.

        Args:
            model: ordinal here.
            files: names of the manifest's fields -> files, by age.
        """
        for field, sources in files.items():
            folder, _, ending = PLACES[field].partition("/")
            for part, source in enumerate(sources):
                later = f"-{part}" if part else ""
                name = f"{folder}/{model:06d}-{self._new.generation:06d}{later}{ending}"
                source.replace(self._staged(name))
                self._put(field, ModelFile(name, 0, "", model), whole=part == 0)

    def put_index(self, source: Path, made: IndexFile) -> None:
        """Move in the caption index of another hub that has the same nodes and domains."""
        name = f"nodes-{self._new.generation:06d}.faiss"
        source.replace(self._staged(name))
        self._new = replace(self._new, index=replace(made, path=name))

    # -- the end -----------------------------------------------------------------------------------

    def commit(self) -> None:
        """Move the new files into place and replace the manifest; then sweep what no manifest names."""
        self._run("COMMIT")
        self._run("CHECKPOINT")
        self._db.close()
        for name in self._moves:
            self._staged(name, new=False).replace(self.path / name)
        for folder in (self.path, self.path / "labels", self.path / "features"):
            sync_folder(folder)
        old = {file.path: file for file in self._old.files()}
        catalog = f"catalog-{self._new.generation:06d}.duckdb"
        self._new = replace(
            self._new,
            catalog=self._described(HubFile(catalog, 0, ""), old),
            labels=tuple(self._described(file, old) for file in self._new.labels),
            orders=tuple(self._described(file, old) for file in self._new.orders),
            image_features=tuple(self._described(file, old) for file in self._new.image_features),
            caption_features=tuple(self._described(file, old) for file in self._new.caption_features),
            index=self._described(self._new.index, old) if self._new.index else None,
            experts=tuple(self._described(file, old) for file in self._new.experts),
        )
        write_manifest(self.path, self._new)
        sweep(self.path)

    def abandon(self) -> None:
        """Let go of the staged files; harmless after a commit."""
        self._db.close()
        for name in self._moves:
            self._staged(name, new=False).unlink(missing_ok=True)

    # -- inside ------------------------------------------------------------------------------------

    def _staged(self, name: str, *, new: bool = True) -> Path:
        """Return where a file of this change waits until the commit."""
        if new and name not in self._moves:
            self._moves.append(name)
        return self.path / "staging" / name.replace("/", "-")

    def _described(self, file: AnyFile, old: dict[str, HubFile]) -> AnyFile:
        """Fill in size and checksum: as the old manifest has them, or from the new file."""
        known = old.get(file.path) or describe(self.path, file.path)
        return replace(file, size=known.size, sha256=known.sha256)

    def _size(self) -> tuple[int, int]:
        [(nodes, edges)] = self._run("SELECT (SELECT count(*) FROM node), (SELECT count(*) FROM edge)")
        return nodes, edges

    def _counter(self, kind: str) -> int:
        [(following,)] = self._run("SELECT next FROM counter WHERE kind = $kind", {"kind": kind})
        return int(following)

    def _set_counter(self, kind: str, value: int) -> None:
        self._run("UPDATE counter SET next = $value WHERE kind = $kind", {"kind": kind, "value": value})

    def _run(self, query: str, values: Any = None) -> list[Any]:
        """Execute to the end: DuckDB allows nothing else on a connection while rows are outstanding."""
        return self._db.execute(query, values).fetchall()

    def _insert(self, table: str, rows: pa.Table, on_conflict: str = "", *, by_name: bool = False) -> None:
        """Insert an Arrow table in one statement: about 40 times faster than executemany."""
        self._db.register("incoming", rows)
        clause = f"ON CONFLICT {on_conflict}" if on_conflict else ""
        self._run(f"INSERT INTO {table} {'BY NAME' if by_name else ''} SELECT * FROM incoming {clause}")
        self._db.unregister("incoming")

    def _reserve_as(self, tables: Mapping[str, pa.Table], kinds: Sequence[str]) -> None:
        for row in tables["counter"].to_pylist():
            if row["kind"] in kinds:
                self.reserve(row["kind"], row["next"])

    def _bare_models(self) -> set[int]:
        """Return the models that had a label without embeddings before this change, and still have it."""
        return bare_models(self._old) & {file.model for file in self._new.labels}

    def _refuse_bare(self, model: int) -> None:
        if model in self._bare_models():
            raise HubError(cannot_grow(self._names([model])), self.path)

    def _comparing(self, models: Collection[int], nodes: Collection[int]) -> dict[int, set[int]]:
        """Return the models in whose labels any of `nodes` compete: model -> which of them."""
        found: dict[int, set[int]] = {}
        if not nodes:
            return found
        with duckdb.connect(":memory:") as db:
            for file in self._old.labels:
                if file.model in models:
                    db.execute(f"ATTACH {quoted(self.path / file.path)} AS label (READ_ONLY)")
                    competing = {node for (node,) in db.execute("SELECT node FROM label.label_node").fetchall()}
                    db.execute("DETACH label")
                    # Of several parts the last says which nodes compete.
                    found[file.model] = competing & set(nodes)
        return {model: some for model, some in found.items() if some}

    def _names(self, models: Iterable[int]) -> list[str]:
        query = "SELECT name FROM model WHERE model IN (SELECT unnest($models)) ORDER BY model"
        return [name for (name,) in self._run(query, {"models": list(models)})]


def bare_models(manifest: Manifest) -> set[int]:
    """Return the models whose label is there and whose embeddings are not: it was imported, and cannot grow."""
    return {file.model for file in manifest.labels} - {file.model for file in manifest.image_features}


def bare_experts(manifest: Manifest) -> set[int]:
    """Return the experts whose answers are not there: of those that are labelled, the label was imported and cannot
    grow."""
    return {file.model for file in manifest.experts} - {file.model for file in manifest.image_features}


def cannot_grow(names: Sequence[str]) -> str:
    """Say of bare models or experts, at least one, why their labels stay as they are, and what to type."""
    others = f" (and of {len(names) - 1} more)" if len(names) > 1 else ""
    cure = f"`mllctl model remove {names[0]}`, and label it again where its images are"
    return f"the label of {names[0]}{others} was imported without its embeddings and stays as it is; {cure}"


def restore_hub(path: Path, generation: int) -> Manifest:
    """Make a past generation the newest again, as a new generation: what came after it stays in the history.

    Ordinals that were given out since stay taken.

    Returns:
        The new manifest.

    Raises:
        HubReadOnly, HubBusy: as their names say.
        NotInHub: if the generation is not kept.
    """
    with only_writer(path):
        newest, past = read_manifest(path), read_manifest(path, generation)
        if newest.read_only:
            raise HubReadOnly(path)
        with duckdb.connect(str(path / newest.catalog.path), read_only=True) as db:
            taken = db.execute("SELECT kind, next FROM counter").fetchall()
        change = HubChange(path, replace(past, generation=newest.generation), f"hub restore {generation}")
        try:
            for kind, following in taken:
                change.reserve(kind, following)
            change.commit()
        finally:
            change.abandon()
    return read_manifest(path)


def seal(path: Path) -> None:
    """Give a hub the form in which it is shipped: read-only, without what only growth and confusions need.

    Embeddings go, and so do all rivals of an image but the strongest ones, and the history; the masks, and with them
    all hits over any selection of nodes, stay whole. A label of several parts must be merged first. Experts are left
    out: one of 1,000 heads would be larger than all other labels together.

    Raises:
        HubBusy: if another process is changing the hub.
        ValueError: if a label has more than one part.
    """
    with only_writer(path):
        manifest = read_manifest(path)
        models = [file.model for file in manifest.labels]
        if len(set(models)) < len(models):
            raise ValueError("a label has several parts; merge them before the hub is sealed")
        generation = manifest.generation + 1
        catalog = f"catalog-{generation:06d}.duckdb"
        _copy_catalog(path / manifest.catalog.path, path / catalog)
        labels = []
        for file in manifest.labels:
            name = f"labels/{file.model:06d}-{generation:06d}.duckdb"
            _copy_label(path / file.path, path / name)
            labels.append(ModelFile(**asdict(describe(path, name)), model=file.model))
        sealed = replace(
            manifest,
            generation=generation,
            made=now(),
            note="seal",
            read_only=True,
            catalog=describe(path, catalog),
            labels=tuple(labels),
            orders=(),
            image_features=(),
            caption_features=(),
            experts=(),
        )
        write_manifest(path, sealed)
        sweep(path, history=False)


def _copy_catalog(source: Path, target: Path) -> None:
    """Copy a catalog without its indexes, which only writers need, and without the room its changes left."""
    with new_file(target) as db:
        db.execute(f"ATTACH {quoted(source)} AS old (READ_ONLY)")
        for table in CATALOG_TABLES:
            db.execute(f"CREATE TABLE {table} AS FROM old.{table}").fetchall()
        db.execute("DETACH old")


def _copy_label(source: Path, target: Path) -> None:
    """Copy a label file without the places of images in an Arrow file that is left out."""
    with new_label(target) as db:
        db.execute(f"ATTACH {quoted(source)} AS old (READ_ONLY)")
        for table in ("label_made", "label_node", "label_state", "rival_mask", "image_label"):
            db.execute(f"INSERT INTO {table} FROM old.{table}").fetchall()
        db.execute("DETACH old")


def _clear_staging(hub: Path) -> None:
    """Delete what changes that were killed have left. Folders are work that its own command takes up again."""
    (hub / "staging").mkdir(exist_ok=True)
    for path in (hub / "staging").iterdir():
        if path.is_file():
            path.unlink()


def sweep(hub: Path, *, history: bool = True) -> None:
    """Delete what no manifest of the history names: orphans, and generations that are too old."""
    kept = read_history(hub) if history else [read_manifest(hub)]
    named = {file.path for manifest in kept for file in manifest.files()}
    named |= {str(past_manifest(hub, manifest.generation).relative_to(hub)) for manifest in kept if history}
    for pattern in ("catalog-*.duckdb*", "nodes-*.faiss", "labels/*", "features/*", f"{HISTORY}/*"):
        for path in hub.glob(pattern):
            if str(path.relative_to(hub)) not in named:
                path.unlink()
