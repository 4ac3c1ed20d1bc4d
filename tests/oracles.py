"""The dullest code that could be right: loops over lists, one function for each thing the engine computes.

Nothing here is fast, clever or shared with the engine. Matrices are lists of rows, on the same
axes as the kernels. Ties always go to the lower index.
"""

import itertools
import math
from fractions import Fraction

import numpy as np


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


def shrunk_precision(hits, images, weights, lineage, strength, tie):
    """(mean, worth) of each node of one model; hits and images of shape (v, domains)."""
    nodes = range(len(hits))
    own, worth, says = [], [], []
    for v in nodes:
        shown = sum(w * n for w, n in zip(weights, images[v], strict=True))
        won = sum(w * h for w, h in zip(weights, hits[v], strict=True))
        square = sum(w * w * n for w, n in zip(weights, images[v], strict=True))
        own.append(won / shown if shown else 0.0)
        worth.append(shown * shown / square if shown else 0.0)
        says.append(worth[v] * strength / (worth[v] + strength))

    def clip(x):
        return min(max(x, 0.001), 0.999)

    top = clip(sum(says[v] * own[v] for v in nodes) / sum(says)) if sum(says) else 0.5
    held = tie * strength
    believed = []
    for v in nodes:
        kin, told = top, sum(says)
        for level in range(lineage.shape[1]):
            if lineage[v, level] >= 0:
                group = [u for u in nodes if lineage[u, level] == lineage[v, level]]
                spoken = sum(says[u] for u in group)
                kin = clip((sum(says[u] * own[u] for u in group) + held * kin) / (spoken + held))
                told = spoken + held * told / (told + held)
        mean = (worth[v] * own[v] + strength * kin) / (worth[v] + strength)
        of_prior = (strength / (worth[v] + strength)) ** 2 * kin * (1 - kin) / (told + 1)
        variance = mean * (1 - mean) / (worth[v] + strength + 1) + of_prior
        believed.append((mean, max(mean * (1 - mean) / variance - 1, 0.1)))
    return believed


def subset_worth(quality, models):
    return sum(max(quality[m][c] for m in models) for c in range(len(quality[0])))


def first_best(quality, models):
    """Those of some models that are the lowest best of a class, ascending."""
    return sorted({max(models, key=lambda m: (quality[m][c], -m)) for c in range(len(quality[0]))})


def best_subset(quality, size):
    everyone = range(len(quality))
    best = first_best(quality, everyone)
    if len(best) > size:
        sets = list(itertools.combinations(everyone, size))
        most = max(subset_worth(quality, models) for models in sets)
        best = first_best(quality, next(models for models in sets if subset_worth(quality, models) == most))
    return best, subset_worth(quality, best)


def greedy_subset(quality, size):
    chosen = []
    for _ in range(min(size, len(quality))):
        rest = [m for m in range(len(quality)) if m not in chosen]
        worth = {m: subset_worth(quality, [*chosen, m]) for m in rest}
        chosen.append(max(rest, key=lambda m: (worth[m], -m)))
    return first_best(quality, sorted(chosen)), subset_worth(quality, chosen)


def pareto_front(quality, cost):
    points = range(len(quality))

    def beaten(n):
        for other in points:
            alike = quality[other] == quality[n] and cost[other] == cost[n]
            if quality[other] >= quality[n] and cost[other] <= cost[n] and (not alike or other < n):
                return True
        return False

    return sorted((n for n in points if not beaten(n)), key=lambda n: cost[n])


def steps(nouns, one, other):
    """How many edges lie between two synsets through their nearest common ancestor."""

    def heights(wnid):
        found, level, height = {wnid: 0}, [wnid], 0
        while level:
            height += 1
            level = [parent for child in level for parent in nouns[child].hypernyms]
            for parent in level:
                found.setdefault(parent, height)
        return found

    here, there = heights(one), heights(other)
    return min((here[wnid] + there[wnid] for wnid in here if wnid in there), default=999)


def chance_of_a_hit(row, truth, nodes, classes):
    """How often no other class beats the truth, over all tasks of so many classes among `nodes`."""
    others = [u for u in nodes if u != truth]
    tasks = list(itertools.combinations(others, min(classes - 1, len(others))))
    return sum(not any(beats(row, u, truth) for u in task) for task in tasks) / len(tasks)


def answer_weight(probability, members, answer, weighting):
    """How much each model has in the answer for one class of each image, shape (m, i)."""
    table = [[0.0] * len(answer) for _ in probability]
    for x, c in enumerate(answer):
        chosen = [m for m in members[c] if m >= 0]
        disorder = [entropy(probability[m][x]) for m in chosen]
        if weighting == "entropy":
            loud = disorder
        elif weighting == "confidence":
            loud = [1 / max(h, 1e-12) for h in disorder]
        else:
            loud = [1.0] * len(chosen)
        if sum(loud) == 0:
            loud = [1.0] * len(chosen)
        for m, share in zip(chosen, loud, strict=True):
            table[m][x] += share / sum(loud)
    return table


def confusion(truth, predicted, classes):
    table = [[0] * classes for _ in range(classes)]
    for t, u in zip(truth, predicted, strict=True):
        table[t][u] += 1
    return table


def rank_of_truth(confidence, truth):
    return [sum(beats(row, u, t) for u in range(len(row))) for row, t in zip(confidence, truth, strict=True)]


def bin_of(confidence, bins):
    if confidence == 0:
        return 0
    return next(b for b in range(bins) if b / bins < confidence <= (b + 1) / bins)


def reliability(confidence, correct, bins):
    """(images, sum of confidence, hits) of each bin."""
    rows = [[0, 0.0, 0] for _ in range(bins)]
    for sure, right in zip(confidence, correct, strict=True):
        row = rows[bin_of(sure, bins)]
        row[0] += 1
        row[1] += sure
        row[2] += 1 if right else 0
    return rows


def calibration_error(rows):
    images = sum(count for count, _, _ in rows)
    return sum(count / images * abs(hits / count - total / count) for count, total, hits in rows if count)


def shares(part, whole):
    return [n / all_ if all_ else None for n, all_ in zip(part, whole, strict=True)]


def first_best_class(row):
    return winner(row, range(len(row)))


def top1(confidence, truth):
    return sum(first_best_class(row) == t for row, t in zip(confidence, truth, strict=True)) / len(truth)


def measures(probability, confidence, truth, members, weighting):
    """What the answers to all images are worth, by the names of the engine; None if the truth of none is known."""
    known = [x for x, t in enumerate(truth) if t != -1]
    if not known:
        return None
    probability = [[rows[x] for x in known] for rows in probability]
    confidence, classes = [confidence[x] for x in known], range(len(members))
    outside, truth = len(truth) - len(known), [truth[x] for x in known]
    answer = [first_best_class(row) for row in confidence]
    table = confusion(truth, answer, len(members))
    found, shown = [table[c][c] for c in classes], [sum(table[c]) for c in classes]
    recall, precision = shares(found, shown), shares(found, [sum(row[c] for row in table) for c in classes])
    rows = reliability([max(row) for row in confidence], [a == t for a, t in zip(answer, truth, strict=True)], 15)
    weight = answer_weight(probability, members, answer, weighting)
    known_recall = [r for r in recall if r is not None]
    ranks = rank_of_truth(confidence, truth)
    contribution = []
    for m in range(len(probability)):
        served = [c for c in classes if m in members[c]]
        others = sorted({u for row in members for u in row} - {m, -1})
        rest = [[u for u in row if u != m] for row in members]
        for c in served:
            if all(u == -1 for u in rest[c]):
                rest[c] = others
        left = top1(ensemble_confidence(probability, rest, weighting), truth) if others else None
        contribution.append((len(served), top1(probability[m], truth), left, sum(weight[m]) / len(truth)))
    return {
        "images": len(truth),
        "outside": outside,
        "accuracy": top1(confidence, truth),
        "mean_class_recall": sum(known_recall) / len(known_recall),
        "top5": sum(rank < 5 for rank in ranks) / len(truth) if len(members) > 5 else None,
        "calibration_error": calibration_error(rows),
        "reliability": [(n, total / n if n else None, hits / n if n else None) for n, total, hits in rows],
        "classes": list(zip(shown, recall, precision, strict=True)),
        "confusion": table,
        "contribution": contribution,
    }


def mistaken(table):
    """(truth, answer, images) of all mistakes, the most frequent first."""
    pairs = [(t, u) for t in range(len(table)) for u in range(len(table)) if t != u and table[t][u]]
    return [(t, u, table[t][u]) for t, u in sorted(pairs, key=lambda pair: (-table[pair[0]][pair[1]], pair))]


def negative_log_likelihood(logits, truth, weight, temperature):
    """The weighted mean of -log softmax(logits / temperature) of the true class."""
    total = 0.0
    for row, t, w in zip(logits, truth, weight, strict=True):
        scaled = [value / temperature for value in row]
        total += w * (max(scaled) + math.log(sum(math.exp(s - max(scaled)) for s in scaled)) - scaled[t])
    return total / sum(weight)


def fit_temperature(logits, truth, weight, low, high):
    """Golden sections of log T, where the mean falls up to one point and rises from it on."""
    ends, part = [math.log(low), math.log(high)], (math.sqrt(5) - 1) / 2
    for _ in range(80):
        inner = [ends[1] - part * (ends[1] - ends[0]), ends[0] + part * (ends[1] - ends[0])]
        left, right = (negative_log_likelihood(logits, truth, weight, math.exp(x)) for x in inner)
        ends = [ends[0], inner[1]] if left <= right else [inner[0], ends[1]]
    return math.exp(sum(ends) / 2)


def shrink_temperatures(fitted, images, strength):
    common = sum(math.log(t) for t in fitted) / len(fitted)
    return [math.exp((images * math.log(t) + strength * common) / (images + strength)) for t in fitted]


def node_label(mean_logits, usable, edges, discount=0.5, recursive=False):
    """Eq 2 of MLL for experts: a row for each node, None without a label."""

    def own(v):
        return mean_logits[v] if usable[v] else None

    def label(v):
        children = [u for u in range(len(mean_logits)) if [v, u] in edges]
        rows = [label(u) if recursive else own(u) for u in children]
        rows = [row for row in rows if row is not None]
        if not rows:
            return own(v)
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        if own(v) is None:
            return mean
        return [discount * s + (1 - discount) * m for s, m in zip(own(v), mean, strict=True)]

    return [label(v) for v in range(len(mean_logits))]


def mutual_best_match(similarity, usable):
    nodes = [v for v, use in enumerate(usable) if use]
    match = []
    for row in similarity:
        best = max(nodes, key=lambda v: (row[v], -v), default=None)
        rival = max(range(len(similarity)), key=lambda c: (similarity[c][best], -c)) if nodes else None
        match.append(best if nodes and similarity[rival] is row else -1)
    return match


def head_probability(mean_logits):
    columns = [softmax(list(column)) for column in zip(*mean_logits, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def combined_probability(weights, probability):
    """Q: what the heads of each class say of the images of each class."""
    classes = range(len(weights[0]))
    pairs = list(zip(weights, probability, strict=True))
    return [[sum(x[c] * p[other] for x, p in pairs) for other in classes] for c in classes]


def combination_losses(weights, probability):
    losses = []
    for c, row in enumerate(combined_probability(weights, probability)):
        others = [-math.log(1 - q) if q < 1 else math.inf for other, q in enumerate(row) if other != c]
        losses.append((-math.log(row[c]) if row[c] > 0 else math.inf) + sum(others) / max(len(others), 1))
    return losses


def combination_gradient(weights, probability):
    reached = combined_probability(weights, probability)
    classes = range(len(reached))

    def price(c, other):
        q = reached[c][other]
        return -1 / q if c == other else 1 / ((1 - q) * (len(reached) - 1))

    return [[sum(p[other] * price(c, other) for other in classes) for c in classes] for p in probability]


def combination_gap(weights, probability):
    gap = 0.0
    for x, g in zip(weights, combination_gradient(weights, probability), strict=True):
        gap += sum(a * b for a, b in zip(x, g, strict=True)) - min(0, *g)
    return gap


def onto_simplex(point):
    """Duchi et al. 2008: the nearest point that is not negative and sums to 1."""
    total, shift = 0.0, 0.0
    for n, value in enumerate(sorted(point, reverse=True), start=1):
        total += value
        if value - (total - 1) / n > 0:
            shift = (total - 1) / n
    return [max(value - shift, 0.0) for value in point]


def combine_heads(mean_logits, tolerance, sweeps):
    """CHCO as the paper writes it: for each head a gradient step that lowers the loss, and a projection."""
    probability = head_probability(mean_logits)
    heads, classes = range(len(probability)), range(len(probability[0]))
    weights = []
    for row in probability:
        best = row.index(max(row))
        weights.append([0.9 * (c == best) + 0.1 / len(row) for c in classes])
    for _ in range(sweeps):
        if combination_gap(weights, probability) <= tolerance:
            break
        for h in heads:
            slope, before = combination_gradient(weights, probability)[h], sum(combination_losses(weights, probability))
            now, rate = weights[h], 64.0
            while rate > 1e-9:
                weights[h] = onto_simplex([x - rate * g for x, g in zip(now, slope, strict=True)])
                if sum(combination_losses(weights, probability)) <= before:
                    break
                rate /= 2
            else:
                weights[h] = now
    return weights, combination_losses(weights, probability), combination_gap(weights, probability)


def least_losses(losses, k, threshold):
    table = []
    for c in range(len(losses[0])):
        good = sorted((row[c], m) for m, row in enumerate(losses) if row[c] <= threshold)
        table.append(([m for _, m in good] + [-1] * k)[:k])
    return table


def expert_confidence(probabilities, weights, members):
    table = []
    for x in range(len(probabilities[0])):
        row = []
        for c, chosen in enumerate(members):
            chosen = [m for m in chosen if m >= 0]
            loud = []
            for m in chosen:
                said = probabilities[m][x]
                sure = 1 - entropy(said) / math.log(len(said)) if len(said) > 1 else 0.0
                loud.append(max(sure, 0.0))
            if sum(loud) == 0:
                loud = [1.0] * len(chosen)
            said = [sum(f * w[c] for f, w in zip(probabilities[m][x], weights[m], strict=True)) for m in chosen]
            row.append(sum(w * s for w, s in zip(loud, said, strict=True)) / sum(loud) if chosen else 0.0)
        table.append(row)
    return table


def best_heads(probability, truth, classes):
    """For each class the head with the least binary cross entropy, both sides of the test weighing the same."""

    def log(value):
        return max(math.log(value), -100.0) if value > 0 else -100.0

    best = []
    for c in range(classes):
        if c not in truth:
            best.append((-1, math.inf))
            continue
        losses = []
        for h in range(len(probability[0])):
            inside = [-log(row[h]) for row, t in zip(probability, truth, strict=True) if t == c]
            outside = [-log(1 - row[h]) for row, t in zip(probability, truth, strict=True) if t != c]
            losses.append(sum(inside) / max(len(inside), 1) + sum(outside) / max(len(outside), 1))
        best.append((losses.index(min(losses)), min(losses)))
    return best


def ranked(score):
    return sorted(range(len(score)), key=lambda m: (-score[m], m))


def truth_of_chosen(predicted, truth):
    return truth[ranked(predicted)[0]]


def regret(predicted, truth):
    return max(truth) - truth_of_chosen(predicted, truth)


def both_tops(predicted, truth, top):
    return [m for m in ranked(truth)[:top] if m in ranked(predicted)[:top]]


def top_recall(predicted, truth, top):
    return len(both_tops(predicted, truth, top)) / len(ranked(truth)[:top])


def sign(number):
    return (number > 0) - (number < 0)


def tau(predicted, truth, weight):
    """Kendall's tau by its pairs; None where it is not defined."""
    agree = left = right = 0.0
    for i, j in itertools.combinations(range(len(truth)), 2):
        one, other = sign(predicted[i] - predicted[j]), sign(truth[i] - truth[j])
        agree += weight(i, j) * one * other
        left += weight(i, j) * one * one
        right += weight(i, j) * other * other
    return agree / math.sqrt(left * right) if left and right else None


def kendall_tau(predicted, truth):
    return tau(predicted, truth, lambda i, j: 1)


def top_tau(predicted, truth, top):
    common = both_tops(predicted, truth, top)
    if len(common) <= 2:
        return 0.0
    return kendall_tau([predicted[m] for m in common], [truth[m] for m in common])


def weighted_tau(predicted, truth):
    found = []
    for first, second in ((predicted, truth), (truth, predicted)):
        order = sorted(range(len(truth)), key=lambda m: (-first[m], -second[m]))
        found.append(tau(predicted, truth, lambda i, j, at=order: 1 / (1 + at.index(i)) + 1 / (1 + at.index(j))))
    return sum(found) / 2 if None not in found else None


def pearson(one, other):
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    a, b = ([x - math.fsum(row) / len(row) for x in row] for row in (one, other))
    squares = math.fsum(x * x for x in a) * math.fsum(x * x for x in b)
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(squares)


def mean_ranks(row):
    return [sum(other < x for other in row) + (sum(other == x for other in row) + 1) / 2 for x in row]


def sign_flip(difference):
    """Share of all choices of signs with which the sum is as far from 0; differences are fractions."""
    seen = abs(sum(difference))
    choices = list(itertools.product((-1, 1), repeat=len(difference)))
    return sum(abs(sum(s * d for s, d in zip(signs, difference, strict=True))) >= seen for signs in choices) / len(
        choices
    )


# -- transferability ----------------------------------------------------------------------------------


def leep(theta, labels):
    """Two loops over images and source classes."""
    total = 0.0
    for x in range(len(theta)):
        said = 0.0
        for z in range(theta.shape[1]):
            column = sum(theta[i, z] for i in range(len(theta)))
            if column > 0:
                same = sum(theta[i, z] for i in range(len(theta)) if labels[i] == labels[x])
                said += same / column * theta[x, z]
        total += np.log(said)
    return total / len(theta)


def nce(source, labels):
    """Minus the entropy of labels within each source class."""
    total = 0.0
    for x in range(len(labels)):
        alike = [labels[i] for i in range(len(labels)) if source[i] == source[x]]
        total += np.log(alike.count(labels[x]) / len(alike))
    return total / len(labels)


def logme(features, labels):
    """Evidence of dense Gaussians, at the alpha and beta that the fixed point of the definition reaches."""
    n, d = features.shape
    found = []
    for label in np.unique(labels):
        y = (labels == label).astype(float)
        alpha, beta = 1.0, 1.0
        for _ in range(5000):
            a = alpha * np.eye(d) + beta * features.T @ features
            m = beta * np.linalg.solve(a, features.T @ y)
            gamma = d - alpha * np.trace(np.linalg.inv(a))
            residual = ((features @ m - y) ** 2).sum()
            alpha, beta = gamma / (m @ m + 1e-5), (n - gamma) / (residual + 1e-5)
        a = alpha * np.eye(d) + beta * features.T @ features
        m = beta * np.linalg.solve(a, features.T @ y)
        evidence = n / 2 * np.log(beta) + d / 2 * np.log(alpha) - n / 2 * np.log(2 * np.pi)
        evidence -= beta / 2 * ((features @ m - y) ** 2).sum() + alpha / 2 * m @ m + np.linalg.slogdet(a)[1] / 2
        found.append(evidence / n)
    return np.mean(found)


def h_score(features, labels):
    """The trace as it is written."""
    means = np.array([features[labels == label].mean(axis=0) for label in labels])
    covariance = np.atleast_2d(np.cov(features, rowvar=False))
    return np.trace(np.linalg.pinv(covariance, rcond=1e-10) @ np.atleast_2d(np.cov(means, rowvar=False)))


def transrate(features, labels, epsilon=1e-4):
    """Log determinants of d x d."""

    def rate(some):
        scaled = np.eye(some.shape[1]) + some.T @ some / (len(some) * epsilon)
        return np.linalg.slogdet(scaled)[1] / 2

    centred = features - features.mean(axis=0)
    return rate(centred) - np.mean([rate(centred[labels == label]) for label in np.unique(labels)])


def emms_residual(features, f_labels, weights):
    """Least squares of the weighted F-labels on standardised features."""

    def standard(values):
        spread = values.std(axis=0)
        return (values - values.mean(axis=0)) / np.where(spread > 1e-12, spread, 1) * (spread > 1e-12)

    x = standard(features)
    y = sum(weight * standard(f_labels[:, :, k].astype(float)) for k, weight in enumerate(weights))
    return ((x @ np.linalg.lstsq(x, y, rcond=None)[0] - y) ** 2).sum()


def solved(matrix, right):
    """The solution of a system of linear equations, by elimination; numbers may be fractions."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for n in range(len(rows)):
        pivot = next(m for m in range(n, len(rows)) if rows[m][n] != 0)
        rows[n], rows[pivot] = rows[pivot], rows[n]
        for m in range(len(rows)):
            if m != n:
                factor = rows[m][n] / rows[n][n]
                rows[m] = [a - factor * b for a, b in zip(rows[m], rows[n], strict=True)]
    return [rows[n][-1] / rows[n][n] for n in range(len(rows))]


def blended_precision(prior, hits, images, worth, strength):
    """One model's: a normal belief about all classes at once, conditioned on what was seen, as textbooks have it."""
    seen = [c for c in range(len(prior)) if images[c]]
    before = [[1 / worth + (a == b) / strength for b in range(len(prior))] for a in range(len(prior))]
    noisy = [[before[a][b] + ((1 / images[a]) if a == b else 0) for b in seen] for a in seen]
    better = solved(noisy, [hits[c] / images[c] - prior[c] for c in seen])
    return [prior[a] + sum(before[a][b] * say for b, say in zip(seen, better, strict=True)) for a in range(len(prior))]


def _cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def text_classification(classes, captions, truth):
    """Top-1 and macro F1 of captions that are answered as images, None if there is none."""
    if not captions:
        return None, None
    said = []
    for caption in captions:
        cosines = [_cosine(caption, class_) for class_ in classes]
        said.append(cosines.index(max(cosines)))
    hits = sum(a == b for a, b in zip(said, truth, strict=True))
    f1 = []
    for c in range(len(classes)):
        both = sum(a == b == c for a, b in zip(said, truth, strict=True))
        if said.count(c) + truth.count(c):
            f1.append(2 * both / (said.count(c) + truth.count(c)))
    return hits / len(truth), sum(f1) / len(f1)


def text_granularity(classes, captions, caption_class, synonyms, synonym_class):
    """Fisher criterion, silhouette, class dispersion, synonym consistency; None of nothing."""

    def mean(values):
        return sum(values) / len(values) if values else None

    def near(texts, truth, c, j):
        return mean([_cosine(text, classes[j]) for text, of in zip(texts, truth, strict=True) if of == c])

    every = range(len(classes))
    told = [c for c in every if c in caption_class]
    apart = len(classes) > 1
    return [
        mean([max(_cosine(classes[j], classes[c]) for j in every if j != c) for c in every]) if apart else None,
        mean([max(near(captions, caption_class, c, j) for j in every if j != c) for c in told]) if apart else None,
        mean([near(captions, caption_class, c, c) for c in told]),
        mean([near(synonyms, synonym_class, c, c) for c in every if c in synonym_class]),
    ]


def linear_prediction(features, target, asked):
    """Least squares with a constant by the normal equations, in fractions: only where there is one answer."""
    rows = [[Fraction(1), *map(Fraction, row)] for row in features]
    width = len(rows[0])
    matrix = [[sum(row[a] * row[b] for row in rows) for b in range(width)] for a in range(width)]
    right = [sum(row[a] * Fraction(y) for row, y in zip(rows, target, strict=True)) for a in range(width)]
    weights = solved(matrix, right)
    return [float(sum(w * x for w, x in zip(weights, [1, *map(Fraction, row)], strict=True))) for row in asked]
