"""Captions of classes, written by a language model.

A class name says little: `crane`. Asked in the paper's words, a language model says what a picture of the class shows
in the domain and task at hand. Each answer is kept as soon as it is there,

    CACHE/captions/SHA-256.json    captions of one class, by prompt, model and number

so that the same command goes on where it stopped, and nothing is asked or paid for twice. Called by `captions write`
alone; `select` reads the file that comes of it. A prompt here is a language model's, not a VLM's.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllctl.backends.llm import RETRIES, TIMEOUT, LanguageModel, parse_captions
from mllctl.captions import check_text, clean_classes
from mllctl.errors import InvalidTask, NoCaptions
from mllctl.files import write_whole
from mllctl.senses import plain_name

# Domain and task of the paper's example, and the length it asks for.
DOMAIN, TASK, WORDS = "natural picture", "image classification", 50
CAPTIONS = 10  # of a class, as in the captions released with the paper

Progress = Callable[[str, int, int], None]  # (class, classes done, classes in all)


@dataclass(frozen=True)
class Question:
    """What a language model is asked about one class.

    Attributes:
        class_: its name.
        prompt: what is asked.
        captions: the answer that was kept; None if the question is still to be asked.
        file: where the answer is kept.
    """

    class_: str
    prompt: str
    captions: tuple[str, ...] | None
    file: Path


@dataclass(frozen=True)
class Written:
    """What became of a task's questions.

    Attributes:
        captions: by class, in the order of the task.
        asked: how many of these classes were asked for now; the others had been answered before.
        skipped: classes without captions, and why.
    """

    captions: dict[str, tuple[str, ...]]
    asked: int
    skipped: dict[str, str]


def caption_prompt(class_: str, domain: str | None, task: str | None, n: int) -> str:
    """Return what a language model is asked about a class. Source: MLL (arXiv 2501.18271), section 4.2.

    In our words: the paper's sentence wants a domain that is a noun, such as `natural picture`, and people write
    `satellite`; and it asks for one caption in free text.
    """
    many = "one caption" if n == 1 else f"{n} different captions"
    return (
        f"Task: {task or TASK}. Domain of the pictures: {domain or DOMAIN}. Class: {class_}.\n"
        f"Describe in {many} what a picture of this class and domain shows. Make each long and detailed, but at most "
        f'{WORDS} words; name the class in it; write it in the manner of "A picture of ..., which is ...".\n'
        f'Answer with a JSON object and nothing else: {{"captions": [...]}}, a list of {n} strings.'
    )


def plan_captions(
    classes: Sequence[str], domain: str | None, task: str | None, n: int, model: str, cache: Path
) -> list[Question]:
    """Return what is to be asked, with the answers that the cache has. Asks nothing, writes nothing.

    Raises:
        InvalidTask: on empty or repeated classes, `n` < 1, an empty model, or text that is not Unicode.
    """
    names = clean_classes(classes)
    if n < 1:
        raise InvalidTask(f"captions per class must be at least 1, got {n}")
    if not model.strip():
        raise InvalidTask("the language model has no name; give it as --model NAME")
    for what, text in (("domain", domain), ("task", task), ("model", model)):
        check_text(what, text or "")
    prompts = [caption_prompt(plain_name(class_), domain, task, n) for class_ in names]
    files = [cache / "captions" / f"{_key(prompt, model, n)}.json" for prompt in prompts]
    return [
        Question(class_, prompt, _kept(file, n), file)
        for class_, prompt, file in zip(names, prompts, files, strict=True)
    ]


def write_captions(
    classes: Sequence[str],
    domain: str | None,
    task: str | None,
    n: int,
    model: str,
    *,
    cache: Path,
    base_url: str | None = None,
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
    progress: Progress | None = None,
) -> Written:
    """Have a language model write `n` captions of each class that the cache has none of.

    Args:
        classes: names, distinct.
        domain: what the images look like, in words; None is the paper's natural picture.
        task: kind of task, in words; None is image classification.
        n: captions per class.
        model: name of a language model, as its server knows it.
        cache: the user's cache folder; made if it is missing.
        base_url, timeout, retries: see `LanguageModel`.
        progress: called after each class that was asked for.

    Raises:
        NoCaptions: if there is no class with captions.
        LanguageModelFailed: if the server cannot be used; what it answered before is kept.
        ExtraMissing: if a class is to be asked for and the library is not installed.
        InvalidTask: see `plan_captions` and `LanguageModel`.
    """
    questions = plan_captions(classes, domain, task, n, model, cache)
    answers = {question.class_: question.captions for question in questions}
    missing = [question for question in questions if question.captions is None]
    failures: dict[str, NoCaptions] = {}
    if missing:
        with LanguageModel(model, base_url, timeout, retries) as asked:
            for done, question in enumerate(missing, start=1):
                try:
                    answers[question.class_] = _ask(asked, question, n)
                except NoCaptions as error:
                    failures[question.class_] = error
                if progress:
                    progress(question.class_, done, len(missing))
    if len(failures) == len(questions):
        raise next(iter(failures.values()))
    captions = {class_: answer for class_, answer in answers.items() if answer is not None}
    skipped = {class_: error.reason for class_, error in failures.items()}
    return Written(captions, len(missing) - len(failures), skipped)


def check_target(path: Path, replace: bool) -> None:
    """Refuse a file for captions that cannot be written; asked before the language model is.

    Raises:
        InvalidTask: if it exists, is no file, or has no folder to be in.
    """
    if path.exists() and not path.is_file():
        raise InvalidTask(f"{path} is not a file; name one for the captions")
    if path.exists() and not replace:
        raise InvalidTask(f"{path} exists; name another file, or replace it with --force")
    if not path.parent.is_dir():
        raise InvalidTask(f"no folder {path.parent}; make it, or name a file elsewhere")


def save_captions(captions: Mapping[str, Sequence[str]], path: Path) -> None:
    """Write captions as `read_captions` reads them."""
    facts = {class_: list(texts) for class_, texts in captions.items()}
    write_whole(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def _ask(model: LanguageModel, question: Question, n: int) -> tuple[str, ...]:
    """Return the captions a model writes, kept."""
    captions = model.write(question.class_, question.prompt, n)
    facts = {"model": model.name, "prompt": question.prompt, "captions": list(captions)}
    question.file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(question.file, json.dumps(facts, indent=1, ensure_ascii=False))
    return captions


def _kept(file: Path, n: int) -> tuple[str, ...] | None:
    """Return the captions of an answer that was kept; None if there is none, or it is damaged."""
    try:
        return parse_captions(file.read_text(encoding="utf-8"), n)
    except (FileNotFoundError, ValueError):
        return None


def _key(prompt: str, model: str, n: int) -> str:
    return hashlib.sha256(json.dumps([prompt, model, n]).encode()).hexdigest()
