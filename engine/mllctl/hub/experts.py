"""Write a part of an expert's label: its card, and what its heads answered on blocks of images, summed.

Sums are of float16 numbers in float64: 64 of them need 46 of its 53 bits, so they are exact in whatever order they are
made, and a label that has grown is that which would be made from nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mllctl.backends.protocol import ExpertCard
from mllctl.hub.parts import SCHEMA, new_file
from mllctl.hub.records import Masks, Ordinals

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

    facts = {**asdict(card), "heads": list(card.heads), "libraries": json.dumps(card.libraries, sort_keys=True)}
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
