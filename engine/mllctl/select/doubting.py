"""How sure is the pick, and what should one make of it?"""

import numpy as np

from mllctl.hub import Hub, StoredModel
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.bootstrap import beats, bootstrap_means
from mllctl.kernels.shrinkage import Belief
from mllctl.select.selection import Doubt, Verdict

DRAWS = 200
SEED = 0
LIGHTEST = 1e-20  # weight of an image of the most unlike domain: it may be a node's only one
# docs/decisions.md says how these were tuned.
ENOUGH_COVERED = 0.5
WELL_COVERED = 0.8
DOUBTFUL = 0.6
SURE = 0.9


def doubt_pick(
    hub: Hub,
    models: tuple[StoredModel, ...],
    nodes: Int,
    weights: Float,
    part: Float,
    belief: Belief,
    single: int,
    overall: int,
) -> Doubt:
    """Say how often the pick would be ahead of the runner-up and of the best-overall model.

    Args:
        hub: open for reading.
        models: the candidates.
        nodes: V_sel, shape (v,).
        weights: of the domains, shape (domains,).
        part: each node's part in the mean over the task, shape (v,).
        belief: of each model on each node, shape (m, v).
        single, overall: places of the pick and the best-overall model among `models`.
    """
    mean = belief.mean @ part
    others = [m for m in np.argsort(-mean, kind="stable").tolist() if m != single]
    runner_up = others[0] if others else None
    if part.sum() == 0:
        return Doubt(runner_up, 0.5, 1.0 if single == overall else 0.5)
    rivals = list(dict.fromkeys([single, *others[:1], overall]))
    winners = [hub.winners(models[m].model, nodes) for m in rivals]
    order = np.argsort(winners[0].truth, kind="stable")
    hit = np.array([(found.winner == found.truth)[order] for found in winners])
    drawn = bootstrap_means(
        hit,
        np.searchsorted(nodes, winners[0].truth[order]),
        np.maximum(weights[winners[0].domain[order]], LIGHTEST),
        part,
        belief.mean[rivals],
        belief.images[rivals],
        DRAWS,
        np.random.default_rng(SEED),
    )
    ahead = 1.0 if runner_up is None else beats(drawn, 0, 1)
    return Doubt(runner_up, ahead, beats(drawn, 0, rivals.index(overall)))


def judge(doubt: Doubt, covered: Bool, overall_is_pick: bool) -> Verdict:
    """Put into words what to make of a pick."""
    share = float(covered.mean())
    known = f"the hub has evidence for {int(covered.sum())} of {len(covered)} classes"
    if share < ENOUGH_COVERED:
        return Verdict("prefer the best-overall model", known)
    if not overall_is_pick and doubt.beats_overall < DOUBTFUL:
        reason = f"only {chance(doubt.beats_overall)} sure that it beats the best-overall model"
        return Verdict("prefer the best-overall model", reason)
    if share < WELL_COVERED:
        return Verdict("use with care", known)
    if not overall_is_pick and doubt.beats_overall < SURE:
        return Verdict("use with care", f"{chance(doubt.beats_overall)} sure that it beats the best-overall model")
    surely = f"{chance(doubt.beats_overall)} sure that it beats the best-overall model"
    said = "it is also the best-overall model" if overall_is_pick else surely
    return Verdict("use", f"{known}; {said}")


def chance(probability: float) -> str:
    """Write a probability in percent; some hundred draws tell no more than two digits."""
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"
