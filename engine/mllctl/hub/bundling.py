"""Label bundles: what a selection needs of a hub, in one file that travels. One labels, everyone selects.

    export_labels    a hub -> a bundle: catalog, index, labels, licences; no images, no weights
    read_bundle      what is in a bundle, after every byte of it was checked
    import_labels    a bundle -> a new hub, or more models in one whose graph and images are the same

Labels are those of models and of experts. Their files are copied as they are, so an answer is the same to the last bit.
The catalog travels as Arrow tables, without the room that past changes left in its file. `archive` is the file itself.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from mllctl.backends.facts import known_models
from mllctl.backends.protocol import ExpertCard, ModelCard
from mllctl.errors import HubDamaged, HubError, HubReadOnly, SourceUnreadable, StageMissing
from mllctl.hub.archive import VERSION, Archive, Member, Piece, is_safe, write_archive
from mllctl.hub.experts import check_answers, check_expert
from mllctl.hub.manifest import (
    NAME,
    SCHEMA_VERSION,
    IndexFile,
    Manifest,
    ModelFile,
    read_manifest,
    sync_folder,
)
from mllctl.hub.parts import SCHEMA, quoted
from mllctl.hub.reading import CARD, Hub
from mllctl.hub.records import StoredExpert, StoredModel
from mllctl.hub.snapshot import CATALOG_TABLES
from mllctl.hub.writing import HubChange, only_writer

README, LICENSES = "README.txt", "licenses"
OLDEST_SCHEMA = 2  # which had no experts; what else is in its bundles is as it was
FIELDS = ("labels", "orders", "image_features", "caption_features", "experts")
Tables = Mapping[str, pa.Table]
Cards = dict[int, ModelCard | ExpertCard]

# What must be the same in two hubs for the labels of one to be labels of the other: what, and the first that differs.
# An image is the same if it has the same place, too, since a label speaks of images by their places.
DIFFERENCES = {
    "node": """
          SELECT coalesce(h.node, b.node) AS place, h.synset, b.synset
            FROM hub.node h
            FULL JOIN bundled_node b ON h.node = b.node
           WHERE h.synset IS DISTINCT FROM b.synset OR h.wnid IS DISTINCT FROM b.wnid
        ORDER BY place
           LIMIT 1
    """,
    "caption of node": """
          SELECT h.synset AS place, h.caption, b.caption
            FROM hub.node h
            JOIN bundled_node b ON h.node = b.node
           WHERE h.caption <> b.caption
        ORDER BY h.node
           LIMIT 1
    """,
    "edge": """
            WITH here AS (FROM hub.edge EXCEPT FROM bundled_edge),
                 there AS (FROM bundled_edge EXCEPT FROM hub.edge),
                 either AS (SELECT *, true AS held FROM here UNION ALL SELECT *, false FROM there)
          SELECT p.synset || ' - ' || c.synset AS place,
                 CASE WHEN held THEN 'there' END, CASE WHEN NOT held THEN 'there' END
            FROM either
            JOIN hub.node p ON p.node = parent
            JOIN hub.node c ON c.node = child
        ORDER BY parent, child
           LIMIT 1
    """,
    "image": """
            WITH here AS (SELECT i.image, n.synset, d.name, i.block, i.bit, i.sha256
                            FROM hub.image i
                            JOIN hub.block k ON k.block = i.block
                            JOIN hub.domain d ON d.domain = k.domain
                            JOIN hub.node n ON n.node = i.node),
                 there AS (SELECT i.image, n.synset, d.name, i.block, i.bit, i.sha256
                             FROM bundled_image i
                             JOIN bundled_block k ON k.block = i.block
                             JOIN bundled_domain d ON d.domain = k.domain
                             JOIN bundled_node n ON n.node = i.node)
          SELECT coalesce(h.image, t.image) AS place,
                 h.synset || ', ' || h.name || ', sha256 ' || h.sha256[:12] || ', bit ' || h.bit || ' of ' || h.block,
                 t.synset || ', ' || t.name || ', sha256 ' || t.sha256[:12] || ', bit ' || t.bit || ' of ' || t.block
            FROM here h
            FULL JOIN there t ON t.image = h.image
           WHERE (h.synset, h.name, h.block, h.bit, h.sha256)
                 IS DISTINCT FROM (t.synset, t.name, t.block, t.bit, t.sha256)
        ORDER BY place
           LIMIT 1
    """,
}


@dataclass(frozen=True)
class BundledModel:
    """A labelled model of a bundle.

    Attributes:
        name, kind, fingerprint, parameters, source: as on its card.
        license: SPDX expression of its weights, None where mllctl does not know it.
        state: of its label, `complete` or `stale`.
        images: how many live images it was shown.
    """

    name: str
    kind: str
    fingerprint: str
    parameters: int
    source: str
    license: str | None
    state: str
    images: int


@dataclass(frozen=True)
class BundledExpert:
    """A labelled expert of a bundle.

    Attributes:
        name, kind, fingerprint, parameters, source: as on its card.
        heads: how many it has.
        state: of its label, `complete` or `stale`.
        images: how many live images it was shown.
    """

    name: str
    kind: str
    fingerprint: str
    parameters: int
    source: str
    heads: int
    state: str
    images: int


@dataclass(frozen=True)
class Contents:
    """What is in a bundle.

    Attributes:
        version: of the bundle's form.
        schema_version, generation, made: of the hub it was exported from; `made` is when that generation was.
        nodes, nodes_with_images, images: how many; of images only what they are, not the images.
        domains: name -> its number of images.
        encoder: sentence encoder of the caption index, None without an index.
        orders: whether all rivals of each image are there, and with them every winner.
        embeddings: whether labels can grow.
        models, experts: those that are labelled.
        licenses: paths in the bundle of the texts that came with it.
        size: bytes of all files in it.
    """

    version: int
    schema_version: int
    generation: int
    made: str
    nodes: int
    nodes_with_images: int
    images: int
    domains: dict[str, int]
    encoder: str | None
    orders: bool
    embeddings: bool
    models: tuple[BundledModel, ...]
    experts: tuple[BundledExpert, ...]
    licenses: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Imported:
    """What an import has done.

    Attributes:
        path: the hub.
        created: whether it was empty, or not there, before.
        generation: its newest now.
        taken: models, then experts, whose labels are new in it.
        skipped: those it had already, labelled.
    """

    path: Path
    created: bool
    generation: int
    taken: tuple[str, ...]
    skipped: tuple[str, ...]


# -- out ----------------------------------------------------------------------------------------------


def export_labels(
    hub: Hub,
    target: Path,
    licenses: Sequence[Path] = (),
    *,
    orders: bool = True,
    embeddings: bool = False,
    overwrite: bool = False,
) -> Contents:
    """Write the labels of a hub, and all that selecting by them needs, as one file.

    Args:
        hub: open for reading. The same generation gives the same bytes.
        target: the file; with a name that ends in `.gz` it is gzipped.
        licenses: files, or folders of files, that go with it: whose the images are, what may be done with the labels.
        orders: whether all rivals of each image go with it; hits are exact without them, but some winners are unknown,
            so how sure a choice is may differ a little.
        embeddings: whether what models made of images and captions, and experts of images, goes with it, so that labels
            can grow.
        overwrite: whether `target` may be there already.

    Raises:
        SourceUnreadable: if `target` is there already, or a licence cannot be read.
        StageMissing: if no model is labelled, or a label has grown and its embeddings are to stay.
        HubDamaged: if a file of the hub is not what was written.
    """
    if target.exists() and not overwrite:
        raise SourceUnreadable(target, "is there already; name a new file or give --force")
    models = [model for model in hub.models() if hub.label_files(model.model)]
    experts = [expert for expert in hub.experts() if expert.labelled]
    if not models and not experts:
        raise StageMissing("no model of the hub is labelled", "mllctl label --all")
    parts = {model.card.name: hub.label_files(model.model) for model in models}
    parts |= {expert.card.name: hub.expert_files(expert.expert) for expert in experts}
    for name, files in parts.items():
        # Of a model, which of two goes first, a node that came later or an earlier winner, only embeddings say; of an
        # expert, only what it answered says how parts are merged.
        if len(files) > 1 and not embeddings:
            reason = f"the label of {name} has grown and needs its embeddings (--embeddings) until it is merged"
            raise StageMissing(reason, f"mllctl hub compact --hub {hub.path}")
    labelled = {model.model for model in models} | {expert.expert for expert in experts}
    manifest = _exported(hub.manifest, labelled, orders=orders, embeddings=embeddings)
    tables = _read_catalog(hub, [model.model for model in models])
    pieces = [Piece.of(_table(name), _as_arrow(table)) for name, table in tables.items()]
    pieces += [Piece(Member(f.path, f.size, f.sha256), hub.path / f.path) for f in manifest.files()[1:]]
    pieces += _licenses(hub.path, licenses)
    facts = _facts(hub, manifest, models, experts)
    texts = [piece.member.path for piece in pieces if piece.member.path.startswith(f"{LICENSES}/")]
    facts["licenses"] = sorted(texts)
    pieces.append(Piece.of(README, _readme(facts).encode()))
    try:
        write_archive(target, facts, pieces)
    except FileNotFoundError as error:
        if error.filename is None or not str(error.filename).startswith(str(hub.path)):
            raise
        raise HubDamaged(hub.path, f"{Path(error.filename).name} is missing") from error
    return read_bundle(target)


def _exported(manifest: Manifest, labelled: set[int], *, orders: bool, embeddings: bool) -> Manifest:
    """Return the files that go into a bundle, as a manifest."""
    kept = dict.fromkeys(FIELDS, True) | {"orders": orders}
    kept |= {"image_features": embeddings, "caption_features": embeddings}
    files = {
        field: tuple(file for file in getattr(manifest, field) if wanted and file.model in labelled)
        for field, wanted in kept.items()
    }
    return replace(manifest, **files)  # type: ignore[arg-type]


def _read_catalog(hub: Hub, models: list[int]) -> dict[str, pa.Table]:
    """Return the tables of a catalog, in a stated order; of models only those that are given."""
    with duckdb.connect(":memory:") as db:
        db.execute(f"ATTACH {quoted(hub.path / hub.manifest.catalog.path)} AS catalog (READ_ONLY)")
        tables = {name: db.sql(f"FROM catalog.{name} ORDER BY ALL").to_arrow_table() for name in CATALOG_TABLES}
    labelled = np.isin(tables["model"].column("model").to_numpy(), models)
    return {**tables, "model": tables["model"].filter(pa.array(labelled))}


def _table(name: str) -> str:
    return f"catalog/{name}.arrow"


def _as_arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # One batch, whatever pieces DuckDB has cut it into; what it says of its origin is not data.
    whole = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_file(sink, whole.schema) as out:
        out.write_table(whole)
    return bytes(sink.getvalue())


def _licenses(hub: Path, given: Sequence[Path]) -> list[Piece]:
    """Return the texts that are given, and those that came into the hub with bundles."""
    found: dict[str, Path] = {}
    for path in given:
        if not path.exists():
            raise SourceUnreadable(path, "no such file or folder")
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        if not files:
            raise SourceUnreadable(path, "holds no files; put the texts of licences there")
        for file in files:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if name in found:
                raise SourceUnreadable(file, f"{found[name]} has the same name; rename one")
            found[name] = file
    kept = hub / LICENSES
    for file in sorted(file for file in kept.rglob("*") if file.is_file()):
        name = file.relative_to(kept).as_posix()
        if name in found and _text(found[name]) != _text(file):
            raise SourceUnreadable(found[name], f"another text of this name came into the hub: {file}; rename yours")
        found[name] = file
    for name, file in found.items():
        if not is_safe(f"{LICENSES}/{name}"):
            raise SourceUnreadable(file, "has a name that not every system takes; use letters, and fewer of them")
        if other := next((found[str(folder)] for folder in PurePosixPath(name).parents if str(folder) in found), None):
            raise SourceUnreadable(file, f"its folder has the name of {other}; rename one")
    return [Piece.of(f"{LICENSES}/{name}", _text(file)) for name, file in found.items()]


def _text(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SourceUnreadable(file, (error.strerror or str(error)).lower()) from error


def _facts(
    hub: Hub, manifest: Manifest, models: Sequence[StoredModel], experts: Sequence[StoredExpert]
) -> dict[str, Any]:
    nodes, domains = hub.nodes(), hub.domains()
    labelled = {file.model for file in (*manifest.labels, *manifest.experts)}
    index = manifest.index
    return {
        "schema_version": manifest.schema_version,
        "generation": manifest.generation,
        "made": manifest.made,
        "nodes": len(nodes),
        "nodes_with_images": sum(node.images > 0 for node in nodes),
        "images": sum(domain.images for domain in domains),
        "domains": {domain.name: domain.images for domain in domains},
        "encoder": index.encoder if index else None,
        "orders": {file.model for file in manifest.orders} == {file.model for file in manifest.labels},
        "embeddings": {file.model for file in manifest.image_features} == labelled,
        "models": [asdict(_bundled(model)) for model in models],
        "experts": [asdict(_bundled_expert(expert)) for expert in experts],
        "expert_cards": {expert.expert: asdict(expert.card) for expert in experts},
        "files_of": {field: [asdict(file) for file in getattr(manifest, field)] for field in FIELDS},
        "index": asdict(index) if index else None,
    }


def _bundled(model: StoredModel) -> BundledModel:
    card = model.card
    # By source, as limits do: a checkpoint of the user's own may bear the name of a known model, and is another.
    known = known_models().get(card.name if card.source.startswith("demo:") else card.source)
    facts = (card.name, card.kind, card.fingerprint, card.parameters, card.source)
    return BundledModel(*facts, known.license if known else None, model.state, model.labelled)


def _bundled_expert(expert: StoredExpert) -> BundledExpert:
    card = expert.card
    facts = (card.name, card.kind, card.fingerprint, card.parameters, card.source)
    return BundledExpert(*facts, len(card.heads), expert.state, expert.labelled)


def _readme(facts: Mapping[str, Any]) -> str:
    models = "\n".join(
        f"  {model['name']}  (weights: {model['license'] or 'licence not known to mllctl'}; "
        f"label {model['state']}, {model['images']} images; loaded as {model['source']})"
        for model in facts["models"]
    )
    experts = "\n".join(
        f"  {expert['name']}  ({expert['heads']} heads; label {expert['state']}, {expert['images']} images; "
        f"loaded as {expert['source']})"
        for expert in facts["experts"]
    )
    listed = f"Models:\n\n{models or '  none'}" + (f"\n\nExperts:\n\n{experts}" if experts else "")
    domains = ", ".join(f"{name} {images}" for name, images in facts["domains"].items())
    texts = "\n".join(f"  {path}" for path in facts["licenses"])
    whose = (
        f"Whose the images are and what may be done with this is said in\n\n{texts}"
        if texts
        else ("Nothing was said of who made the images; ask whoever gave you this.")
    )
    kept = "with" if facts["embeddings"] else "without"
    return f"""\
This is a bundle of labels: what models, and experts if any, showed on sample images of
concepts, made by mllctl from generation {facts["generation"]} of a hub ({facts["made"]}).
It chooses models for other people's classes; there are no images and no weights in it.

  mllctl hub import --show BUNDLE     checks it and says what is in it
  mllctl hub import BUNDLE            makes ./hub of it, or adds its models to a hub
  mllctl select --class cat --class dog

{facts["images"]} images of {facts["nodes_with_images"]} of {facts["nodes"]} nodes ({domains}), {kept} embeddings.
Bundle version {VERSION}, schema version {facts["schema_version"]}.

{listed}

{whose}

Nodes and their definitions are from WordNet 3.0, Copyright 2006 by Princeton University.
"""


# -- in -----------------------------------------------------------------------------------------------


def read_bundle(path: Path) -> Contents:
    """Return what is in a bundle, after checking every byte of it.

    Raises:
        SourceUnreadable: if it is none, damaged, or of a version that this mllctl does not read.
    """
    with Archive(path) as archive:
        contents = _contents(archive)
        archive.check()
        return contents


def import_labels(bundle: Path, path: Path) -> Imported:
    """Take the labels of a bundle into the hub at `path`; make that hub if there is none.

    Into an empty hub goes all that is in the bundle. Into another go the labels of models it has none of, if it has
    the same nodes and images under the same ordinals. All of it is one new generation, or none if nothing is new.

    Raises:
        SourceUnreadable: if the bundle is none, damaged, or of a version that this mllctl does not read.
        HubExists: if `path` holds something that is no hub.
        HubError: if the hub has another graph, or other weights under the name of a model.
        HubReadOnly, HubBusy, HubDamaged, HubTooNew, HubTooOld: as their names say.
        OSError: if the disk is too small.
    """
    with Archive(bundle) as archive:
        _contents(archive)
        archive.check()
        tables = _tables(archive)
        cards, files = _cards(archive, tables["model"]), _files(archive)
        _check_owners(archive, cards, files)
        if not (path / NAME).is_file():
            _check_room(archive, path)
            Hub.create(path).close()
        elif read_manifest(path).read_only:
            raise HubReadOnly(path)
        with only_writer(path):
            try:
                return _import(archive, tables, cards, files, path)
            # What is in the tables is not what the catalog takes; that the disk is full would be another error.
            except (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError, pa.ArrowException) as error:
                raise archive.damaged(str(error).splitlines()[0]) from error


def _import(
    archive: Archive, tables: Tables, cards: Cards, files: Mapping[str, list[ModelFile]], path: Path
) -> Imported:
    manifest = read_manifest(path)
    with Hub.open(path) as hub:
        empty = not (hub.nodes() or hub.domains() or hub.models() or hub.experts())
        if not empty:
            _check_agreement(archive, tables, hub)
        taken = _new_models(archive, cards, hub)
        known = {expert.card.name: expert.expert for expert in hub.experts()}
    skipped = tuple(card.name for model, card in cards.items() if model not in taken)
    if not taken and not empty:
        return Imported(path, False, manifest.generation, (), skipped)
    _check_room(archive, path)
    change = HubChange(path, manifest, f"hub import {archive.path.name}")
    staging = path / "staging" / "import"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        index = _index(archive) if empty else None
        wanted = {file.path for field in FIELDS for file in files[field] if file.model in taken}
        places = _extract(archive, {*wanted, *archive.facts["licenses"], *([index.path] if index else [])}, staging)
        _check_tables(archive, "label", [file.path for file in files["labels"] if file.model in taken], places)
        _check_tables(archive, "expert", [file.path for file in files["experts"] if file.model in taken], places)
        for model in taken:
            if isinstance(card := cards[model], ExpertCard):
                _check_expert(archive, card, model, files, places, tables)
        if empty:
            change.fill(tables)
        else:
            change.reserve_places(tables)
        if index:
            change.put_index(places[index.path], index)
        for model in taken:
            card = cards[model]
            if isinstance(card, ModelCard):
                ordinal = model if empty else change.add_model(card)
            elif card.name in known:
                ordinal = known[card.name]
                change.remove_expert(ordinal)  # answers on images that are gone are not those of this label
            else:
                ordinal = change.add_expert()
            own = {field: [places[file.path] for file in files[field] if file.model == model] for field in FIELDS}
            change.put_files(ordinal, own)
        _keep_licenses(archive, places, path)
        change.commit()
    finally:
        change.abandon()
        shutil.rmtree(staging, ignore_errors=True)
    names = tuple(cards[model].name for model in taken)
    return Imported(path, empty, manifest.generation + 1, names, skipped)


def _contents(archive: Archive) -> Contents:
    facts = archive.facts
    try:
        version = facts["schema_version"]
        if not OLDEST_SCHEMA <= version <= SCHEMA_VERSION:
            newer = "upgrade mllctl" if version > SCHEMA_VERSION else "have its hub upgraded and exported again"
            read = f"{OLDEST_SCHEMA} to {SCHEMA_VERSION}"
            reason = f"holds labels of schema version {version}, this mllctl reads {read}; {newer}"
            raise SourceUnreadable(archive.path, reason)
        models = tuple(BundledModel(**model) for model in facts["models"])
        return Contents(
            version=facts["version"],
            schema_version=version,
            generation=facts["generation"],
            made=facts["made"],
            nodes=facts["nodes"],
            nodes_with_images=facts["nodes_with_images"],
            images=facts["images"],
            domains=dict(facts["domains"]),
            encoder=facts["encoder"],
            orders=facts["orders"],
            embeddings=facts["embeddings"],
            models=models,
            # Those of schema version 2 lack the word.
            experts=tuple(BundledExpert(**expert) for expert in facts.get("experts", ())),
            licenses=tuple(facts["licenses"]),
            size=archive.size,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise archive.damaged(f"what it says of itself cannot be understood ({error})") from error


def _tables(archive: Archive) -> dict[str, pa.Table]:
    try:
        tables = {name: pa.ipc.open_file(archive.read(_table(name))).read_all() for name in CATALOG_TABLES}
        for table in tables.values():
            table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise archive.damaged(str(error).splitlines()[0]) from error
    with duckdb.connect(":memory:") as db:
        db.execute((SCHEMA / "catalog.sql").read_text()).fetchall()
        for name, table in tables.items():
            columns = [column for column, *_ in db.execute(f"DESCRIBE {name}").fetchall()]
            if sorted(table.column_names) != sorted(columns):
                raise archive.damaged(f"{_table(name)} has not the columns of a catalog")
    return tables


def _cards(archive: Archive, table: pa.Table) -> Cards:
    """Return the cards of models, and behind them those of experts, by ordinal."""
    try:
        cards: Cards = {
            row["model"]: ModelCard(**{name: row[name] for name in CARD}, libraries=json.loads(row["libraries"]))
            for row in table.to_pylist()
        }
        given = {int(expert): card for expert, card in archive.facts.get("expert_cards", {}).items()}
        experts = {expert: _expert_card(given[expert]) for expert in sorted(given)}
        names = {card.name for card in (*cards.values(), *experts.values())}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise archive.damaged(f"the cards of its models cannot be understood ({error})") from error
    if len(names) < len(cards) + len(experts) or cards.keys() & experts.keys():
        raise archive.damaged("two of its models are one")
    return cards | experts


def _expert_card(facts: Mapping[str, Any]) -> ExpertCard:
    """Return a card that can be told from others; whether it is true only the label says."""
    card = ExpertCard(**{**facts, "heads": tuple(facts["heads"])})
    if not (card.heads and all(isinstance(text, str) for text in (card.name, card.fingerprint, card.preprocess))):
        raise ValueError("an expert without a name or heads")
    return card


def _files(archive: Archive) -> dict[str, list[ModelFile]]:
    """Return the files of all models by field of the manifest, each a member of its own."""
    facts = archive.facts
    missing: dict[str, Any] = {"experts": []} if facts["schema_version"] == 2 else {}
    try:
        listed = {**missing, **facts["files_of"]}
        files = {field: [ModelFile(**file) for file in listed[field]] for field in FIELDS}
        index = _index(archive)
        paths = [file.path for field in FIELDS for file in files[field]] + ([index.path] if index else [])
        lacking = [path for path in (*paths, *facts["licenses"]) if path not in archive.members]
        doubled = len(set(paths)) < len(paths)
        astray = [text for text in facts["licenses"] if not text.startswith(f"{LICENSES}/")]
        nobodys = [file for field in FIELDS for file in files[field] if type(file.model) is not int]
    except (KeyError, TypeError, AttributeError) as error:
        raise archive.damaged(f"what it says of its files cannot be understood ({error})") from error
    if lacking:
        raise archive.damaged(f"it lacks {lacking[0]}")
    if doubled or astray or nobodys:
        raise archive.damaged("it names a file for what it is not")
    return files


def _check_owners(archive: Archive, cards: Cards, files: Mapping[str, list[ModelFile]]) -> None:
    """Refuse a model or expert without a label, and a file of one as that of the other."""
    whose = {field: {file.model for file in files[field]} for field in FIELDS}
    experts = {model for model, card in cards.items() if isinstance(card, ExpertCard)}
    models = cards.keys() - experts
    if lacking := (models - whose["labels"]) | (experts - whose["experts"]):
        raise archive.damaged(f"it lacks the label of {cards[min(lacking)].name}")
    if experts & (whose["labels"] | whose["orders"] | whose["caption_features"]) or models & whose["experts"]:
        raise archive.damaged("it names a file for what it is not")


def _index(archive: Archive) -> IndexFile | None:
    return IndexFile(**archive.facts["index"]) if archive.facts["index"] else None


def _check_room(archive: Archive, path: Path) -> None:
    """Refuse what does not fit on the disk before any of it is written."""
    folder = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    if shutil.disk_usage(folder).free < archive.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _check_agreement(archive: Archive, tables: Tables, hub: Hub) -> None:
    """Refuse labels that speak of other nodes or images than the hub has, naming the first difference."""
    with duckdb.connect(":memory:") as db:
        db.execute(f"ATTACH {quoted(hub.path / hub.manifest.catalog.path)} AS hub (READ_ONLY)")
        db.execute("SET enable_external_access = false")
        for name in ("node", "edge", "image", "block", "domain"):
            db.register(f"bundled_{name}", tables[name])
        for what, query in DIFFERENCES.items():
            found = db.execute(query).fetchone()
            if found:
                place, here, there = found
                both = f"{what} {place} is {here or 'not'} in the hub and {there or 'not'} in the bundle"
                cure = f"import it into a hub of its own with `mllctl hub import {archive.path} --hub NEW`"
                raise HubError(
                    f"{archive.path} was labelled on another graph than {hub.path}: {both}; {cure}", hub.path
                )


def _new_models(archive: Archive, cards: Cards, hub: Hub) -> list[int]:
    """Return the models and experts of a bundle of which the hub has no label."""
    known = {model.card.name: model.card.identity for model in hub.models()}
    known |= {expert.card.name: expert.card.identity for expert in hub.experts()}
    labelled = {model.card.name for model in hub.models() if hub.label_files(model.model)}
    labelled |= {expert.card.name for expert in hub.experts() if expert.labelled}
    for card in cards.values():
        if known.get(card.name, card.identity) != card.identity:
            reason = f"{hub.path} has another model under the name {card.name} than {archive.path}"
            raise HubError(f"{reason}; `mllctl model remove {card.name} --hub {hub.path}` first", hub.path)
    return [model for model, card in cards.items() if card.name not in labelled]


def _extract(archive: Archive, wanted: Collection[str], staging: Path) -> dict[str, Path]:
    """Unpack members, in the order in which they lie: going back in a gzipped bundle means to begin again."""
    places = {path: staging / str(n) for n, path in enumerate(path for path in archive.members if path in wanted)}
    for path, target in places.items():
        archive.extract(path, target)
    return places


def _check_tables(archive: Archive, kind: str, labels: Sequence[str], places: Mapping[str, Path]) -> None:
    """Refuse files that have not the tables of a label, and no more: every reader of the hub will open them."""
    query = """
          SELECT schema_name, table_name, column_name, data_type,
                 table_name IN (SELECT view_name FROM duckdb_views()) AS made_up
            FROM duckdb_columns()
           WHERE database_name = $name
        ORDER BY ALL
    """
    with duckdb.connect(":memory:") as db:
        db.execute((SCHEMA / f"{kind}.sql").read_text()).fetchall()
        expected = db.execute(query, {"name": "memory"}).fetchall()
        for path in labels:
            try:
                db.execute(f"ATTACH {quoted(places[path])} AS label (READ_ONLY)")
                found = db.execute(query, {"name": "label"}).fetchall()
                db.execute("DETACH label")
            except duckdb.Error as error:
                raise archive.damaged(f"{path} is no label ({str(error).splitlines()[0]})") from error
            if found != expected:
                raise archive.damaged(f"{path} has not the tables of a label")


def _check_expert(
    archive: Archive,
    card: ExpertCard,
    expert: int,
    files: Mapping[str, list[ModelFile]],
    places: Mapping[str, Path],
    tables: Tables,
) -> None:
    """Refuse a label of an expert with another card than the bundle says, or with sums or answers that are none."""
    parts, answers = (
        [one.path for one in files[field] if one.model == expert] for field in ("experts", "image_features")
    )
    try:
        for path in parts:
            check_expert(places[path], card, tables["block"], last=path == parts[-1])
        for path in answers:
            check_answers(places[path], card)
    except (duckdb.Error, ValueError) as error:
        raise archive.damaged(f"{path} {str(error).splitlines()[0]}") from error


def _keep_licenses(archive: Archive, places: Mapping[str, Path], path: Path) -> None:
    """Put the texts that came with a bundle into the hub, by content: what is there already is left."""
    for text in archive.facts["licenses"]:
        sha256 = archive.members[text].sha256
        target = path / text
        if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256:
            continue
        if target.exists() or any(folder.is_file() for folder in target.parents):
            target = path / LICENSES / sha256[:12] / text.removeprefix(f"{LICENSES}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        places[text].replace(target)
        sync_folder(target.parent)
