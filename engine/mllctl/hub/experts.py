"""Parts of experts' labels: the card, and what its heads answered on blocks of images, summed. Here they are written,
and those of another hub checked.

Sums are of float16 numbers in float64: 64 of them need 46 of its 53 bits, so they are exact in whatever order they are
made, and a label that has grown is that which would be made from nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
from numpy.typing import NDArray

from mllctl.backends.protocol import ExpertCard
from mllctl.hub.features import Features
from mllctl.hub.parts import SCHEMA, new_file, quoted
from mllctl.hub.records import Masks, Ordinals

if TYPE_CHECKING:
    import pyarrow as pa

Blocks = Iterable[tuple[Ordinals, Masks, NDArray[np.float64]]]


def write_expert(path: Path, card: ExpertCard, blocks: Blocks) -> None:
    """Write a file with the tables of `schema/expert.sql`.

    Args:
        path: the file; replaced if it is there.
        card: of the expert.
        blocks: some blocks at a time: their ordinals, which of their images are in the sum, shape (b,), and the sums
            of log-probabilities, shape (b, h).
    """
    import pyarrow as pa

    facts = _as_facts(card)
    with new_file(path) as db:
        db.execute((SCHEMA / "expert.sql").read_text())
        values = ", ".join(f"${name}" for name in facts)
        db.execute(f"INSERT INTO expert_made ({', '.join(facts)}) VALUES ({values})", facts).fetchall()
        for block, shown, total in blocks:
            lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(total).ravel()), total.shape[1])
            rows = pa.table({"block": pa.array(block), "shown": pa.array(shown), "total": lists})
            db.register("incoming", rows)
            db.execute("INSERT INTO expert_block FROM incoming").fetchall()
            db.unregister("incoming")


def check_expert(path: Path, card: ExpertCard, blocks: "pa.Table", *, last: bool) -> None:
    """Check a file that has the tables of `schema/expert.sql`: whatever is asked of it, the answer is numbers.

    Args:
        path: the file.
        card: of the expert.
        blocks: the table `block` of the catalog that it belongs to.
        last: whether it is the last part of a label, whose card counts; others may name earlier libraries.

    Raises:
        ValueError: with what is wrong, in a few words.
        duckdb.Error: if it cannot be read.
    """
    facts = _as_facts(card)
    wrong = """
          SELECT count(*)
            FROM made.expert_block s
            LEFT JOIN bundled_block b ON b.block = s.block
           WHERE NOT coalesce(b.block IS NOT NULL
                              AND CASE WHEN b.used < 64 THEN s.shown >> b.used = 0 ELSE s.shown IS NOT NULL END
                              AND len(s.total) = $heads
                              AND len(list_filter(s.total, lambda x: coalesce(isfinite(x), false))) = $heads, false)
    """
    with duckdb.connect(":memory:") as db:
        db.register("bundled_block", blocks)
        db.execute(f"ATTACH {quoted(path)} AS made (READ_ONLY)")
        found = db.execute(f"SELECT {', '.join(facts)} FROM made.expert_made").fetchall()
        if len(found) != 1 or (last and found != [tuple(facts.values())]):
            raise ValueError("has not the card that the bundle says")
        [(doubled,)] = db.execute("SELECT count(*) - count(DISTINCT block) FROM made.expert_block").fetchall()
        if doubled or db.execute(wrong, {"heads": len(card.heads)}).fetchall() != [(0,)]:
            raise ValueError("has sums that are of no images, or are not numbers")


def check_answers(path: Path, card: ExpertCard) -> None:
    """Check a file of an expert's log-probabilities.

    Raises:
        ValueError: with what is wrong, in a few words.
    """
    import pyarrow as pa

    try:
        answers = Features.read([path])
        sound = answers.ordinals.dtype == np.uint32 and answers.width == len(card.heads)
        for _, few in answers.parts(answers.ordinals):
            sound = sound and few.dtype == np.float16 and bool(np.isfinite(few).all())
    except (pa.ArrowException, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"holds no answers of heads ({str(error).splitlines()[0]})") from error
    if not sound:
        raise ValueError("holds answers that are not those of the expert's heads")


def _as_facts(card: ExpertCard) -> dict[str, object]:
    """Return a card as `expert_made` keeps it."""
    return {**asdict(card), "heads": list(card.heads), "libraries": json.dumps(card.libraries, sort_keys=True)}
