"""How much images of each sample domain count for a task."""

from collections.abc import Mapping

import numpy as np

from mllctl.errors import InvalidTask
from mllctl.hub import Hub
from mllctl.kernels.arrays import Float
from mllctl.kernels.evidence import domain_weights
from mllctl.select.selection import DomainWeight

# docs/decisions.md says how these were tuned.
DOMAIN_TEMPERATURE = 0.05
DOMAIN_FLOOR = 0.30


def weigh_domains(
    hub: Hub, wanted: Float | None, given: Mapping[str, float] | None = None
) -> tuple[Float, tuple[DomainWeight, ...], bool]:
    """Weigh the domains of a hub by their likeness to the user's words.

    Args:
        hub: open for reading.
        wanted: the embedded words, a unit vector; None weighs all alike.
        given: name of a domain -> weight, in place of what words would make it; 0 where it has none.

    Returns:
        (weights, shape (domains,); the same to be shown; whether any domain is like the words, or weights were given)

    Raises:
        InvalidTask: if given weights name a domain that the hub does not have, or are not at least 0 with one above.
    """
    descriptions, domains = hub.domain_embeddings().astype(np.float64), hub.domains()
    if given is not None:
        weights = _checked(given, [domain.name for domain in domains])
        likeness = [None] * len(domains) if wanted is None else (descriptions @ wanted).tolist()
        rows = zip(domains, likeness, weights.tolist(), strict=True)
        return weights, tuple(DomainWeight(d.name, s, w) for d, s, w in rows), True
    if wanted is None:
        alike = 1 / len(domains)
        return np.full(len(domains), alike), tuple(DomainWeight(d.name, None, alike) for d in domains), False
    similarity = descriptions @ wanted
    weights = domain_weights(similarity, DOMAIN_TEMPERATURE, DOMAIN_FLOOR)
    rows = zip(domains, similarity.tolist(), weights.tolist(), strict=True)
    return weights, tuple(DomainWeight(d.name, s, w) for d, s, w in rows), bool(similarity.max() >= DOMAIN_FLOOR)


def _checked(given: Mapping[str, float], names: list[str]) -> Float:
    """Return weights in the order of the domains, as shares."""
    if unknown := [name for name in given if name not in names]:
        raise InvalidTask(f"no domain {unknown[0]!r} in this hub; it has {', '.join(names)}")
    weights = np.array([given.get(name, 0.0) for name in names], dtype=np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise InvalidTask("weights of domains must be at least 0, and one of them above")
    return np.asarray(weights / weights.sum())
