"""What an image truly shows, as a source has it written, found among the classes of a task."""

import re
from collections import Counter
from collections.abc import Sequence

from mllctl.senses import plain_name

SENSE = re.compile(r"\.n\.\d+$")  # the end of a synset's name
NONE = -1  # of an image whose truth is not known, or none of the classes


class TruthFinder:
    """Finds the class that a word means: by its name, by its name as people write folders, or by its number.

    Attributes:
        known: words that were found.
        unknown: words that are none of the classes, with how often they were asked for.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.known = 0
        self.unknown: Counter[str] = Counter()
        self._exact = {name: c for c, name in enumerate(classes)}
        self._loose: dict[str, int] = {}
        for c, name in enumerate(classes):
            for form in (_plain(name), _plain(plain_name(name))):
                # A form that two classes share means neither.
                self._loose[form] = c if self._loose.get(form, c) == c else NONE
        self._numbers = {str(c): c for c in range(len(classes))}

    def find(self, word: str) -> int:
        """Return the position of the class; -1 if it is none, or there is no word."""
        if not word:
            return NONE
        forms = ((self._exact, word), (self._loose, _plain(plain_name(word))), (self._numbers, word))
        for known, form in forms:
            if known.get(form, NONE) != NONE:
                self.known += 1
                return known[form]
        self.unknown[word] += 1
        return NONE


def _plain(name: str) -> str:
    """Return a name without what folders and synsets differ in: case, what stands between words, the sense."""
    word = SENSE.sub("", name)
    return " ".join(word.casefold().replace("_", " ").replace("-", " ").split())
