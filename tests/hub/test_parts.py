"""A written label against loops, on worlds full of ties: what is in its files, however the work was cut."""

import shutil
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import oracles
from fakes import TableModel, plain_card
from mllctl.hub import LabelInput
from mllctl.hub.features import map_batches
from mllctl.hub.parts import LABEL, ORDER, OrderFile
from mllctl.hub.records import ImageRows
from mllctl.label import growing
from mllctl.label.growing import Label, write_part

VALUES = st.sampled_from([-1.0, -0.5, 0.0, 0.5])
AT_ONCE = st.sampled_from([1, 20, 1 << 23])


@st.composite
def worlds(draw):
    """Blocks of images of a few nodes, with gaps in every ordinal, and the embeddings of one model."""
    nodes = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=12)))
    blocks = draw(st.lists(st.tuples(st.sampled_from(nodes), st.sets(st.integers(0, 63), min_size=1, max_size=5))))
    if not blocks:
        blocks = [(nodes[0], {63})]
    places = sorted((node, 3 * n + 1, bit) for n, (node, bits) in enumerate(blocks) for bit in bits)
    node, block, bit = zip(*places, strict=True)
    images = draw(st.permutations(range(len(places))))
    given_input = LabelInput(
        graph_version=1,
        nodes=np.array(nodes, dtype=np.uint32),
        captions=tuple(map(str, nodes)),
        images=np.array(images, dtype=np.uint32),
        image_node=np.array(node, dtype=np.uint32),
        block=np.array(block, dtype=np.uint32),
        bit=np.array(bit, dtype=np.uint8),
        uris=tuple(map(str, images)),
    )
    embedding = draw(hnp.arrays(np.float16, (len(places), 2), elements=VALUES))
    captions = draw(hnp.arrays(np.float16, (len(nodes), 2), elements=VALUES))
    return given_input, embedding, captions


def written(world, at_once):
    """The tables of the label as lists of dictionaries, and what its Arrow file holds."""
    given_input, embedding, captions = world
    model = TableModel(
        plain_card("model/0"),
        dict(zip(given_input.uris, embedding, strict=True)),
        dict(zip(given_input.captions, captions, strict=True)),
    )
    folder = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing, "CELLS_AT_ONCE", at_once)
        assert write_part(folder, given_input, model.card, Label.empty(), *model.features(given_input))
    assert sorted(path.name for path in folder.iterdir()) == [LABEL, ORDER]
    with duckdb.connect(folder / LABEL, read_only=True) as db:
        tables = {
            table: db.sql(f"FROM {table}").to_arrow_table().to_pylist()
            for table in ("label_node", "label_state", "label_row", "rival_mask", "image_label")
        }
        types = {
            (table, name): kind
            for table, name, kind in db.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns"
            ).fetchall()
        }
    [batch] = map_batches(folder / ORDER)
    bits = batch.column("bit").to_pylist()
    with (folder / ORDER).open("rb") as file:
        opened, rows = OrderFile(file.fileno()), np.arange(len(bits))
        run = np.zeros(1, dtype=np.int64)
        everything = ImageRows(rows, rows, rows, rows.astype(np.uint64), run, run + len(bits) - 1)
        parts = opened.near(everything), opened.far(rows)
    order = [
        [rival for part in parts for rival in part.rows[part.start[n] : part.end[n]].ravel() if rival != 2**16 - 1]
        for n in range(len(bits))
    ]
    tables["order"] = list(zip(batch.column("image").to_pylist(), bits, order, strict=True))
    shutil.rmtree(folder)
    return tables, types


def dense(given_input, embedding, captions):
    """The similarities as a list of rows over node ordinals, -inf where there is no caption."""
    rows = []
    for values in oracles.similarities(embedding.tolist(), captions.tolist()):
        row = [float("-inf")] * 41
        for node, value in zip(given_input.nodes.tolist(), values, strict=True):
            row[node] = value
        rows.append(row)
    return rows


def rivals_of(row, truth, nodes):
    beaten_by = [u for u in nodes if u != truth and oracles.beats(row, u, truth)]
    return sorted(beaten_by, key=lambda u: (-row[u], u))


def bits_of(mask):
    return {bit for bit in range(64) if mask >> bit & 1}


@settings(max_examples=40)
@given(worlds(), AT_ONCE)
def test_masks_hold_a_bit_for_each_image_and_rival_and_no_other(world, at_once):
    given_input, *_ = world
    masks = written(world, at_once)[0]["rival_mask"]
    unpacked = [(row["node"], row["block"], bit, row["rival"]) for row in masks for bit in bits_of(row["mask"])]
    nodes, truths = given_input.nodes.tolist(), given_input.image_node.tolist()
    places = zip(given_input.block.tolist(), given_input.bit.tolist(), strict=True)
    expected = [
        (truth, block, bit, rival)
        for row, truth, (block, bit) in zip(dense(*world), truths, places, strict=True)
        for rival in rivals_of(row, truth, nodes)
    ]
    assert sorted(unpacked) == sorted(expected)
    keys = [(row["node"], row["block"], row["mask"], row["rival"]) for row in masks]
    assert keys == sorted(keys)
    # However the work is cut, a rival has one mask a block.
    assert len({(block, rival) for _, block, _, rival in keys}) == len(keys)


@settings(max_examples=40)
@given(worlds(), AT_ONCE)
def test_rows_keep_eight_rivals_of_each_image_and_three_others_and_the_order_all(world, at_once):
    given_input, *_ = world
    tables, _ = written(world, at_once)
    nodes = given_input.nodes.tolist()
    truths = given_input.image_node.tolist()
    images, bits = given_input.images.tolist(), given_input.bit.tolist()
    expected, order = [], []
    for image, bit, truth, row in zip(images, bits, truths, dense(*world), strict=True):
        before = rivals_of(row, truth, nodes)
        others = sorted(set(nodes) - {truth, *before}, key=lambda u: (-row[u], u))[:3]
        order.append((image, bit, before))
        expected.append(
            {
                "image": image,
                "similarity": row[truth],
                "rank": len(before),
                "rivals": before[:8],
                "rival_similarities": [row[u] for u in before[:8]],
                "runners_up": others,
                "runner_up_similarities": [row[u] for u in others],
            }
        )
    assert tables["image_label"] == expected
    assert tables["order"] == order
    # Each block's images stand together, bit by bit, from the row that is noted.
    for row in tables["label_row"]:
        there = range(row["row"], row["row"] + row["shown"].bit_count())
        assert [given_input.block[n] for n in there] == [row["block"]] * len(there)
        assert [order[n][1] for n in there] == sorted(bits_of(row["shown"]))


@settings(max_examples=20)
@given(worlds(), AT_ONCE)
def test_the_state_says_which_images_were_shown_and_which_are_beaten(world, at_once):
    given_input, *_ = world
    tables, types = written(world, at_once)
    shown, beaten = {}, {}
    nodes, truths = given_input.nodes.tolist(), given_input.image_node.tolist()
    places = zip(given_input.block.tolist(), given_input.bit.tolist(), strict=True)
    for row, truth, (block, bit) in zip(dense(*world), truths, places, strict=True):
        shown[block] = shown.get(block, 0) | 1 << bit
        beaten[block] = beaten.get(block, 0) | (oracles.winner(row, nodes) != truth) << bit
    state = {row["block"]: (row["labelled"], row["beaten"]) for row in tables["label_state"]}
    assert state == {block: (shown[block], beaten[block]) for block in shown}
    assert [row["node"] for row in tables["label_node"]] == nodes
    assert types["rival_mask", "mask"] == types["label_state", "labelled"] == "UBIGINT"
    assert types["image_label", "image"] == types["image_label", "rank"] == "UINTEGER"
