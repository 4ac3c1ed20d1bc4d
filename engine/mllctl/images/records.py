"""What the stages of `images` hand to each other, and what they hand out."""

import re
from collections import Counter
from dataclasses import dataclass, field

from mllctl.wordnet import Synset

# What differs from one input to the next: what stands in brackets, and words in quotes.
BRACKETS = re.compile(r"\s*\(.*\)")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True)
class Domain:
    """A visual style or setting, with one line that says what it looks like."""

    name: str
    description: str


@dataclass(frozen=True)
class SampleImage:
    """One usable image: its uri, the synset it shows, its domain's name and the hash of its bytes."""

    uri: str
    wnid: str
    domain: str
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """One input that was not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One image of a source before anything was checked.

    Attributes:
        uri: where its bytes are.
        word: what it shows: a wnid, a synset or a lemma.
        domain: its domain's name.
        name: what it is called within its source, wherever the source lies; what sampling goes by.
    """

    uri: str
    word: str
    domain: str
    name: str


@dataclass(frozen=True)
class Scan:
    """What a source holds.

    Attributes:
        images: usable images, in a stated order: that of the source; if they were drawn, by node, domain and draw.
        skipped: everything else that was looked at.
        guessed: words with several senses -> the senses, the one that was taken first.
        left_out: images that were not drawn, and so not decoded.
    """

    images: tuple[SampleImage, ...]
    skipped: tuple[Skipped, ...]
    guessed: dict[str, tuple[Synset, ...]] = field(default_factory=dict)
    left_out: int = 0

    def reasons(self) -> dict[str, int]:
        """Return how many inputs were skipped for each kind of reason, most first."""
        return dict(Counter(kind_of(skipped.reason) for skipped in self.skipped).most_common())


def kind_of(reason: str) -> str:
    """Return a reason without what is particular to one input, so that reasons can be counted."""
    return QUOTED.sub("…", BRACKETS.sub("", reason))


def printable(path: str) -> str:
    """Return a path as text that can be printed and stored, whatever bytes the file system has."""
    return path.encode(errors="backslashreplace").decode()
