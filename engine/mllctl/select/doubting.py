"""How sure is the pick, and what should one make of it?"""

import math

import numpy as np

from mllctl.hub import Hub, StoredModel
from mllctl.kernels.advantage import area_spread, chance_ahead
from mllctl.kernels.arrays import Bool, Float, Int
from mllctl.kernels.bootstrap import bootstrap_means
from mllctl.kernels.shrinkage import Belief
from mllctl.select.selection import Doubt, Verdict, node_parts

DRAWS = 200
SEED = 0
LIGHTEST = 1e-20  # weight of an image of the most unlike domain: it may be a node's only one
# docs/decisions.md says how these were tuned.
SPREAD = 6.0  # of a lead from task to task, in its spread from area to area of the hub
LEAST_SPREAD = 0.12
FAR = 0.2  # standard deviation of what nodes that are not the class itself leave open
WELL_COVERED = 0.8
SURE = 0.8


def doubt_pick(
    hub: Hub,
    models: tuple[StoredModel, ...],
    nodes: Int,
    transfer: Float,
    weights: Float,
    belief: Belief,
    single: int,
    overall: int,
) -> Doubt:
    """Say how likely the pick is ahead of the runner-up and of the best-overall model.

    How far it is ahead on the selected nodes comes from a bootstrap over their images and the nodes; the further these
    are from the classes, the less that says. Before it stands what the whole hub shows of the two models, in tasks of
    as many classes as there are selected nodes: those are the rivals here.

    Args:
        hub: open for reading.
        models: the candidates.
        nodes: V_sel, shape (v,).
        transfer: Z, shape (v, c).
        weights: of the domains, shape (domains,).
        belief: of each model on each node, shape (m, v).
        single, overall: places of the pick and the best-overall model among `models`.
    """
    part = node_parts(transfer)
    covered = part.any(axis=0)
    part = part[:, covered].sum(axis=1) / max(int(covered.sum()), 1)
    mean = belief.mean @ part
    others = [m for m in np.argsort(-mean, kind="stable").tolist() if m != single]
    runner_up = others[0] if others else None
    if part.sum() == 0:
        return Doubt(runner_up, 0.5, 1.0 if single == overall else 0.5)
    rivals = list(dict.fromkeys([single, *others[:1], overall]))
    drawn = _draw(hub, [models[m].model for m in rivals], nodes, weights, part, belief[rivals])
    typical = hub.typical_precision([models[m].model for m in rivals], len(nodes))
    area = np.array([node.lexname for node in hub.nodes()])
    distance = 1 - float(np.clip(transfer.max(axis=0), 0, 1).mean())

    def ahead_of(other: int) -> float:
        if other == single:
            return 1.0
        lead = drawn[:, 0] - drawn[:, rivals.index(other)]
        usual = typical[0] - typical[rivals.index(other)]
        spread = math.hypot(SPREAD * area_spread(usual, area), LEAST_SPREAD)
        deviation = math.hypot(float(lead.std()), FAR * math.sqrt(distance))
        known = usual[~np.isnan(usual)]
        return chance_ahead(float(lead.mean()), deviation, float(known.mean()) if len(known) else 0.0, spread)

    return Doubt(runner_up, 1.0 if runner_up is None else ahead_of(runner_up), ahead_of(overall))


def _draw(hub: Hub, models: list[int], nodes: Int, weights: Float, part: Float, belief: Belief) -> Float:
    """Draw each model's mean precision over the task, shape (draws, m)."""
    winners = [hub.winners(model, nodes) for model in models]
    order = np.argsort(winners[0].truth, kind="stable")
    hit = np.array([(found.winner == found.truth)[order] for found in winners])
    return bootstrap_means(
        hit,
        np.searchsorted(nodes, winners[0].truth[order]),
        np.maximum(weights[winners[0].domain[order]], LIGHTEST),
        part,
        belief.mean,
        belief.images,
        DRAWS,
        np.random.default_rng(SEED),
    )


def judge(doubt: Doubt, covered: Bool, overall_is_pick: bool, known_by: str = "the hub has") -> Verdict:
    """Put into words what to make of a pick; `known_by` is who has evidence of classes."""
    share = float(covered.mean())
    known = f"{known_by} evidence for {int(covered.sum())} of {len(covered)} classes"
    if not covered.any():
        return Verdict("prefer the best-overall model", "the hub has evidence for none of the classes")
    surely = f"{chance(doubt.beats_overall)} sure that it beats the best-overall model"
    if not overall_is_pick and doubt.beats_overall < 0.5:
        return Verdict("prefer the best-overall model", f"only {surely}")
    unsure = share < WELL_COVERED or (not overall_is_pick and doubt.beats_overall < SURE)
    reason = f"{known}; {'it is also the best-overall model' if overall_is_pick else surely}"
    return Verdict("use with care" if unsure else "use", reason)


def chance(probability: float) -> str:
    """Write a probability in percent; two digits are more than is known of it."""
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"
