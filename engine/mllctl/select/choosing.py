"""`select_models`: from the names of classes to models.

classes ── texts ── nodes that speak for them (Z) ── hits by domain ── p ── r ── answers, doubt, verdict
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mllctl.backends.protocol import Encoder
from mllctl.backends.sentence import sentence_encoder
from mllctl.captions import TEMPLATE, check_text, class_texts, clean_classes
from mllctl.errors import InvalidTask, StageMissing
from mllctl.hub import Hub, StoredModel, cache_folder
from mllctl.index import check_encoder, encode_texts, open_index
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.captions import average_unit
from mllctl.kernels.reuse import best_models, class_precision, reuse_metric
from mllctl.kernels.subset import best_subset
from mllctl.kernels.transfer import selected_nodes
from mllctl.select.doubting import doubt_pick, judge
from mllctl.select.estimating import estimate
from mllctl.select.matching import match_classes
from mllctl.select.selection import Answer, Estimator, Matching, Options, Selection, node_parts
from mllctl.select.weighing import weigh_domains
from mllctl.senses import plain_name

FEW = 2  # models of the answer in the middle, where no number is asked for


def select_models(
    hub: Hub,
    classes: Sequence[str],
    domain: str | None = None,
    task: str | None = None,
    k: int = 1,
    alpha: float = 0.7,
    nodes_per_class: int = 5,
    *,
    matching: Matching = "wordnet",
    estimator: Estimator = "shrunk",
    max_models: int | None = None,
    captions: Mapping[str, Sequence[str]] | None = None,
    template: str = TEMPLATE,
    barred: Mapping[str, str] | None = None,
    encoder: Encoder | None = None,
) -> Selection:
    """Select the `k` best models for each class of a task, and the best for all of it.

    Args:
        hub: open for reading; its labels and its caption index are all that is used.
        classes: names of the classes, distinct; `crane#crane.n.04` says which sense is meant.
        domain: what the user's images look like, in words; None weighs all sample domains alike.
        task: kind of task, in words; only a template uses it.
        k: models per class, at least 1.
        alpha: weight of the class itself against the task's mean, in [0, 1].
        nodes_per_class: nodes each class is matched to, at least 1.
        matching: `wordnet` (through the graph and captions) or `caption` (the paper's).
        estimator: `shrunk` or `paper` (Eq 5-7 as printed).
        max_models: at most so many models over the whole task, at least 1; None for no limit.
        captions: class -> texts that stand for it instead of the filled template.
        template: what stands for a class, with `{class}` and, if wanted, `{domain}` and `{task}`.
        barred: models that must not be chosen -> why. Of models with the same weights only the first may be.
        encoder: the one the index was built with; None opens it by the name the hub recorded.

    Raises:
        InvalidTask: on empty or repeated classes, or an option out of its range.
        StageMissing: if there is no caption index, it is too old, or no model is labelled.
    """
    names = clean_classes(classes)
    check_text("domain", domain or "")
    options = Options(k, alpha, nodes_per_class, matching, estimator, max_models)
    own = {plain_name(name): few for name, few in captions.items()} if captions else None
    texts = class_texts([plain_name(name) for name in names], own, template, domain, task)
    index, encoder = open_index(hub), encoder or index_encoder(hub)
    check_encoder(hub, encoder)
    queries, wanted = embed_task(encoder, texts, domain)
    match = match_classes(hub, index, names, queries, options)
    chosen = selected_nodes(match.transfer)
    candidates, left_out = _candidates(hub, chosen, barred or {})
    weights, domains, domain_matched = weigh_domains(hub, wanted)
    stored = hub.nodes()
    nodes = tuple(stored[node] for node in chosen)
    evidence = hub.hits(chosen, [model.model for model in candidates])
    belief = estimate(evidence, weights, nodes, estimator)
    transfer = match.transfer[chosen]
    ranked = _rank(hub, candidates, belief.mean, transfer, match.covered, options)
    doubt = doubt_pick(hub, candidates, chosen, transfer, weights, belief, ranked.single, ranked.overall)
    return Selection(
        classes=names,
        domain=domain,
        task=task,
        options=options,
        texts=tuple(texts),
        domains=domains,
        domain_matched=domain_matched,
        nodes=nodes,
        transfer=transfer,
        similarity=match.similarity,
        steps=match.steps,
        covered=match.covered,
        meanings=match.meanings,
        models=candidates,
        left_out=left_out,
        belief=belief,
        hits=evidence.hits.sum(axis=2),
        images=evidence.images.sum(axis=2),
        class_precision=ranked.precision,
        reuse=ranked.reuse,
        answers=ranked.answers,
        single=ranked.single,
        overall=ranked.overall,
        doubt=doubt,
        verdict=judge(doubt, match.covered, ranked.single == ranked.overall),
        hub_generation=hub.manifest.generation,
    )


def index_encoder(hub: Hub) -> Encoder:
    """Open the encoder that a hub's caption index was built with."""
    made = hub.manifest.index
    return sentence_encoder(made.encoder, cache=cache_folder()) if made else sentence_encoder(cache=cache_folder())


def embed_task(encoder: Encoder, texts: Sequence[Sequence[str]], domain: str | None) -> tuple[Float, Float | None]:
    """Return the embeddings of the classes, shape (c, d), and of the user's words for the domain."""
    flat = [text for few in texts for text in few]
    vectors = encode_texts(encoder, [*flat, *([domain] if domain else [])])
    queries = average_unit(vectors[: len(flat)], np.array([len(few) for few in texts]))
    return queries, vectors[len(flat)] if domain else None


def _candidates(
    hub: Hub, chosen: Int, barred: Mapping[str, str]
) -> tuple[tuple[StoredModel, ...], tuple[tuple[str, str], ...]]:
    """Split the models into those that may be chosen, and (name, why not) of the others.

    Of models with the same weights the first stays: together they would be one voice that counts twice.
    """
    lacking = hub.unseen_nodes(chosen)
    fit, left_out = [], []
    first: dict[str, str] = {}
    for model in hub.models():
        name, weights = model.card.name, model.card.fingerprint
        if name in barred:
            left_out.append((name, barred[name]))
        elif not model.labelled:
            left_out.append((name, f"it has no label; `mllctl label {name}`"))
        elif model.model in lacking:
            cure = f"`mllctl label {name}`, and `mllctl images remove` those that cannot be read"
            left_out.append((name, f"its label lacks some of the hub's images; {cure}"))
        elif weights in first:
            left_out.append((name, f"the same weights as {first[weights]}"))
        else:
            first[weights] = name
            fit.append(model)
    if not fit and barred:
        raise InvalidTask(f"no labelled model is within the limits; {left_out[0][0]}: {left_out[0][1]}")
    if not fit:
        unread = "; images that cannot be read leave a label open until `mllctl images remove` takes them out"
        open_ = any(model.model in lacking and model.missing for model in hub.models())
        reason = f"no model has a label that covers these classes{unread if open_ else ''}"
        raise StageMissing(reason, "mllctl label --all")
    return tuple(fit), tuple(left_out)


@dataclass(frozen=True)
class _Ranked:
    """What models are ordered by, and how they come out."""

    precision: Float
    reuse: Float
    single: int
    overall: int
    answers: tuple[Answer, ...]


def _rank(
    hub: Hub, candidates: tuple[StoredModel, ...], node: Float, transfer: Float, covered: Bool, options: Options
) -> _Ranked:
    """Order the candidates by p and r (Eq 6 and 7)."""
    precision = class_precision(node, transfer, normalize=options.estimator != "paper")
    reuse = reuse_metric(precision, options.alpha)
    overall = _best_overall(hub, candidates)
    single = int(np.argmax(precision.mean(axis=1))) if covered.any() else overall
    share = node @ node_parts(transfer)
    one = _members(reuse[[single]], 1, 0) + single
    few = best_subset(reuse, min(options.max_models or FEW, len(candidates)))
    # Where nothing speaks for any class all choices are alike, and the first would be taken.
    places = few.models if covered.any() else np.array([overall])
    members = places[_members(reuse[places], options.k, _place(places, overall))]
    each = _members(reuse, options.k, overall)
    bound = float(reuse.max(axis=0).mean())
    answers = (
        Answer("one", one, (single,), _mean(share, one, covered), True, float(reuse[single].mean())),
        Answer("few", members, _used(members), _mean(share, members, covered), few.exact, few.bound / len(covered)),
        Answer("each", each, _used(each), _mean(share, each, covered), True, bound),
    )
    return _Ranked(precision, reuse, single, overall, answers)


def _place(models: Int, model: int) -> int:
    """Return where `model` stands among `models`, else the first place."""
    found = np.flatnonzero(models == model)
    return int(found[0]) if len(found) else 0


def _mean(share: Float, members: Int, covered: Bool) -> float:
    """Return what the first model of each class is believed to reach, mean over the covered classes."""
    best = share[members[:, 0], np.arange(len(members))][covered]
    return float(best.mean()) if len(best) else 0.0


def _used(members: Int) -> tuple[int, ...]:
    return tuple(np.unique(members).tolist())


def _best_overall(hub: Hub, candidates: tuple[StoredModel, ...]) -> int:
    """Return the candidate that is best in typical tasks of the hub, whatever the task at hand.

    Means over unlike nodes do not compare, so a stale label counts only where there is no complete one.
    """
    complete = [n for n, model in enumerate(candidates) if model.state == "complete"] or list(range(len(candidates)))
    typical = hub.typical_precision([candidates[n].model for n in complete])
    known = ~np.isnan(typical)
    mean = np.where(known, typical, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return complete[int(np.argmax(np.where(known.any(axis=1), mean, -1.0)))]


def _members(reuse: Float, k: int, overall: int) -> Int:
    """Return the k best models of each class; where nothing speaks for any, the best overall leads."""
    members = best_models(reuse, k)
    silent = ~(reuse > 0).any(axis=0)
    if silent.any():
        others = [model for model in range(reuse.shape[0]) if model != overall]
        members[silent] = np.array([overall, *others])[:k]
    return members
