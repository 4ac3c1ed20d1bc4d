"""How well a model would do on a labelled task, told from its features or outputs without training: one number each.

    features (n, d) + labels   logme, h_score, regularized_h_score, transrate, gbc, sfda, parc, n_leep, emms
    outputs (n, s) + labels    leep, nce

The greater the better. Labels are any integers. Each score takes features of any precision and reckons in float64;
those that end in `_of` take a `FeatureSummary`, which several of them share.
"""

from typing import Literal, get_args

import numpy as np

from mllctl.kernels.arrays import AnyArray, Float
from mllctl.kernels.emms import Emms, emms, emms_of, emms_of_classes
from mllctl.kernels.marginal import logme, logme_of, logme_regression
from mllctl.kernels.mixture import mixture_posterior
from mllctl.kernels.summary import FeatureSummary, checked_features, relabelled

__all__ = [
    "Emms",
    "FeatureSummary",
    "emms",
    "emms_of",
    "emms_of_classes",
    "gbc",
    "h_score",
    "h_score_of",
    "leep",
    "logme",
    "logme_of",
    "logme_regression",
    "n_leep",
    "nce",
    "parc",
    "regularized_h_score",
    "regularized_h_score_of",
    "sfda",
    "transrate",
    "transrate_of",
]

Covariance = Literal["spherical", "diagonal"]

TINY = np.finfo(np.float64).tiny
COMPONENTS = 32  # to which PARC and N-LEEP reduce features
PARC_SEED = 1919


# -- from outputs -------------------------------------------------------------------------------------


def leep(probability: AnyArray, labels: AnyArray) -> float:
    """Return the mean log probability that source outputs give the labels, <= 0.

        LEEP = 1/n sum over x of log sum over z of P(y_x | z) theta_z(x)
        P(y | z) = sum over x of class y of theta_z(x) / sum over all x of theta_z(x)

    Source: Nguyen et al., LEEP (ICML 2020). A source class that no image has any probability of adds 0.

    Args:
        probability: theta, outputs of the source model, at least 0, shape (n, s).
        labels: shape (n,).

    Raises:
        ValueError: on shapes that do not agree, or values that are negative or not finite.
    """
    theta = checked_features(probability)
    if (theta < 0).any():
        raise ValueError("probability must not be negative")
    truth, classes = relabelled(labels, len(theta))
    joint = np.zeros((classes, theta.shape[1]))
    np.add.at(joint, truth, theta)
    total = joint.sum(axis=0)
    given = np.divide(joint, total, out=np.zeros(joint.shape), where=total > 0)
    said = np.einsum("nz,nz->n", theta, given[truth])
    return float(np.log(np.maximum(said, TINY)).mean())


def nce(source_labels: AnyArray, labels: AnyArray) -> float:
    """Return the negative conditional entropy of labels, source labels known, in nats, <= 0.

        NCE = -H(Y | Z) = sum over y, z of P(y, z) log (P(y, z) / P(z))

    Source: Tran et al., Transferability and Hardness of Supervised Classification Tasks (ICCV 2019).

    Args:
        source_labels: z, any integers, shape (n,).
        labels: y, shape (n,).

    Raises:
        ValueError: on shapes that do not agree, or no image.
    """
    truth, classes = relabelled(labels, len(labels))
    source, sources = relabelled(source_labels, len(labels))
    if len(truth) == 0:
        raise ValueError("labels must have one image at least")
    joint = np.bincount(truth * sources + source, minlength=classes * sources).reshape(classes, sources)
    of_source = np.broadcast_to(joint.sum(axis=0), joint.shape)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / of_source[there])).sum() / len(truth)) + 0.0


# -- from summed-up features --------------------------------------------------------------------------


def h_score(features: AnyArray, labels: AnyArray) -> float:
    """Return the share of features' variance that is between classes: tr(pinv(cov f) cov E[f | y]).

    Source: Bao et al., An Information-Theoretic Approach to Transferability (ICIP 2019). Directions in which features
    do not differ, to rounding, are left out.

    Args:
        features: shape (n, d).
        labels: shape (n,).

    Raises:
        ValueError: as `FeatureSummary.of`.
    """
    return h_score_of(FeatureSummary.of(features, labels))


def h_score_of(summary: FeatureSummary) -> float:
    """Return `h_score` of features that are summed up already."""
    if summary.width > summary.images:
        # In a basis of the images' span nothing changes but the width.
        values, vectors = np.linalg.eigh(summary.features @ summary.features.T)
        order = np.argsort(summary.truth, kind="stable")
        starts = np.concatenate([[0], np.cumsum(summary.counts)[:-1]])
        spread = np.add.reduceat(vectors[order], starts, axis=0) / np.sqrt(summary.counts)[:, None]
        return float((spread[:, _kept(values, summary)] ** 2).sum())
    values, vectors = np.linalg.eigh(summary.scatter)
    kept = _kept(values, summary)
    spread = summary.between @ vectors[:, kept]
    return float((spread**2 / values[kept]).sum())


def _kept(values: Float, summary: FeatureSummary) -> np.ndarray:
    """Say which eigenvalues are not rounding."""
    least = max(summary.images, summary.width) * np.finfo(np.float64).eps
    return np.asarray(values > values.max(initial=0) * least)


def regularized_h_score(features: AnyArray, labels: AnyArray) -> float:
    """Return `h_score` with a covariance that is shrunk as Ledoit and Wolf do: (1 - a) tr(cov_a^-1 cov E[f | y]).

        cov_a = (1 - a) cov + a tr(cov) / d I

    Source: Ibrahim et al., Newer is not always better (2021); Ledoit and Wolf, A well-conditioned estimator for
    large-dimensional covariance matrices (2004).

    Args:
        features: shape (n, d).
        labels: shape (n,).

    Raises:
        ValueError: as `FeatureSummary.of`.
    """
    return regularized_h_score_of(FeatureSummary.of(features, labels))


def regularized_h_score_of(summary: FeatureSummary) -> float:
    """Return `regularized_h_score` of features that are summed up already."""
    n, d = summary.images, summary.width
    covariance = summary.scatter / n
    level = float(np.trace(covariance)) / d
    if level == 0:
        return 0.0
    shrinkage = _ledoit_wolf(summary, covariance, level)
    shrunk = (1 - shrinkage) * covariance
    shrunk.flat[:: d + 1] += shrinkage * level
    spread = summary.between
    if shrinkage == 0:
        return h_score_of(summary) * (n - 1) / n * n / max(n - 1, 1)
    solved = np.linalg.solve(shrunk, spread.T)
    return float((1 - shrinkage) * np.einsum("cd,dc->", spread, solved) / max(n - 1, 1))


def _ledoit_wolf(summary: FeatureSummary, covariance: Float, level: float) -> float:
    """Return how much the covariance is shrunk, in [0, 1]."""
    n, d = summary.images, summary.width
    square = float((covariance**2).sum())
    fourth = float((np.einsum("nd,nd->n", summary.features, summary.features) ** 2).sum())
    noise = (fourth / n - square) / (d * n)
    distance = square / d - level**2
    return min(noise, distance) / distance if distance > 0 and noise > 0 else 0.0


def transrate(features: AnyArray, labels: AnyArray, epsilon: float = 1e-4) -> float:
    """Return by how much knowing the class shortens the code of a feature.

        TrR = R(F) - 1/c sum over classes of R(F_c),  R(F) = 1/2 log det(I + F^T F / (n epsilon)),  F centred

    Source: Huang et al., Frustratingly Easy Transferability Estimation (ICML 2022), as its released code has it: F is
    centred once, over all images, and classes count alike.

    Args:
        features: shape (n, d).
        labels: shape (n,).
        epsilon: tolerated distortion, above 0.

    Raises:
        ValueError: as `FeatureSummary.of`, or if epsilon is not above 0.
    """
    return transrate_of(FeatureSummary.of(features, labels), epsilon)


def transrate_of(summary: FeatureSummary, epsilon: float = 1e-4) -> float:
    """Return `transrate` of features that are summed up already."""
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}")
    whole = _rate(summary.features, epsilon, summary.scatter if summary.width <= summary.images else None)
    parts = [_rate(summary.features[summary.truth == c], epsilon) for c in range(summary.classes)]
    return whole - float(np.mean(parts))


def _rate(features: Float, epsilon: float, scatter: Float | None = None) -> float:
    """Return the coding rate; the smaller of F^T F and F F^T has the same determinant."""
    n, d = features.shape
    gram = scatter if scatter is not None else features.T @ features if d <= n else features @ features.T
    scaled = gram / (n * epsilon)
    scaled.flat[:: len(scaled) + 1] += 1
    return float(np.linalg.slogdet(scaled)[1]) / 2


def gbc(features: AnyArray, labels: AnyArray, covariance: Covariance = "spherical") -> float:
    """Return minus how much classes overlap as Gaussians: - sum over pairs of classes, both orders, of exp(-B), <= 0.

        B = 1/8 sum over d of (m_1 - m_2)^2 / s + 1/2 log (|s| / sqrt(|s_1| |s_2|)),  s = (s_1 + s_2) / 2

    Source: Pandy et al., Transferability Estimation using Bhattacharyya Class Separability (CVPR 2022). As in its code
    variances are at least 1e-4, and with `spherical`, one variance a class, the logarithm counts it once.

    Args:
        features: shape (n, d).
        labels: shape (n,).
        covariance: `spherical` or `diagonal`.

    Raises:
        ValueError: as `FeatureSummary.of`, or on another covariance.
    """
    if covariance not in get_args(Covariance):
        raise ValueError(f"covariance must be spherical or diagonal, got {covariance!r}")
    summary = FeatureSummary.of(features, labels)
    means = summary.means
    variance = np.zeros(means.shape)
    for c in range(summary.classes):
        variance[c] = np.maximum(summary.features[summary.truth == c].var(axis=0), 1e-4)
    if covariance == "spherical":
        variance = variance.mean(axis=1, keepdims=True)
    overlap = 0.0
    for c in range(summary.classes - 1):
        between = (variance[c] + variance[c + 1 :]) / 2
        distance = ((means[c] - means[c + 1 :]) ** 2 / between).sum(axis=1) / 8
        own = (np.log(variance[c]) + np.log(variance[c + 1 :])) / 2
        overlap += float(np.exp(-distance - (np.log(between) - own).sum(axis=1) / 2).sum())
    return -2 * overlap + 0.0


# -- from every image ---------------------------------------------------------------------------------


def sfda(features: AnyArray, labels: AnyArray) -> float:
    """Return the mean probability of the true class in a discriminant analysis that is made harder once, in [0, 1].

    Fisher's discriminant with a within-class covariance shrunk by exp(-5 l), l its greatest eigenvalue as three power
    steps find it, gives p(y | x). Each feature is then drawn towards the other classes, x' = q x + (1 - q) o, o the
    mean of their means and q the softmax of p, and the score is the mean of p'(y | x') of a second analysis with the
    same shrinkage.

    Source: Shao et al., Not All Models Are Equal (ECCV 2022), and its released code, which takes the softmax of
    probabilities, so that all features are drawn far.

    Args:
        features: shape (n, d).
        labels: shape (n,).

    Raises:
        ValueError: as `FeatureSummary.of`.
    """
    first = FeatureSummary.of(features, labels)
    within = _within(first)
    shrinkage = max(float(np.exp(-5 * _greatest(within))), 1e-10)
    raised = np.exp(_discriminant(first, within, shrinkage))
    soft = (raised[np.arange(first.images), first.truth] / raised.sum(axis=1))[:, None]
    others = np.zeros(first.means.shape)
    if first.classes > 1:
        others = (first.means.sum(axis=0) - first.means) / (first.classes - 1)
    harder = soft * first.features + (1 - soft) * others[first.truth]
    second = FeatureSummary(harder - harder.mean(axis=0), harder.mean(axis=0), first.truth, first.classes)
    probability = _discriminant(second, _within(second), shrinkage)
    return float(probability[np.arange(first.images), first.truth].mean())


def _within(summary: FeatureSummary) -> Float:
    """Return the covariance within classes, shape (d, d)."""
    # Not from sums: where classes vary little next to their distance the difference would be rounding.
    apart = summary.features - summary.means[summary.truth]
    return np.asarray(apart.T @ apart / summary.images)


def _greatest(matrix: Float) -> float:
    """Return about the greatest eigenvalue, by three double steps from the sums of rows."""
    one = matrix.sum(axis=1)
    other = one
    for _ in range(3):
        stepped = matrix @ one
        size = np.linalg.norm(stepped)
        if size == 0:
            return 0.0
        other = stepped / size
        stepped = matrix @ other
        one = stepped / max(float(np.linalg.norm(stepped)), TINY)
    return float(one @ matrix @ other)


def _discriminant(summary: FeatureSummary, within: Float, shrinkage: float) -> Float:
    """Return p(y | x) of every class, shape (n, c)."""
    width = summary.width
    shrunk = (1 - shrinkage) * within
    shrunk.flat[:: width + 1] += shrinkage * np.trace(within) / width
    weights = _solved(shrunk, summary.means.T)
    offset = np.log(summary.counts / summary.images) - np.einsum("cd,dc->c", summary.means, weights) / 2
    logits = summary.features @ weights + offset
    logits -= logits.max(axis=1, keepdims=True)
    raised = np.exp(logits)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _solved(matrix: Float, right: Float) -> Float:
    """Solve a symmetric system; in directions that the matrix lacks the answer is 0."""
    try:
        return np.asarray(np.linalg.solve(matrix, right))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.pinv(matrix, hermitian=True) @ right)


def parc(features: AnyArray, labels: AnyArray, components: int | None = COMPONENTS) -> float:
    """Return how much images of one class are alike and others not: 100 x Spearman's correlation of two distances.

        d(a, b) = 1 - Pearson's correlation of the features of a and b;  of one-hot labels likewise

    Source: Bolya et al., Scalable Diverse Model Selection for Accessible Transfer Learning (NeurIPS 2021). Features are
    first reduced to 32 principal components, each brought to variance 1. A correlation over components depends on their
    signs and, where variances are near each other, on how they were found; so they are found as in its code: from a
    random start of one seed, by a few power steps. Memory is of the order of n^2: meant for hundreds of images.

    Args:
        features: shape (n, d).
        labels: shape (n,).
        components: to which features are reduced first; None keeps them as they are.

    Returns:
        in [-100, 100]; 0 where all distances are equal on one side.

    Raises:
        ValueError: as `FeatureSummary.of`, or with fewer than two images.
    """
    summary = FeatureSummary.of(features, labels)
    if summary.images < 2:
        raise ValueError("parc needs two images at least")
    reduced = summary.features if components is None else _power_components(summary.features, components)
    size = reduced.std(axis=0)
    distance = 1 - _correlation(np.divide(reduced, size, out=np.zeros(reduced.shape), where=size > 0))
    upper = np.triu_indices(summary.images, k=1)
    same = summary.truth[upper[0]] == summary.truth[upper[1]]
    # Two one-hot rows have the same distance whatever their classes: 0 if equal, else 1 + 1 / (c - 1).
    return 100 * _rank_correlation(distance[upper], np.where(same, 0.0, 1.0))


def _power_components(centred: Float, components: int) -> Float:
    """Return about the first principal components, as the randomised method of Halko et al. (2011) has them.

    The greatest entry of each axis is positive.
    """
    n, d = centred.shape
    count = min(components, n, d)
    tall = centred if n >= d else centred.T
    # The stream of this old generator is what makes the components those of the released code.
    basis = np.random.RandomState(PARC_SEED).normal(size=(tall.shape[1], count + 10))
    for _ in range(7 if count < 0.1 * min(n, d) else 4):
        basis = np.linalg.qr(tall.T @ np.linalg.qr(tall @ basis)[0])[0]
    basis = np.linalg.qr(tall @ basis)[0]
    left, size, right = np.linalg.svd(basis.T @ tall, full_matrices=False)
    left = basis @ left
    if n < d:
        left, right = right.T, left.T
    axes = right[:count]
    signs = np.where(axes[np.arange(count), np.abs(axes).argmax(axis=1)] < 0, -1, 1)
    return np.asarray(left[:, :count] * size[:count] * signs)


def principal(summary: FeatureSummary, components: int) -> Float:
    """Return the first principal components of features, centred, shape (n, min(components, n, d))."""
    count = min(components, summary.images, summary.width)
    if summary.width <= summary.images:
        return np.asarray(summary.features @ np.linalg.eigh(summary.scatter)[1][:, ::-1][:, :count])
    values, vectors = np.linalg.eigh(summary.features @ summary.features.T)
    return np.asarray(vectors[:, ::-1][:, :count] * np.sqrt(np.maximum(values[::-1][:count], 0)))


def _correlation(rows: Float) -> Float:
    """Return Pearson's correlation of all pairs of rows; 0 with a row that does not vary."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, size, out=np.zeros(centred.shape), where=size > 0)
    return np.asarray(unit @ unit.T)


def _rank_correlation(one: Float, other: Float) -> float:
    ranked = [_mean_ranks(values) for values in (one, other)]
    centred = [ranks - ranks.mean() for ranks in ranked]
    size = np.sqrt(float(centred[0] @ centred[0]) * float(centred[1] @ centred[1]))
    return float(centred[0] @ centred[1]) / size if size > 0 else 0.0


def _mean_ranks(values: Float) -> Float:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place.reshape(-1)])


def n_leep(
    features: AnyArray,
    labels: AnyArray,
    random: np.random.Generator,
    components: int = COMPONENTS,
    per_class: int = 5,
) -> float:
    """Return `leep` of the posterior of a Gaussian mixture over principal components, <= 0.

    Source: Li et al., Ranking Neural Checkpoints (CVPR 2021), N-LEEP: five Gaussians a class. Ours have diagonal
    covariances, along principal axes.

    Args:
        features: shape (n, d).
        labels: shape (n,).
        random: from which the mixture starts.
        components: principal components that are kept.
        per_class: Gaussians a class; never more than images.

    Raises:
        ValueError: as `FeatureSummary.of`.
    """
    summary = FeatureSummary.of(features, labels)
    gaussians = min(per_class * summary.classes, summary.images)
    return leep(mixture_posterior(principal(summary, components), gaussians, random), summary.truth)
