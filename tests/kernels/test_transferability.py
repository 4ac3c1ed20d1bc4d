"""Transferability scores against the instances beside the repository, dull code, and each other."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from mllctl.kernels.emms import alternate, emms, emms_of_classes, onto_simplex
from mllctl.kernels.mixture import mixture_posterior
from mllctl.kernels.transferability import (
    gbc,
    h_score,
    leep,
    logme,
    logme_regression,
    n_leep,
    nce,
    parc,
    regularized_h_score,
    sfda,
    transrate,
)

FOLDER = Path(__file__).parents[3] / "shared" / "vectors"
PATHS = sorted(FOLDER.glob("transfer_m*.npz"))
OF_FEATURES = [logme, h_score, regularized_h_score, transrate, gbc, sfda, parc]


@pytest.fixture(params=PATHS or [None], ids=[path.stem for path in PATHS] or ["absent"], scope="module")
def instance(request):
    if request.param is None:
        pytest.skip("no vectors beside the repository")
    expected = json.loads((FOLDER / "transfer_expected.json").read_text())[request.param.stem.split("_")[1]]
    with np.load(request.param) as arrays:
        return dict(arrays), expected


def world(seed, n, d, classes, rank=None):
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, max(n - classes, 0))])[:n]
    centres = random.normal(size=(classes, d))
    features = centres[labels] + random.normal(size=(n, d))
    if rank is not None:
        features = features @ random.normal(size=(d, rank)) @ random.normal(size=(rank, d))
    return features, labels


def test_the_instances(instance):
    arrays, expected = instance
    x, y, theta = arrays["X"], arrays["y"], arrays["theta"]
    close = {"rel": 1e-8}
    assert logme(x, y) == pytest.approx(expected["logme_correct_logdet_tight"], **close)
    found = logme_regression(x, arrays["flabel"][y][:, :, 0])
    assert found == pytest.approx(expected["logme_regression_on_flabel0"], **close)
    assert leep(theta, y) == pytest.approx(expected["leep"], **close)
    assert nce(theta.argmax(axis=1), y) == pytest.approx(expected["nce"], abs=1e-15, **close)
    assert h_score(x, y) == pytest.approx(expected["h_score"], **close)
    assert regularized_h_score(x, y) == pytest.approx(expected["regularized_h_score"], **close)
    assert transrate(x, y) == pytest.approx(expected["transrate"], **close)
    assert gbc(x, y) == pytest.approx(expected["gbc_spherical"], **close)
    assert gbc(x, y, "diagonal") == pytest.approx(expected["gbc_diagonal"], **close)
    assert sfda(x, y) == pytest.approx(expected["sfda"], rel=1e-6)
    assert parc(x, y) == pytest.approx(expected["parc_dims_min32_n_d"], rel=1e-3)


def test_emms_on_the_instances(instance):
    arrays, expected = instance
    told = expected["emms_details"]
    f_labels = arrays["flabel"][arrays["y"]]
    exact = emms(arrays["X"], f_labels)
    assert -exact.score == pytest.approx(told["exact_mse"], rel=1e-6)
    assert exact.residual == pytest.approx(told["exact_ss"], rel=1e-6)
    assert exact.weights == pytest.approx(told["exact_t"], abs=1e-6)
    released = emms(arrays["X"], f_labels, "released")
    assert released.score == pytest.approx(expected["emms_released"], rel=1e-6)
    assert released.weights == pytest.approx(told["t_released"], rel=1e-6)


@pytest.mark.parametrize("shape", [(40, 5, 3), (12, 30, 3), (25, 25, 4), (9, 4, 9), (30, 12, 1)])
def test_scores_are_those_of_dull_code(shape):
    n, d, classes = shape
    features, labels = world(n + d, n, d, classes)
    assert logme(features, labels) == pytest.approx(oracles.logme(features, labels), rel=1e-6)
    assert h_score(features, labels) == pytest.approx(oracles.h_score(features, labels), rel=1e-8, abs=1e-12)
    assert transrate(features, labels) == pytest.approx(oracles.transrate(features, labels), rel=1e-8, abs=1e-8)
    theta = np.exp(features) / np.exp(features).sum(axis=1, keepdims=True)
    assert leep(theta, labels) == pytest.approx(oracles.leep(theta, labels), rel=1e-12, abs=1e-12)
    assert nce(theta.argmax(axis=1), labels) == pytest.approx(oracles.nce(theta.argmax(axis=1), labels), abs=1e-12)


@pytest.mark.parametrize("score", OF_FEATURES)
@pytest.mark.parametrize(
    "shape", [(40, 6, 3, None), (10, 30, 3, None), (40, 10, 3, 4), (12, 3, 1, None), (6, 3, 6, None)]
)
def test_names_order_and_precision_of_what_is_given_do_not_matter(score, shape):
    n, d, classes, rank = shape
    features, labels = world(3, n, d, classes, rank)
    features = features.astype(np.float32)
    found = score(features, labels)
    assert np.isfinite(found)
    assert found == score(features.astype(np.float64), labels)
    assert found == pytest.approx(score(features, labels * 7 - 40), rel=1e-9, abs=1e-12)
    order = np.random.default_rng(1).permutation(n)
    # Components of PARC that tell little are rounding where the rank is low; their signs are then anybody's.
    if score is not parc:
        assert found == pytest.approx(score(features[order], labels[order]), rel=1e-6, abs=1e-9)


def test_an_output_that_no_image_has_adds_nothing():
    theta = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    labels = np.array([4, 4, -1])
    assert leep(theta, labels) == leep(theta[:, :2], labels)
    assert leep(theta, np.zeros(3, dtype=int)) == pytest.approx(0)
    assert nce(np.array([5, 2, 2]), labels) == pytest.approx((2 * np.log(1 / 2)) / 3)


@given(st.integers(0, 10**6), st.integers(1, 5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_exact_weights_are_never_worse_and_alternating_never_rises(seed, models, ties):
    random = np.random.default_rng(seed)
    features = random.normal(size=(20, 4))
    labels = random.integers(0, 3, 20)
    of_class = random.integers(0, 2, size=(3, 2, models)) if ties else random.normal(size=(3, 2, models))
    f_labels = of_class[labels].astype(float)
    if ties:
        f_labels[:, :, -1] = f_labels[:, :, 0]
    exact, other = emms(features, f_labels), emms(features, f_labels, "alternating")
    assert exact.weights.sum() == pytest.approx(1)
    assert (exact.weights >= 0).all()
    assert exact.residual <= other.residual * (1 + 1e-9) + 1e-9
    assert exact.residual == pytest.approx(oracles.emms_residual(features, f_labels, exact.weights), abs=1e-7)
    for weights in [*np.eye(models), np.full(models, 1 / models), *random.dirichlet(np.ones(models), 20)]:
        assert exact.residual <= oracles.emms_residual(features, f_labels, weights) + 1e-7
    own = np.array([[1.0 * np.vdot(a, b) for a in f_labels.T] for b in f_labels.T])
    steps = alternate(own, own / 2)
    values = [weights @ (own / 2) @ weights for weights in steps]
    assert all(later <= earlier for earlier, later in pairwise(values))


def test_f_labels_by_class_are_those_by_image():
    features, labels = world(5, 60, 7, 4)
    of_class = np.random.default_rng(2).normal(size=(4, 6, 3))
    one = emms_of_classes(features, labels * 3 + 1, of_class)
    with_noise = of_class[labels] + 1e-13 * np.random.default_rng(3).normal(size=(60, 6, 3))
    other = emms(features, with_noise)
    assert one.score == pytest.approx(other.score, rel=1e-8)
    assert one.weights == pytest.approx(other.weights, abs=1e-6)


def test_more_features_than_images_reach_anything_and_are_refused():
    features, labels = world(1, 8, 8, 2)
    f_labels = np.random.default_rng(0).normal(size=(8, 3, 2))
    with pytest.raises(ValueError, match=r"8 images of 8 features reach any labels.*ridge"):
        emms(features, f_labels)
    assert emms(features, f_labels, ridge=0.1).score < 0
    with pytest.raises(ValueError, match="exact, alternating, released"):
        emms(features[:, :2], f_labels, "other")
    assert emms_of_classes(features[:, :2], labels, np.zeros((2, 3, 2))).score == 0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="features must be finite"):
        logme(np.array([[np.nan]]), np.array([0]))
    with pytest.raises(ValueError, match="labels must be 2 integers"):
        logme(np.ones((2, 1)), np.array([0.5, 1]))
    with pytest.raises(ValueError, match="features must have shape"):
        h_score(np.zeros((0, 3)), np.zeros(0, dtype=int))
    with pytest.raises(ValueError, match="not be negative"):
        leep(np.array([[-1.0]]), np.array([0]))
    with pytest.raises(ValueError, match="spherical or diagonal"):
        gbc(np.ones((2, 1)), np.array([0, 1]), "full")
    with pytest.raises(ValueError, match="two images"):
        parc(np.ones((1, 2)), np.array([0]))


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_the_nearest_point_of_the_simplex(values):
    point = onto_simplex(np.array(values))
    assert point.sum() == pytest.approx(1)
    assert (point >= 0).all()
    for other in np.random.default_rng(0).dirichlet(np.ones(len(values)), 30):
        assert ((point - values) ** 2).sum() <= ((other - values) ** 2).sum() + 1e-9


def test_a_mixture_finds_clusters_and_its_score_is_near_nothing_lost():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    points = 20 * np.eye(3)[labels] + random.normal(size=(90, 3))
    posterior = mixture_posterior(points, 3, random)
    assert posterior.sum(axis=1) == pytest.approx(1)
    assert len({tuple(row) for row in posterior.round().tolist()}) == 3
    assert n_leep(points, labels, random) > -0.05
    assert n_leep(points, np.roll(labels, 13), random) < -0.3
    assert mixture_posterior(np.zeros((3, 2)), 2, random).sum() == pytest.approx(3)
