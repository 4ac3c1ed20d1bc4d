"""Rank models for a labelled task by transferability scores, from features.

    DIR/MODEL.npz ── read_task ── FeatureTask ── rank_models ── Ranking      (or reuse.features, from images)
    truth.csv ────── read_truth ─────────────────────┘

Nothing is trained; the scores are `kernels.transferability`.
"""

from mllctl.scoring.ranking import SCORES, Ranking, check_scores, rank_models
from mllctl.scoring.reading import FeatureTask, ModelFeatures, read_task, read_truth

__all__ = [
    "SCORES",
    "FeatureTask",
    "ModelFeatures",
    "Ranking",
    "check_scores",
    "rank_models",
    "read_task",
    "read_truth",
]
