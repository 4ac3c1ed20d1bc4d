"""The dullest code that could be right: loops over lists, one function for each thing the engine computes.

Nothing here is fast, clever or shared with the engine. Matrices are lists of rows, on the same
axes as the kernels. Ties always go to the lower index.
"""

import math


def beats(row, u, v):
    """Whether node u beats node v, given one image's similarity to every node."""
    return row[u] > row[v] or (row[u] == row[v] and u < v)


def winner(row, selected):
    """The selected node that no other selected node beats."""
    for v in selected:
        if not any(beats(row, u, v) for u in selected if u != v):
            return v
    return None


def similarities(images, captions):
    return [[sum(float(a) * float(b) for a, b in zip(x, v, strict=True)) for v in captions] for x in images]


def node_hits(similarity, image_node, selected):
    hits = [0] * len(selected)
    images = [0] * len(selected)
    for row, truth in zip(similarity, image_node, strict=True):
        for position, v in enumerate(selected):
            if truth == v:
                images[position] += 1
                if winner(row, selected) == v:
                    hits[position] += 1
    return hits, images


def transfer_matrix(similarity, nodes_per_class, usable=None):
    nodes = len(similarity)
    classes = len(similarity[0]) if similarity else 0
    transfer = [[0.0] * classes for _ in range(nodes)]
    for c in range(classes):
        for _ in range(nodes_per_class):
            best = None
            for v in range(nodes):
                free = (usable is None or usable[v]) and transfer[v][c] == 0 and similarity[v][c] > 0
                if free and (best is None or similarity[v][c] > similarity[best][c]):
                    best = v
            if best is not None:
                transfer[best][c] = similarity[best][c]
    return transfer


def selected_nodes(transfer):
    return [v for v, row in enumerate(transfer) if any(z > 0 for z in row)]


def weighted_precision(hits, images, weights):
    table = []
    for model_hits, model_images in zip(hits, images, strict=True):
        row = []
        for won, shown in zip(model_hits, model_images, strict=True):
            mass = sum(w * n for w, n in zip(weights, shown, strict=True))
            row.append(sum(w * n for w, n in zip(weights, won, strict=True)) / mass if mass > 0 else 0.0)
        table.append(row)
    return table


def domain_weights(similarity, temperature, floor):
    if max(similarity) < floor:
        return [1 / len(similarity)] * len(similarity)
    raised = [math.exp((s - max(similarity)) / temperature) for s in similarity]
    return [e / sum(raised) for e in raised]


def class_precision(node_precision, transfer, normalize=False):
    classes = len(transfer[0]) if transfer else 0
    table = []
    for precision in node_precision:
        row = []
        for c in range(classes):
            column = [z[c] for z in transfer]
            total = sum(p * z for p, z in zip(precision, column, strict=True))
            if normalize:
                total = total / sum(column) if sum(column) > 0 else 0.0
            row.append(total)
        table.append(row)
    return table


def reuse_metric(precision, alpha=0.7):
    return [[alpha * p + (1 - alpha) * sum(row) / len(row) for p in row] for row in precision]


def best_models(reuse, k):
    if not reuse:
        return []
    return [sorted(range(len(reuse)), key=lambda m: (-reuse[m][c], m))[:k] for c in range(len(reuse[0]))]


def softmax(logits):
    raised = [math.exp(x - max(logits)) for x in logits]
    return [e / sum(raised) for e in raised]


def entropy(probability):
    return sum(-p * math.log(p) for p in probability if p > 0)


def ensemble_confidence(probability, members, weighting):
    images = len(probability[0]) if probability else 0
    table = []
    for x in range(images):
        row = []
        for c, padded in enumerate(members):
            chosen = [m for m in padded if m >= 0]
            disorder = [entropy(probability[m][x]) for m in chosen]
            if weighting == "entropy":
                weight = disorder
            elif weighting == "confidence":
                weight = [1 / max(h, 1e-12) for h in disorder]
            else:
                weight = [1.0] * len(chosen)
            if sum(weight) == 0:
                weight = [1.0] * len(chosen)
            row.append(sum(w / sum(weight) * probability[m][x][c] for w, m in zip(weight, chosen, strict=True)))
        table.append(row)
    return table
