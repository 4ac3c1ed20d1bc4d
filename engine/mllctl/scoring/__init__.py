"""Rank models for a labelled task by transferability scores, from features.

    DIR/MODEL.npz ── read_task ── FeatureTask ── with_f_labels ── rank_models ── Ranking
    truth.csv ────── read_truth ────────────────────────────────────┘

What is to be told of the images is categories, texts, boxes or numbers; `reuse.features` makes a task of images
themselves. Nothing is trained; the scores are `kernels.transferability`.
"""

from mllctl.scoring.boxes import box_texts, normalised_boxes
from mllctl.scoring.f_labels import with_f_labels
from mllctl.scoring.ranking import OF_F_LABELS, SCORES, Ranking, check_scores, rank_models
from mllctl.scoring.reading import FeatureTask, ModelFeatures, read_task, read_truth

__all__ = [
    "OF_F_LABELS",
    "SCORES",
    "FeatureTask",
    "ModelFeatures",
    "Ranking",
    "box_texts",
    "check_scores",
    "normalised_boxes",
    "rank_models",
    "read_task",
    "read_truth",
    "with_f_labels",
]
