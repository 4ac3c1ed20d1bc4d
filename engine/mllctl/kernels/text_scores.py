"""How well a model's texts would do as images: what a model makes of captions and synonyms of a task's classes.

    classification    captions are answered as images would be: top-1, F1
    granularity       how near classes, captions and synonyms lie to one another

Rows are unit vectors of one model; a caption or synonym has the class that it speaks for as its truth. A class without
captions or synonyms is left out of means over classes; a score of nothing at all is nan.

Source: LOVM (Zohar et al. 2023, arXiv 2306.08893), ModelGPT. Its released code adds Gaussian noise of 0.1 a dimension
to captions before they are answered, of no seed; here is none. It takes the largest of the other classes' cosines to be
0 at least in the Fisher criterion; here it may be negative.
"""

import numpy as np

from mllctl.kernels.arrays import Float, Int

CLASSIFICATION = ("text top-1", "text F1")
GRANULARITY = ("Fisher criterion", "silhouette", "class dispersion", "synonym consistency")


def classification_scores(classes: Float, captions: Float, truth: Int) -> Float:
    """Return what share of captions is answered right, and the mean F1 of the classes, both in [0, 1], shape (2,).

        said[t] = argmax over c of <x[t], w[c]>
        top-1   = mean over t of [said[t] = truth[t]]
        F1      = mean over c of 2 hits[c] / (times c is said + times c is true)

    Of equal cosines the lowest class is said. Classes that are neither said nor true have no F1.

    Args:
        classes: w, prompts of the classes, shape (c, e).
        captions: x, shape (t, e).
        truth: shape (t,).

    Raises:
        ValueError: on shapes that do not agree, or a truth that is no class.
    """
    _need_texts("captions", classes, captions, truth)
    if not len(captions):
        return np.full(len(CLASSIFICATION), np.nan)
    said = (captions @ classes.T).argmax(axis=1)
    hits = np.bincount(truth[said == truth], minlength=len(classes))
    times = np.bincount(said, minlength=len(classes)) + np.bincount(truth, minlength=len(classes))
    there = times > 0
    return np.array([hits.sum() / len(truth), (2 * hits[there] / times[there]).mean()])


def granularity_scores(
    classes: Float, captions: Float, caption_class: Int, synonyms: Float, synonym_class: Int
) -> Float:
    """Return four mean cosines, each in [-1, 1], shape (4,), in the order of `GRANULARITY`.

        Fisher criterion     mean over c of max over j != c of <w[j], w[c]>
        silhouette           mean over c of max over j != c of the mean of <x, w[j]>, x the captions of c
        class dispersion     mean over c of the mean of <x, w[c]>, x the captions of c
        synonym consistency  mean over c of the mean of <x, w[c]>, x the synonyms of c

    The first two are small where classes are told apart; of one class they are nan.

    Args:
        classes: w, prompts of the classes, shape (c, e).
        captions, synonyms: shapes (t, e) and (s, e).
        caption_class, synonym_class: their truth, shapes (t,) and (s,).

    Raises:
        ValueError: on shapes that do not agree, or a truth that is no class.
    """
    _need_texts("captions", classes, captions, caption_class)
    _need_texts("synonyms", classes, synonyms, synonym_class)
    of_captions = _mean_cosine(classes, captions, caption_class)
    of_synonyms = _mean_cosine(classes, synonyms, synonym_class)
    return np.array(
        [
            _mean_known(_nearest_other(classes @ classes.T)),
            _mean_known(_nearest_other(of_captions)),
            _mean_known(of_captions.diagonal()),
            _mean_known(of_synonyms.diagonal()),
        ]
    )


def _mean_cosine(classes: Float, texts: Float, truth: Int) -> Float:
    """Return the mean cosine of the texts of each class with each class, nan rows where it has none, shape (c, c)."""
    total = np.zeros((len(classes), classes.shape[1]))
    np.add.at(total, truth, texts)
    count = np.bincount(truth, minlength=len(classes))[:, None]
    return np.where(count > 0, total @ classes.T / np.maximum(count, 1), np.nan)


def _nearest_other(cosine: Float) -> Float:
    """Return the largest of each row besides its diagonal, nan where there is no other, shape (c,)."""
    others = np.where(np.eye(len(cosine), dtype=np.bool_), -np.inf, cosine)
    return np.asarray(others.max(axis=1)) if len(cosine) > 1 else np.full(len(cosine), np.nan)


def _mean_known(values: Float) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _need_texts(name: str, classes: Float, texts: Float, truth: Int) -> None:
    if classes.ndim != 2:
        raise ValueError(f"classes must have shape (classes, width), got {classes.shape}")
    if texts.ndim != 2 or texts.shape[1] != classes.shape[1]:
        raise ValueError(f"{name} must have shape (texts, {classes.shape[1]}), got {texts.shape}")
    if truth.shape != texts.shape[:1]:
        raise ValueError(f"truth of {name} must have shape ({len(texts)},), got {truth.shape}")
    if len(truth) and not 0 <= truth.min() <= truth.max() < len(classes):
        raise ValueError(f"truth of {name} must be in [0, {len(classes)}), got {truth.min()} to {truth.max()}")
