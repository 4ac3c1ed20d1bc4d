"""Choose experts for a task from what their heads answered: no image, no weights, and no name of a head.

    choosing.py    select_experts: the road through the others
    matching.py    each class to the one node that stands for it
    labelling.py   the Semantic DAG label of experts on these nodes (Eq 1-3)
    explaining.py  why an expert answers for a class
    selection.py   ExpertSelection: the answer, and everything that led to it

Source: Zhang et al., Enabling Small Models for Zero-Shot Classification through Model Label Learning, section 4. What
heads make up a class is `kernels.chco`; domain weights and matching through WordNet are ours.
"""

from mllctl.experts.choosing import select_experts
from mllctl.experts.explaining import ExpertExplanation, HeadShare, explain_expert
from mllctl.experts.selection import ExpertOptions, ExpertSelection

__all__ = [
    "ExpertExplanation",
    "ExpertOptions",
    "ExpertSelection",
    "HeadShare",
    "explain_expert",
    "select_experts",
]
