"""Write models.csv: what a model costs and may be used for, of all that open_clip knows and of the demo's.

python assets/models.py TABLE_6.csv

gflops      Table 6 of MLL (arXiv 2501.18271) by architecture; of the demo's models counted here, likewise for an
            image and a text as long as the model takes
license     only where the makers of the weights say it: see LICENSES; empty elsewhere
weights     what open_clip downloads, from its own table, as are the tokenizers on Hugging Face
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
from open_clip.pretrained import get_pretrained_cfg
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from mllctl import load_model
from mllctl.backends.demo import demo_models
from mllctl.backends.protocol import VisionLanguageModel

TARGET = Path(__file__).parents[1] / "data" / "mllctl_data" / "models.csv"
COLUMNS = ("model", "gflops", "license", "weights", "tokenizer", "source")

PAPER = "arXiv 2501.18271 Table 6"
# Part of an address or a repository -> (licence of the weights there, who says so).
LICENSES = {
    "openaipublic.": ("MIT", "github.com/openai/CLIP LICENSE"),
    "mlfoundations/open_clip/releases/": ("MIT", "github.com/mlfoundations/open_clip/issues/177"),
    "laion/": ("MIT", "model cards of huggingface.co/laion"),
}
# Heads are ours; both towers are Apache-2.0, see `mllctl.backends.towers`. ConSE has no head.
DEMO_LICENSES = {"open_clip": "MIT AND Apache-2.0", "conse": "Apache-2.0"}
TOKENS = 64  # of the demo's texts: `mllctl.backends.demo.CONTEXT`


def main(table: Path) -> None:
    """Write the table, sorted by model."""
    with table.open(encoding="utf-8", newline="") as file:
        operations = {row["architecture"]: row["flops_b"] for row in csv.DictReader(file)}
    rows = sorted([*_open_clip_rows(operations), *_demo_rows()])
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{len(rows)} models")


def _open_clip_rows(operations: dict[str, str]) -> Iterator[tuple[str, ...]]:
    for arch, tag in open_clip.list_pretrained():
        places = get_pretrained_cfg(arch, tag)
        license_, says = _license(places)
        gflops = operations.get(arch, "")
        source = "; ".join(filter(None, (gflops and PAPER, says)))
        text = open_clip.get_model_config(arch)["text_cfg"]
        yield f"{arch}/{tag}", gflops, license_, places["hf_hub"], text.get("hf_tokenizer_name", ""), source


def _license(places: dict[str, str]) -> tuple[str, str]:
    """Return the licence of some weights and its source; empty if nobody says."""
    # A repository that mirrors an address has the licence of what it mirrors.
    origin = places.get("url") or places.get("hf_hub", "")
    return next((known for part, known in LICENSES.items() if part in origin), ("", ""))


def _demo_rows() -> Iterator[tuple[str, ...]]:
    for name in demo_models():
        model = load_model(f"demo:{name}")
        card = model.card
        source = f"counted by torch at {card.image_size} px and {TOKENS} tokens; the packages of its towers"
        yield card.name, f"{_count(model):.2f}", DEMO_LICENSES[card.kind], "", "", source


def _count(model: VisionLanguageModel) -> float:
    """Return the GFLOPs of one image and one text of so many tokens that it is cut off."""
    side = model.card.image_size
    picture = Image.fromarray(np.zeros((side, side, 3), np.uint8))
    with FlopCounterMode(display=False) as counter:
        model.encode_images([picture])
        model.encode_texts(["dog " * (TOKENS - 2)])
    return counter.get_total_flops() / 1e9


if __name__ == "__main__":
    main(Path(sys.argv[1]))
