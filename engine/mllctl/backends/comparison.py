"""Compare images with nodes on an accelerator: what `kernels.order.likely_nodes` does, in torch.

Only the few (image, node) pairs that may matter leave the device; their exact similarities are computed as ever, so a
label is the same wherever it was made.
"""

from typing import Any

import numpy as np

from mllctl.kernels.arrays import Float, Int
from mllctl.kernels.order import Float16, Likely, NodeVectors


def likely_on(device: str) -> Likely:
    """Return a search for likely nodes that runs on a torch device.

    Args:
        device: such as `cuda`, `cuda:1` or `mps`.

    Raises:
        RuntimeError: by torch, if there is no such device.
    """
    import torch

    where = torch.device(device)
    torch.empty(0, device=where)
    held: dict[int, tuple[NodeVectors, Any]] = {}

    def likely(images: Float16, nodes: NodeVectors, own: Float, error: Float, after: int) -> tuple[Int, Int]:
        if id(nodes) not in held:
            # The captions of one label stay on the device; the vectors are kept so that their id is not given anew.
            held.clear()
            held[id(nodes)] = nodes, torch.from_numpy(nodes.single).to(where)
        captions = held[id(nodes)][1]
        with torch.inference_mode(), _exact_float32():
            similarity = torch.from_numpy(images.astype(np.float32)).to(where) @ captions.T
            least = torch.from_numpy((own - error).astype(np.float32)).to(where)
            below = similarity.masked_fill(similarity >= least[:, None], -torch.inf)
            count = min(max(after, 1), similarity.shape[1])
            bound = below.topk(count, dim=1).values[:, -1]
            # Where there are fewer runners-up than asked for, the bound is -inf and every node is likely.
            cut = bound - 2 * torch.from_numpy(error.astype(np.float32)).to(where)
            row, column = torch.nonzero(similarity >= cut[:, None], as_tuple=True)
            return row.cpu().numpy(), column.cpu().numpy()

    return likely


def _exact_float32() -> Any:
    """Keep matrix products from being rounded to fewer bits than float32 has, as TF32 does."""
    from contextlib import ExitStack

    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    stack = ExitStack()
    stack.callback(torch.set_float32_matmul_precision, before)
    return stack
