"""Ways of choosing models for a task, behind one protocol.

    protocol.py    Method, what it may see (Asked, Afterwards), what it says (Choice)
    baselines.py   what knows nothing of the task: random, averages, ImageNet's best, the largest
    labels.py      MLL, by the labels of a hub
    few_shot.py    by a few images whose truth is known: hits, transferability scores, MLL put right by them
    text_only.py   ModelGPT: by what models make of captions and synonyms
    oracles.py     what is known only afterwards

`METHODS` has them all by name. A method is a pure function of what it is handed; what its choice is worth is asked of
the choice, by `evaluate` and `bench`. One more method is one more entry here, and nothing else.
"""

from collections.abc import Mapping
from types import MappingProxyType

from mllctl.methods.baselines import BASELINES
from mllctl.methods.few_shot import FEW_SHOT
from mllctl.methods.labels import ENSEMBLE_SIZE, LABELS, PAPER, label_method
from mllctl.methods.oracles import ORACLES
from mllctl.methods.protocol import Afterwards, Asked, Choice, FewImages, Method, Select, Sight
from mllctl.methods.text_only import TEXT_ONLY

__all__ = [
    "ENSEMBLE_SIZE",
    "METHODS",
    "PAPER",
    "Afterwards",
    "Asked",
    "Choice",
    "FewImages",
    "Method",
    "Select",
    "Sight",
    "label_method",
]

METHODS: Mapping[str, Method] = MappingProxyType(
    {method.name: method for method in (*BASELINES, *LABELS, *FEW_SHOT, *TEXT_ONLY, *ORACLES)},
)
