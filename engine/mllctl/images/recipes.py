"""The sample sets of the paper, each with the layout in which it is published.

A recipe finds the class folders below a root folder, or says in one line which layout it expected.
ImageNet-V2 names its folders by class index, in the order of the 1,000 wnids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from mllctl.errors import SourceUnreadable
from mllctl.images.pixels import ENDINGS
from mllctl.images.records import Domain, Scan, Skipped
from mllctl.images.sampling import Draw
from mllctl.images.scanning import check_rows
from mllctl.images.sources import Rows, class_folders, folder_rows, strays
from mllctl.wordnet import WNID, WordNet

CLASSES = 1000


@dataclass(frozen=True)
class Recipe:
    """How a published set of images lies on disk.

    Attributes:
        name: what the command line calls it.
        domain: the domain its images have unless another is named.
        places: where below the root the class folders may be, the first that has some is taken; `.` is the root.
        by_index: whether they are named by class index, and not by wnid.
    """

    name: str
    domain: Domain
    places: tuple[str, ...]
    by_index: bool = False

    @property
    def layout(self) -> str:
        """Say in half a line what is expected."""
        folders = "folders 0 to 999 (class indexes)" if self.by_index else "folders named by wnid, such as n02084071/,"
        inside = [f"ROOT/{place}/" for place in self.places if place != "."]
        return f"{folders} in ROOT/{''.join(f' or {place}' for place in inside)}"


PHOTO = Domain("photo", "a photograph")
RECIPES = {
    recipe.name: recipe
    for recipe in (
        # The validation images first: what models were trained on says less of them.
        Recipe("imagenet", PHOTO, ("val", "train", "ILSVRC/Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/train", ".")),
        Recipe(
            "imagenet-v2",
            PHOTO,
            (
                "imagenetv2-matched-frequency-format-val",
                "imagenetv2-threshold0.7-format-val",
                "imagenetv2-top-images-format-val",
                ".",
            ),
            by_index=True,
        ),
        Recipe("imagenet-sketch", Domain("sketch", "a black and white sketch"), ("sketch", ".")),
        Recipe(
            "imagenet-a",
            Domain("hard photo", "a natural photograph in which the object is hard to recognise"),
            ("imagenet-a", "."),
        ),
        Recipe(
            "imagenet-r",
            Domain("rendition", "a rendition, such as art, a cartoon, a toy, a tattoo or a video game"),
            ("imagenet-r", "."),
        ),
    )
}


def recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        ValueError: naming those there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def scan_recipe(made: Recipe, root: Path, domain: str, nouns: WordNet, *, draw: Draw | None = None) -> Scan:
    """Read a published set of images.

    Args:
        made: which.
        root: the folder it was unpacked in, or the one with its class folders.
        domain: of all its images.
        nouns: where wnids are looked up.
        draw: at most so many images a node; all when None.

    Raises:
        SourceUnreadable: if it does not lie below `root` as the recipe says.
    """
    return check_rows(recipe_rows(made, root, domain), nouns, draw)


def recipe_rows(made: Recipe, root: Path, domain: str) -> Rows:
    """Return the files of a published set; folders that are none of its classes are skipped.

    Raises:
        SourceUnreadable: if it does not lie below `root` as the recipe says.
    """
    if not root.is_dir():
        raise SourceUnreadable(root, "no such folder")
    for place in made.places:
        if (root / place).is_dir():
            folders = class_folders(root / place)
            if any(_is_class(made, folder) for folder in folders):
                return chain(strays(root / place, ENDINGS), _rows(made, folders, domain))
    raise SourceUnreadable(root, f"not the layout of {made.name}, which has {made.layout}")


def _rows(made: Recipe, folders: Sequence[Path], domain: str) -> Rows:
    known = [folder for folder in folders if _is_class(made, folder)]
    yield from (Skipped(str(folder), f"not a class folder of {made.name}") for folder in folders if folder not in known)
    words = [imagenet_wnids()[int(folder.name)] if made.by_index else folder.name for folder in known]
    yield from folder_rows(known, domain, words)


def _is_class(made: Recipe, folder: Path) -> bool:
    if made.by_index:
        return folder.name.isdecimal() and folder.name.isascii() and len(folder.name) < 5 and int(folder.name) < CLASSES
    return WNID.fullmatch(folder.name) is not None


@lru_cache(maxsize=1)
def imagenet_wnids() -> tuple[str, ...]:
    """Return the wnids of ImageNet's 1,000 classes by class index, from the list that timm ships.

    The file is read without importing timm, and torch with it, which takes seconds.

    Raises:
        SourceUnreadable: if timm has it no longer where it was.
    """
    spec = find_spec("timm")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / "_info" / "imagenet_synsets.txt"
        if path.is_file():
            wnids = tuple(path.read_text(encoding="utf-8").split())
            # The order of class indexes is that of the wnids.
            if len(wnids) == CLASSES and list(wnids) == sorted(wnids) and all(map(WNID.fullmatch, wnids)):
                return wnids
    raise SourceUnreadable("timm", "its list of ImageNet's classes is not there; pip install 'timm>=1.0.9'")
