"""`select_models`: from the names of classes to models.

classes ── texts ── nodes that speak for them (Z) ── hits by domain ── p ── r ── answers, doubt, verdict
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mllctl.backends.protocol import Encoder
from mllctl.backends.sentence import sentence_encoder
from mllctl.captions import TEMPLATE, check_text, class_texts, clean_classes
from mllctl.errors import InvalidTask, StageMissing
from mllctl.hub import Hub, StoredModel, cache_folder
from mllctl.index import check_encoder, encode_texts, open_index
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.captions import average_unit
from mllctl.kernels.reuse import class_precision
from mllctl.kernels.transfer import selected_nodes
from mllctl.select.doubting import doubt_pick, judge
from mllctl.select.estimating import estimate
from mllctl.select.matching import match_classes
from mllctl.select.ranking import rank
from mllctl.select.selection import Estimator, Matching, Options, Selection, node_parts
from mllctl.select.weighing import weigh_domains
from mllctl.senses import plain_name


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
    domain_weights: Mapping[str, float] | None = None,
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
        domain_weights: sample domain -> how much its images count, in place of what `domain` would make it.
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
    weights, domains, domain_matched = weigh_domains(hub, wanted, domain_weights)
    stored = hub.nodes()
    nodes = tuple(stored[node] for node in chosen)
    evidence = hub.hits(chosen, [model.model for model in candidates])
    belief = estimate(evidence, weights, nodes, estimator)
    transfer = match.transfer[chosen]
    precision = class_precision(belief.mean, transfer, normalize=estimator != "paper")
    overall = _best_overall(hub, candidates)
    ranked = rank(precision, belief.mean @ node_parts(transfer), match.covered, overall, options)
    doubt = doubt_pick(hub, candidates, chosen, transfer, weights, belief, ranked.single, overall)
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
        class_precision=precision,
        reuse=ranked.reuse,
        answers=ranked.answers,
        single=ranked.single,
        overall=overall,
        doubt=doubt,
        verdict=judge(doubt, match.covered, ranked.single == overall),
        hub_generation=hub.manifest.generation,
        weights_given=domain_weights is not None,
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


def _best_overall(hub: Hub, candidates: tuple[StoredModel, ...]) -> int:
    """Return the candidate that is best in typical tasks of the hub, whatever the task at hand.

    Means over unlike nodes do not compare, so a stale label counts only where there is no complete one.
    """
    complete = [n for n, model in enumerate(candidates) if model.state == "complete"] or list(range(len(candidates)))
    typical = hub.typical_precision([candidates[n].model for n in complete])
    known = ~np.isnan(typical)
    mean = np.where(known, typical, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return complete[int(np.argmax(np.where(known.any(axis=1), mean, -1.0)))]
