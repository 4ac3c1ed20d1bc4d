"""Rank models for a labelled task by transferability scores, from features that were saved.

    DIR/MODEL.npz ── read_task ── FeatureTask ── rank_models ── Ranking
    truth.csv ────── read_truth ─────────────────────┘

Nothing is trained and no model is loaded; the scores are `kernels.transferability`.
"""

from mllctl.scoring.ranking import SCORES, Ranking, rank_models
from mllctl.scoring.reading import FeatureTask, ModelFeatures, read_task, read_truth

__all__ = ["SCORES", "FeatureTask", "ModelFeatures", "Ranking", "rank_models", "read_task", "read_truth"]
