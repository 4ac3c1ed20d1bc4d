"""`select_experts`: from the names of classes to combinations of heads.

classes ── texts ── one node each ── labels of experts on them ── CHCO ── losses ── members
"""

from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from mllctl.backends.protocol import Encoder
from mllctl.captions import TEMPLATE, check_text, class_texts, clean_classes
from mllctl.errors import InvalidTask, StageMissing
from mllctl.experts.labelling import Neighbourhood, expert_label, labelled_nodes
from mllctl.experts.matching import match_to_nodes
from mllctl.experts.selection import BUDGET, DISCOUNT, THRESHOLD, ExpertOptions, ExpertSelection
from mllctl.hub import Hub, StoredExpert
from mllctl.index import check_encoder, open_index
from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.chco import combine_heads_of_models, least_losses
from mllctl.select.choosing import embed_task, index_encoder
from mllctl.select.selection import Matching
from mllctl.select.weighing import weigh_domains
from mllctl.senses import plain_name

TOLERANCE = 1e-4  # of the sum of an expert's losses over the classes


def select_experts(
    hub: Hub,
    classes: Sequence[str],
    domain: str | None = None,
    k: int = BUDGET,
    threshold: float = THRESHOLD,
    *,
    discount: float = DISCOUNT,
    recursive: bool = False,
    matching: Matching = "wordnet",
    captions: Mapping[str, Sequence[str]] | None = None,
    template: str = TEMPLATE,
    barred: Mapping[str, str] | None = None,
    encoder: Encoder | None = None,
) -> ExpertSelection:
    """Select up to `k` experts for each class of a task, and what each of their heads counts.

    Args:
        hub: open for reading; its labels and its caption index are all that is used.
        classes: names of the classes, distinct; `crane#crane.n.04` says which sense is meant.
        domain: what the user's images look like, in words; None weighs all sample domains alike.
        k: experts per class, at least 1.
        threshold: largest loss at which a class is given to an expert, above 0.
        discount: weight of a node's own images against its children's, in [0, 1].
        recursive: whether children pass on what they have from theirs; the literal reading of Eq 2 when False.
        matching: `wordnet` (through the graph and captions) or `caption` (the paper's).
        captions: class -> texts that stand for it instead of the filled template.
        template: what stands for a class.
        barred: experts that must not be chosen -> why.
        encoder: the one the index was built with; None opens it by the name the hub recorded.

    Raises:
        InvalidTask: on empty or repeated classes, an option out of its range, or if all experts are barred.
        StageMissing: if there is no caption index, it is too old, or no expert is labelled.
    """
    names = clean_classes(classes)
    check_text("domain", domain or "")
    options = ExpertOptions(k, threshold, discount, recursive, matching)
    own = {plain_name(name): few for name, few in captions.items()} if captions else None
    texts = class_texts([plain_name(name) for name in names], own, template, domain, None)
    if not any(expert.labelled for expert in hub.experts()):
        # The bundled hub takes none.
        cure = "mllctl demo build DIR" if hub.manifest.read_only else "mllctl label expert:demo/animal"
        raise StageMissing("the hub has no labelled expert", cure)
    index, encoder = open_index(hub), encoder or index_encoder(hub)
    check_encoder(hub, encoder)
    queries, wanted = embed_task(encoder, texts, domain)
    weights, domains, domain_matched = weigh_domains(hub, wanted)
    nodes, similarity = match_to_nodes(hub, index, names, queries, labelled_nodes(hub, recursive), matching)
    fit, labels, left_out = _labels(hub, nodes, weights, options, barred or {})
    # Its matrices are so small that threads of BLAS take ten times as long over them as one.
    matched = nodes >= 0
    with threadpool_limits(1, "blas"):
        solved = combine_heads_of_models([label[:, matched] for label in labels], TOLERANCE) if matched.any() else []
    combinations = [np.zeros(label.shape) for label in labels]
    losses, gaps = np.full((len(labels), len(names)), np.inf), np.zeros(len(labels))
    for m, found in enumerate(solved):
        combinations[m][:, matched], losses[m, matched], gaps[m] = found.weights, found.losses, found.gap
    stored = hub.nodes()
    return ExpertSelection(
        classes=names,
        domain=domain,
        options=options,
        domains=domains,
        domain_matched=domain_matched,
        nodes=tuple(stored[node] if node >= 0 else None for node in nodes.tolist()),
        similarity=similarity,
        experts=tuple(fit),
        left_out=tuple(left_out),
        labels=tuple(labels),
        combinations=tuple(combinations),
        losses=losses,
        gaps=gaps,
        members=least_losses(losses, k, threshold),
        hub_generation=hub.manifest.generation,
    )


def _labels(
    hub: Hub, nodes: Int, weights: Float, options: ExpertOptions, barred: Mapping[str, str]
) -> tuple[list[StoredExpert], list[Float], list[tuple[str, str]]]:
    """Return the experts that may be chosen, their labels on the classes' nodes (h, c), and (name, why not) of others.

    Of experts with the same weights the first stays.
    """
    around = Neighbourhood.of(hub, nodes[nodes >= 0], options.recursive)
    matched = nodes >= 0
    place = np.searchsorted(around.nodes, nodes[matched])
    fit: list[StoredExpert] = []
    labels: list[Float] = []
    left_out: list[tuple[str, str]] = []
    first: dict[str, str] = {}
    for expert in hub.experts():
        name, made = expert.card.name, expert.card.fingerprint
        if name in barred or made in first:
            left_out.append((name, barred.get(name) or f"the same weights as {first[made]}"))
            continue
        label = expert_label(hub, expert, around, weights, options.discount, options.recursive)
        if label is None:
            left_out.append((name, f"its label lacks some of the hub's images; `mllctl label {name}`"))
            continue
        first[made] = name
        fit.append(expert)
        of_classes = np.full((len(expert.card.heads), len(nodes)), np.nan)
        of_classes[:, matched] = label[place].T
        labels.append(of_classes)
    if not fit and barred:
        raise InvalidTask(f"no labelled expert is within the limits; {left_out[0][0]}: {left_out[0][1]}")
    if not fit:
        raise StageMissing("no expert has a label that covers these classes", "mllctl label --all")
    return fit, labels, left_out
