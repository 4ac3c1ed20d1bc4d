"""Which picture is in which split, and which pictures are the same drawing. Pure functions; `pack.py` calls them.

`train` pictures teach the demo's heads, `graph` pictures are the hub's sample images, `task` pictures test an answer.
The held-out style has no `train`. Everything random is a SHA-256 of `SEED`, source and item, so a split depends on the
pictures alone, and `straddling` lets a test prove on the shipped file that no drawing is in two splits.

Near-duplicates. The hash is pHash over 12 x 12 frequencies (144 bits) of a 48 x 48 grey picture, chosen by looking at
pairs of 8,100 pictures at every distance. The usual 64-bit pHash mixes at 8 bits (a rhino and a train), and at 10 most
pairs are false; a pixel distance brings pale pictures together and misses recoloured ones. With 144 bits a pair up to
`ANY` is one drawing, as it is, recoloured or slightly edited (a fir and a Christmas tree, lemon and lime), save a few
balls; from 20 on crayons meet pencils, and a building meets a tie. Among pictures of one synset a false match costs
next to nothing and a missed one is a leak, so limits are wider there: up to `SAME_SYNSET` a pair is one drawing about
as often as it is two artists' pictures of one thing, and up to `SAME_SOURCE`, if both are of one source, it is often
the same pie in black and white. Mirror images count as well. `TWINS` are styles that draw an emoji once and render
it twice (half of the openmoji pairs are within 20 bits): such a pair is one drawing by rule, whatever its hash.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SEED = "mllctl demo 1"

SPLITS = ("train", "graph", "task")
SHARES = {"train": 0.35, "graph": 0.25, "task": 0.4}
HELD_OUT_SHARES = {"train": 0.0, "graph": 0.5, "task": 0.5}

# How much likelier a picture is drawn to where its style lacks one; nearly always, where the quota leaves a choice.
PULL = 20

ANY, SAME_SYNSET, SAME_SOURCE = 18, 28, 36

# A style that is another one without its colours or shading.
TWINS = {"openmoji-line": "openmoji", "glyph": "fluent3d"}

Bits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Picture:
    """What a split depends on: a picture's name, its truth, its style, and whether that is kept out of training."""

    source: str
    item: str
    synset: str
    domain: str
    held_out: bool
    image: Image.Image


def chance(*words: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the words and `SEED`."""
    digest = hashlib.sha256("|".join((SEED, *words)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hash_bits(grey: NDArray[np.float64]) -> Bits:
    """Return the pHash of square grey pictures.

        b = [C_uv > median C],   C = B g B^T,   B_ux = cos(pi u (2 x + 1) / 2 n),   u, v < 12

    Args:
        grey: g, shape (i, n, n).

    Returns:
        b, shape (i, 144), zeros and ones; as `imagehash.phash(image, 12)`.
    """
    size = grey.shape[-1]
    basis = np.cos(np.pi * np.outer(np.arange(12), 2 * np.arange(size) + 1) / (2 * size))
    low = (basis @ grey @ basis.T).reshape(len(grey), -1)
    return (low > np.median(low, axis=1, keepdims=True)).astype(np.float32)


def distances(left: Bits, right: Bits) -> NDArray[np.float32]:
    """Return how many bits differ, for every pair of rows."""
    return left.sum(axis=1)[:, None] + right.sum(axis=1) - 2 * left @ right.T


def pixels(pictures: Sequence[Picture], mode: str, size: int, how: Image.Resampling) -> NDArray[np.float64]:
    """Return all pictures at one size, shape (i, size, size) or (i, size, size, 3)."""
    return np.stack([np.asarray(p.image.convert(mode).resize((size, size), how), float) for p in pictures])


def similar_pairs(pictures: Sequence[Picture], block: int = 1024) -> list[tuple[int, int]]:
    """Return the pairs (i < j) that are near-duplicates, by hash or by rule."""
    grey = pixels(pictures, "L", 48, Image.Resampling.LANCZOS)
    bits, mirrored = hash_bits(grey), hash_bits(grey[:, :, ::-1])
    synset = np.array([p.synset for p in pictures])
    origin = np.array([f"{p.source} {p.synset}" for p in pictures])
    pairs = set(twin_pairs(pictures))
    for start in range(0, len(pictures), block):
        rows = slice(start, start + block)
        nearest = np.minimum(distances(bits[rows], bits), distances(mirrored[rows], bits))
        limit = np.where(synset[rows, None] == synset, SAME_SYNSET, ANY)
        limit[origin[rows, None] == origin] = SAME_SOURCE
        found = np.argwhere(nearest <= limit) + np.array([start, 0])
        pairs.update((int(i), int(j)) for i, j in np.sort(found, axis=1) if i < j)
    return sorted(pairs)


def twin_pairs(pictures: Sequence[Picture]) -> Iterable[tuple[int, int]]:
    """Yield the pairs (i < j) of one item in two styles that share their drawings."""
    place = {(p.source, p.item): i for i, p in enumerate(pictures)}
    for (source, item), i in place.items():
        j = place.get((TWINS.get(source, ""), item))
        if j is not None:
            yield min(i, j), max(i, j)


def repeats(pictures: Sequence[Picture], pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return, for every picture that only repeats an earlier one, that earlier one.

    The same picture: nearly equal in colour too (root mean square under 3 of 255 at 16 x 16).
    """
    small = pixels(pictures, "RGB", 16, Image.Resampling.BOX)
    kept: dict[int, int] = {}
    for i, j in sorted(pairs):
        if i not in kept and np.sqrt(np.mean((small[i] - small[j]) ** 2)) < 3:
            kept.setdefault(j, i)
    return kept


def clusters(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected components of `count` pictures, each sorted, in the order of their first."""
    root = list(range(count))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = i = root[root[i]]
        return i

    for i, j in pairs:
        low, high = sorted((find(i), find(j)))
        root[high] = low
    members = defaultdict(list)
    for i in range(count):
        members[find(i)].append(i)
    return list(members.values())


def quota(stratum: str, count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Round `count` x shares to whole numbers: the floor or the ceiling of each, by chance, with the right mean.

    From as many pictures on as there are splits, every split gets one.
    """
    used = [split for split in SPLITS if shares[split]]
    edges = np.floor(np.cumsum([shares[split] * count for split in used]) + chance("quota", stratum))
    edges[-1] = count
    numbers = dict(zip(used, (int(n) for n in np.diff(edges, prepend=0.0)), strict=True))
    while count >= len(used) and 0 in numbers.values():
        numbers[max(used, key=lambda split: numbers[split])] -= 1
        numbers[min(used, key=lambda split: numbers[split])] += 1
    return numbers


def strata(pictures: Sequence[Picture]) -> dict[str, dict[str, int]]:
    """Return the quota of every stratum: a synset's pictures, those of the held-out style apart."""
    counts: dict[str, int] = defaultdict(int)
    shares = {}
    for picture in pictures:
        counts[stratum_of(picture)] += 1
        shares[stratum_of(picture)] = HELD_OUT_SHARES if picture.held_out else SHARES
    return {name: quota(name, count, shares[name]) for name, count in counts.items()}


def stratum_of(picture: Picture) -> str:
    return f"{picture.synset} {'held out' if picture.held_out else 'open'}"


def draw_split(weights: Mapping[str, float], at: float) -> str:
    """Return the split at `at` (in [0, 1)) of the weights laid end to end."""
    ends = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(ends, at * ends[-1], side="right"))]


def assign(pictures: Sequence[Picture], members: Sequence[Sequence[int]]) -> list[str]:
    """Give every cluster one split, drawn from what is left of its pictures' quotas; large clusters first.

    Then every synset with task pictures gets a graph picture, or nothing in the hub could speak for it.
    """
    left = strata(pictures)
    splits = [""] * len(pictures)
    placed: dict[tuple[str, str], set[str]] = defaultdict(set)
    names = {tuple(m): (pictures[m[0]].source, pictures[m[0]].item) for m in members}
    for cluster in sorted(names, key=lambda m: (-len(m), chance("order", *names[m]))):
        held = [pictures[i] for i in cluster]
        split = draw_split(with_partners(held, open_splits(held, left), placed), chance("split", *names[cluster]))
        for i, picture in zip(cluster, held, strict=True):
            splits[i] = split
            left[stratum_of(picture)][split] -= 1
            placed[picture.synset, picture.domain].add(split)
    return evidence_first(pictures, members, splits)


def open_splits(cluster: Sequence[Picture], left: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Weigh the splits by what is left of the quotas: those with room for the cluster, else any, else all alike."""
    allowed = [s for s in SPLITS if s != "train" or not any(p.held_out for p in cluster)]
    names = [stratum_of(p) for p in cluster]
    room = {s: min(left[n].get(s, 0) - names.count(n) for n in names) for s in allowed}
    fits = {s: float(sum(max(left[n].get(s, 0), 0) for n in names)) for s in allowed}
    return next(
        weights
        for weights in ({s: fits[s] * (room[s] >= 0) for s in allowed}, fits, dict.fromkeys(allowed, 1.0))
        if sum(weights.values())
    )


def with_partners(
    cluster: Sequence[Picture], weights: Mapping[str, float], placed: Mapping[tuple[str, str], set[str]]
) -> dict[str, float]:
    """Favour the split that gives a task picture a graph picture of its synset in its own style, or the reverse."""
    pulled = dict(weights)
    for seen in {(p.synset, p.domain) for p in cluster}:
        for split, partner in (("graph", "task"), ("task", "graph")):
            if split not in placed[seen] and partner in placed[seen]:
                pulled[split] *= PULL
    return pulled


def evidence_first(pictures: Sequence[Picture], members: Iterable[Sequence[int]], splits: Sequence[str]) -> list[str]:
    """Move clusters to graph, from train if possible, else from task, until it shows every synset of a task picture."""
    moved = list(splits)
    shown = {p.synset for p, split in zip(pictures, splits, strict=True) if split == "graph"}
    wanted = {p.synset for p, split in zip(pictures, splits, strict=True) if split == "task"}
    for source, cluster in product(("train", "task"), members):
        synsets = {pictures[i].synset for i in cluster}
        if moved[cluster[0]] == source and synsets & (wanted - shown):
            shown |= synsets
            for i in cluster:
                moved[i] = "graph"
    return moved


def straddling(pictures: Sequence[Picture], splits: Sequence[str]) -> list[tuple[int, int]]:
    """Return the near-duplicate pairs that are in two splits; there must be none."""
    return [(i, j) for i, j in similar_pairs(pictures) if splits[i] != splits[j]]
