"""A selection as one small file: all that is needed to answer with it, and what was said of it when it was made.

    Selection ── save_selection ── SavedSelection ── write ── selection.json ── read_selection ── Ensemble.load

No hub is needed to read or to use it: models are loaded by their sources and checked by their fingerprints. It holds
no weights, no images and no path of the hub.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from mllctl.backends.protocol import ExpertCard, ModelCard
from mllctl.captions import PROMPT, class_prompts, clean_classes
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.files import check_new, write_whole
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.ensemble import WEIGHTINGS, Weighting
from mllctl.select import Breadth, Selection
from mllctl.senses import plain_name

FORMAT, VERSION = "mllctl selection", 2
DEFAULT_WEIGHTING: Weighting = "uniform"
_CURE = "make one with `mllctl select --save FILE`"


@dataclass(frozen=True)
class SavedModel:
    """A model that answers.

    Attributes:
        name: key in the hub.
        source: what loads it.
        fingerprint, preprocess, tokenizer, image_size: what decides its embeddings, as on its card.
        parameters: number of weights, from which the memory it needs is told before it is loaded.
        temperature: what its logits are divided by before the softmax, above 0; 1 leaves them as they are.
    """

    name: str
    source: str
    fingerprint: str
    preprocess: str
    tokenizer: str
    image_size: int
    parameters: int
    temperature: float = 1.0

    @classmethod
    def of(cls, card: ModelCard, temperature: float = 1.0) -> "SavedModel":
        """Take from a card what a saved selection keeps of it."""
        kept = (card.name, card.source, card.fingerprint, card.preprocess, card.tokenizer)
        return cls(*kept, card.image_size, card.parameters, temperature)


@dataclass(frozen=True)
class SavedExpert:
    """An expert that answers for some classes.

    Attributes:
        name: key in the hub.
        source: what loads it.
        fingerprint, preprocess, image_size: what decides its answers, as on its card.
        parameters: number of weights.
        heads: number of its outputs.
        weights: (head, class, how much of the head counts for the class, in (0, 1]), by head and class.
    """

    name: str
    source: str
    fingerprint: str
    preprocess: str
    image_size: int
    parameters: int
    heads: int
    weights: tuple[tuple[int, int, float], ...]

    @classmethod
    def of(cls, card: ExpertCard, combination: Float) -> "SavedExpert":
        """Take from a card and a combination of heads, shape (h, c), what a saved selection keeps of them."""
        head, class_ = np.nonzero(combination)
        weights = zip(head.tolist(), class_.tolist(), combination[head, class_].tolist(), strict=True)
        kept = (card.name, card.source, card.fingerprint, card.preprocess, card.image_size, card.parameters)
        return cls(*kept, len(card.heads), tuple(weights))

    def combination(self, classes: int) -> Float:
        """Return how much of each head counts for each class, shape (h, c)."""
        combination = np.zeros((self.heads, classes))
        for head, class_, weight in self.weights:
            combination[head, class_] = weight
        return combination


@dataclass(frozen=True)
class Told:
    """What was said of a selection when it was made; nothing is computed from it.

    Attributes:
        domain, task: the user's words, or None.
        captions: of each class the texts that it was matched by.
        breadth: `one`, `few` or `each`.
        options: how it was made, as `select.Options` has it.
        hub_generation: which generation of the hub answered.
        precision: what is believed of the models of the covered classes, mean, in [0, 1].
        covered: whether the hub had evidence for each class, shape (c,).
        advice, reason: the verdict.
    """

    domain: str | None
    task: str | None
    captions: tuple[tuple[str, ...], ...]
    breadth: Breadth
    options: Mapping[str, Any]
    hub_generation: int
    precision: float
    covered: tuple[bool, ...]
    advice: str
    reason: str


@dataclass(frozen=True)
class SavedSelection:
    """All that an ensemble is made from.

    Attributes:
        classes: their names.
        templates: prompts, each with `{}` where the class goes.
        prompts: of each class one a template, shape (c, t); what models encode.
        models: those that answer.
        members: models of each class, best first, positions in `models`, -1 pads, shape (c, k).
        weighting: how their answers are weighed.
        told: what was said of the selection.
        experts: those that answer.
        expert_members: experts of each class, best first, positions in `experts`, -1 pads, shape (c, k). What they
            answer goes before what models do, who answer for the classes that have none.
    """

    classes: tuple[str, ...]
    templates: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    models: tuple[SavedModel, ...]
    members: Int
    weighting: Weighting
    told: Told
    experts: tuple[SavedExpert, ...] = ()
    expert_members: Int = field(default_factory=lambda: np.full((0, 0), -1))

    @property
    def served(self) -> Bool:
        """Whether experts answer for each class, shape (c,)."""
        if not self.experts:
            return np.zeros(len(self.classes), dtype=np.bool_)
        return np.asarray((self.expert_members >= 0).any(axis=1))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all that answer, models first."""
        return (*(model.name for model in self.models), *(expert.name for expert in self.experts))

    @property
    def identity(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(_as_json(self), sort_keys=True).encode()).hexdigest()

    def write(self, path: Path, *, replace: bool = False) -> None:
        """Write it as JSON, under its name only when it is whole.

        Raises:
            SourceUnreadable: if there is such a file already, and it is not to be replaced; or no such folder.
        """
        check_new(path, replace=replace)
        facts = {"format": FORMAT, "version": VERSION, **_as_json(self)}
        write_whole(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def save_selection(
    selection: Selection,
    breadth: Breadth | None = None,
    weighting: Weighting = DEFAULT_WEIGHTING,
    templates: Sequence[str] = (PROMPT,),
    temperature: Mapping[str, float] | None = None,
) -> SavedSelection:
    """Take from a selection what answering needs.

    Args:
        selection: what `select_models` returned.
        breadth: which answer; None for the models of each class, or the few that were asked for.
        weighting: how answers are weighed.
        templates: at least one prompt with `{}` where the class goes.
        temperature: by name of a model; 1 where it has none.

    Raises:
        InvalidTask: if a template is none.
    """
    wanted = breadth or ("each" if selection.options.max_models is None else "few")
    answer = selection.answer(wanted)
    # Positions of models that answer nothing have no place in the file.
    needed = [int(m) for m in np.unique(answer.members) if m >= 0]
    members = np.where(answer.members >= 0, np.searchsorted(needed, answer.members), -1)
    names = [plain_name(class_) for class_ in selection.classes]
    columns = [class_prompts(names, template) for template in templates]
    cards = [selection.models[m].card for m in needed]
    warm = temperature or {}
    return SavedSelection(
        classes=selection.classes,
        templates=tuple(templates),
        prompts=tuple(zip(*columns, strict=True)),
        models=tuple(SavedModel.of(card, warm.get(card.name, 1.0)) for card in cards),
        members=members,
        weighting=weighting,
        told=Told(
            domain=selection.domain,
            task=selection.task,
            captions=selection.texts,
            breadth=wanted,
            options=asdict(selection.options),
            hub_generation=selection.hub_generation,
            precision=answer.precision,
            covered=tuple(bool(known) for known in selection.covered),
            advice=selection.verdict.advice,
            reason=selection.verdict.reason,
        ),
    )


def read_selection(path: Path) -> SavedSelection:
    """Read a selection that was saved.

    Raises:
        SourceUnreadable: if there is no such file, it is none, of a newer version, or contradicts itself.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceUnreadable(path, f"cannot be read ({(error.strerror or 'no reason given').lower()})") from error
    except (ValueError, RecursionError) as error:
        raise SourceUnreadable(path, f"is not JSON; {_CURE}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise SourceUnreadable(path, f"is no selection; {_CURE}")
    if facts.get("version") != VERSION:
        raise SourceUnreadable(path, f"is of version {facts.get('version')}, this mllctl reads {VERSION}; {_CURE}")
    try:
        return _checked(facts)
    except (KeyError, TypeError, ValueError, InvalidTask) as error:
        raise SourceUnreadable(path, f"contradicts itself ({error}); {_CURE}") from error


def _as_json(saved: SavedSelection) -> dict[str, Any]:
    return {
        "classes": saved.classes,
        "templates": saved.templates,
        "prompts": saved.prompts,
        "models": [asdict(model) for model in saved.models],
        "members": saved.members.tolist(),
        "weighting": saved.weighting,
        "told": asdict(saved.told),
        "experts": [asdict(expert) for expert in saved.experts],
        "expert_members": saved.expert_members.tolist(),
    }


def _checked(facts: Mapping[str, Any]) -> SavedSelection:
    """Make a selection of what a file holds.

    Raises:
        KeyError, TypeError, ValueError, InvalidTask: if something is missing, of another kind, or does not fit.
    """
    classes = clean_classes(_texts(facts["classes"], "classes"))
    templates = _texts(facts["templates"], "templates")
    prompts = tuple(_texts(row, "prompts") for row in facts["prompts"])
    models = tuple(_model(row) for row in facts["models"])
    if not templates or len(prompts) != len(classes) or any(len(row) != len(templates) for row in prompts):
        raise ValueError("prompts must be one a class and template")
    members = _places(facts["members"], len(classes), len(models), "members")
    weighting = next((known for known in WEIGHTINGS if known == facts["weighting"]), None)
    if weighting is None:
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}")
    told = Told(**{field.name: facts["told"][field.name] for field in fields(Told)})
    experts = tuple(_expert(row, len(classes)) for row in facts["experts"])
    chosen = np.full((0, 0), -1)
    if experts:
        chosen = _places(facts["expert_members"], len(classes), len(experts), "expert_members")
    if len({model.name for model in models} | {expert.name for expert in experts}) < len(models) + len(experts):
        raise ValueError("a model stands twice")
    return SavedSelection(classes, templates, prompts, models, members, weighting, told, experts, chosen)


def _places(value: object, classes: int, count: int, what: str) -> Int:
    members = np.array(value, dtype=np.int64)
    if members.ndim != 2 or len(members) != classes:
        raise ValueError(f"{what} must be rows of equal length, one a class")
    if members.size and not (members.min() >= -1 and members.max() < count):
        raise ValueError(f"{what} must name models by their places")
    return members


def _expert(row: Mapping[str, Any], classes: int) -> SavedExpert:
    facts = {field.name: row[field.name] for field in fields(SavedExpert)}
    expert = SavedExpert(**{**facts, "weights": tuple((int(h), int(c), float(w)) for h, c, w in row["weights"])})
    if not all(isinstance(t, str) and t for t in (expert.name, expert.source, expert.fingerprint, expert.preprocess)):
        raise TypeError("an expert needs name, source, fingerprint and preprocess")
    if not all(0 <= h < expert.heads and 0 <= c < classes and 0 < w <= 1 for h, c, w in expert.weights):
        raise ValueError("weights of heads must name heads and classes, and be in (0, 1]")
    return expert


def _texts(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{what} must be a list of texts")
    return tuple(value)


def _model(row: Mapping[str, Any]) -> SavedModel:
    model = SavedModel(**{field.name: row[field.name] for field in fields(SavedModel)})
    texts = (model.name, model.source, model.fingerprint, model.preprocess, model.tokenizer)
    if not all(isinstance(text, str) and text for text in texts):
        raise TypeError("a model needs name, source, fingerprint, preprocess and tokenizer")
    if isinstance(model.temperature, bool) or not isinstance(model.temperature, int | float):
        raise TypeError("a temperature must be a number")
    if not 0 < model.temperature < float("inf"):
        raise ValueError(f"a temperature must be above 0, got {model.temperature}")
    return model
