"""Make `mllctl_data/wordnet/nouns.npz` from the WordNet 3.0 database files.

Takes the folder of Debian's `wordnet-base` (`data.noun`, `index.noun`, `lexnames`
are Princeton's own formats, described in wndb(5WN)) and writes one row a noun
synset, in offset order. Run by `make demo-assets`, never at run time.

    python assets/wordnet.py /usr/share/wordnet
"""

import argparse
from pathlib import Path

import numpy as np

from mllctl.wordnet import Synset, columns_of, wnid_of

TARGET = Path(__file__).parents[1] / "data" / "mllctl_data" / "wordnet" / "nouns.npz"

# lexnames(5WN), the noun files, numbered from 3.
LEXICOGRAPHER_FILES = """
    Tops act animal artifact attribute body cognition communication event feeling food group location motive object
    person phenomenon plant possession process quantity relation shape state substance time
"""


def sense_numbers(index: Path) -> dict[tuple[str, int], int]:
    """Return (lemma, offset) -> sense number, counted from 1 in the order of frequency."""
    senses = {}
    for line in index.read_text().splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        lemma, count = fields[0], int(fields[2])
        senses.update({(lemma, int(offset)): n for n, offset in enumerate(fields[-count:], start=1)})
    return senses


def parse_synset(line: str, senses: dict[tuple[str, int], int]) -> Synset:
    """Read one line of data.noun; instance hypernyms count as hypernyms."""
    facts, _, gloss = line.partition(" | ")
    fields = facts.split()
    offset, words = int(fields[0]), int(fields[3], 16)
    lemmas = fields[4 : 4 + 2 * words : 2]
    pointers = fields[5 + 2 * words :]
    hypernyms = [
        int(target) for symbol, target in zip(pointers[::4], pointers[1::4], strict=False) if symbol in ("@", "@i")
    ]
    head = lemmas[0].lower()
    return Synset(
        synset=f"{head}.n.{senses[head, offset]:02d}",
        wnid=wnid_of(offset),
        lemmas=tuple(lemmas),
        senses=tuple(senses[lemma.lower(), offset] for lemma in lemmas),
        definition=gloss.split('; "')[0].strip().rstrip(";"),
        hypernyms=tuple(map(wnid_of, hypernyms)),
        lexname=LEXICOGRAPHER_FILES.split()[int(fields[1]) - 3],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="folder with data.noun and index.noun of WordNet 3.0")
    folder = parser.parse_args().wordnet
    senses = sense_numbers(folder / "index.noun")
    lines = (folder / "data.noun").read_text().splitlines()
    synsets = [parse_synset(line, senses) for line in lines if not line.startswith(" ")]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    # Not compressed: every `select` opens it, and a wheel compresses it anyway.
    np.savez(TARGET, **columns_of(synsets))
    print(f"{TARGET}: {len(synsets)} synsets, {TARGET.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
