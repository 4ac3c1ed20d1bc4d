"""Train the softmax heads of the demo's experts on the `train` pictures, with fixed seeds.

    images.parquet (train) ── frozen image tower ── one linear layer an expert ── experts/NAME.safetensors
                                                                                  experts/experts.json

An expert knows the concepts of its own category and nothing else, as the classifiers people publish do: it was never
shown another picture, and has a head for each concept, or for each of a few coarse classes. Nothing here looks at a
`graph` or `task` picture; `--check` leaves a fifth of the train pictures out and reports on it.

    python assets/train_experts.py [--check]
"""

import argparse
import json
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import save_file
from tasks import Nouns
from train import CONCEPTS, DATA, STYLES, Pictures, centring, draw, drop, read_pictures

from mllctl.wordnet import wordnet

EXPERTS = DATA / "demo" / "experts"
STEPS, BATCH, RATE, DECAY = 300, 256, 3e-3, 0.05


@dataclass(frozen=True)
class Recipe:
    """What one expert is taught: which pictures, and what is the class of each."""

    name: str
    words: str
    own: np.ndarray
    classes: np.ndarray


def recipes(pictures: Pictures, synsets: list[str]) -> list[Recipe]:
    """Return one recipe for each category of concepts, some for one kind of style, and three of coarse classes."""
    concept = np.array(synsets)[pictures.concept]
    everything = np.ones(len(concept), dtype=bool)
    colour = np.isin(pictures.style, STYLES["colour"])
    made = [
        Recipe(name, f"{', '.join(groups)}, all styles", np.isin(pictures.group, groups), concept)
        for name, groups in CONCEPTS.items()
    ]
    for name in ("animal", "food"):
        of = np.isin(pictures.group, CONCEPTS[name])
        made.append(Recipe(f"{name}-colour", f"{name} in {', '.join(STYLES['colour'])}", of & colour, concept))
        made.append(Recipe(f"{name}-ink", f"{name} in {', '.join(STYLES['ink'])}", of & ~colour, concept))
    vehicles = np.isin(pictures.group, ("vehicle", "building"))
    made.append(Recipe("traffic", "vehicles and buildings, all styles", vehicles, concept))
    made.append(Recipe("groups", "which group of nouns, all styles", everything, pictures.group))
    animal = np.where(np.isin(pictures.group, ("animal",)), "animal", "no animal")
    made.append(Recipe("animal-or-not", "animals against all else", everything, animal))
    made.append(Recipe("styles", "which style, whatever it shows", everything, pictures.style))
    return made


def train(pictures: Pictures, recipe: Recipe, allowed: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Return weight (h, 1280), bias (h,) and names of the heads; the seed is a checksum of the expert's name."""
    chance = torch.Generator().manual_seed(zlib.crc32(recipe.name.encode()))
    rows = torch.from_numpy(np.flatnonzero(recipe.own & allowed))
    heads, place = np.unique(recipe.classes[recipe.own & allowed], return_inverse=True)
    target = torch.zeros(len(recipe.own), dtype=torch.int64)
    target[rows] = torch.from_numpy(place)
    centre = centring(pictures.features)
    features = pictures.features @ centre.T
    weight = torch.nn.Parameter(torch.zeros(len(heads), features.shape[-1]))
    bias = torch.nn.Parameter(torch.zeros(len(heads)))
    optimiser = torch.optim.AdamW([weight, bias], lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        few = draw(rows, BATCH, chance)
        shown = drop(features[few, torch.randint(2, (BATCH,), generator=chance)], chance)
        loss = torch.nn.functional.cross_entropy(shown @ weight.T + bias, target[few])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return (weight @ centre).detach(), bias.detach(), heads.tolist()


def top1(pictures: Pictures, weight: torch.Tensor, bias: torch.Tensor, shown: np.ndarray) -> float:
    """Return the share of pictures whose own head answers most; `shown` is the head of each, -1 for none."""
    rows = np.flatnonzero(shown >= 0)
    answers = (pictures.features[torch.from_numpy(rows), 0] @ weight.T + bias).argmax(dim=1).numpy()
    return float((answers == shown[rows]).mean()) if len(rows) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="leave a fifth out, report on it, write nothing")
    check = parser.parse_args().check
    torch.set_num_threads(1)  # one order of summation, whatever the machine
    pictures, synsets = read_pictures(Nouns(wordnet()))
    held_out = np.random.default_rng(0).random(len(pictures.concept)) < (0.2 if check else 0.0)
    EXPERTS.mkdir(exist_ok=True)
    catalogue = []
    print(f"{'expert':16}{'pictures':>9}{'heads':>7}" + f"{'top-1':>8}" * check)
    for recipe in recipes(pictures, synsets):
        weight, bias, heads = train(pictures, recipe, ~held_out)
        line = f"{recipe.name:16}{recipe.own.sum():9}{len(heads):7}"
        if check:
            place = {name: n for n, name in enumerate(heads)}
            own = recipe.own & held_out
            truth = np.array([place.get(name, -1) for name in recipe.classes])
            truth[~own] = -1
            print(f"{line}{top1(pictures, weight, bias, truth):8.3f}", flush=True)
            continue
        tensors = {"weight": weight.half().contiguous(), "bias": bias.half()}
        save_file(tensors, EXPERTS / f"{recipe.name}.safetensors")
        facts = {"name": recipe.name, "trained_on": recipe.words, "images": int(recipe.own.sum()), "heads": heads}
        catalogue.append(facts)
        print(line, flush=True)
    if not check:
        (EXPERTS / "experts.json").write_text(json.dumps(catalogue, indent=1) + "\n", encoding="utf-8")
        print(f"{EXPERTS}: {sum(file.stat().st_size for file in EXPERTS.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
