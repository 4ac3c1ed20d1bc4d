"""Join the mappers' tables into the committed `mllctl_data/demo/mapping.csv`: this picture shows this synset.

A mapper is a person or a program that went through a list of pictures and wrote one row for each that plainly shows
one thing: `source,item,first,synset,domain,except,note`. `first` is the synset that the name alone suggests (kept to
measure automatic mapping), `synset` the reviewed one; `except` names the emoji styles that draw something else. An
emoji is one row for all styles, `pack.py` expands it. The tables are checked whole, every fault is one line, and
nothing is written while there is one.

    python assets/mapping.py emoji.csv tuxpaint.csv clipart.csv
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from art import EMOJI_STYLES

from mllctl.wordnet import wordnet

DATA = Path(__file__).parents[1] / "data" / "mllctl_data"
TARGET = DATA / "demo" / "mapping.csv"

COLUMNS = ("source", "item", "first", "synset", "domain", "except", "note")

# source -> the domains its rows may name; an emoji has none, its styles have.
DOMAINS = {"emoji": ("",), "tuxpaint": ("photo", "cartoon"), "clipart": ("clipart",)}

Row = dict[str, str]


def read_rows(path: Path) -> list[tuple[str, Row]]:
    """Return (place, row) for every row of one table; the place is `file:line`, for messages."""
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            sys.exit(f"{path}: the header must be {','.join(COLUMNS)}, got {','.join(reader.fieldnames or ())}")
        return [(f"{path.name}:{reader.line_num}", clean(row)) for row in reader]


def clean(row: Mapping[str, str | None]) -> Row:
    """Strip every value, and put the styles of `except` in their fixed order."""
    stripped = {column: (row[column] or "").strip() for column in COLUMNS}
    styles = {style.strip() for style in stripped["except"].split(";")} - {""}
    return stripped | {"except": ";".join(sorted(styles, key=style_order))}


def style_order(style: str) -> tuple[int, str]:
    return (EMOJI_STYLES.index(style) if style in EMOJI_STYLES else len(EMOJI_STYLES), style)


def faults_of(row: Row, synsets: set[str]) -> Iterator[str]:
    """Say what is wrong with one row by itself."""
    if row["source"] not in DOMAINS:
        yield f"source must be one of {', '.join(DOMAINS)}, got {row['source']!r}"
        return
    if not row["item"]:
        yield "item is empty"
    if row["synset"] not in synsets:
        yield f"synset {row['synset']!r} is not a WordNet 3.0 noun"
    if row["first"] and row["first"] not in synsets:
        yield f"first {row['first']!r} is not a WordNet 3.0 noun"
    if row["domain"] not in DOMAINS[row["source"]]:
        yield f"domain of {row['source']} must be one of {DOMAINS[row['source']]}, got {row['domain']!r}"
    unknown = set(row["except"].split(";")) - {"", *(EMOJI_STYLES if row["source"] == "emoji" else ())}
    if unknown:
        yield f"except names no style of {row['source']}: {', '.join(sorted(unknown))}"


def faults(placed: Sequence[tuple[str, Row]], synsets: set[str]) -> list[str]:
    """Return one line for every fault, repeated pictures among them."""
    lines = []
    seen: dict[tuple[str, str], str] = {}
    for place, row in placed:
        lines += [f"{place}: {row['item']}: {fault}" for fault in faults_of(row, synsets)]
        first = seen.setdefault((row["source"], row["item"]), place)
        if first != place:
            lines.append(f"{place}: {row['item']}: already mapped at {first}")
    return lines


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def summary(rows: Sequence[Row]) -> str:
    """Count rows and synsets, and how often the name alone was right, by source and domain."""
    lines = [f"{TARGET}: {len(rows)} rows, {len({row['synset'] for row in rows})} synsets"]
    total = Counter((row["source"], row["domain"]) for row in rows)
    right = Counter((row["source"], row["domain"]) for row in rows if row["first"] == row["synset"])
    for key, count in sorted(total.items()):
        lines.append(f"  {' '.join(key):16} {count:5} rows, name alone right {right[key] / count:6.1%}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="the mappers' CSV files")
    tables = parser.parse_args().tables
    missing = [str(path) for path in tables if not path.is_file()]
    if missing:
        sys.exit(f"no such file: {', '.join(missing)}")
    synsets = {synset.synset for synset in wordnet().synsets()}
    placed = [pair for path in tables for pair in read_rows(path)]
    found = faults(placed, synsets)
    if found:
        sys.exit("\n".join([*found, f"{len(found)} faults, nothing written"]))
    rows = sorted((row for _, row in placed), key=lambda row: (row["source"], row["item"]))
    write_rows(TARGET, rows)
    print(summary(rows))


if __name__ == "__main__":
    main()
