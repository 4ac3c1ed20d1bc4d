"""Write models.csv: what a model costs and may be used for, of all that open_clip knows and of the demo's.

python assets/models.py TABLE_6.csv

parameters  counted on torch's meta device, as are sizes read from open_clip's configurations; a minute and a half
gflops      Table 6 of MLL (arXiv 2501.18271) by architecture; of the demo's models counted here, likewise for an
            image and a text as long as the model takes
top-1       on ImageNet, of the same table, of these very weights
license     only where the makers of the weights say it: see LICENSES; empty elsewhere
weights     what open_clip downloads, from its own table, as are the tokenizers on Hugging Face
instead     the name that gives weights trained with QuickGELU an architecture that has it
"""

import csv
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import open_clip
from open_clip.pretrained import get_pretrained_cfg
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, M2M100Config, RobertaConfig, XLMRobertaConfig

from mllctl import load_model
from mllctl.backends.demo import CONTEXT, demo_models
from mllctl.backends.facts import KnownModel
from mllctl.backends.open_clip_models import quickgelu_name
from mllctl.backends.protocol import VisionLanguageModel
from mllctl.backends.registry import describe_architecture

TARGET = Path(__file__).parents[1] / "data" / "mllctl_data" / "models.csv"
COLUMNS = tuple(field.name for field in dataclasses.fields(KnownModel))

PAPER = "arXiv 2501.18271 Table 6"
# Part of an address or a repository -> (licence of the weights there, who says so).
LICENSES = {
    "openaipublic.": ("MIT", "github.com/openai/CLIP LICENSE"),
    "mlfoundations/open_clip/releases/": ("MIT", "github.com/mlfoundations/open_clip/issues/177"),
    "laion/": ("MIT", "model cards of huggingface.co/laion"),
}
# Heads are ours; both towers are Apache-2.0, see `mllctl.backends.towers`. ConSE has no head.
DEMO_LICENSES = {"open_clip": "MIT AND Apache-2.0", "conse": "Apache-2.0"}
# The text towers whose configuration lies at Hugging Face: what their makers published of them. Table 6 and
# open_clip's own docs/model_profile.csv (commit 3b37473) count as many parameters.
_XLM = {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_NLLB = {"vocab_size": 256206, "d_model": 1024, "encoder_attention_heads": 16, "decoder_attention_heads": 16}
TEXT_TOWERS = {
    "roberta-base": RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1),
    "xlm-roberta-base": XLMRobertaConfig(**_XLM),
    "xlm-roberta-large": XLMRobertaConfig(**_XLM, **_LARGE),
    "facebook/nllb-200-distilled-600M": M2M100Config(**_NLLB, encoder_layers=12, encoder_ffn_dim=4096),
    "facebook/nllb-200-distilled-1.3B": M2M100Config(**_NLLB, encoder_layers=24, encoder_ffn_dim=8192),
}


def main(table: Path) -> None:
    """Write the table, sorted by model."""
    with table.open(encoding="utf-8", newline="") as file:
        paper = list(csv.DictReader(file))
    rows = sorted([*_open_clip_rows(paper), *_demo_rows()], key=lambda row: row.model)
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(dataclasses.astuple(row) for row in rows)
    print(f"{len(rows)} models")


def _open_clip_rows(paper: list[dict[str, str]]) -> Iterator[KnownModel]:
    operations = {row["architecture"]: float(row["flops_b"]) for row in paper}
    accuracy = {f"{row['architecture']}/{row['pretrained']}": float(row["imagenet_top1"]) for row in paper}
    asking = "mllctl.backends.open_clip_models._check_text"
    with patch.object(AutoConfig, "from_pretrained", TEXT_TOWERS.__getitem__), patch(asking):  # nothing is downloaded
        built = {
            arch: describe_architecture(arch) for arch in sorted({arch for arch, _ in open_clip.list_pretrained()})
        }
    for row in paper:
        counted = built[row["architecture"]].parameters
        assert counted is not None and abs(counted / 1e6 - float(row["params_m"])) < 0.02, (row, counted)
    for arch, tag in open_clip.list_pretrained():
        places = get_pretrained_cfg(arch, tag)
        license_, says = _license(places)
        # An activation counts as much as another: where Table 6 has both, their operations are equal.
        gflops = operations.get(arch, operations.get(arch.removesuffix("-quickgelu")))
        yield KnownModel(
            model=f"{arch}/{tag}",
            gflops=gflops,
            license=license_ or None,
            imagenet_top1=accuracy.get(f"{arch}/{tag}"),
            weights=places["hf_hub"],
            tokenizer=open_clip.get_model_config(arch)["text_cfg"].get("hf_tokenizer_name", ""),
            instead=quickgelu_name(arch, tag) or "",
            source="; ".join(filter(None, (gflops and PAPER, says))),
            **dataclasses.asdict(built[arch]),
        )


def _license(places: dict[str, str]) -> tuple[str, str]:
    """Return the licence of some weights and its source; empty if nobody says."""
    # A repository that mirrors an address has the licence of what it mirrors.
    origin = places.get("url") or places.get("hf_hub", "")
    return next((known for part, known in LICENSES.items() if part in origin), ("", ""))


def _demo_rows() -> Iterator[KnownModel]:
    for name in demo_models():
        model = load_model(f"demo:{name}")
        card = model.card
        yield KnownModel(
            model=card.name,
            parameters=card.parameters,
            gflops=round(_count(model), 2),
            license=DEMO_LICENSES[card.kind],
            image_size=card.image_size,
            context_length=CONTEXT if card.kind == "open_clip" else None,
            embedding_width=card.embedding_width,
            imagenet_top1=None,
            weights="",
            tokenizer="",
            instead="",
            source=f"counted by torch at {card.image_size} px and {CONTEXT} tokens; the packages of its towers",
        )


def _count(model: VisionLanguageModel) -> float:
    """Return the GFLOPs of one image and one text of so many tokens that it is cut off."""
    side = model.card.image_size
    picture = Image.fromarray(np.zeros((side, side, 3), np.uint8))
    with FlopCounterMode(display=False) as counter:
        model.encode_images([picture])
        model.encode_texts(["dog " * (CONTEXT - 2)])
    return counter.get_total_flops() / 1e9


if __name__ == "__main__":
    main(Path(sys.argv[1]))
