"""Experts in an ensemble: saved, loaded, asked and combined with what models answer.

ExpertSelection + Selection ── save_experts ── SavedSelection ── load_expert_member ── expert_answers ── combined
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from mllctl.backends import load_expert
from mllctl.backends.protocol import Expert
from mllctl.captions import PROMPT
from mllctl.errors import ModelNotLoadable
from mllctl.experts import ExpertSelection
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.chco import certainty, combine_experts, head_answers
from mllctl.kernels.ensemble import Weighting, ensemble_confidence
from mllctl.kernels.patch import patched_confidence
from mllctl.reuse.saved import SavedExpert, SavedSelection, save_selection
from mllctl.select import Selection

ExpertLoader = Callable[[str, str], Expert]  # of a source, on a device


@dataclass(frozen=True)
class ExpertMember:
    """A loaded expert, and how much of each of its heads counts for each class, shape (h, c)."""

    expert: Expert
    combination: Float


def save_experts(experts: ExpertSelection, general: Selection, templates: Sequence[str] = (PROMPT,)) -> SavedSelection:
    """Take from a selection of experts what answering needs, with a general model.

    That one answers for the classes they do not serve, and shares in the others (`kernels.patch`).

    Args:
        experts: what `select_experts` returned.
        general: what `select_models` returned for the same classes; its one model is the general one.
        templates: at least one prompt with `{}` where the class goes.

    Raises:
        InvalidTask: if a template is none.
        ValueError: if the two are of other classes.
    """
    if experts.classes != general.classes:
        raise ValueError("experts and the general model must be selected for the same classes")
    saved = save_selection(general, "one", templates=templates)
    place = {m: n for n, m in enumerate(experts.used)}
    kept = [SavedExpert.of(experts.experts[m].card, _own_classes(experts, m)) for m in experts.used]
    members = np.array([[place.get(m, -1) for m in row] for row in experts.members.tolist()], dtype=np.int64)
    if not kept:
        return saved
    return replace(saved, experts=tuple(kept), expert_members=members)


def _own_classes(experts: ExpertSelection, m: int) -> Float:
    """Return an expert's combination for the classes that it answers for, shape (h, c)."""
    answers = (experts.members == m).any(axis=1)
    return np.where(answers, experts.combinations[m], 0.0)


def load_expert_member(
    saved: SavedExpert, classes: int, load: ExpertLoader = load_expert, device: str = "cpu"
) -> ExpertMember:
    """Load an expert.

    Args:
        saved: which.
        classes: of the task, how many.
        load: makes an expert from its source, on `device`.
        device: where it runs.

    Raises:
        ModelNotLoadable: if it cannot be loaded, or is not the one that was labelled.
    """
    expert = load(saved.source, device)
    card = expert.card
    if card.fingerprint != saved.fingerprint:
        raise ModelNotLoadable(saved.name, "its weights are not those that were labelled; label it again")
    if (card.preprocess, card.image_size, len(card.heads)) != (saved.preprocess, saved.image_size, saved.heads):
        raise ModelNotLoadable(saved.name, "it is prepared in another way than when it was labelled; label it again")
    return ExpertMember(expert, saved.combination(classes))


def expert_answers(member: ExpertMember, images: Sequence[Image.Image]) -> Float:
    """Return what an expert says for each class (Eq 12), and in the last column how certain it is, shape (i, c + 1).

    Raises:
        ModelNotLoadable: if what comes out is not numbers.
    """
    probability = np.exp(member.expert.log_probability(images).astype(np.float64))
    if not np.isfinite(probability).all():
        name = member.expert.card.name
        raise ModelNotLoadable(name, "it gives answers that are not numbers; its weights are damaged")
    return np.column_stack([head_answers(probability, member.combination), certainty(probability)])


def combined(probability: Float, members: Int, weighting: Weighting, answers: Float, expert_members: Int) -> Float:
    """Combine what models and experts have answered.

    Args:
        probability: P(c | x) of each model, shape (m, i, c).
        members: models of each class, -1 pads, shape (c, k).
        weighting: how models are weighed.
        answers: `expert_answers` of each expert, shape (e, i, c + 1).
        expert_members: experts of each class, -1 pads, shape (c, k).

    Returns:
        confidence, shape (i, c), in [0, 1].
    """
    if not len(answers):
        return ensemble_confidence(probability, members, weighting)
    said = combine_experts(answers[:, :, :-1], answers[:, :, -1], expert_members)
    if not len(probability):
        return said
    general = ensemble_confidence(probability, members, weighting)
    return patched_confidence(general, said, np.asarray((expert_members >= 0).any(axis=1)))
