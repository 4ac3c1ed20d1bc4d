"""Advice on the names of classes, before models are selected for them.

    classes ── meanings ── advice
          └─────────────── cleaned classes

`advise` takes any names, those that `select` would refuse too, and gives an `Advice` for each thing that could be
better; `cleaned_classes` gives the list to use instead. Both are pure; `evidence_wnids` and `nodes_of_classes` ask a
hub what they need of it. Called by `mllctl doctor --classes`; nothing is changed.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Literal, TypeVar, get_args

import numpy as np

from mllctl.backends.protocol import Encoder
from mllctl.captions import PROMPT, check_text
from mllctl.errors import InvalidTask
from mllctl.hub import Hub
from mllctl.index import check_encoder, encode_texts, open_index
from mllctl.select.matching import match_classes
from mllctl.select.selection import Options
from mllctl.senses import MARK, NUMBERING, Meaning, find_meanings, marked_synset, plain_name, singulars
from mllctl.wordnet import SYNSET, WNID, Synset, WordNet

# What `select` refuses, and names that it takes for two classes though they are one.
Wrong = Literal["empty", "unreadable", "duplicate", "mark"]
Written = Literal["underscores", "numbering", "wnid", "long"]
Alike = Literal["same name", "same meaning", "same nodes"]
Meant = Literal["doubtful", "unlike", "part", "senses", "unknown"]
Kind = Literal[Wrong, Written, Alike, Meant, "template"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # in the order in which they are told

Key = TypeVar("Key")

NODES_PER_CLASS = 5  # as `select` has it
CONTEXT = 77  # tokens that CLIP and its kin read of a text
LETTERS_A_TOKEN = 3
# Lead of a sense, in ancestors in common, under which another may well be meant: of the senses chosen in the demo tasks
# 18 of 41 under it are wrong, and 2 of 575 above.
DOUBT = 1.0
HALF = 0.5
MOST = 0.75  # share of the classes that makes them a task of one kind
DEFINITION = 50  # letters shown of a definition
LISTED = 3
WORD = re.compile(r"[^\W\d_]+|\S")
ADJECTIVE = re.compile(r"[a-z]+(?:ed|en|y|ous|ful|ish|like|less|ine|ic|al|ive|able)")
DOING = re.compile(r"[a-z]+ing\b.*", re.IGNORECASE)
# Source of the templates: the prompts of CLIP's own evaluation (github.com/openai/CLIP, data/prompts.md).
WORDED = (
    (re.compile(r"\b(?:textures?|materials?|surfaces?)\b"), "a photo of a {} texture"),
    (re.compile(r"\b(?:faces?|facial|emotions?)\b"), "a photo of a {} face"),
    (re.compile(r"\b(?:actions?|activit(?:y|ies))\b"), "a photo of a person {}"),
    (re.compile(r"\b(?:traffic|road)[ -]signs?\b"), 'a photo of a "{}" traffic sign'),
    (re.compile(r"\b(?:satellite|aerial)\b"), "a satellite photo of {}"),
    (re.compile(r"\b(?:digits?|numerals?)\b"), 'a photo of the number "{}"'),
)
NO_NOUNS = "no nouns"
TYPES = ("food", "animal", "plant")  # lexnames that read well after `a type of`


@dataclass(frozen=True)
class Advice:
    """One thing that could be better.

    Attributes:
        class_: the class as it was given; None if it is about all of them.
        kind: what it is about.
        remark: what was seen, and what follows from it.
        proposal: what to write instead, a template if `kind` is that; None where there is nothing certain.
    """

    class_: str | None
    kind: Kind
    remark: str
    proposal: str | None = None

    @property
    def wrong(self) -> bool:
        """Whether `select` would refuse the classes or take one for two."""
        return self.kind in get_args(Wrong)


def advise(
    classes: Sequence[str],
    meanings: Sequence[Meaning],
    nouns: WordNet,
    nodes: Mapping[str, tuple[str, ...]] | None = None,
    words: str = "",
) -> tuple[Advice, ...]:
    """Say what could be better about the classes of a task, the worst first.

    Args:
        classes: as given.
        meanings: of those that can be read, as `read_meanings` has them.
        nouns: WordNet.
        nodes: class -> synsets of the nodes it is matched to, as `nodes_of_classes` has them.
        words: what the user says of the images and the task.
    """
    names = readable_classes(classes)
    pieces = (
        *_refused(classes),
        *_duplicates(classes, nouns),
        *_wrong_marks(names, nouns),
        *_misspelled(names, nouns),
        *_not_told_apart(names, meanings, nouns, nodes or {}),
        *_uncertain(meanings),
        *_template(meanings, words.lower()),
    )
    return tuple(sorted(pieces, key=lambda piece: KINDS.index(piece.kind)))


def readable_classes(classes: Iterable[str]) -> tuple[str, ...]:
    """Return the classes that are names at all, each once and without the white space around it."""
    return tuple(dict.fromkeys(name for class_ in classes if (name := class_.strip()) and _is_text(name)))


def read_meanings(classes: Sequence[str], nouns: WordNet, known: Collection[str] = ()) -> tuple[Meaning, ...]:
    """Choose a synset for each class that can be read; a mark that names none does not count."""
    names = readable_classes(classes)
    meanings = find_meanings(_unmarked(names, nouns), nouns, known)
    return tuple(replace(meaning, given=name) for name, meaning in zip(names, meanings, strict=True))


def cleaned_classes(classes: Sequence[str], nouns: WordNet) -> tuple[str, ...]:
    """Return the classes as words that a model can read, in their order; of duplicates the first.

    To clean them again changes nothing, and `advise` finds nothing wrong with them.
    """
    names = readable_classes(classes)
    keys = _keys(names, nouns)
    first = {key: name for name, key in reversed(list(zip(names, keys, strict=True)))}
    cleaned = [_clean_name(name, nouns) for name, key in zip(names, keys, strict=True) if first[key] == name]
    return tuple(dict.fromkeys(cleaned))


def evidence_wnids(hub: Hub, nouns: WordNet) -> frozenset[str]:
    """Return the wnids of the nodes that have images."""
    has_evidence = hub.evidence_nodes()
    return frozenset(nouns.senses(node.synset)[0].wnid for node in hub.nodes() if has_evidence[node.node])


def nodes_of_classes(hub: Hub, classes: Sequence[str], encoder: Encoder, nouns: WordNet) -> dict[str, tuple[str, ...]]:
    """Return the synsets of the nodes that speak for each class that can be read, most first, as `select` has them.

    Raises:
        StageMissing: if the hub has no caption index, an old one, or one of another encoder.
    """
    index = open_index(hub)
    check_encoder(hub, encoder)
    if not (names := readable_classes(classes)):
        return {}
    queries = encode_texts(encoder, [plain_name(name) for name in names])
    options = Options(1, 0.7, NODES_PER_CLASS, "wordnet", "shrunk", None)
    transfer = match_classes(hub, index, _unmarked(names, nouns), queries, options).transfer
    order = np.argsort(-transfer, axis=0, kind="stable")[:NODES_PER_CLASS]
    nodes = hub.nodes()
    return {
        name: tuple(nodes[v].synset for v in order[:, c].tolist() if transfer[v, c] > 0) for c, name in enumerate(names)
    }


def _unmarked(names: Sequence[str], nouns: WordNet) -> list[str]:
    """Return the names, without marks that name no synset."""
    return [plain_name(name) if _wrong_mark(name, nouns) else name for name in names]


def estimate_tokens(text: str) -> int:
    """Return how many tokens a text has for CLIP, rather too many than too few: no tokenizer is asked.

    Three letters of a word count as one token, every other sign and every byte of a letter outside ASCII as one, with
    one more for the start and the end of the text. Of 3,242 WordNet definitions with 20 tokens or more none has more
    than that by open_clip's tokenizer; on average they have three fifths.
    """
    words = WORD.findall(text)
    return 2 + sum(-(-len(word) // LETTERS_A_TOKEN) if word.isascii() else len(word.encode()) for word in words)


# -- what select refuses ------------------------------------------------------------------------------


def _is_text(name: str) -> bool:
    try:
        check_text("class", name)
    except InvalidTask:
        return False
    return True


def _wrong_mark(name: str, nouns: WordNet) -> str:
    """Return why a class's mark is refused; empty if it is not."""
    try:
        marked_synset(name, nouns)
    except InvalidTask as error:
        return str(error)
    return ""


def _refused(classes: Sequence[str]) -> Iterator[Advice]:
    names = [class_.strip() for class_ in classes]
    if not any(names):
        yield Advice(None, "empty", "the task has no classes; give one class a line, or --class once for each")
    elif empty := [str(number) for number, name in enumerate(names, start=1) if not name]:
        yield Advice("", "empty", f"number {_listed(empty)} is empty; remove it or name it")
    for number, name in enumerate(names, start=1):
        if not _is_text(name):
            yield Advice(name, "unreadable", f"number {number} is not UTF-8 text; write it in UTF-8")


def _duplicates(classes: Sequence[str], nouns: WordNet) -> Iterator[Advice]:
    """Find classes that are one but for case, plural, underscores, numbering or white space."""
    numbered = [(number, name) for number, class_ in enumerate(classes, start=1) if (name := class_.strip())]
    numbered = [(number, name) for number, name in numbered if _is_text(name)]
    groups: dict[object, list[tuple[int, str]]] = {}
    for key, place in zip(_keys([name for _, name in numbered], nouns), numbered, strict=True):
        groups.setdefault(key, []).append(place)
    for (first, kept), *more in (group for group in groups.values() if len(group) > 1):
        again = _listed([f"{number} ({name!r})" if name != kept else str(number) for number, name in more])
        yield Advice(kept, "duplicate", f"stands as number {first}, and again as number {again}; keep one")


def _keys(names: Sequence[str], nouns: WordNet) -> list[tuple[str, str]]:
    """Return for each name what tells it from others: (word in the singular, marked synset)."""
    spelled = [plain_name(name).casefold().replace("-", " ") for name in names]
    there = set(spelled)
    return [(_singular(word, nouns, there), _marked(name, nouns)) for word, name in zip(spelled, names, strict=True)]


def _singular(word: str, nouns: WordNet, there: Collection[str]) -> str:
    """Return the singular if WordNet or the task has it; `glasses` is a word of its own and stays."""
    forms = [word, *singulars(word)]
    known = next((form for form in forms if nouns.senses(form)), None)
    return known or next((form for form in forms[1:] if form in there), word)


def _marked(name: str, nouns: WordNet) -> str:
    synset = None if _wrong_mark(name, nouns) else marked_synset(name, nouns)
    return synset.synset if synset else ""


def _wrong_marks(names: Sequence[str], nouns: WordNet) -> Iterator[Advice]:
    for name in names:
        if reason := _wrong_mark(name, nouns):
            yield Advice(name, "mark", reason, plain_name(name))


# -- how names are written ----------------------------------------------------------------------------


def _misspelled(names: Sequence[str], nouns: WordNet) -> Iterator[Advice]:
    """Find what no text encoder was trained on, and what is too much for one."""
    for name in names:
        clean = _clean_name(name, nouns)
        if "_" in name.split(MARK)[0]:
            yield Advice(name, "underscores", "underscores; models read words", clean)
        if NUMBERING.match(name.replace("_", " ")):
            yield Advice(name, "numbering", "numbered; models read the number too", clean)
        if MARK not in name and _marked(name, nouns):
            yield Advice(name, "wnid", "wnid or synset; models read words", clean)
        if (tokens := estimate_tokens(PROMPT.replace("{}", plain_name(name)))) > CONTEXT:
            remark = f"perhaps {tokens} tokens, estimated by its letters; CLIP reads {CONTEXT} and forgets the rest"
            yield Advice(name, "long", remark)


def _clean_name(name: str, nouns: WordNet) -> str:
    """Return a class as words, with a mark where it names one of several senses."""
    plain = plain_name(name)
    synset = None if _wrong_mark(name, nouns) else marked_synset(name, nouns)
    if synset is None:
        return plain
    if WNID.fullmatch(plain) or SYNSET.fullmatch(plain):
        plain = synset.name
    return plain if nouns.senses(plain) == [synset] else f"{plain}{MARK}{synset.synset}"


# -- what names mean ----------------------------------------------------------------------------------


def _not_told_apart(
    names: Sequence[str], meanings: Sequence[Meaning], nouns: WordNet, nodes: Mapping[str, tuple[str, ...]]
) -> Iterator[Advice]:
    """Find classes that one name, one meaning or the same nodes stand for."""
    keys = dict(zip(names, _keys(names, nouns), strict=True))
    for word, group in _grouped((name, keys[name][0]) for name in names):
        if len({keys[name] for name in group}) > 1:
            remark = f"{len(group)} classes are {word!r} to a model, whatever is marked; add a word to each"
            yield from (Advice(name, "same name", remark) for name in group)
    seen = set()
    for synset, group in _grouped((meaning.given, meaning.synset) for meaning in meanings if meaning.synset):
        seen.add(frozenset(group))
        if len({keys[name] for name in group}) > 1:
            remark = f"{len(group)} classes mean {synset.synset}; a hub can hardly tell them apart"
            yield from (Advice(name, "same meaning", remark) for name in group)
    for shared, group in _grouped((name, nodes[name]) for name in names if nodes.get(name)):
        if frozenset(group) not in seen and len({keys[name] for name in group}) > 1:
            nearest = _listed(shared)
            remark = f"{len(group)} classes are most like the same nodes ({nearest}); a hub can hardly tell them apart"
            yield from (Advice(name, "same nodes", remark) for name in group)


def _uncertain(meanings: Sequence[Meaning]) -> Iterator[Advice]:
    most = _most(meanings)
    for meaning in meanings:
        if meaning.found != "given" and (piece := _doubt(meaning, most)):
            yield piece


def _doubt(meaning: Meaning, most: str) -> Advice | None:
    """Say which sense was taken where another may be meant, and what is found by a part or not at all."""
    if meaning.synset is None:
        return Advice(meaning.given, "unknown", "no noun of WordNet; matched by its text alone")
    taken = f"taken as {_shown(meaning.synset)}"
    if meaning.found == "part":
        return Advice(meaning.given, "part", f"known only by {meaning.word!r}: {taken}")
    if meaning.lead < DOUBT:
        return Advice(meaning.given, "doubtful", f"{taken}; {_choice(meaning)}")
    if most and meaning.synset.lexname != most:
        kind = most if most == NO_NOUNS else f"of the kind {most}"
        return Advice(meaning.given, "unlike", f"{taken}; most classes are {kind}")
    if meaning.others:
        remark = "several senses; the one most like the other classes was taken (--json names it)"
        return Advice(meaning.given, "senses", remark)
    return None


def _choice(meaning: Meaning) -> str:
    """Say how to choose the next sense."""
    other, *more = meaning.others
    rest = f" ({len(more)} more by --json)" if more else ""
    return f"for {_shown(other)} write `{plain_name(meaning.given)}{MARK}{other.synset}`{rest}"


def _shown(synset: Synset) -> str:
    definition = synset.definition.split(";")[0]
    return f"{synset.synset} ({shorten(definition, DEFINITION, placeholder='...')})"


def _most(meanings: Sequence[Meaning]) -> str:
    """Return the lexname of most of the meanings, or NO_NOUNS; empty if they are of many kinds."""
    if _are_adjectives(meanings):
        return NO_NOUNS
    lexnames = Counter(meaning.synset.lexname for meaning in meanings if meaning.synset)
    if not lexnames or lexnames.total() < HALF * len(meanings):
        return ""
    [(lexname, count)] = lexnames.most_common(1)
    return lexname if count >= MOST * lexnames.total() else ""


def _are_adjectives(meanings: Sequence[Meaning]) -> bool:
    """Return whether most names look like adjectives: we have no others than WordNet's nouns, so endings must tell."""
    unknown = [plain_name(meaning.given) for meaning in meanings if meaning.synset is None]
    return _share(meanings, [name for name in unknown if ADJECTIVE.fullmatch(name)]) >= HALF


# -- templates ----------------------------------------------------------------------------------------


def _template(meanings: Sequence[Meaning], words: str) -> Iterator[Advice]:
    """Propose a template for `predict`: by the user's words, else by what most names are."""
    for pattern, template in WORDED:
        if said := pattern.search(words):
            yield Advice(None, "template", f"names of this kind ({said[0]}) read better in a template", template)
            return
    yield from _typed(meanings)
    if _share(meanings, [meaning for meaning in meanings if _is_action(meaning)]) >= MOST:
        yield Advice(None, "template", "most names say what somebody does", "a photo of a person {}")
    if _most(meanings) == NO_NOUNS:
        remark = "most names are no nouns; say what they describe, such as a texture or a face"
        yield Advice(None, "template", remark, "a photo of something {}")


def _typed(meanings: Sequence[Meaning]) -> Iterator[Advice]:
    """Name the kind of thing that most classes are, where a name may be taken for something else."""
    clear = all(meaning.synset and not meaning.others for meaning in meanings)
    if not clear and (type_ := _most(meanings)) in TYPES:
        remark = f"most classes are of one type, {type_}; to say so helps where a name has several senses or none"
        yield Advice(None, "template", remark, f"a photo of {{}}, a type of {type_}")


def _is_action(meaning: Meaning) -> bool:
    """Return whether a name begins with what somebody does: `playing guitar`, but not `building`."""
    noun = meaning.synset if meaning.found == "name" else None
    return bool(DOING.fullmatch(plain_name(meaning.given))) and (noun is None or noun.lexname == "act")


def _share(all_: Sequence[object], some: Sequence[object]) -> float:
    return len(some) / max(len(all_), 1)


def _grouped(pairs: Iterable[tuple[str, Key]]) -> list[tuple[Key, list[str]]]:
    """Group names by what they have in common: (that, names), groups of one left out."""
    groups: dict[Key, list[str]] = {}
    for name, common in pairs:
        groups.setdefault(common, []).append(name)
    return [(common, group) for common, group in groups.items() if len(group) > 1]


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more
