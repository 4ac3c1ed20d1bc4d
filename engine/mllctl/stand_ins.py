"""Texts that stand in for images of a class: captions and synonyms, from WordNet, without a network.

LOVM (Zohar et al. 2023) has a language model write both. Captions that a user has, or had written, are taken as they
are; the others are made of what WordNet says of the synset that a class means: its gloss and what is below it. Synonyms
are its other words and, as LOVM asks for super-classes too, what is above it. Called by `evaluate`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mllctl.captions import class_prompts
from mllctl.senses import find_meanings, plain_name
from mllctl.wordnet import Synset, WordNet, wordnet

HYPONYMS = 3  # of a class that speak for it, at most
DOMAIN = "photos"  # where nobody says what images look like


@dataclass(frozen=True)
class StandIns:
    """What stands in for images of one class.

    Attributes:
        captions: as one would write them below an image.
        synonyms: other names, as prompts; may be empty.
    """

    captions: tuple[str, ...]
    synonyms: tuple[str, ...]


def find_stand_ins(
    classes: Sequence[str],
    domain: str = "",
    captions: Mapping[str, Sequence[str]] | None = None,
    nouns: WordNet | None = None,
) -> tuple[StandIns, ...]:
    """Return what stands in for images of each class.

    Args:
        classes: names, as of a task.
        domain: what the images look like, in words.
        captions: by class, as `read_captions` returns them; of other classes they are made.
        nouns: WordNet, the shipped one unless said otherwise.

    Raises:
        InvalidTask: if what follows a mark in a class name is no synset.
    """
    known = nouns or wordnet()
    found = []
    for class_, meaning in zip(classes, find_meanings(classes, known), strict=True):
        name = plain_name(class_)
        given = (captions or {}).get(class_.strip())
        made = _captions(name, domain or DOMAIN, meaning.synset, known)
        others = _other_names(name, meaning.synset, known)
        found.append(StandIns(tuple(given or made), tuple(class_prompts(others))))
    return tuple(found)


def _captions(name: str, domain: str, synset: Synset | None, nouns: WordNet) -> list[str]:
    """Return made captions.

    Those from WordNet do not name the class, or every model would have them right; nor the domain, so that tasks share
    them: a model of the demo encodes about a hundred a second.
    """
    named = [f"{domain} of {name}"]
    if synset is None:
        return [*named, *class_prompts(_variants(name))]
    below = [kind.name for kind in nouns.hyponyms(synset.wnid)[:HYPONYMS]]
    return [*named, *class_prompts([synset.definition, *below])]


def _other_names(name: str, synset: Synset | None, nouns: WordNet) -> list[str]:
    if synset is None:
        return _variants(name)
    words = [lemma.replace("_", " ") for lemma in synset.lemmas]
    return _unlike(name, [*words, *(nouns[wnid].name for wnid in synset.hypernyms)])


def _variants(name: str) -> list[str]:
    """Return other ways to write a name."""
    return sorted({name.lower(), name.title(), name.replace("-", " ")} - {name})


def _unlike(name: str, names: Iterable[str]) -> list[str]:
    """Return names that differ from one by more than case, each once, in their order."""
    return [other for other in dict.fromkeys(names) if other.lower() != name.lower()]
