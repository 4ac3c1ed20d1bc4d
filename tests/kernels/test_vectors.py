"""The published instances of both papers, answers and all, where they lie beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from mllctl.kernels.chco import combine_heads, expert_confidence, head_probability, least_losses
from mllctl.kernels.ensemble import ensemble_confidence, entropy, softmax
from mllctl.kernels.precision import node_hits
from mllctl.kernels.reuse import best_models, class_precision, reuse_metric
from mllctl.kernels.sdag import mutual_best_match, node_label
from mllctl.kernels.transfer import selected_nodes, transfer_matrix

FOLDER = Path(__file__).parents[3] / "shared" / "vectors"
PATHS = sorted(FOLDER.glob("mll_vlm_v*.npz"))
NAMES = [path.stem for path in PATHS]
COMBINED = sorted(FOLDER.glob("chco_c*.npz"))
EXPERTS = sorted(FOLDER.glob("expert_e*.npz"))

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


@pytest.fixture(params=COMBINED or [None], ids=[path.stem for path in COMBINED] or ["absent"], scope="module")
def combined(request):
    with np.load(request.param) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("tolerance", "apart"), [(1e-4, 2e-2), (1e-10, 1e-4)])
def test_combinations_are_those_of_the_vectors(combined, tolerance, apart):
    found = combine_heads(combined["S"], tolerance)
    assert (found.weights >= 0).all()
    assert (found.weights.sum(axis=1) <= 1 + 1e-9).all()
    assert found.gap <= tolerance
    above = found.losses.sum() - combined["L_opt"]
    assert -combined["gap"] - 1e-9 <= above <= tolerance + 1e-9
    assert found.gap >= above - 1e-9
    np.testing.assert_allclose(found.losses, combined["L_c"], rtol=0, atol=apart)
    if "Q" in combined:
        reached = found.weights.T @ head_probability(combined["S"])
        np.testing.assert_allclose(reached, combined["Q"], rtol=0, atol=apart)


@pytest.fixture(params=EXPERTS or [None], ids=[path.stem for path in EXPERTS] or ["absent"], scope="module")
def experts(request):
    """A vector, and everything the kernels make of it, under the names of the file; weights are those of the file."""
    with np.load(request.param) as arrays:
        vector = dict(arrays)
    models = range(len(vector["Hs"]))
    nodes = len(vector["n_images"])
    shown = vector["n_images"] > 0
    found = {"match": mutual_best_match(vector["class_node_sim"], vector["usable"])}
    found["covered"] = np.flatnonzero(found["match"] >= 0)
    losses = []
    for m in models:
        mean = np.full((nodes, vector["Hs"][m]), np.nan)
        for v in np.flatnonzero(shown):
            mean[v] = vector[f"logits_{m}"][vector["img_node"] == v].astype(np.float64).mean(axis=0)
        label = node_label(mean, shown, vector["children"], float(vector["delta"]), bool(vector["recursive"]))
        found[f"label_{m}"] = label
        found[f"S_{m}"] = label[found["match"][found["covered"]]].T
        losses.append(combine_heads(found[f"S_{m}"], 1e-10).losses)
    found["L_mc"] = np.stack(losses)
    found["sel"] = least_losses(found["L_mc"], int(vector["k"]), float(vector["beta"]))
    probabilities = [softmax(vector[f"test_logits_{m}"].astype(np.float64)) for m in models]
    found["conf"] = expert_confidence(probabilities, [vector[f"X_{m}"] for m in models], found["sel"])
    found["pred_covered"] = found["covered"][found["conf"].argmax(axis=1)]
    return vector, found


def test_experts_are_labelled_as_in_the_vectors(experts):
    vector, found = experts
    for name in [name for name in vector if name.startswith(("label_", "S_"))]:
        np.testing.assert_allclose(found[name], vector[name], **close)
    assert np.array_equal(vector["usable"], ~np.isnan(found["label_0"]).any(axis=1))


@pytest.mark.parametrize("name", ["match", "covered", "sel", "pred_covered"])
def test_experts_are_chosen_as_in_the_vectors(experts, name):
    vector, found = experts
    assert np.array_equal(found[name], vector[name])


def test_experts_answer_as_in_the_vectors(experts):
    vector, found = experts
    np.testing.assert_allclose(found["L_mc"], vector["L_mc"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["conf"], vector["conf"], **close)
