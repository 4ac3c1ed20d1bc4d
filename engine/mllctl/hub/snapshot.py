"""The files of one generation, held open while it is read.

DuckDB's files are attached under one set of views, the Arrow files are mapped, and all of them stay readable when a
later commit sweeps them from the folder.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from mllctl.errors import HubDamaged, QueryRefused
from mllctl.hub.features import Features, batches_of, map_batches
from mllctl.hub.manifest import HubFile, Manifest, ModelFile
from mllctl.hub.parts import SCHEMA, OrderFile, quoted
from mllctl.hub.records import PartRows, Table

if TYPE_CHECKING:
    import pyarrow as pa

# DuckDB's kinds; MULTI is what PIVOT unfolds to. Not EXPLAIN: EXPLAIN ANALYZE runs whatever it explains.
QUESTIONS = ("SELECT", "MULTI")
CATALOG_TABLES = ("counter", "domain", "domain_embedding", "node", "graph", "edge", "block", "image", "model")
# Tables of a label: how its parts make one. Of some only the last part counts, of some the last that has a key.
LABEL_TABLES = {
    "label_made": "last",
    "label_node": "last",
    "label_state": "block",
    "image_label": "image",
    "label_row": "all",
    "rival_mask": "all",
}
EXPERT_TABLES = {"expert_made": "last", "expert_block": "block"}


class Snapshot:
    """One generation of a hub as rows, arrays and mapped files; `Hub` and `Counting` ask it.

    Attributes:
        path: folder of the hub.
        manifest: the generation.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._db = duckdb.connect(":memory:")
        # Held open, like the files DuckDB attaches: a later commit may sweep them from the folder.
        self._held: dict[str, int] = {}
        self._orders: dict[str, OrderFile] = {}
        self._listed = False
        try:
            for file in self._mapped_files():
                self._held[file.path] = os.open(path / file.path, os.O_RDONLY)
            self._attach()
        except (duckdb.Error, FileNotFoundError) as error:
            self.close()
            raise HubDamaged(path, str(error).splitlines()[0]) from error

    def close(self) -> None:
        """Let go of the files."""
        self._db.close()
        self._orders.clear()
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def rows(self, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return what a query answers, row by row."""
        with self._whole():
            return self._db.execute(query, values or {}).fetchall()

    def arrays(self, query: str, values: dict[str, Any] | None = None) -> dict[str, NDArray[Any]]:
        """Return what a query answers, column by column."""
        with self._whole():
            return dict(self._db.execute(query, values or {}).fetchnumpy())

    def lists(self, query: str, values: dict[str, Any] | None = None) -> dict[str, NDArray[Any]]:
        """Return what a query answers, column by column; lists, all of one length, as the rows of a matrix."""
        with self._whole():
            table = self._db.sql(query, params=values or {}).to_arrow_table()
        found = {}
        for name in table.column_names:
            column = table.column(name)
            nested = hasattr(column.type, "value_type")
            flat = (column.combine_chunks().flatten() if nested else column).to_numpy()
            found[name] = flat.reshape(len(column), -1) if nested and len(column) else flat
        return found

    def value(self, query: str) -> Any:
        """Return the one value a query answers."""
        return self.rows(query)[0][0]

    def answer(self, sql: str) -> Table:
        """Answer a person's SQL.

        Raises:
            QueryRefused: if the query fails, is not one question, or asks for what is closed.
        """
        self._make_views()
        try:
            kinds = [statement.type.name for statement in self._db.extract_statements(sql)]
            if len(kinds) != 1 or kinds[0] not in QUESTIONS:
                raise QueryRefused(f"give one SELECT, FROM or DESCRIBE, not {', '.join(kinds) or 'nothing'}")
            return self._answer_interruptibly(sql)
        except duckdb.Error as error:
            raise QueryRefused(" ".join(str(error).split("\n\n")[0].split())) from error

    def labels(self, model: int) -> list[ModelFile]:
        """Return the DuckDB files of a model's label, by part."""
        return _of(model, self.manifest.labels)

    def orders(self, model: int) -> list[ModelFile]:
        """Return the Arrow files of a model's label, by part; none in a sealed hub."""
        return _of(model, self.manifest.orders)

    def features(self, model: int) -> tuple[Features, Features]:
        """Return a model's embeddings of images and of captions; empty in a sealed hub."""
        images, captions = (
            Features([batch for file in _of(model, files) for batch in self._batches(file)])
            for files in (self.manifest.image_features, self.manifest.caption_features)
        )
        return images, captions

    def labelled(self) -> list[int]:
        """Return the models that have a label, ascending."""
        return sorted({file.model for file in self.manifest.labels})

    def experts(self) -> list[int]:
        """Return the experts, ascending."""
        return sorted({file.model for file in self.manifest.experts})

    def expert_labels(self, expert: int) -> list[ModelFile]:
        """Return the DuckDB files of an expert's label, by part."""
        return _of(expert, self.manifest.experts)

    @cached_property
    def rows_of(self) -> dict[int, list[PartRows]]:
        """Model -> which images each part of its label holds; the same object where two models have the same."""
        query = "SELECT model, part, block, shown, row::BIGINT AS row FROM label_row ORDER BY model, part, block"
        found = self.arrays(query)
        known: list[PartRows] = []
        parts: dict[int, list[PartRows]] = {}
        for model in self.labelled():
            rows = slice(*np.searchsorted(found["model"], [model, model + 1]))
            edges = np.searchsorted(found["part"][rows], range(len(self.labels(model)) + 1))
            columns = [found[name][rows] for name in ("block", "shown", "row")]
            parts[model] = []
            for start, stop in pairwise(edges.tolist()):
                part = PartRows(*(column[start:stop] for column in columns))
                same = next((other for other in known if other.same(part)), None)
                if same is None:
                    known.append(part)
                parts[model].append(same or part)
        return parts

    def held(self, file: HubFile) -> bytes:
        """Return a whole file that is held open and is neither DuckDB's nor Arrow's."""
        descriptor = self._held[file.path]
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def order(self, file: HubFile) -> OrderFile:
        """Open the ordered rivals of a part; it keeps 3 MB of offsets a model at the paper's scale."""
        try:
            if file.path not in self._orders:
                self._orders[file.path] = OrderFile(self._held[file.path])
            return self._orders[file.path]
        except ValueError as error:
            raise HubDamaged(self.path, f"{file.path}: {str(error).splitlines()[0]}") from error

    # -- inside ------------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Attach the files of this generation read-only, and put one view over each table."""
        self._db.execute(f"ATTACH {quoted(self.path / self.manifest.catalog.path)} AS catalog (READ_ONLY)")
        for table in CATALOG_TABLES:
            self._db.execute(f"CREATE VIEW {table} AS SELECT * FROM catalog.{table}")
        self._db.execute("CREATE SCHEMA nothing")
        self._db.execute("USE nothing")
        self._db.execute((SCHEMA / "label.sql").read_text())
        self._db.execute((SCHEMA / "expert.sql").read_text())
        self._db.execute("USE main")
        self._unite(LABEL_TABLES, "model", {model: self.labels(model) for model in self.labelled()})
        self._unite(EXPERT_TABLES, "expert", {expert: self.expert_labels(expert) for expert in self.experts()})
        # Read-only files can still be left by COPY TO and read_text; nothing here needs more files.
        self._db.execute("SET temp_directory = ''")
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")

    def _unite(self, tables: Mapping[str, str], owner: str, files: Mapping[int, Sequence[ModelFile]]) -> None:
        """Attach the files of labels, by whose they are, and put one view over each of their tables."""
        for number, parts in files.items():
            for part, file in enumerate(parts):
                self._db.execute(f"ATTACH {quoted(self.path / file.path)} AS label_{number}_{part} (READ_ONLY)")
        for table, rule in tables.items():
            selects = [f"SELECT 0::UINTEGER AS {owner}, 0::UTINYINT AS part, * FROM nothing.{table}"]
            for number, parts in files.items():
                names = [f"label_{number}_{part}.{table}" for part in range(len(parts))]
                selects += _select_parts(names, rule, f"{number}::UINTEGER AS {owner}")
            self._db.execute(f"CREATE VIEW {table} AS {' UNION ALL '.join(selects)}")

    def _mapped_files(self) -> list[HubFile]:
        """Return the files that are not DuckDB's. Embeddings are looked at only when the hub is changed, or where a
        label has grown."""
        grown = [model for model in self.labelled() if len(self.labels(model)) > 1]
        features = [*self.manifest.image_features, *self.manifest.caption_features]
        index = [self.manifest.index] if self.manifest.index else []
        return [*self.manifest.orders, *index, *(file for file in features if file.model in grown)]

    def _batches(self, file: HubFile) -> "list[pa.RecordBatch]":
        """Map an Arrow file of this generation."""
        try:
            if file.path in self._held:
                return batches_of(self._held[file.path])
            return map_batches(self.path / file.path)
        except (ValueError, OSError) as error:
            raise HubDamaged(self.path, f"{file.path}: {str(error).splitlines()[0]}") from error

    def _make_views(self) -> None:
        """Make what only people ask for: the views, and the ordered rivals of every image, which DuckDB reads in the
        mapped files where they lie."""
        import pyarrow as pa

        if self._listed:
            return
        self._db.execute((SCHEMA / "views.sql").read_text())
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

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Name the hub where a page inside a file fails its checksum: opening reads only the first few."""
        try:
            yield
        except duckdb.Error as error:
            if "Corrupt" not in str(error):
                raise
            raise HubDamaged(self.path, str(error).splitlines()[0]) from error


def _select_parts(names: Sequence[str], rule: str, whose: str) -> list[str]:
    """Return the SELECTs that together are one table of a label, from those of its parts."""
    selects = []
    for part, name in enumerate(names):
        later = names[part + 1 :]
        if rule == "last" and later:
            continue
        select = f"SELECT {whose}, {part}::UTINYINT AS part, * FROM {name}"
        if rule not in ("last", "all") and later:
            said_later = " UNION ALL ".join(f"SELECT {rule} FROM {other}" for other in later)
            select += f" WHERE {rule} NOT IN ({said_later})"
        selects.append(select)
    return selects


def _of(model: int, files: Sequence[ModelFile]) -> list[ModelFile]:
    """Return those files that are a model's, in the order of the parts of its label."""
    return [file for file in files if file.model == model]
