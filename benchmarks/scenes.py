"""Small data of the five kinds of task that EMMS is for, composed from what ships, the same for the same seed.

    image recognition            a picture of the demo                   label: what it shows
    referring                    two to four pictures on a canvas,       box of what is meant, and its name
                                 `the dog`
    captioning                   a picture of the demo                   text: `an emoji of a dog`
    visual question answering    a canvas, `what food is there?`         text: `pizza`, `two`, `yes`
    text question answering      `what is a fixed luminous point in      text: `star`
                                 the night sky?`

Pictures are of the splits that no model of the demo was trained on. Questions of text are WordNet's glosses.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from mllctl.demo import demo_images
from mllctl.images import SampleImage
from mllctl.images.pixels import open_image
from mllctl.kernels.arrays import Float
from mllctl.wordnet import wordnet

if TYPE_CHECKING:
    from PIL import Image

CANVAS = 192  # pixels; a cell is half of it
STYLES = {
    "photo": "a photo",
    "cartoon": "a cartoon",
    "clipart": "a clip art",
    "emoji": "an emoji",
    "flat": "a flat icon",
    "render3d": "a 3D rendering",
    "outlined": "a sticker",
    "line": "a line drawing",
    "silhouette": "a silhouette",
}
AREAS = {"animal": "animal", "food": "food", "artifact": "object"}  # WordNet's files, and what a question calls them
NUMBERS = ("none", "one", "two", "three", "four")


@dataclass(frozen=True)
class KindOfTask:
    """Rows of one kind: pictures or questions or both, and what is to be told.

    Attributes:
        name: of the kind.
        pictures: one a row, or none.
        questions: what is asked of a picture or at all, one a row, or none.
        told: arrays as `scoring.read_task` takes them: labels, texts, boxes.
    """

    name: str
    pictures: list["Image.Image"]
    questions: list[str]
    told: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """Pictures on a canvas, at most one a quarter, of distinct names.

    Attributes:
        canvas: what a model is shown.
        names: of what is on it.
        areas: of each.
        boxes: left, top, right, bottom in pixels, shape (n, 4).
    """

    canvas: "Image.Image"
    names: tuple[str, ...]
    areas: tuple[str, ...]
    boxes: Float


@cache
def _held_out() -> tuple[SampleImage, ...]:
    return (*demo_images("task"), *demo_images("graph"))


def _name(wnid: str) -> str:
    return wordnet()[wnid].lemmas[0].replace("_", " ")


def _frequent(classes: int, area: str | None = None) -> dict[str, list[SampleImage]]:
    """Return the pictures of the nouns that have most, of one area if it is given; ties go to the first id."""
    by_noun = defaultdict(list)
    for image in _held_out():
        if area is None or wordnet()[image.wnid].lexname == area:
            by_noun[image.wnid].append(image)
    few = sorted(by_noun, key=lambda wnid: (-len(by_noun[wnid]), wnid))[:classes]
    return {wnid: by_noun[wnid] for wnid in few}


@cache
def _pool() -> dict[str, tuple[str, list[SampleImage]]]:
    """Return what scenes are made of: area and pictures of twelve nouns an area."""
    return {wnid: (area, images) for area in AREAS for wnid, images in _frequent(12, area).items()}


def recognition(rows: int, random: np.random.Generator, classes: int = 40) -> KindOfTask:
    """Pictures and what they show."""
    pool = [image for images in _frequent(classes).values() for image in images]
    chosen = [pool[n] for n in random.permutation(len(pool))[:rows]]
    labels = np.array([_name(image.wnid) for image in chosen])
    return KindOfTask("image recognition", [open_image(image.uri) for image in chosen], [], {"labels": labels})


def captioning(rows: int, random: np.random.Generator) -> KindOfTask:
    """Pictures and their captions: style and noun."""
    pool = [image for image in _held_out() if image.domain in STYLES]
    chosen = [pool[n] for n in random.permutation(len(pool))[:rows]]
    captions = [f"{STYLES[image.domain]} of {_article(_name(image.wnid))}" for image in chosen]
    return KindOfTask("captioning", [open_image(image.uri) for image in chosen], [], {"texts": np.array(captions)})


def compose(random: np.random.Generator) -> Scene:
    """Put two to four pictures on a canvas, each scaled and moved at random within its quarter."""
    from PIL import Image

    pool = _pool()
    wnids = random.permutation(sorted(pool))[: random.integers(2, 5)]
    quarters = random.permutation(4)[: len(wnids)]
    canvas = Image.new("RGB", (CANVAS, CANVAS), "white")
    boxes = []
    for wnid, quarter in zip(wnids, quarters, strict=True):
        images = pool[wnid][1]
        picture = open_image(images[random.integers(len(images))].uri)
        side = int(random.integers(CANVAS // 3, CANVAS // 2 + 1))
        left, top = (int(random.integers(0, CANVAS // 2 - side + 1)) + CANVAS // 2 * int(n) for n in divmod(quarter, 2))
        canvas.paste(picture.resize((side, side)), (left, top))
        boxes.append((left, top, left + side, top + side))
    areas = tuple(AREAS[pool[wnid][0]] for wnid in wnids)
    return Scene(canvas, tuple(_name(wnid) for wnid in wnids), areas, np.array(boxes, dtype=np.float64))


def referring(rows: int, random: np.random.Generator) -> KindOfTask:
    """Canvases, one thing on each that is meant, and its box."""
    scenes = [compose(random) for _ in range(rows)]
    meant = [int(random.integers(len(scene.names))) for scene in scenes]
    names = [scene.names[n] for scene, n in zip(scenes, meant, strict=True)]
    boxes = np.array([scene.boxes[n] for scene, n in zip(scenes, meant, strict=True)])
    told = {"labels": np.array(names), "boxes": boxes, "sizes": np.full((rows, 2), CANVAS)}
    return KindOfTask("referring", [scene.canvas for scene in scenes], [f"the {name}" for name in names], told)


def visual_questions(rows: int, random: np.random.Generator) -> KindOfTask:
    """Canvases, a question of each, and its answer in words."""
    pictures, questions, answers = [], [], []
    while len(pictures) < rows:
        scene = compose(random)
        kinds = _questions(scene)
        asked = kinds[random.integers(len(kinds))]
        question, answer = asked[random.integers(len(asked))]
        pictures.append(scene.canvas)
        questions.append(question)
        answers.append(answer)
    told = {"labels": np.array(answers), "texts": np.array(answers)}
    return KindOfTask("visual question answering", pictures, questions, told)


def _questions(scene: Scene) -> list[list[tuple[str, str]]]:
    """Return all that may be asked of a scene, with the answers, by kind of question."""
    counted = Counter(scene.areas)
    many = [(f"how many {area}s are there?", NUMBERS[counted[area]]) for area in ("animal", "object")]
    pairs = zip(scene.areas, scene.names, strict=True)
    what = [(f"what {area} is there?", name) for area, name in pairs if counted[area] == 1]
    there = [(f"is there {_article(name)}?", "yes") for name in scene.names]
    others = [name for name in map(_name, sorted(_pool())) if name not in scene.names]
    absent = [(f"is there {_article(name)}?", "no") for name in others]
    quarter = (scene.boxes[:, :2] + scene.boxes[:, 2:]) // CANVAS  # 0 or 1, across and down
    left = [
        (f"what is to the left of the {beside}?", name)
        for one, name in enumerate(scene.names)
        for other, beside in enumerate(scene.names)
        if quarter[one, 1] == quarter[other, 1] and quarter[one, 0] < quarter[other, 0]
    ]
    return [kind for kind in (many, what, there, absent, left) if kind]


def text_questions(rows: int, random: np.random.Generator) -> KindOfTask:
    """WordNet's glosses as questions, their first word as answer; no gloss says its word, and no answer comes twice."""
    nouns = sorted({image.wnid for image in _held_out()})
    parents = sorted({parent for wnid in nouns for parent in wordnet()[wnid].hypernyms} - set(nouns))
    found = {}
    for wnid in [*nouns, *parents]:
        gloss = wordnet()[wnid].definition.split(";")[0]
        if _name(wnid).lower() not in gloss.lower():
            found.setdefault(_name(wnid), f"what is {gloss}?")
    words = [sorted(found)[n] for n in random.permutation(len(found))[:rows]]
    return KindOfTask("text question answering", [], [found[word] for word in words], {"texts": np.array(words)})


KINDS: Sequence[Callable[[int, np.random.Generator], KindOfTask]] = (
    recognition,
    referring,
    captioning,
    visual_questions,
    text_questions,
)


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
