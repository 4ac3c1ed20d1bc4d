"""Let the selected models answer the task: Eq 8-10 of MLL.

    Selection ── saved ── selection.json ── ensemble ── answers to a batch of images in memory

A saved selection travels without the hub; an ensemble loads the models it names, and no others.
"""

from mllctl.reuse.ensemble import Ensemble, Member, Prediction, class_probability
from mllctl.reuse.saved import SavedModel, SavedSelection, read_selection, save_selection

__all__ = [
    "Ensemble",
    "Member",
    "Prediction",
    "SavedModel",
    "SavedSelection",
    "class_probability",
    "read_selection",
    "save_selection",
]
