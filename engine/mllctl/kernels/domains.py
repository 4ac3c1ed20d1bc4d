"""Which sample domains unlabelled images are like, by embeddings of images whose domain is known."""

import numpy as np

from mllctl.kernels.arrays import Float, Int

SHRINK = 0.1  # of the covariance toward a sphere: fewer images than dimensions are enough then
STEPS = 1000
CLOSE = 1e-9
ROUNDING = 1e-24  # of a variance against the mean square, in double precision


def domain_scores(known: Float, domain: Int, domains: int, unknown: Float, shrink: float = SHRINK) -> Float:
    """Return what each domain says of each image: log p(x | d) up to what is the same for all domains.

        l[x, d] = mu[d]^T S^-1 x - mu[d]^T S^-1 mu[d] / 2,   S = (1 - h) W + h tr(W) / width * I

    Linear discriminants (Fisher 1936) with a covariance W within domains that is drawn toward a sphere (Friedman 1989).
    A domain without images is unlike anything: -inf.

    Args:
        known: embeddings of images whose domain is known, shape (i, d).
        domain: of these, shape (i,).
        domains: how many there are.
        unknown: embeddings, shape (x, d).
        shrink: h, in (0, 1].

    Returns:
        l, shape (x, domains).

    Raises:
        ValueError: if the shapes do not agree, there is no image of known domain, or `shrink` is outside (0, 1].
    """
    if known.ndim != 2 or not len(known) or domain.shape != known.shape[:1] or unknown.shape[1:] != known.shape[1:]:
        shapes = f"known {known.shape}, domain {domain.shape} and unknown {unknown.shape}"
        raise ValueError(f"{shapes} must be (images, width), (images,) and (others, width)")
    if not 0 < shrink <= 1:
        raise ValueError(f"shrink must be in (0, 1], got {shrink:g}")
    count = np.bincount(domain, minlength=domains)
    sums = np.zeros((domains, known.shape[1]))
    np.add.at(sums, domain, known)
    mean = sums / np.maximum(count, 1)[:, None]
    apart = known - mean[domain]
    within = apart.T @ apart / len(known)
    width = known.shape[1]
    # Where no domain has two images that differ, distances to the means are all there is to go by. What is left of
    # equal ones less their mean is rounding, not always 0.
    sphere = float(np.trace(within)) / width
    if sphere <= ROUNDING * float((known**2).mean()):
        sphere = 1.0
    rule = np.linalg.solve((1 - shrink) * within + shrink * sphere * np.eye(width), mean.T)
    score = unknown @ rule - (mean * rule.T).sum(axis=1) / 2
    return np.asarray(np.where(count > 0, score, -np.inf))


def domain_mixture(score: Float, prior: Float) -> Float:
    """Return how much of each domain is in images.

        r[x, d] = pi[d] exp(l[x, d]) / sum_e pi[e] exp(l[x, e]),   pi[d] = (sum_x r[x, d] + a[d]) / (n + sum a)

    until nothing changes. Source: Saerens, Latinne and Decaestecker, Adjusting the outputs of a classifier to new a
    priori probabilities (2002), with a prior that is worth sum a images.

    Args:
        score: l, shape (x, domains), -inf where a domain is out of the question.
        prior: a, above 0, shape (domains,).

    Returns:
        pi, shape (domains,), sums to 1; without images a / sum a.

    Raises:
        ValueError: if the shapes do not agree, a prior is not above 0, or an image is like no domain.
    """
    if score.ndim != 2 or prior.shape != score.shape[1:]:
        raise ValueError(f"score {score.shape} and prior {prior.shape} must share their domains")
    if not (prior > 0).all():
        raise ValueError("prior must be above 0")
    if np.isnan(score).any() or not np.isfinite(score.max(axis=1, initial=-np.inf)).all():
        raise ValueError("each image needs a domain of finite score")
    likely = np.exp(score - score.max(axis=1, keepdims=True)) if len(score) else np.zeros(score.shape)
    share = np.asarray(prior / prior.sum())
    for _ in range(STEPS):
        part = likely * share
        part /= part.sum(axis=1, keepdims=True)
        moved = (part.sum(axis=0) + prior) / (len(score) + prior.sum())
        done = np.abs(moved - share).max() < CLOSE
        share = moved
        if done:
            break
    return share
