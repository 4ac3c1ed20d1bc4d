"""`select --experts` and `explain --experts`: which experts answer for a class, and which of their heads."""

from typing import Any

from mllctl.experts import ExpertExplanation, ExpertSelection
from mllctl.select import Selection
from mllctl_cli import render

HEADS_SHOWN = 3
ROWS_SHOWN = 12
NAMES_SHOWN = 5


def experts_json(experts: ExpertSelection, general: Selection) -> dict[str, Any]:
    """Return a selection of experts as docs/cli.md documents it."""
    return {
        "domain": experts.domain,
        "k": experts.options.k,
        "threshold": experts.options.threshold,
        "discount": experts.options.discount,
        "recursive": experts.options.recursive,
        "match": experts.options.matching,
        "hub_generation": experts.hub_generation,
        "general": general.names[general.single],
        "experts": [
            {
                "expert": name,
                "heads": len(experts.experts[m].card.heads),
                "parameters": experts.experts[m].card.parameters,
                "gap": float(experts.gaps[m]),
                "used": m in experts.used,
            }
            for m, name in enumerate(experts.names)
        ],
        "left_out": [{"expert": name, "reason": reason} for name, reason in experts.left_out],
        "classes": [_class_json(experts, c) for c in range(len(experts.classes))],
    }


def _class_json(experts: ExpertSelection, c: int) -> dict[str, Any]:
    node = experts.nodes[c]
    return {
        "class": experts.classes[c],
        "node": None if node is None else node.synset,
        "similarity": float(experts.similarity[c]),
        "served": bool(experts.served[c]),
        "members": [
            {
                "expert": experts.names[m],
                "loss": float(experts.losses[m, c]),
                "heads": int((experts.combinations[m][:, c] > 0).sum()),
            }
            for m in experts.members[c].tolist()
            if m >= 0
        ],
    }


def print_experts(experts: ExpertSelection, general: Selection) -> None:
    """Print which experts answer for each class, and who answers for the rest."""
    rows = [_class_row(experts, c) for c in range(len(experts.classes))]
    render.print_table(("class", "node", "expert", "loss", "heads"), rows, ("loss", "heads"), ("expert",))
    render.print_line()
    used = [experts.names[m] for m in experts.used]
    listed = ", ".join(used) if len(used) <= NAMES_SHOWN else f"{len(used)} experts"
    served = f"{int(experts.served.sum())} of {len(experts.classes)} classes"
    name = general.names[general.single]
    rest = f"{name} shares in the answers" + ("" if experts.served.all() else ", and gives all for other classes")
    render.print_facts({"experts": f"{listed or 'none'}, for {served}", "general model": rest})


def _class_row(experts: ExpertSelection, c: int) -> tuple[str, str, str, str, str]:
    members = [m for m in experts.members[c].tolist() if m >= 0]
    node = experts.nodes[c]
    if not members:
        reason = "no node stands for it" if node is None else f"least loss {experts.losses[:, c].min():.2f}"
        return experts.classes[c], node.synset if node else "", f"none ({reason})", "", ""
    return (
        experts.classes[c],
        node.synset if node else "",
        "\n".join(experts.names[m] for m in members),
        "\n".join(f"{experts.losses[m, c]:.3f}" for m in members),
        "\n".join(str(int((experts.combinations[m][:, c] > 0).sum())) for m in members),
    )


def say_left_out(experts: ExpertSelection) -> None:
    """Say on stderr which experts were not looked at."""
    for name, reason in experts.left_out[:NAMES_SHOWN]:
        render.say(f"{name} is left out: {reason}")
    if len(experts.left_out) > NAMES_SHOWN:
        render.say(f"{len(experts.left_out) - NAMES_SHOWN} more experts are left out; --json names them")


def print_explanation(told: ExpertExplanation) -> None:
    """Print what an expert is to a class."""
    chosen = "answers" if told.chosen else "does not answer"
    loss = f"loss {told.loss:.3f}, threshold {told.threshold:g}"
    render.print_line(f"{told.expert} is number {told.rank} for {told.class_!r} and {chosen} for it: {loss}")
    render.print_line(f"on {told.node.synset} its heads of this class answer {render.percent(told.own)} %")
    render.print_line()
    columns = ("head", "name", "weight %", "on its node %", "most elsewhere %")
    rows = [
        (
            head.head,
            head.name,
            render.percent(head.weight),
            render.percent(head.probability),
            "" if head.elsewhere is None else f"{render.percent(head.elsewhere_probability)} on {head.elsewhere}",
        )
        for head in told.heads[:ROWS_SHOWN]
    ]
    render.print_table(columns, rows, ("head", "weight %", "on its node %"))
    if len(told.heads) > ROWS_SHOWN:
        render.say(f"{len(told.heads) - ROWS_SHOWN} more heads that add less are left out; --json has all")
    if told.mistaken:
        render.print_line()
        shown = ", ".join(f"{name} {render.percent(part)} %" for name, part in told.mistaken[:HEADS_SHOWN])
        render.print_line(f"on the nodes of other classes they answer: {shown}")


def explanation_json(told: ExpertExplanation) -> dict[str, Any]:
    """Return it as docs/cli.md documents it."""
    return {
        "class": told.class_,
        "node": told.node.synset,
        "expert": told.expert,
        "chosen": told.chosen,
        "rank": told.rank,
        "loss": told.loss,
        "threshold": told.threshold,
        "answers": told.own,
        "elsewhere": [{"class": name, "answers": part} for name, part in told.mistaken],
        "heads": [
            {
                "head": head.head,
                "name": head.name,
                "weight": head.weight,
                "answers": head.probability,
                "elsewhere": head.elsewhere,
                "elsewhere_answers": head.elsewhere_probability,
            }
            for head in told.heads
        ],
    }
