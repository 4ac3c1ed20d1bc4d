"""`explain`: why a model was chosen for a class."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mllctl.captions import read_captions
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.experts.selection import THRESHOLD
from mllctl.explain import Explanation, explain_choice
from mllctl.hub import Hub
from mllctl_cli import render
from mllctl_cli.classes import ClassesOption, read_classes
from mllctl_cli.options import DomainOption, HubOption, JsonOption, hub_path, index_encoder
from mllctl_cli.select import (
    AlphaOption,
    CaptionsOption,
    EstimatorOption,
    ExpertsOption,
    MatchOption,
    MaxModelsOption,
    NodesOption,
    ThresholdOption,
    find_matching,
    make_selection,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(explain)


def explain(
    class_: Annotated[str, typer.Argument(metavar="CLASS", help="The class in question.")],
    classes: ClassesOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Why not this one? Else the model chosen.", show_default=False),
    ] = None,
    domain: DomainOption = None,
    max_models: MaxModelsOption = None,
    alpha: AlphaOption = 0.7,
    nodes: NodesOption = 5,
    match: MatchOption = "wordnet",
    estimator: EstimatorOption = "shrunk",
    captions: CaptionsOption = None,
    experts: ExpertsOption = False,
    threshold: ThresholdOption = THRESHOLD,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write a page with the sample images.", show_default=False),
    ] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Say why a model was chosen for a class.

    It shows the nodes that speak for the class, the images behind them, who leads at which alpha, and what would change
    the decision. Give the classes and options that `select` was given: the other classes are rivals and set the mean.
    Without --classes the class is a task of its own. With --experts it shows which heads of an expert make up the
    class, and what they answer on its node.

    Example: mllctl explain tiger --classes classes.txt --domain "flat icons"
    """
    names = read_classes(classes, None) if classes else [class_]
    if experts:
        _explain_expert(class_, names, model, domain, threshold, match, captions, report, hub, json)
        return
    with Hub.open(hub_path(hub)) as opened:
        selection = make_selection(
            opened,
            names,
            domain,
            alpha=alpha,
            nodes_per_class=nodes,
            match=match,
            estimator=estimator,
            max_models=max_models,
            captions=captions,
        )
        explanation = explain_choice(opened, selection, class_, model)
    if report:
        _write_report(explanation, report)
    if json:
        render.print_json(_explanation_json(explanation))
    else:
        _print_explanation(explanation)


def _explain_expert(
    class_: str,
    names: list[str],
    expert: str | None,
    domain: str | None,
    threshold: float,
    match: str,
    captions: Path | None,
    report: Path | None,
    hub: Path | None,
    json: bool,
) -> None:
    from mllctl.experts import explain_expert, select_experts
    from mllctl_cli.experts import explanation_json, print_explanation

    if report:
        raise InvalidTask("--report shows models; leave it out, or --experts")
    with Hub.open(hub_path(hub)) as opened:
        found = select_experts(
            opened,
            names,
            domain,
            threshold=threshold,
            matching=find_matching(match),
            captions=read_captions(captions) if captions else None,
            encoder=index_encoder(opened),
        )
    told = explain_expert(found, class_, expert)
    if json:
        render.print_json(explanation_json(told))
    else:
        print_explanation(told)


def _write_report(explanation: Explanation, path: Path) -> None:
    from mllctl.report import explanation_page

    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(explanation_page(explanation))
    except FileExistsError as error:
        raise SourceUnreadable(path, "is there already; name a new file") from error
    render.say(f"wrote {path}")


def _print_explanation(explanation: Explanation) -> None:
    e = explanation
    render.print_line(
        f"{e.model} is number {e.rank} for {e.class_!r}: precision {render.percent(e.precision)} %, reuse {e.reuse:.3f}"
    )
    if e.model != e.chosen:
        render.print_line(f"chosen is {e.chosen}, reuse {e.chosen_reuse:.3f}")
    if not e.covered:
        render.print_line(e.no_evidence)
        return
    render.print_line()
    rows = [
        (
            node.node.synset,
            f"{100 * node.part:.0f}",
            f"{100 * node.precision:.0f} ({100 * node.low:.0f} to {100 * node.high:.0f})",
            ", ".join(f"{domain} {node.hits.get(domain, 0)}/{n}" for domain, n in node.images.items()),
            ", ".join(f"{rival} {count}" for rival, count in node.rivals),
        )
        for node in e.nodes
    ]
    render.print_table(("node", "part %", "precision %", "hits by domain", "taken by"), rows, ("part %", "precision %"))
    render.print_line()
    render.print_table(("alpha", "leads"), [(f"{r.low:.2f} to {r.high:.2f}", r.model) for r in e.alphas])
    render.print_line()
    if e.changes:
        render.print_table(("what would change the decision", "then chosen"), e.changes)
    else:
        render.print_line("no single node, and no few images, would change the decision")


def _explanation_json(explanation: Explanation) -> dict[str, Any]:
    e = explanation
    return {
        "class": e.class_,
        "model": e.model,
        "rank": e.rank,
        "precision": e.precision,
        "reuse": e.reuse,
        "chosen": e.chosen,
        "chosen_reuse": e.chosen_reuse,
        "covered": e.covered,
        "similarity": e.similarity,
        "nodes": [
            {
                "node": node.node.synset,
                "definition": node.node.definition,
                "weight": node.transfer,
                "part": node.part,
                "precision": node.precision,
                "low": node.low,
                "high": node.high,
                "hits": node.hits,
                "images": node.images,
                "rivals": [{"node": rival, "images": count} for rival, count in node.rivals],
            }
            for node in e.nodes
        ],
        "images": [
            {
                "image": seen.image.image,
                "node": seen.image.synset,
                "domain": seen.image.domain,
                "uri": seen.image.uri,
                "winner": seen.winner,
                "hit": seen.hit,
            }
            for seen in e.images
        ],
        "alphas": [{"low": r.low, "high": r.high, "model": r.model} for r in e.alphas],
        "changes": [{"change": what, "model": model} for what, model in e.changes],
    }
