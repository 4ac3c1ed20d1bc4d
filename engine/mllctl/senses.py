"""Which noun of WordNet a class means.

A task is a list of names; `find_meanings` gives each a synset, or None. A name with one sense is clear. Of several
senses the one wins that has most in common with the other classes: `crane` among birds is a bird, among lorries a
machine; frequency decides the rest. A name that is no noun is known by a part of it, such as its head, if that is a
thing to be seen and of the kind of the others. Whoever knows better writes `crane#crane.n.04`. Called by `select` and
the class advice of `doctor`; asks no hub and encodes nothing.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from mllctl.errors import InvalidTask
from mllctl.wordnet import SYNSET, WNID, Synset, WordNet

Found = Literal["given", "name", "part"]

MARK = "#"
SENSES_WEIGHED = 8  # rarer senses are never meant without being named
# Chosen on all demo tasks, whose synsets are known (98.1 % are found with the bundled hub, 89.9 % without evidence),
# and on 114 names of public tasks: nothing is left to say how well this does on new ones.
RARITY = 0.3  # ancestors in common that the second sense of a word must be ahead by; others by the root of their place
KNOWN = 2.0  # ancestors in common that evidence in the hub is worth
COMPANY = 0.5  # what a rarer sense of another class counts as company, to the sense before it; exact in binary
FIT = 0.2  # what a part must have in common with the other classes, to what is usual among them
ALIKE = 1.0  # ancestors in common that make the classes of a kind
# Too general to say that two things are alike.
GENERAL = (
    *("entity.n.01", "physical_entity.n.01", "abstraction.n.06", "object.n.01"),
    *("whole.n.02", "thing.n.12", "matter.n.03", "artifact.n.01"),
)
THINGS = ("object.n.01", "thing.n.12", "matter.n.03")  # what a photo can show
# `crane#crane.n.04`; `C#`, `#1` and `C# code` are names.
MARKED = re.compile(r"(?P<name>[^#]*[^#\s])\s*#(?P<wanted>[^\s#]+|\s+\S+\.n\.\d+)\s*")
# `0 - zero`, `(3) cat` and `001.Black_footed_Albatross`, but not `3.5 tons`.
NUMBERING = re.compile(r"^\s*\(?\d+\s*(?:[-.:)]\s+|\.(?=[^\W\d]))")
# The folders of Stanford Dogs are named `n02085620-Chihuahua`, the lines of ImageNet's lists `n02085620 Chihuahua`.
WNID_FIRST = re.compile(r"^\s*(?P<wnid>n\d{8})[\s_,:-]+(?=\S)")
BRACKETS = re.compile(r"\s*[(\[][^)\]]*[)\]]")
# What follows the head of a noun phrase, as in `field of wheat`.
AFTER_HEAD = re.compile(r"\s+(?:of|in|on|with|for|from|at|near|without)\s+")
NEGATED = re.compile(r"(?:no|not|never)\s", re.IGNORECASE)
ALTERNATIVES = re.compile(r"\s+(?:or|and)\s+|\s*[/,&]\s*")
# WordNet's own rules for the endings of plural nouns, and the commonest of its exceptions.
PLURALS = (
    ("children", "child"),
    ("teeth", "tooth"),
    ("feet", "foot"),
    ("geese", "goose"),
    ("mice", "mouse"),
    ("ses", "s"),
    ("ves", "f"),
    ("ves", "fe"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("s", ""),
)


@dataclass(frozen=True)
class Meaning:
    """What a class name was taken to mean.

    Attributes:
        given: the name as it stands in the task.
        word: the part of it that is in WordNet; empty where none is.
        synset: the sense that was chosen, or None.
        others: the other senses of the word, best first.
        found: `given` after a mark, by the whole `name`, or by a `part` of it such as its head noun.
        lead: of the chosen sense over the next, in ancestors in common; infinite where there is no other.
    """

    given: str
    word: str
    synset: Synset | None
    others: tuple[Synset, ...]
    found: Found
    lead: float = math.inf


def find_meanings(classes: Sequence[str], nouns: WordNet, known: Collection[str] = ()) -> tuple[Meaning, ...]:
    """Choose a synset for each class.

    Args:
        classes: names, each with or without `#synset` after it.
        nouns: WordNet.
        known: wnids for which a hub has evidence; all else equal, a sense among them is meant.

    Raises:
        InvalidTask: if what follows a mark is no synset.
    """
    # Where every name begins with a capital it tells proper names from nobody.
    cased = any(plain_name(class_)[:1].islower() for class_ in classes)
    words = [_look_up(class_, nouns, cased) for class_ in classes]
    common = _in_common([senses for _, senses, _ in words], nouns)
    usual = median([max(alike) for alike in common if alike] or [0.0])
    least = FIT * usual if usual >= ALIKE else 0.0
    meanings = []
    for class_, (word, senses, found), alike in zip(classes, words, common, strict=True):
        if found == "part" and max(alike) < least:
            meanings.append(Meaning(class_, "", None, (), "name"))
            continue
        likely = _likely(senses, alike, known)
        order = sorted(range(len(senses)), key=lambda n: -likely[n])
        best, *others = (senses[n] for n in order) if order else (None,)
        lead = likely[order[0]] - likely[order[1]] if others else math.inf
        meanings.append(Meaning(class_, word, best, tuple(others), found, lead))
    return tuple(meanings)


def by_doubt(
    guessed: Mapping[str, Sequence[Synset]], clear: Iterable[Synset], nouns: WordNet
) -> list[tuple[str, Synset]]:
    """Order words whose first sense was taken by how likely another one is meant.

    Args:
        guessed: words -> their senses, the one that was taken first.
        clear: what else stands beside these words.
        nouns: WordNet.

    Returns:
        Words with the sense that the others speak for, those first of which it is not the one that was taken.
    """
    words = list(guessed)
    beside = [f"{sense.name}{MARK}{sense.synset}" for sense in clear]
    meanings = find_meanings([*words, *beside], nouns)[: len(words)]

    def doubt(meaning: Meaning) -> float:
        taken = guessed[meaning.given][0]
        return -meaning.lead if meaning.synset not in (None, taken) else meaning.lead

    return [(m.given, m.synset or guessed[m.given][0]) for m in sorted(meanings, key=doubt)]


def plain_name(class_: str) -> str:
    """Return a class name without its mark, wnid, numbering and underscores: what an encoder should read."""
    marked = MARKED.fullmatch(class_)
    name = WNID_FIRST.sub("", marked["name"] if marked else class_).replace("_", " ")
    return " ".join(NUMBERING.sub("", name).split()) or class_


def marked_synset(class_: str, nouns: WordNet) -> Synset | None:
    """Return the synset that a class name itself names: after a mark, before the name, or instead of it.

    Raises:
        InvalidTask: if what follows a mark is no synset.
    """
    if marked := MARKED.fullmatch(class_):
        name, wanted = marked["name"].strip(), marked["wanted"].strip()
        if not (found := _exactly(wanted, nouns)):
            raise InvalidTask(f"class {name!r}: {wanted!r} is no noun synset; write it like `crane#crane.n.04`")
        return found
    first = WNID_FIRST.match(class_)
    return _exactly(first["wnid"] if first else class_.strip(), nouns)


def singulars(name: str) -> Iterator[str]:
    """Return what a name may be the plural of; many are no words."""
    for plural, singular in PLURALS:
        if name.endswith(plural) and len(name.removesuffix(plural) + singular) > 1:
            yield name.removesuffix(plural) + singular


def _exactly(wanted: str, nouns: WordNet) -> Synset | None:
    found = nouns.senses(wanted) if WNID.fullmatch(wanted) or SYNSET.fullmatch(wanted) else []
    return found[0] if found else None


def _in_common(words: Sequence[Sequence[Synset]], nouns: WordNet) -> list[list[float]]:
    """Return how many ancestors each sense of each word shares with the other words, mean over these.

    To sum over a sense's own ancestors how many words lie under each is to sum what it shares with each word.
    """
    general = {sense.wnid for name in GENERAL for sense in nouns.senses(name)}
    above = [[_ancestors(sense, nouns) - general for sense in senses] for senses in words]
    under = [_company(senses) for senses in above]
    shared: dict[str, float] = defaultdict(float)
    for counts in under:
        for wnid, count in counts.items():
            shared[wnid] += count
    others = max(len(words) - 1, 1)
    return [
        [sum(shared[wnid] - counts[wnid] for wnid in wnids) / others for wnids in senses]
        for senses, counts in zip(above, under, strict=True)
    ]


def _company(above: Sequence[frozenset[str]]) -> dict[str, float]:
    """Return how much a word counts as lying under each ancestor of its senses, which come most frequent first."""
    counts: dict[str, float] = {}
    for place, wnids in enumerate(above):
        for wnid in wnids:
            counts.setdefault(wnid, COMPANY**place)
    return counts


def _likely(senses: Sequence[Synset], alike: Sequence[float], known: Collection[str]) -> list[float]:
    """Return how likely each sense of a word is meant; only the order and the differences say something."""
    return [
        common - RARITY * math.sqrt(place) + KNOWN * (sense.wnid in known)
        for place, (sense, common) in enumerate(zip(senses, alike, strict=True))
    ]


def _look_up(class_: str, nouns: WordNet, cased: bool) -> tuple[str, list[Synset], Found]:
    """Return (word, senses, how it was found)."""
    name = plain_name(class_)
    if given := marked_synset(class_, nouns):
        return name, [given], "given"
    for word in _spellings(name):
        if senses := _senses(word, nouns, cased):
            return word, senses, "name"
    for part in _parts(name):
        for word in _spellings(part):
            if senses := _senses(word, nouns, cased):
                things = [sense for sense in senses if _is_thing(sense, nouns)]
                return (word, things, "part") if things else ("", [], "name")
    return "", [], "name"


def _senses(word: str, nouns: WordNet, cased: bool) -> list[Synset]:
    senses = nouns.senses(word if cased else word.lower())
    return [sense for sense in senses if not _is_acronym(word, sense)][:SENSES_WEIGHED]


def _is_thing(sense: Synset, nouns: WordNet) -> bool:
    """Return whether this can be seen, as the caution of `General caution` cannot."""
    above = _ancestors(sense, nouns)
    return any(thing.wnid in above for name in THINGS for thing in nouns.senses(name))


def _is_acronym(word: str, sense: Synset) -> bool:
    """Return whether `word` means this only in capitals: `sad` is no seasonal affective disorder."""
    spelled = [lemma for lemma in sense.lemmas if lemma.lower() == word.lower()]
    return not word.isupper() and bool(spelled) and all(len(lemma) > 1 and lemma.isupper() for lemma in spelled)


def _spellings(name: str) -> Iterator[str]:
    yield name
    if "-" in name:
        yield name.replace("-", " ")
    yield from singulars(name)
    # `cup cakes`
    if name.count(" ") == 1:
        joined = name.replace(" ", "")
        yield joined
        yield from singulars(joined)


def _parts(name: str) -> Iterator[str]:
    """Return parts of a name that may stand for it: without brackets, one of two alternatives, the head noun."""
    if NEGATED.match(name):
        return
    bare = BRACKETS.sub("", name)
    for part in ALTERNATIVES.split(bare):
        if part != name:
            yield part
        head = AFTER_HEAD.split(part)[0]
        words = head.split()
        for start in range(len(words)):
            if (tail := " ".join(words[start:])) != part:
                yield tail


def _ancestors(sense: Synset, nouns: WordNet) -> frozenset[str]:
    """Return the wnids of a synset and of all above it."""
    reached, frontier = {sense.wnid}, [sense]
    while frontier:
        above = {wnid for synset in frontier for wnid in synset.hypernyms} - reached
        reached |= above
        frontier = [nouns[wnid] for wnid in above]
    return frozenset(reached)
