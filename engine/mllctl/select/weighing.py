"""How much images of each sample domain count for a task."""

import numpy as np

from mllctl.hub import Hub
from mllctl.kernels.arrays import Float
from mllctl.kernels.evidence import domain_weights
from mllctl.select.selection import DomainWeight

# docs/decisions.md says how these were tuned.
DOMAIN_TEMPERATURE = 0.05
DOMAIN_FLOOR = 0.30


def weigh_domains(hub: Hub, wanted: Float | None) -> tuple[Float, tuple[DomainWeight, ...], bool]:
    """Weigh the domains of a hub by their likeness to the user's words.

    Args:
        hub: open for reading.
        wanted: the embedded words, a unit vector; None weighs all alike.

    Returns:
        (weights, shape (domains,); the same to be shown; whether any domain is like the words)
    """
    descriptions, domains = hub.domain_embeddings().astype(np.float64), hub.domains()
    if wanted is None:
        alike = 1 / len(domains)
        return np.full(len(domains), alike), tuple(DomainWeight(d.name, None, alike) for d in domains), False
    similarity = descriptions @ wanted
    weights = domain_weights(similarity, DOMAIN_TEMPERATURE, DOMAIN_FLOOR)
    rows = zip(domains, similarity.tolist(), weights.tolist(), strict=True)
    return weights, tuple(DomainWeight(d.name, s, w) for d, s, w in rows), bool(similarity.max() >= DOMAIN_FLOOR)
