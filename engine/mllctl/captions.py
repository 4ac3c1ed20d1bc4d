"""The texts that stand for nodes and classes.

A node's caption is what models are labelled with and what classes are matched to. A class is matched
by its name alone and predicted by a prompt. Putting the domain into the matching text, as the paper
does, made the class's own synset the nearest node in 71 to 80 % of the demo's classes, the name alone
in 92 %: the domain's words draw a class to nodes of their own. The domain weighs evidence instead.

Who knows better gives a template of their own, or a file of captions: `class_texts` says which texts
a class is matched by. `writing_captions` has such a file written by a language model.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mllctl.errors import InvalidTask

PROMPT = "a photo of {}"
TEMPLATE = "{class}"  # what a class is matched by, if it has no captions
CAPTIONS_SHAPE = 'an object such as {"cat": "a small furry animal", "dog": ["one caption", "another"]}'

# What is in braces is a field; a brace without its partner is text.
_FIELD = re.compile(r"\{([^{}]*)\}")


def node_caption(name: str, definition: str) -> str:
    """Return the caption of a node. Source: MLL, section 4.1."""
    return f"{name} which is {definition}"


def class_prompts(classes: Sequence[str], template: str = PROMPT) -> list[str]:
    """Fill a prompt template with each class.

    Raises:
        InvalidTask: if the template has no `{}` to fill.
    """
    if template.count("{}") != 1:
        raise InvalidTask(f"template {template!r} must hold {{}} once, where the class goes")
    return [template.replace("{}", class_) for class_ in classes]


def class_texts(
    classes: Sequence[str],
    captions: Mapping[str, Sequence[str]] | None = None,
    template: str = TEMPLATE,
    domain: str | None = None,
    task: str | None = None,
) -> list[tuple[str, ...]]:
    """Return the texts that each class is matched by: its captions, or else the filled template.

    Args:
        classes: names; white space around them does not count.
        captions: by class, as `read_captions` returns them; None if there are none.
        template: holds {class} and, if they are to be in it, {domain} and {task}.
        domain: what the images look like, in words.
        task: kind of task, in words.

    Raises:
        InvalidTask: if there are captions but of none of these classes, or the template has a field that is unknown
            or not given, or no {class}.
    """
    if captions and len(without_captions(classes, captions)) == len(classes):
        known = ", ".join(map(repr, list(captions)[:3]))
        raise InvalidTask(f"the captions are of none of these classes, but of {known}; name classes as the file does")
    fields = {"domain": domain, "task": task}
    _check_template(template, fields)
    texts = []
    for class_ in map(str.strip, classes):
        own = captions.get(class_) if captions else None
        texts.append(tuple(own) if own else (_fill(template, {**fields, "class": class_}),))
    return texts


def without_captions(classes: Sequence[str], captions: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the classes that have no captions, in their order."""
    return [class_.strip() for class_ in classes if class_.strip() not in captions]


def read_captions(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a file of captions: a JSON object of class and caption, or of class and list of captions.

    White space around classes and captions is dropped.

    Raises:
        InvalidTask: if the file cannot be read as that, a class stands twice, or a caption is empty.
    """
    try:
        facts = json.loads(_read_text(path), object_pairs_hook=lambda pairs: _distinct(path, pairs))
    except (ValueError, RecursionError) as error:
        raise InvalidTask(f"{path} is not JSON ({error}); write {CAPTIONS_SHAPE}") from error
    if not isinstance(facts, dict) or not facts:
        raise InvalidTask(f"{path} holds no captions; write {CAPTIONS_SHAPE}")
    return {class_: _checked_captions(path, class_, value) for class_, value in facts.items()}


def check_text(what: str, text: str) -> None:
    """Refuse text that is not Unicode, such as bytes of another encoding on a command line.

    Raises:
        InvalidTask: if it is.
    """
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidTask(f"{what} is not UTF-8 text; write it in UTF-8")


def clean_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Check the classes of a task and strip the white space around them.

    Raises:
        InvalidTask: if there is none, one is empty, or two are the same.
    """
    names = [class_.strip() for class_ in classes]
    if not names:
        raise InvalidTask("the task has no classes; give one class a line, or --class once for each")
    first: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if not name:
            raise InvalidTask(f"class {line} is empty; remove it or name it")
        check_text(f"class {line}", name)
        if name in first:
            raise InvalidTask(f"class {name!r} stands twice, as number {first[name]} and {line}; remove one")
        first[name] = line
    return tuple(names)


def _check_template(template: str, given: Mapping[str, str | None]) -> None:
    fields = _FIELD.findall(template)
    unknown = [field for field in fields if field != "class" and field not in given]
    if unknown:
        raise InvalidTask(f"template {template!r} has {{{unknown[0]}}}; it may have {{class}}, {{domain}} and {{task}}")
    if "class" not in fields:
        raise InvalidTask(f"template {template!r} must have {{class}}, or all classes are alike")
    missing = [field for field in fields if field != "class" and not given[field]]
    if missing:
        raise InvalidTask(f"template {template!r} has {{{missing[0]}}}; say it with --{missing[0]} TEXT")


def _fill(template: str, values: Mapping[str, str | None]) -> str:
    """Fill all fields in one pass, so that braces in a class's own name stay as they are."""
    return _FIELD.sub(lambda field: values[field[1]] or "", template)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTask(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except FileNotFoundError as error:
        raise InvalidTask(f"no file {path}; give a JSON file of classes and their captions") from error
    except IsADirectoryError as error:
        raise InvalidTask(f"{path} is a folder; give a JSON file of classes and their captions") from error


def _distinct(path: Path, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary of the pairs of a JSON object, in which `json` would let the last of equal classes win."""
    facts: dict[str, Any] = {}
    for key, value in pairs:
        class_ = key.strip()
        if class_ in facts:
            raise InvalidTask(f"{path}: class {class_!r} stands twice; put its captions into one list")
        facts[class_] = value
    return facts


def _checked_captions(path: Path, class_: str, value: object) -> tuple[str, ...]:
    captions = [value] if isinstance(value, str) else value
    if not class_:
        raise InvalidTask(f"{path}: a class is empty; name it or remove it")
    check_text(f"{path}: a class", class_)
    if not isinstance(captions, list) or not captions:
        raise InvalidTask(f"{path}: {class_!r} has no text, nor a list of texts; write {CAPTIONS_SHAPE}")
    for number, caption in enumerate(captions, start=1):
        if not isinstance(caption, str) or not caption.strip():
            raise InvalidTask(f"{path}: caption {number} of {class_!r} is no text; write it or remove it")
        check_text(f"{path}: caption {number} of {class_!r}", caption)
    return tuple(caption.strip() for caption in captions)
