"""Choose models for a task from labels alone: no image, no label, no weights of any model.

    choosing.py    select_models: the road through the others
    matching.py    classes to the nodes that speak for them (Z)
    weighing.py    how much images of each sample domain count
    estimating.py  hits to what is believed of each model on each class (p, r)
    ranking.py     p to answers: one model, few, a model a class
    doubting.py    how sure the pick is, and the verdict
    selection.py   Selection: the answer, and everything that led to it

Source: MLL (arXiv 2501.18271), Eq 5-7. Domain weights, matching through the graph, shrinkage, the joint choice of a few
models and the verdict are ours; `matching="caption", estimator="paper"` is the paper's.
"""

from mllctl.select.choosing import select_models
from mllctl.select.doubting import chance, judge
from mllctl.select.ranking import rank
from mllctl.select.selection import (
    BREADTHS,
    ESTIMATORS,
    MATCHINGS,
    Answer,
    Breadth,
    DomainWeight,
    Doubt,
    Estimator,
    Matching,
    Options,
    Selection,
    Shown,
    Verdict,
)

__all__ = [
    "BREADTHS",
    "ESTIMATORS",
    "MATCHINGS",
    "Answer",
    "Breadth",
    "DomainWeight",
    "Doubt",
    "Estimator",
    "Matching",
    "Options",
    "Selection",
    "Shown",
    "Verdict",
    "chance",
    "judge",
    "rank",
    "select_models",
]
