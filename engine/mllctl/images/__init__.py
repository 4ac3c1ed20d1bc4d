"""Sample images: where they are, what they show, and their pixels.

    folder | manifest | shards ── sources ─┐
    recipe ────────────────────────────────┴─ rows ── sampling ── scanning ── Scan
                                                                     │
                                     uri ── uris (tars | packs) ── pixels ── RGB ── feeding ── batches
    paths, folders, shards ── listing ── rows ─┘              anything in memory ── pictures ── RGB

`scan` says which images of a source show which synset, what could not be used, and why; rows are read
one by one and pictures decoded one at a time, so that memory does not grow with the source's bytes.
`open_image` gives the pixels of a stored uri, `feeding` those of many, decoded ahead of who wants them. `hub` stores
what was found. Never writes anything, and never unpacks an archive. docs/images.md has all of it for users.
"""

from mllctl.images.pixels import ENDINGS, open_image
from mllctl.images.recipes import RECIPES, Recipe, imagenet_wnids, recipe, scan_recipe
from mllctl.images.records import Domain, Row, SampleImage, Scan, Skipped, kind_of
from mllctl.images.sampling import Draw
from mllctl.images.scanning import are_domains, scan
from mllctl.images.uris import SHIPPED, file_behind, read_bytes

__all__ = [
    "ENDINGS",
    "RECIPES",
    "SHIPPED",
    "Domain",
    "Draw",
    "Recipe",
    "Row",
    "SampleImage",
    "Scan",
    "Skipped",
    "are_domains",
    "file_behind",
    "imagenet_wnids",
    "kind_of",
    "open_image",
    "read_bytes",
    "recipe",
    "scan",
    "scan_recipe",
]
