"""Train the heads of the demo's models on the `train` pictures, with fixed seeds, and describe all models.

    images.parquet (train) ── frozen image tower ──┐
                                                   ├─ two linear layers a model ── heads/NAME.safetensors
    lemmas and definitions ── frozen text tower ───┘                               models.json

A model is a specialist: it is taught one group of nouns in one group of styles, and sees a little of everything else
(`ELSEWHERE` of each batch), as a real model has. Its two projections are trained by softmax over the concepts, in
turn by lemma, by prompt and by lemma with definition. Nothing here looks at a `graph` or `task` picture: the settings
were chosen on a fifth of the train pictures that was left out (`--check` does that again).

    python assets/train.py [--check]
"""

import argparse
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from tasks import Nouns

from mllctl.backends import towers
from mllctl.backends.open_clip_models import image_transform
from mllctl.backends.sentence import TorchEncoder
from mllctl.wordnet import wordnet

DATA = Path(__file__).parents[1] / "data" / "mllctl_data"
HEADS, CATALOGUE = DATA / "demo" / "heads", DATA / "demo" / "models.json"

IMAGE_SIZE = 128  # pixels; pictures are 64, but the tower reads them better enlarged
WIDTH, GENERALIST_WIDTH = 96, 24
STEPS, BATCH, RATE, DECAY, DROPOUT = 240, 256, 3e-3, 0.05, 0.2
ELSEWHERE = 0.03
FIRST_SCALE, LARGEST_SCALE = 20.0, 100.0
CONSE_SCALE = 20.0

STYLES = {
    "colour": ("emoji", "flat", "render3d"),
    "ink": ("outlined", "line", "silhouette", "photo", "cartoon"),
}
# Groups are those of `tasks.Nouns`.
CONCEPTS = {
    "animal": ("animal",),
    "food": ("food", "plant"),
    "tool": ("tool", "quantity", "communication"),
    "home": ("household", "leisure", "clothing", "artifact", "possession", "cognition", "substance"),
    "place": ("vehicle", "building", "nature", "person", "body", "group", "shape"),
}


@dataclass(frozen=True)
class Pictures:
    """The train pictures: image features of two views (i, 2, 1280), concept, group and style of each."""

    features: torch.Tensor
    concept: np.ndarray
    group: np.ndarray
    style: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """What one head is taught."""

    name: str
    words: str
    own: np.ndarray
    width: int
    elsewhere: float


@dataclass(frozen=True)
class Head:
    """A trained head: image projection (d, 1280), text projection (d, 384), logarithm of the scale."""

    image: torch.Tensor
    text: torch.Tensor
    scale: torch.Tensor


def read_pictures(nouns: Nouns) -> tuple[Pictures, list[str]]:
    """Return the train pictures, and the synsets that their `concept` counts through."""
    table = pq.read_table(DATA / "demo" / "images.parquet", filters=[("split", "==", "train")])
    rows = table.drop(["picture"]).to_pylist()
    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in table.column("picture").to_pylist()]
    synsets = sorted({row["synset"] for row in rows})
    features = torch.stack([embed_images(images), embed_images([ImageOps.mirror(image) for image in images])], dim=1)
    concept = np.array([synsets.index(row["synset"]) for row in rows])
    group = np.array([nouns.group(row["synset"]) for row in rows])
    return Pictures(features, concept, group, np.array([row["domain"] for row in rows])), synsets


@torch.inference_mode()
def embed_images(images: Sequence[Image.Image]) -> torch.Tensor:
    """Return the pooled features of the frozen image tower, shape (i, 1280)."""
    network = towers.image_network().to(memory_format=torch.channels_last)
    transform = image_transform(towers.preprocess(IMAGE_SIZE))
    parts = []
    for start in range(0, len(images), 64):
        pixels = torch.stack([transform(image) for image in images[start : start + 64]])
        parts.append(network.forward_features(pixels.to(memory_format=torch.channels_last)).mean(dim=(2, 3)))
    return torch.cat(parts)


def embed_concepts(synsets: Sequence[str], nouns: Nouns) -> torch.Tensor:
    """Return the frozen text tower's vectors of each concept's texts, shape (concepts, 3, 384)."""
    encoder = TorchEncoder(towers.text_folder(), "all-MiniLM-L6-v2")
    lemmas = [nouns.synsets[synset].name for synset in synsets]
    definitions = [nouns.synsets[synset].definition for synset in synsets]
    texts = [
        lemmas,
        [f"a photo of {lemma}" for lemma in lemmas],
        [f"{lemma} which is {definition}" for lemma, definition in zip(lemmas, definitions, strict=True)],
    ]
    return torch.stack([torch.from_numpy(encoder.encode(few)) for few in texts], dim=1)


def centring(features: torch.Tensor) -> torch.Tensor:
    """Return the linear map that takes out the mean direction and brings features to unit scale, (1280, 1280).

    Pooled features are all alike in their mean; open_clip's head has no bias that could remove it.
    """
    flat = features.flatten(0, 1).double()
    direction = torch.nn.functional.normalize(flat.mean(dim=0), dim=0)
    removed = torch.eye(flat.shape[1], dtype=torch.float64) - torch.outer(direction, direction)
    return (removed / (flat @ removed).square().mean().sqrt()).float()


def recipes(pictures: Pictures) -> list[Recipe]:
    """Return one recipe for each group of concepts in each group of styles, and one for a small generalist."""
    made = []
    for concepts, groups in CONCEPTS.items():
        for styles, domains in STYLES.items():
            own = np.isin(pictures.group, groups) & np.isin(pictures.style, domains)
            words = f"{', '.join(groups)} in {', '.join(domains)}"
            made.append(Recipe(f"{concepts}-{styles}", words, own, WIDTH, ELSEWHERE))
    everything = np.ones(len(pictures.concept), dtype=bool)
    return [*made, Recipe("generalist", "everything, in few dimensions", everything, GENERALIST_WIDTH, 0.0)]


def train_head(pictures: Pictures, texts: torch.Tensor, recipe: Recipe, allowed: np.ndarray) -> Head:
    """Train the two projections of one head on the pictures `allowed`; the seed is a checksum of its name."""
    chance = torch.Generator().manual_seed(zlib.crc32(recipe.name.encode()))
    own, others = (torch.from_numpy(np.flatnonzero(mask & allowed)) for mask in (recipe.own, ~recipe.own))
    away = round(BATCH * recipe.elsewhere)
    target, words = concepts_of(pictures, texts, allowed)
    centre = centring(pictures.features)
    features = pictures.features @ centre.T
    image = torch.nn.Parameter(torch.randn(recipe.width, features.shape[-1], generator=chance) / 1280**0.5)
    text = torch.nn.Parameter(torch.randn(recipe.width, words.shape[-1], generator=chance) / 384**0.5)
    scale = torch.nn.Parameter(torch.tensor(FIRST_SCALE).log())
    groups = [{"params": [image, text], "weight_decay": DECAY}, {"params": [scale], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        rows = torch.cat([draw(own, BATCH - away, chance), draw(others, away, chance)])
        shown = drop(features[rows, torch.randint(2, (BATCH,), generator=chance)], chance)
        said = words[torch.arange(len(words)), torch.randint(3, (len(words),), generator=chance)]
        cosine = unit(shown @ image.T) @ unit(said @ text.T).T
        loss = torch.nn.functional.cross_entropy(scale.exp().clamp(max=LARGEST_SCALE) * cosine, target[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return Head((image @ centre).detach(), text.detach(), scale.detach().clamp(max=float(np.log(LARGEST_SCALE))))


def concepts_of(pictures: Pictures, texts: torch.Tensor, allowed: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each picture's position among the concepts that are shown, and these concepts' texts."""
    concepts = torch.from_numpy(np.unique(pictures.concept[allowed]))
    place = torch.zeros(len(texts), dtype=torch.int64)
    place[concepts] = torch.arange(len(concepts))
    return place[torch.from_numpy(pictures.concept)], texts[concepts]


def draw(rows: torch.Tensor, count: int, chance: torch.Generator) -> torch.Tensor:
    return rows[torch.randint(max(len(rows), 1), (count,), generator=chance)]


def drop(features: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    kept = torch.rand(features.shape, generator=chance) > DROPOUT
    return features * kept / (1 - DROPOUT)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def top1(head: Head, pictures: Pictures, texts: torch.Tensor, shown: np.ndarray) -> float:
    """Return the share of the pictures `shown` that go to their own among all concepts shown, by prompt."""
    if not shown.any():
        return float("nan")
    concepts, truth = np.unique(pictures.concept[shown], return_inverse=True)
    images = pictures.features[torch.from_numpy(np.flatnonzero(shown)), 0]
    cosine = unit(images @ head.image.T) @ unit(texts[torch.from_numpy(concepts), 1] @ head.text.T).T
    return float((cosine.argmax(dim=1).numpy() == truth).mean())


def save_head(name: str, head: Head) -> None:
    tensors = {
        "visual.head.proj.weight": head.image.contiguous(),
        "text.proj.weight": head.text.contiguous(),
        "logit_scale": head.scale,
    }
    HEADS.mkdir(exist_ok=True)
    save_file(tensors, HEADS / f"{name}.safetensors")


def describe_head(recipe: Recipe, head: Head) -> dict[str, object]:
    return {
        "name": recipe.name,
        "kind": "open_clip",
        "trained_on": recipe.words,
        "image_size": IMAGE_SIZE,
        "width": recipe.width,
        "scale": round(float(head.scale.exp()), 4),
        "seed": zlib.crc32(recipe.name.encode()),
    }


def describe_conse(top: int) -> dict[str, object]:
    return {
        "name": f"conse-top{top}",
        "kind": "conse",
        "trained_on": "nothing: names of the 1,000 ImageNet classes",
        "image_size": IMAGE_SIZE,
        "width": 384,
        "scale": CONSE_SCALE,
        "top": top,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="leave a fifth out, report on it, write nothing")
    check = parser.parse_args().check
    torch.set_num_threads(1)  # one order of summation, whatever the machine
    nouns = Nouns(wordnet())
    pictures, synsets = read_pictures(nouns)
    texts = embed_concepts(synsets, nouns)
    held_out = np.random.default_rng(0).random(len(pictures.concept)) < (0.2 if check else 0.0)
    catalogue = []
    print(f"{'head':16}{'pictures':>9}{'concepts':>9}" + f"{'own top-1':>10}{'others':>8}" * check)
    for recipe in recipes(pictures):
        head = train_head(pictures, texts, recipe, ~held_out)
        line = f"{recipe.name:16}{recipe.own.sum():9}{len(np.unique(pictures.concept[recipe.own])):9}"
        if check:
            own, others = (top1(head, pictures, texts, mask & held_out) for mask in (recipe.own, ~recipe.own))
            print(f"{line}{own:10.3f}{others:8.3f}", flush=True)
        else:
            save_head(recipe.name, head)
            catalogue.append(describe_head(recipe, head))
            print(line, flush=True)
    if not check:
        CATALOGUE.write_text(json.dumps([*catalogue, describe_conse(10)], indent=1) + "\n")
        print(f"{CATALOGUE}: {sum(file.stat().st_size for file in HEADS.iterdir()) / 1e6:.1f} MB of heads")


if __name__ == "__main__":
    main()
