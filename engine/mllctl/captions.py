"""The texts that stand for nodes and classes.

A node's caption is what models are labelled with and what classes are matched to. A class is matched
by its name alone and predicted by a prompt. Putting the domain into the matching text, as the paper
does, made the class's own synset the nearest node in 71 to 80 % of the demo's classes, the name alone
in 92 %: the domain's words draw a class to nodes of their own. The domain weighs evidence instead.
"""

from collections.abc import Sequence

from mllctl.errors import InvalidTask

PROMPT = "a photo of {}"


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
