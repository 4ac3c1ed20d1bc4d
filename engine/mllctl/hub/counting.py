"""Count hits and find winners: the questions selection asks of whole labels.

Two ways that agree to the last integer. By order: each image's rivals are read as they lie, most similar first, until
a selected one comes, which is seldom far. By masks: one pass of SQL over `rival_mask`, for hubs whose order was left
out, and to check the other by.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mllctl.hub.manifest import HubFile
from mllctl.hub.records import Evidence, ImageRows, Masks, Ordinals, Winners, find
from mllctl.hub.snapshot import Snapshot
from mllctl.kernels.arrays import Bool, Int
from mllctl.kernels.order import taken, takers

CHOSEN = "SELECT unnest($nodes::UINTEGER[])"
# Who gets this far has seen sixteen rows of near rivals.
FAR_STEP = 16
ASKED = "SELECT unnest($models::UINTEGER[])"


class Counting:
    """What one generation's labels say of a selection. Node and model ordinals come unique and ascending."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def hits(self, nodes: Int, models: Int) -> Evidence:
        """Count hits by order, and by masks for models whose order a sealed hub has left out."""
        ordered = np.array([self._has_order(model) for model in models.tolist()], dtype=np.bool_)
        if ordered.all():
            return self._by_order(nodes, models)
        hits, images = self._no_counts(nodes, models)
        for some, count in ((ordered, self._by_order), (~ordered, self.by_masks)):
            evidence = count(nodes, models[some])
            hits[some], images[some] = evidence.hits, evidence.images
        return Evidence(models, nodes, hits, images)

    def by_masks(self, nodes: Int, models: Int) -> Evidence:
        """Count hits in one pass of SQL over the rival masks of all models."""
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
        counts = self._snapshot.arrays(query, {"nodes": nodes.tolist(), "models": models.tolist()})
        hits, images = self._no_counts(nodes, models)
        place = np.searchsorted(models, counts["model"]), np.searchsorted(nodes, counts["node"]), counts["domain"]
        hits[place], images[place] = counts["hits"], counts["images"]
        return Evidence(models, nodes, hits, images)

    def winners(self, model: int, nodes: Int) -> Winners:
        """Return which selected node took each live image of the selected nodes that the model was shown."""
        if not self._has_order(model):
            return self._winners_among_first(model, nodes)
        images = self._snapshot.arrays(
            f"""
              SELECT i.image, i.node, b.domain, (i.block::BIGINT << 6) | i.bit AS place
                FROM image i
                JOIN block b USING (block)
                JOIN label_state s USING (block)
               WHERE i.node IN ({CHOSEN}) AND s.model = $model AND s.labelled >> i.bit & 1 = 1
            ORDER BY place
            """,
            {"nodes": nodes.tolist(), "model": model},
        )
        image, truth, domain, place = (images[n].astype(np.int64) for n in ("image", "node", "domain", "place"))
        winner, blocks = truth.copy(), np.unique(place >> 6)
        for file, part in zip(self._snapshot.orders(model), self._snapshot.rows_of[model], strict=True):
            rows = part.within(blocks)
            at, live = find(place, (blocks[rows.block] << 6) | np.bitwise_count(rows.mask - np.uint64(1)))
            if len(at):
                taker = self._takers(file, rows, _table(nodes))[live]
                winner[at] = np.where(taker >= 0, taker, winner[at])
        self._let_newcomers_win(model, nodes, place, image, winner)
        by_image = np.argsort(image)
        return Winners(image[by_image], truth[by_image], domain[by_image], winner[by_image])

    @cached_property
    def _blocks(self) -> dict[str, NDArray[Any]]:
        """Block, node, domain and live bits of every block, by ordinal."""
        return self._snapshot.arrays("SELECT block, node, domain, live FROM block ORDER BY block")

    @cached_property
    def _domain_count(self) -> int:
        return int(self._snapshot.value("SELECT count(*) FROM domain"))

    def _has_order(self, model: int) -> bool:
        """Say whether there is an Arrow file beside every part of a label: not in a sealed hub, nor in one that was
        upgraded until its labels are made again."""
        return 0 < len(self._snapshot.orders(model)) == len(self._snapshot.labels(model))

    def _by_order(self, nodes: Int, models: Int) -> Evidence:
        hits, images = self._no_counts(nodes, models)
        wanted = np.flatnonzero(np.isin(self._blocks["node"], nodes))
        blocks = {name: column[wanted] for name, column in self._blocks.items()}
        cell = np.searchsorted(nodes, blocks["node"]) * hits.shape[2] + blocks["domain"]
        late, selected = self._late_masks(nodes, models), _table(nodes)
        # Models that were shown the same images, as most were, have these in the same rows.
        seen: dict[int, tuple[ImageRows, Bool, Int, Int]] = {}
        for m, model in enumerate(models.tolist()):
            newcomers = self._newcomers(late, model, blocks["block"])
            for file, part in zip(self._snapshot.orders(model), self._snapshot.rows_of[model], strict=True):
                if id(part) not in seen:
                    rows = part.within(blocks["block"])
                    live = (rows.mask & blocks["live"][rows.block]) != 0
                    cells = cell[rows.block[rows.first]]
                    seen[id(part)] = rows, live, cells, _by_block(live, rows)
                rows, live, cells, shown = seen[id(part)]
                if len(rows.row) == 0:
                    continue
                lost = self._taken(file, rows, selected)
                if newcomers is not None:
                    lost |= (rows.mask & newcomers[rows.block]) != 0
                np.add.at(images[m].reshape(-1), cells, shown)
                np.add.at(hits[m].reshape(-1), cells, _by_block(live & ~lost, rows))
        return Evidence(models, nodes, hits, images)

    def _newcomers(self, late: dict[str, NDArray[Any]], model: int, blocks: Ordinals) -> Masks | None:
        """Return which images of each block nodes take that came after their order was written; None if no node did."""
        newer = late["model"] == model
        if not newer.any():
            return None
        lost = np.zeros(len(blocks), dtype=np.uint64)
        np.bitwise_or.at(lost, np.searchsorted(blocks, late["block"][newer]), late["mask"][newer])
        return lost

    def _taken(self, file: HubFile, rows: ImageRows, selected: Bool) -> Bool:
        order = self._snapshot.order(file)
        near = order.near(rows)
        lost = taken(near, selected)
        further = np.flatnonzero(~lost & near.full)
        if len(further):
            lost[further] = taken(order.far(rows.row[further]), selected, FAR_STEP)
        return lost

    def _takers(self, file: HubFile, rows: ImageRows, selected: Bool) -> Int:
        order = self._snapshot.order(file)
        near = order.near(rows)
        taker = takers(near, selected)
        further = np.flatnonzero((taker < 0) & near.full)
        taker[further] = takers(order.far(rows.row[further]), selected)
        return taker

    def _let_newcomers_win(self, model: int, nodes: Int, place: Int, image: Int, winner: Int) -> None:
        """Set the winner where a node that came after the order was written goes before the winner so far.

        Which of the two goes first is in no file: their embeddings say it, exactly.
        """
        late = self._late_masks(nodes, np.array([model]))
        row, bit = np.nonzero((late["mask"][:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1))
        at, live = find(place, (late["block"][row].astype(np.int64) << 6) | bit)
        rival = late["rival"][row[live]].astype(np.int64)
        if len(at) == 0:
            return
        images, captions = self._snapshot.features(model)
        for n, node in zip(at.tolist(), rival.tolist(), strict=True):
            pair = captions.take(np.array([winner[n], node])).astype(np.float64)
            held, challenging = pair @ images.take(image[n : n + 1])[0].astype(np.float64)
            if challenging > held or (challenging == held and node < winner[n]):
                winner[n] = node

    def _winners_among_first(self, model: int, nodes: Int) -> Winners:
        """Masks say which images were taken, the few rivals that are listed by whom, if it was one of them."""
        query = f"""
                WITH lost AS (
                         SELECT block, bit_or(mask) AS mask
                           FROM rival_mask
                          WHERE model = $model AND node IN ({CHOSEN}) AND rival IN ({CHOSEN})
                       GROUP BY block)
              SELECT l.image, i.node AS truth, b.domain,
                     CASE WHEN coalesce(lost.mask, 0::UBIGINT) >> i.bit & 1 = 0 THEN i.node::BIGINT
                          ELSE coalesce(list_filter(l.rivals, lambda r: list_contains($nodes::UINTEGER[], r))[1], -1)
                     END AS winner
                FROM image_label l
                JOIN image i USING (image)
                JOIN block b USING (block)
                LEFT JOIN lost USING (block)
               WHERE l.model = $model AND list_contains($nodes::UINTEGER[], i.node)
            ORDER BY l.image
        """
        found = self._snapshot.arrays(query, {"nodes": nodes.tolist(), "model": model})
        return Winners(*(found[name].astype(np.int64) for name in ("image", "truth", "domain", "winner")))

    def _late_masks(self, nodes: Int, models: Int) -> dict[str, NDArray[Any]]:
        """Return the masks of later parts among the chosen nodes, by block and rival."""
        if all(len(parts) == 1 for parts in self._snapshot.rows_of.values()):
            return {name: np.zeros(0, np.uint64) for name in ("model", "block", "rival", "mask")}
        query = f"""
              SELECT model, block, rival, mask
                FROM rival_mask
               WHERE part > 0 AND node IN ({CHOSEN}) AND rival IN ({CHOSEN}) AND model IN ({ASKED})
            ORDER BY model, block, rival
        """
        return self._snapshot.arrays(query, {"nodes": nodes.tolist(), "models": models.tolist()})

    def _no_counts(self, nodes: Int, models: Int) -> tuple[Int, Int]:
        shape = len(models), len(nodes), self._domain_count
        return np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)


def _by_block(counted: Bool, rows: ImageRows) -> Int:
    """Count images block by block; of none there is no block."""
    if len(counted) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(np.add.reduceat(counted.view(np.int8), rows.first, dtype=np.int64))


def _table(chosen: Int) -> Bool:
    """Return a table that is True at the chosen nodes, and False at its end, where the padding of lists looks."""
    table = np.zeros(int(chosen[-1]) + 2 if len(chosen) else 1, dtype=np.bool_)
    table[chosen] = True
    return table
