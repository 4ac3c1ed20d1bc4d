"""Draw the mapped pictures, split them, and write `mllctl_data/demo/images.parquet`, one row a picture.

    mapping.csv + art folder -> draw (art.py) -> one of each, a split for each (split.py) -> images.parquet

An emoji of the mapping becomes one picture a style, `except` left out. What is hashed for near-duplicates is the stored
WebP, so a test can check the shipped file with nothing else at hand. Rows are in the order of source and item, `image`
counts them. Takes two to four minutes on two cores, most of it librsvg.

    python assets/pack.py ART_FOLDER
"""

import argparse
import csv
import io
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from art import EMOJI_STYLES, Art
from PIL import Image
from split import SPLITS, Picture, assign, clusters, repeats, similar_pairs

DEMO = Path(__file__).parents[1] / "data" / "mllctl_data" / "demo"
TARGET = DEMO / "images.parquet"

# WebP at 90 is 8 MB, at 95 it is 10, lossless 18; at 64 pixels nobody sees the difference.
QUALITY = 90

# SPDX; the notices are in LICENSES, one a source.
LICENCES = {
    "noto": "Apache-2.0",
    "twemoji": "CC-BY-4.0",
    "fluent3d": "MIT",
    "openmoji": "CC-BY-SA-4.0",
    "openmoji-line": "CC-BY-SA-4.0",
    "fxemoji": "CC-BY-4.0",
    "emojione": "CC-BY-4.0",
    "glyph": "MIT",
    "tuxpaint": "GPL-2.0-or-later",
    "clipart": "LicenseRef-Public-Domain",
}

SCHEMA = pa.schema(
    [
        ("image", pa.uint32()),
        ("synset", pa.string()),
        ("domain", pa.string()),
        ("source", pa.string()),
        ("item", pa.string()),
        ("licence", pa.string()),
        ("split", pa.string()),
        ("picture", pa.binary()),
    ]
)

Row = dict[str, Any]


def expand(mapping: Iterable[Mapping[str, str]], domains: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return one row a picture to draw, in the order of source and item: synset, domain, source, item."""
    style_domain = {source: domain["name"] for domain in domains for source in domain["sources"]}
    rows = []
    for row in mapping:
        emoji = row["source"] == "emoji"
        drawn = [s for s in EMOJI_STYLES if s not in row["except"].split(";")] if emoji else [row["source"]]
        for source in drawn:
            domain = row["domain"] or style_domain[source]
            rows.append({"synset": row["synset"], "domain": domain, "source": source, "item": row["item"]})
    return sorted(rows, key=lambda row: (row["source"], row["item"]))


def encode(image: Image.Image) -> bytes:
    webp = io.BytesIO()
    image.save(webp, "WEBP", quality=QUALITY, method=6)
    return webp.getvalue()


def decode(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


def is_blank(image: Image.Image) -> bool:
    """Tell whether nothing can be seen: white art, put on white."""
    return float(np.asarray(image.convert("L"), float).std()) < 1


def draw_rows(art: Art, rows: Sequence[Row]) -> list[Row]:
    """Add `picture` to every row; a row is left out if its style does not draw it, or draws nothing that shows."""

    def draw(row: Row) -> Row | None:
        image = art.draw(row["source"], row["item"])
        if image is None and row["source"] not in EMOJI_STYLES:
            raise FileNotFoundError(f"{row['source']}: {row['item']} is in the mapping but not in the art folder")
        return None if image is None or is_blank(image) else row | {"picture": encode(image)}

    with ThreadPoolExecutor() as workers:
        return [row for row in workers.map(draw, rows) if row is not None]


def pictures_of(rows: Iterable[Row], domains: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """Return what the split looks at, from rows of images.parquet (the tests do so too)."""
    held_out = {domain["name"] for domain in domains if domain["held_out"]}
    return [
        Picture(r["source"], r["item"], r["synset"], r["domain"], r["domain"] in held_out, decode(r["picture"]))
        for r in rows
    ]


def keep_one(rows: Sequence[Row], domains: Sequence[Mapping[str, Any]]) -> tuple[list[Row], list[str]]:
    """Drop pictures that repeat an earlier one; also return a line for each that was mapped to another synset."""
    pictures = pictures_of(rows, domains)
    kept = repeats(pictures, similar_pairs(pictures))
    doubts = [
        f"same picture, two synsets: {rows[j]['source']} {rows[j]['item']} {rows[j]['synset']}, "
        f"{rows[i]['source']} {rows[i]['item']} {rows[i]['synset']}"
        for j, i in sorted(kept.items())
        if rows[i]["synset"] != rows[j]["synset"]
    ]
    return [row for i, row in enumerate(rows) if i not in kept], doubts


def split_rows(rows: Sequence[Row], domains: Sequence[Mapping[str, Any]]) -> tuple[list[Row], list[list[int]]]:
    """Add `image`, `licence` and `split` to every row; also return the clusters of near-duplicates."""
    pictures = pictures_of(rows, domains)
    members = clusters(len(rows), similar_pairs(pictures))
    splits = assign(pictures, members)
    facts = zip(rows, splits, strict=True)
    return [r | {"image": i, "licence": LICENCES[r["source"]], "split": s} for i, (r, s) in enumerate(facts)], members


def summary(rows: Sequence[Row], members: Sequence[Sequence[int]]) -> str:
    """Count pictures and synsets by domain and split, and clusters by size."""
    cells = Counter((row["domain"], row["split"]) for row in rows)
    lines = [f"{'domain':12}" + "".join(f"{split:>8}" for split in SPLITS) + f"{'all':>8}{'synsets':>9}"]
    for domain in sorted({row["domain"] for row in rows}):
        counts = [cells[domain, split] for split in SPLITS]
        synsets = len({row["synset"] for row in rows if row["domain"] == domain})
        lines.append(f"{domain:12}" + "".join(f"{n:8}" for n in [*counts, sum(counts)]) + f"{synsets:9}")
    totals = [sum(row["split"] == split for row in rows) for split in SPLITS]
    lines.append(f"{'all':12}" + "".join(f"{n:8}" for n in [*totals, len(rows)]))
    lines[-1] += f"{len({row['synset'] for row in rows}):9}"
    sizes = sorted(Counter(len(cluster) for cluster in members).items())
    lines.append("clusters of near-duplicates (pictures: clusters): " + ", ".join(f"{n}: {c}" for n, c in sizes))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("art", type=Path, help="folder of unpacked packages, as `make demo-assets` fills it")
    folder = parser.parse_args().art
    if not folder.is_dir():
        sys.exit(f"no such folder: {folder}")
    # A few pictures of openclipart are posters of up to 170 megapixels.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    domains = json.loads((DEMO / "domains.json").read_text())
    with (DEMO / "mapping.csv").open(newline="", encoding="utf-8") as lines:
        wanted = expand(csv.DictReader(lines), domains)
    drawn = draw_rows(Art(folder), wanted)
    unlike, doubts = keep_one(drawn, domains)
    rows, members = split_rows(unlike, domains)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table, TARGET, compression="none", row_group_size=1024)
    print(*doubts, sep="\n", end="\n" if doubts else "")
    print(f"{TARGET}: {len(rows)} pictures, {TARGET.stat().st_size / 1e6:.1f} MB")
    print(f"{len(wanted)} wanted, {len(drawn)} drawn, {len(drawn) - len(rows)} repeat an earlier one")
    print(summary(rows, members))


if __name__ == "__main__":
    main()
