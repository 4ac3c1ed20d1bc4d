"""Bring a hub that an earlier mllctl wrote to the schema version of this one.

    1 -> 2    labels in parts, with what is beaten in each block; embeddings in Arrow files that can be mapped;
              manifests of earlier generations are kept
    2 -> 3    labels of experts, a list of files in the manifest; of no other file is anything new

A step writes new files beside the old ones and gives the manifest its next form. All of them together take the place of
what was there with one manifest: a kill leaves the old hub.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from mllctl.errors import HubTooNew
from mllctl.hub.features import write_features
from mllctl.hub.manifest import (
    HISTORY,
    NAME,
    SCHEMA_VERSION,
    ModelFile,
    describe,
    parse_facts,
    read_facts,
    schema_version,
    sync_folder,
    write_manifest,
    write_past_manifest,
)
from mllctl.hub.parts import new_label, quoted
from mllctl.hub.reading import FOLDERS, now
from mllctl.hub.writing import only_writer, sweep

Facts = dict[str, Any]


def upgrade_hub(path: Path) -> int:
    """Upgrade the hub at `path` to `SCHEMA_VERSION`, as one new generation.

    Labels keep all hits; the whole order of rivals comes back when a label is made again from its embeddings, which
    is what `mllctl.label.compact_labels` does. Generations of version 2 stay in the history.

    Returns:
        The schema version it had.

    Raises:
        HubNotFound, HubDamaged, HubTooNew, HubBusy: as their names say.
    """
    version = schema_version(path)
    if version > SCHEMA_VERSION:
        raise HubTooNew(path, version, SCHEMA_VERSION)
    if version < SCHEMA_VERSION:
        with only_writer(path):
            facts, now_it_has = read_facts(path, path / NAME)
            if now_it_has < SCHEMA_VERSION:
                _upgrade(path, facts, now_it_has)
    return version


def _upgrade(path: Path, facts: Facts, version: int) -> None:
    new = {**facts, "generation": facts["generation"] + 1, "made": now(), "note": "hub upgrade"}
    for step in STEPS[version - 1 :]:
        new = step(path, new)
    manifest = parse_facts(path, new)
    # Before the commit: an mllctl of version 2 that finds this half done has a shorter history, and its hub.
    for past in (path / HISTORY).glob("*.json"):
        its, had = read_facts(path, past)
        if had == 2:
            write_past_manifest(path, parse_facts(path, _from_2(path, its)))
    write_manifest(path, manifest)
    sweep(path, history=not manifest.read_only)


def _from_1(path: Path, facts: Facts) -> Facts:
    generation = facts["generation"]
    for folder in FOLDERS:
        (path / folder).mkdir(exist_ok=True)
    labels: list[Facts] = []
    features: dict[str, list[Facts]] = {"image": [], "caption": []}
    for file in facts["labels"]:
        name = f"labels/{file['model']:06d}-{generation:06d}.duckdb"
        _convert_label(path / file["path"], path / facts["catalog"]["path"], path / name)
        labels.append(_described(path, name, file["model"]))
    for kind, files in features.items():
        for file in facts[f"{kind}_features"]:
            name = f"features/{file['model']:06d}-{generation:06d}-{kind}.arrow"
            _convert_features(path / file["path"], path / name)
            files.append(_described(path, name, file["model"]))
    for folder in ("labels", "features"):
        sync_folder(path / folder)
    converted = {"labels": labels, "image_features": features["image"], "caption_features": features["caption"]}
    return {**facts, "schema_version": 2, **converted, "orders": []}


def _from_2(_: Path, facts: Facts) -> Facts:
    # While there was no version 3, experts were written under 2.
    return {**facts, "schema_version": 3, "experts": facts.get("experts", [])}


# The first is that of version 1.
STEPS: tuple[Callable[[Path, Facts], Facts], ...] = (_from_1, _from_2)


def _described(path: Path, name: str, model: int) -> Facts:
    return asdict(ModelFile(**asdict(describe(path, name)), model=model))


def _convert_label(source: Path, catalog: Path, target: Path) -> None:
    """Copy a label; nodes that have no image any more compete no longer."""
    with new_label(target) as db:
        db.execute(f"ATTACH {quoted(source)} AS old (READ_ONLY)")
        db.execute(f"ATTACH {quoted(catalog)} AS catalog (READ_ONLY)")
        for query in (
            "INSERT INTO label_made FROM old.label_made",
            """
            INSERT INTO label_node
            SELECT node FROM old.label_node
             WHERE node IN (SELECT node FROM catalog.block WHERE live <> 0)
             ORDER BY node
            """,
            """
            INSERT INTO rival_mask
            SELECT * FROM old.rival_mask
             WHERE rival IN (SELECT node FROM label_node)
             ORDER BY node, block, mask, rival
            """,
            """
            INSERT INTO label_state
            SELECT block, labelled, coalesce(beaten, 0)
              FROM old.label_state
              LEFT JOIN (SELECT block, bit_or(mask) AS beaten FROM rival_mask GROUP BY block) USING (block)
             ORDER BY block
            """,
            """
            INSERT INTO image_label
              WITH alive AS (SELECT list(node) AS nodes FROM label_node),
                   kept AS (SELECT l.*,
                                   list_transform(rivals, lambda r: list_contains(nodes, r)) AS rival_lives,
                                   list_transform(runners_up, lambda r: list_contains(nodes, r)) AS runner_up_lives
                              FROM old.image_label l, alive)
            SELECT image, similarity,
                   rank - len(list_filter(rival_lives, lambda lives: NOT lives)),
                   list_where(rivals[1:len(rival_similarities)], rival_lives[1:len(rival_similarities)]),
                   list_where(rival_similarities, rival_lives[1:len(rival_similarities)]),
                   list_where(runners_up, runner_up_lives),
                   list_where(runner_up_similarities, runner_up_lives)
              FROM kept
            """,
        ):
            db.execute(query).fetchall()
        db.execute("DETACH old")
        db.execute("DETACH catalog")


def _convert_features(source: Path, target: Path) -> None:
    table = parquet.ParquetFile(source)

    def parts() -> Any:
        for batch in table.iter_batches(4096):
            column = batch.column("embedding")
            width = column.type.list_size
            yield batch.column("ordinal").to_numpy(), column.flatten().to_numpy().reshape(-1, width)

    write_features(target, parts())
