"""A page that shows why a model was chosen for a class: one HTML file with the sample images in it."""

import base64
import html
import io

from mllctl.errors import SourceUnreadable
from mllctl.explain import Explanation, NodeEvidence, SeenImage
from mllctl.images import open_image

SIDE = 96  # pixels of a thumbnail
SHOWN = 60  # thumbnails a node: a page stays under some megabytes
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .15rem .9rem .15rem 0; text-align: left }
.seen { display: flex; flex-wrap: wrap; gap: .6rem }
figure { margin: 0; width: 96px; font-size: .72rem; line-height: 1.25; overflow-wrap: anywhere }
figure div { width: 96px; height: 96px; background: #eee; border: 3px solid #b3402a; box-sizing: content-box }
figure.hit div { border-color: #2a7d3c }
img { width: 96px; height: 96px; object-fit: contain }
"""


def explanation_page(explanation: Explanation) -> str:
    """Return an explanation as one HTML page; images that are gone are left as empty frames."""
    e = explanation
    title = f"{e.model} for “{e.class_}”"
    lead = f"Rank {e.rank} for this class: precision {100 * e.precision:.1f} %, reuse {e.reuse:.3f}."
    if e.model != e.chosen:
        lead += f" Chosen is {e.chosen} with reuse {e.chosen_reuse:.3f}."
    if not e.covered:
        lead += f" {e.no_evidence[0].upper()}{e.no_evidence[1:]}."
    parts = [f"<h1>{_text(title)}</h1><p>{_text(lead)}</p>", _alphas(e), _changes(e)]
    parts += [_node(node, [i for i in e.images if i.image.node == node.node.node]) for node in e.nodes]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _alphas(explanation: Explanation) -> str:
    rows = "".join(
        f"<tr><td>{r.low:.2f} to {r.high:.2f}</td><td>{_text(r.model)}</td></tr>" for r in explanation.alphas
    )
    return f"<h2>Who leads at which alpha</h2><table>{rows}</table>"


def _changes(explanation: Explanation) -> str:
    rows = "".join(f"<tr><td>{_text(what)}</td><td>{_text(model)}</td></tr>" for what, model in explanation.changes)
    said = f"<table>{rows}</table>" if rows else "<p>No single node, and no few images, would change it.</p>"
    return f"<h2>What would change the decision</h2>{said}"


def _node(evidence: NodeEvidence, seen: list[SeenImage]) -> str:
    domains = ", ".join(f"{d} {evidence.hits.get(d, 0)} of {n}" for d, n in evidence.images.items())
    rivals = ", ".join(f"{rival} {count}" for rival, count in evidence.rivals) or "none"
    facts = (
        f"Part {100 * evidence.part:.0f} %; believed {100 * evidence.precision:.1f} % "
        f"({100 * evidence.low:.0f} to {100 * evidence.high:.0f}). Hits: {domains or 'no images'}. Taken by: {rivals}."
    )
    frames = "".join(_frame(image) for image in seen[:SHOWN])
    more = f"<p>{len(seen) - SHOWN} more images are not shown.</p>" if len(seen) > SHOWN else ""
    name = f"{evidence.node.synset}: {evidence.node.definition}"
    return f'<h2>{_text(name)}</h2><p>{_text(facts)}</p><div class="seen">{frames}</div>{more}'


def _frame(seen: SeenImage) -> str:
    said = "right" if seen.hit else seen.winner or "lost"
    shown = f'<img alt="" src="data:image/png;base64,{content}">' if (content := _thumbnail(seen.image.uri)) else ""
    kind = ' class="hit"' if seen.hit else ""
    return f"<figure{kind}><div>{shown}</div>{_text(said)}<br>{_text(seen.image.domain)}</figure>"


def _thumbnail(uri: str) -> str:
    try:
        picture = open_image(uri)
    except SourceUnreadable:
        return ""
    picture.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def _text(value: str) -> str:
    return html.escape(value)
