"""The published instances of Eq 2-10, answers and all, where they lie beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from mllctl.kernels.ensemble import ensemble_confidence, entropy, softmax
from mllctl.kernels.precision import node_hits
from mllctl.kernels.reuse import best_models, class_precision, reuse_metric
from mllctl.kernels.transfer import selected_nodes, transfer_matrix

FOLDER = Path(__file__).parents[3] / "shared" / "vectors"
PATHS = sorted(FOLDER.glob("mll_vlm_v*.npz"))
NAMES = [path.stem for path in PATHS]

pytestmark = pytest.mark.skipif(not PATHS, reason="no vectors beside the repository")
close = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(params=PATHS or [None], ids=NAMES or ["absent"], scope="module")
def vector(request):
    with np.load(request.param) as arrays:
        return dict(arrays)


def usable(vector, policy):
    """Under `exclude` a node without images cannot be matched; under `zero` it can."""
    nodes = vector["S"].shape[2]
    return np.isin(np.arange(nodes), vector["img_node"]) if policy == "exclude" else np.ones(nodes, dtype=bool)


@pytest.fixture(params=["exclude", "zero"])
def answers(request, vector):
    """Everything the kernels make of a vector, under the names of the file."""
    transfer = transfer_matrix(vector["cap_sim"], int(vector["top_nodes"]), usable(vector, request.param))
    selected = selected_nodes(transfer)
    precision = np.zeros((vector["S"].shape[0], vector["S"].shape[2]))
    for m, similarity in enumerate(vector["S"]):
        hits, images = node_hits(similarity, vector["img_node"], selected)
        precision[m, selected] = hits / np.maximum(images, 1)
    of_class = class_precision(precision, transfer)
    reuse = reuse_metric(of_class, float(vector["alpha"]))
    members = best_models(reuse, int(vector["k"]))
    probability = softmax(float(vector["scale"]) * vector["task_sim"])
    expected = {
        name.removeprefix(f"{request.param}."): array
        for name, array in vector.items()
        if name.startswith(request.param) or "." not in name
    }
    found = {
        "sel_nodes": selected,
        "Z": transfer,
        "p_node": precision,
        "p_class": of_class,
        "r": reuse,
        "sel_models": members,
        "prob": probability,
        "entropy_nats": entropy(probability),
        "conf_paper": ensemble_confidence(probability, members, "entropy"),
        "conf_inverse_norm": ensemble_confidence(probability, members, "confidence"),
    }
    return expected, found


@pytest.mark.parametrize(
    "name", ["Z", "p_node", "p_class", "r", "prob", "entropy_nats", "conf_paper", "conf_inverse_norm"]
)
def test_numbers_are_those_of_the_vectors(answers, name):
    expected, found = answers
    np.testing.assert_allclose(found[name], expected[name], **close)


@pytest.mark.parametrize("name", ["sel_nodes", "sel_models"])
def test_selections_are_those_of_the_vectors(answers, name):
    expected, found = answers
    assert np.array_equal(found[name], expected[name])


@pytest.mark.parametrize("weighting", ["paper", "inverse_norm"])
def test_predictions_are_those_of_the_vectors(answers, weighting):
    expected, found = answers
    assert np.array_equal(found[f"conf_{weighting}"].argmax(axis=1), expected[f"pred_{weighting}"])


def test_the_released_confidence_is_ours_before_it_is_normalised(answers):
    expected, found = answers
    bits = np.maximum(found["entropy_nats"], 1e-12) / np.log(2)
    loud = found["prob"] / bits[:, :, None]
    released = np.stack([loud[models, :, c].sum(axis=0) for c, models in enumerate(found["sel_models"])], axis=1)
    np.testing.assert_allclose(released, expected["conf_official"], **close)
