"""`graph build` and `graph show`."""

from typing import Annotated

import typer

import mllctl
from mllctl.errors import StageMissing
from mllctl.hub import StoredNode
from mllctl.hub.writing import change_hub
from mllctl_cli import render
from mllctl_cli.options import HubOption, JsonOption, find_node, hub_path, same_hub


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    graph = typer.Typer(no_args_is_help=True, help="The semantic graph: synsets with images, and their ancestors.")
    graph.command()(build)
    graph.command()(show)
    app.add_typer(graph, name="graph")


def build(hub: HubOption = None, json: JsonOption = False) -> None:
    """Build the graph: synsets with images, and all their ancestors.

    Example: mllctl graph build --hub ./hub
    """
    from mllctl.graph import with_ancestors
    from mllctl.wordnet import wordnet

    path = mllctl.find_hub(hub)
    with change_hub(path, "graph build") as change:
        with mllctl.Hub.open(path) as opened:
            given = [node.synset for node in opened.nodes()]
        if not given:
            raise StageMissing("the hub has no images to build a graph from", "mllctl images add DIR --domain NAME")
        nouns = wordnet()
        new = change.set_graph(with_ancestors((nouns.senses(synset)[0].wnid for synset in given), nouns))
    with mllctl.Hub.open(path) as opened:
        facts = {"version": opened.graph_version(), "nodes": len(opened.nodes()), "edges": len(opened.edges())}
    if json:
        render.print_json({**facts, "changed": new})
        return
    render.print_line(f"graph version {facts['version']}: {facts['nodes']} nodes, {facts['edges']} edges")
    render.say(f"next: `mllctl index build{same_hub(hub)}`" if new else "nothing new")


def show(
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="A synset such as dog.n.01; all nodes without it.")
    ] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Show a node with its parents and children, or list all nodes.

    Example: mllctl graph show dog.n.01
    """
    with mllctl.Hub.open(hub_path(hub)) as opened:
        if node is None:
            _show_all(opened.nodes(), json)
            return
        facts = _node_facts(opened, find_node(opened, node))
    if json:
        render.print_json(facts)
        return
    render.print_facts(facts)


def _node_facts(hub: mllctl.Hub, node: StoredNode) -> dict[str, object]:
    nodes, edges = hub.nodes(), hub.edges()
    return {
        "synset": node.synset,
        "caption": node.caption,
        "lexname": node.lexname,
        "images": node.images,
        "parents": [nodes[parent].synset for parent, child in edges if child == node.node],
        "children": [nodes[child].synset for parent, child in edges if parent == node.node],
    }


def _show_all(nodes: list[StoredNode], json: bool) -> None:
    if json:
        render.print_json([{"synset": n.synset, "images": n.images, "caption": n.caption} for n in nodes])
        return
    render.print_table(("node", "images", "caption"), [(n.synset, n.images, n.caption) for n in nodes], ("images",))
