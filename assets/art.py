"""Find and draw the art that the demo's images are made from.

`Art` is a folder of unpacked npm and Debian packages (`make demo-assets` fills it).
`draw(style, item)` returns one picture on white, `SIZE` pixels square. An emoji's item is its
lower-case code points joined by `-`; any other item is a path inside its package.

Only packages whose art may be redistributed; the notices are in `mllctl_data/demo/LICENSES`.
"""

import io
import json
import re
import subprocess
from functools import cached_property
from pathlib import Path

from PIL import Image

SIZE = 64

EMOJI_STYLES = ("noto", "twemoji", "fluent3d", "openmoji", "openmoji-line", "fxemoji", "emojione", "glyph")


def square(image: Image.Image, size: int = SIZE) -> Image.Image:
    """Crop to what is drawn, centre it on a white square with a margin of 1/16, scale to `size`."""
    image = image.convert("RGBA")
    drawn = image.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox()
    image = image.crop(drawn) if drawn else image
    side = round(max(image.size) * 9 / 8)
    canvas = Image.new("RGBA", (side, side), "white")
    canvas.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)


def render_svg(svg: bytes, size: int = 256) -> Image.Image:
    """Draw an SVG with librsvg (Debian `librsvg2-bin`); scripts and outside references are not followed."""
    command = ["rsvg-convert", "--keep-aspect-ratio", "-w", str(size), "-h", str(size)]
    png = subprocess.run(command, input=svg, capture_output=True, check=True).stdout
    return Image.open(io.BytesIO(png))


class Art:
    """The unpacked packages: `npm/node_modules/...` and `deb/usr/share/...` under one folder."""

    def __init__(self, root: Path) -> None:
        self._npm = root / "npm" / "node_modules"
        self._share = root / "deb" / "usr" / "share"

    def draw(self, style: str, item: str, size: int = SIZE) -> Image.Image | None:
        """Return the picture of `item` in `style`, or None if that style does not draw it."""
        source = self._file(style, item)
        if isinstance(source, bytes):
            return square(render_svg(source), size)
        if source is None or not source.is_file():
            return None
        image = render_svg(source.read_bytes()) if source.suffix == ".svg" else Image.open(source)
        return square(image, size)

    def emoji(self) -> list[dict[str, str]]:
        """Return every emoji without skin tones: item, name, group, subgroup."""
        rows = json.loads((self._npm / "emoji-datasource-google" / "emoji.json").read_text())
        return [
            {
                "item": row["image"].removesuffix(".png"),
                "name": row["name"].lower(),
                "short": row["short_name"],
                "group": row["category"],
                "subgroup": row["subcategory"],
            }
            for row in sorted(rows, key=lambda row: row["sort_order"])
        ]

    def paths(self, style: str) -> list[str]:
        """Return the items of a style that is a folder of files."""
        folder = self._folder(style)
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".png", ".svg"))

    def _folder(self, style: str) -> Path:
        return self._share / ("openclipart/png" if style == "clipart" else "tuxpaint/stamps")

    def _file(self, style: str, item: str) -> Path | bytes | None:
        plain = item.replace("-fe0f", "")
        match style:
            case "noto":
                return self._npm / "emoji-datasource-google/img/google/64" / f"{item}.png"
            case "twemoji":
                return self._npm / "emoji-datasource-twitter/img/twitter/64" / f"{item}.png"
            case "fluent3d":
                folder = self._npm / "@lobehub/fluent-emoji-3d/assets"
                return next((p for p in (folder / f"{item}.webp", folder / f"{plain}.webp") if p.is_file()), None)
            case "openmoji" | "openmoji-line":
                colour = "black" if style.endswith("line") else "color"
                folder = self._npm / "openmoji" / colour / "svg"
                names = (f"{item.upper()}.svg", f"{plain.upper()}.svg")
                return next((folder / name for name in names if (folder / name).is_file()), None)
            case "fxemoji" | "emojione" | "glyph":
                icons, names = self._iconify[style]
                return self._svg(icons, names.get(plain))
            case _:
                return self._folder(style) / item

    @cached_property
    def _iconify(self) -> dict[str, tuple[dict, dict[str, str]]]:
        """style -> (the package's icons, code points -> icon name)."""
        packages = {"fxemoji": "fxemoji", "emojione": "emojione", "glyph": "fluent-emoji-high-contrast"}
        loaded = {}
        for style, package in packages.items():
            folder = self._npm / "@iconify-json" / package
            icons = json.loads((folder / "icons.json").read_text())
            chars = json.loads((folder / "chars.json").read_text())
            loaded[style] = icons, chars or self._names_of(icons["icons"])
        return loaded

    def _names_of(self, icons: dict[str, object]) -> dict[str, str]:
        """Map code points to icon names: `u1F400-rat` carries them, `cat-face` is the emoji's own name."""
        slugs = json.loads((self._npm / "unicode-emoji-json" / "data-by-emoji.json").read_text())
        by_slug = {row["slug"].replace("_", "-"): "-".join(f"{ord(c):x}" for c in char) for char, row in slugs.items()}
        for row in self.emoji():
            by_slug.setdefault(row["short"].replace("_", "-"), row["item"])
        names = {}
        for icon in icons:
            numbered = re.match(r"u([0-9A-F]{4,5})-", icon)
            code = numbered.group(1).lower() if numbered else by_slug.get(icon)
            if code:
                names.setdefault(code.replace("-fe0f", ""), icon)
        return names

    @staticmethod
    def _svg(icons: dict, name: str | None) -> bytes | None:
        if name is None or name not in icons["icons"]:
            return None
        icon = icons["icons"][name]
        width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
        view = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        return f'<svg {names} viewBox="{view}">{icon["body"]}</svg>'.encode()
