"""Choose models for a task from labels alone: no image, no label, no weights of any model.

    classes ── captions ── nearest nodes (Z) ── hits on them by domain ── p ── r ── members

`select_models` reads a hub and answers with a `Selection`, which holds everything that led to the
answer. Source: MLL (arXiv 2501.18271), Eq 5-7; the domain weights are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.backends.protocol import Encoder
from mllctl.backends.sentence import sentence_encoder
from mllctl.captions import check_text, clean_classes
from mllctl.errors import InvalidTask, StageMissing
from mllctl.hub import Evidence, Hub, StoredModel, StoredNode, cache_folder
from mllctl.index import check_encoder, encode_texts, match_nodes, open_index
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.evidence import domain_weights, weighted_precision
from mllctl.kernels.reuse import best_models, class_precision, reuse_metric
from mllctl.kernels.transfer import selected_nodes, transfer_matrix

# Provisional, until they are calibrated: docs/equations.md says what was seen.
SIMILARITY_FLOOR = 0.45
DOMAIN_TEMPERATURE = 0.05
DOMAIN_FLOOR = 0.30


@dataclass(frozen=True)
class DomainWeight:
    """How much an image of one sample domain counts.

    Attributes:
        name: of the domain.
        similarity: cosine of its description and the user's words; None without such words.
        weight: of an image of this domain, in [0, 1]; all weights sum to 1.
    """

    name: str
    similarity: float | None
    weight: float


@dataclass(frozen=True)
class Selection:
    """The models of each class, best first, and what they were chosen by.

    Arrays have the axes of `models` (m), `classes` (c) and `nodes` (v, the selected nodes).

    Attributes:
        classes: as given, white space stripped.
        domain, task: the user's words, or None.
        k, alpha, nodes_per_class: as given.
        domains: weight of each sample domain.
        domain_matched: whether `domain` resembled any of them; if not, all weigh the same.
        nodes: V_sel.
        transfer: Z, shape (v, c).
        similarity: cosine of each class and its best node, shape (c,).
        covered: whether that reaches the floor; a class without evidence has p = 0, shape (c,).
        models: the candidates: every model whose label is complete for these nodes.
        left_out: models whose label is not.
        node_precision: p[m, v]; hits and images behind it: shape (m, v), all domains together.
        class_precision: p[m, c] (Eq 6), unnormalised; `share` divides by sum Z.
        reuse: r[m, c] (Eq 7).
        members: models of each class, best first, shape (c, min(k, m)).
        single: the one model for the whole task: best mean p over its classes; ties go to the first.
        overall: the model that is best over all nodes of the hub, whatever the task.
        hub_generation: which generation of the hub answered.
    """

    classes: tuple[str, ...]
    domain: str | None
    task: str | None
    k: int
    alpha: float
    nodes_per_class: int
    domains: tuple[DomainWeight, ...]
    domain_matched: bool
    nodes: tuple[StoredNode, ...]
    transfer: Float
    similarity: Float
    covered: Bool
    models: tuple[StoredModel, ...]
    left_out: tuple[str, ...]
    node_precision: Float
    hits: Int
    images: Int
    class_precision: Float
    reuse: Float
    members: Int
    single: int
    overall: int
    hub_generation: int

    @property
    def share(self) -> Float:
        """Class precision divided by sum Z, in [0, 1]: the form people read, shape (m, c)."""
        mass = self.transfer.sum(axis=0)
        share = np.divide(self.class_precision, mass, out=np.zeros(self.class_precision.shape), where=mass > 0)
        return np.asarray(share)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the candidate models, shape (m,)."""
        return tuple(model.card.name for model in self.models)

    def nodes_of(self, class_: int) -> list[tuple[StoredNode, float]]:
        """Return a class's nodes with their similarity, nearest first."""
        column = self.transfer[:, class_]
        order = np.argsort(-column, kind="stable")
        return [(self.nodes[v], float(column[v])) for v in order if column[v] > 0]


def select_models(
    hub: Hub,
    classes: Sequence[str],
    domain: str | None = None,
    task: str | None = None,
    k: int = 1,
    alpha: float = 0.7,
    nodes_per_class: int = 5,
    *,
    encoder: Encoder | None = None,
) -> Selection:
    """Select the `k` best models for each class of a task.

    Args:
        hub: open for reading; its labels and its caption index are all that is used.
        classes: names of the classes, distinct.
        domain: what the user's images look like, in words; None weighs all sample domains alike.
        task: kind of task, in words; recorded.
        k: models per class, at least 1.
        alpha: weight of the class itself against the task's mean, in [0, 1].
        nodes_per_class: nodes each class is matched to, at least 1.
        encoder: the one the index was built with; None opens it by the name the hub recorded.

    Raises:
        InvalidTask: on empty or repeated classes, `k` < 1, `alpha` outside [0, 1] or `nodes_per_class` < 1.
        StageMissing: if there is no caption index, it is too old, or no model is labelled.
    """
    names = clean_classes(classes)
    check_text("domain", domain or "")
    _check_options(k, alpha, nodes_per_class)
    index = open_index(hub)
    encoder = encoder or _index_encoder(hub)
    check_encoder(hub, encoder)
    queries = encode_texts(encoder, [*names, *([domain] if domain else [])])
    near = match_nodes(index, queries[: len(names)], hub.evidence_nodes(), nodes_per_class)
    covered = near.max(axis=0) >= SIMILARITY_FLOOR
    transfer = transfer_matrix(np.where(covered[None, :], near, 0.0), nodes_per_class)
    chosen = selected_nodes(transfer)
    candidates, left_out = _candidates(hub, chosen)
    weights, similarity, matched = _weights(hub, queries[len(names)] if domain else None)
    evidence = hub.hits(chosen, [model.model for model in candidates])
    node_precision = weighted_precision(evidence.hits, evidence.images, weights)
    precision = class_precision(node_precision, transfer[chosen])
    overall = _best_overall(hub, candidates)
    reuse = reuse_metric(precision, alpha)
    return Selection(
        classes=names,
        domain=domain,
        task=task,
        k=k,
        alpha=alpha,
        nodes_per_class=nodes_per_class,
        domains=_domain_rows(hub, similarity, weights),
        domain_matched=matched,
        nodes=_stored_nodes(hub, evidence),
        transfer=transfer[chosen],
        similarity=near.max(axis=0),
        covered=covered,
        models=candidates,
        left_out=left_out,
        node_precision=node_precision,
        hits=evidence.hits.sum(axis=2),
        images=evidence.images.sum(axis=2),
        class_precision=precision,
        reuse=reuse,
        members=_members(reuse, k, overall),
        single=int(np.argmax(precision.mean(axis=1))) if covered.any() else overall,
        overall=overall,
        hub_generation=hub.manifest.generation,
    )


def _index_encoder(hub: Hub) -> Encoder:
    made = hub.manifest.index
    return sentence_encoder(made.encoder, cache=cache_folder()) if made else sentence_encoder(cache=cache_folder())


def _check_options(k: int, alpha: float, nodes_per_class: int) -> None:
    if k < 1:
        raise InvalidTask(f"k must be at least 1, got {k}")
    if not 0 <= alpha <= 1:
        raise InvalidTask(f"alpha must be in [0, 1], got {alpha:g}")
    if nodes_per_class < 1:
        raise InvalidTask(f"nodes per class must be at least 1, got {nodes_per_class}")


def _candidates(hub: Hub, chosen: Int) -> tuple[tuple[StoredModel, ...], tuple[str, ...]]:
    """Split the models into those with a label over all of `chosen`, and the names of the others."""
    lacking = hub.unseen_nodes(chosen)
    models = hub.models()
    fit = tuple(model for model in models if model.labelled and model.model not in lacking)
    if not fit:
        raise StageMissing("no model has a label that covers these classes", "mllctl label --all")
    return fit, tuple(model.card.name for model in models if model not in fit)


def _weights(hub: Hub, wanted: Float | None) -> tuple[Float, Float | None, bool]:
    """Return the weight of each domain, its likeness to the user's words, and whether any is like them."""
    descriptions = hub.domain_embeddings().astype(np.float64)
    if wanted is None:
        return np.full(len(descriptions), 1 / len(descriptions)), None, False
    similarity = descriptions @ wanted
    weights = domain_weights(similarity, DOMAIN_TEMPERATURE, DOMAIN_FLOOR)
    return weights, similarity, bool(similarity.max() >= DOMAIN_FLOOR)


def _domain_rows(hub: Hub, similarity: Float | None, weights: Float) -> tuple[DomainWeight, ...]:
    likeness = [None] * len(weights) if similarity is None else [float(value) for value in similarity]
    return tuple(
        DomainWeight(domain.name, like, float(weight))
        for domain, like, weight in zip(hub.domains(), likeness, weights, strict=True)
    )


def _stored_nodes(hub: Hub, evidence: Evidence) -> tuple[StoredNode, ...]:
    nodes = hub.nodes()
    return tuple(nodes[node] for node in evidence.nodes)


def _best_overall(hub: Hub, candidates: tuple[StoredModel, ...]) -> int:
    """Return the candidate with the best mean precision over all nodes with evidence.

    Means over unlike nodes do not compare, so a stale label counts only where there is no complete one.
    """
    overall = hub.overall_precision()
    complete = [model.state == "complete" for model in candidates]
    fair = [full or not any(complete) for full in complete]
    return int(np.argmax([overall[m.model] if f else -1.0 for m, f in zip(candidates, fair, strict=True)]))


def _members(reuse: Float, k: int, overall: int) -> Int:
    """Return the k best models of each class; where nothing speaks for any, the best overall leads."""
    members = best_models(reuse, k)
    silent = ~(reuse > 0).any(axis=0)
    if silent.any():
        others = [model for model in range(reuse.shape[0]) if model != overall]
        members[silent] = np.array([overall, *others])[:k]
    return members
