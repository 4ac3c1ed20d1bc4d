"""`select`: from the names of classes to models."""

import dataclasses
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
import typer

import mllctl
from mllctl.captions import PROMPT, TEMPLATE, class_prompts, class_texts, read_captions, without_captions
from mllctl.errors import InvalidTask
from mllctl.experts.selection import BUDGET, THRESHOLD
from mllctl.files import check_new
from mllctl.hub import Hub, bundled_hub, cache_folder
from mllctl.kernels.ensemble import WEIGHTINGS, Weighting
from mllctl.reuse.saved import DEFAULT_WEIGHTING, save_selection
from mllctl.select import BREADTHS, ESTIMATORS, MATCHINGS, Answer, Matching, Selection, chance
from mllctl.senses import plain_name
from mllctl_cli import render
from mllctl_cli.budget import (
    CachedOption,
    CostOption,
    LicenseOption,
    MaxGflopsOption,
    MaxLatencyOption,
    MaxParamsOption,
    MaxSizeOption,
    ModelsOption,
    PlotOption,
    UnknownLicenseOption,
    barred_experts,
    barred_models,
    find_cost,
    print_quality_by_cost,
    quality_by_cost,
    read_limits,
    write_plot,
)
from mllctl_cli.classes import ClassesOption, ClassOption, read_classes
from mllctl_cli.options import DeviceOption, DomainOption, HubOption, JsonOption, hub_path, index_encoder

if TYPE_CHECKING:
    from mllctl.experts import ExpertSelection
    from mllctl.images import Skipped
    from mllctl.reuse.unlabelled import Likeness

TaskOption = Annotated[
    str | None, typer.Option("--task", metavar="TEXT", help="Kind of task, in words; for --caption-template.")
]
KOption = Annotated[int, typer.Option("-k", metavar="N", help="Models per class, at least 1.")]
AlphaOption = Annotated[
    float, typer.Option("--alpha", metavar="X", help="Weight of a class itself against the task's mean, in [0, 1].")
]
NodesOption = Annotated[int, typer.Option("--nodes", metavar="N", help="Nodes a class is matched to, at least 1.")]
MatchOption = Annotated[
    str, typer.Option("--match", metavar="HOW", help="wordnet (through the graph) or caption (the paper's).")
]
EstimatorOption = Annotated[
    str, typer.Option("--estimator", metavar="NAME", help="shrunk, or paper (its Eq 5-7 as printed).")
]
MaxModelsOption = Annotated[
    int | None,
    typer.Option("--max-models", metavar="N", help="At most N models over the whole task.", show_default=False),
]
CaptionsOption = Annotated[
    Path | None,
    typer.Option(
        "--captions", metavar="FILE", help="JSON of class and caption, or list of captions.", show_default=False
    ),
]
TemplateOption = Annotated[
    str,
    typer.Option("--caption-template", metavar="TEXT", help="What a class is matched by: {class}, {domain}, {task}."),
]
WeightingOption = Annotated[
    str,
    typer.Option(
        "--weighting", metavar="NAME", help="How answers are weighed: uniform, entropy (the paper's) or confidence."
    ),
]
PromptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="TEXT",
        help=f"Prompt, with {{}} where the class goes, else '{PROMPT}'; of several the mean is taken.",
    ),
]
ExpertsOption = Annotated[
    bool,
    typer.Option("--experts", help="Choose experts; a general model answers where none is good enough."),
]
ThresholdOption = Annotated[
    float,
    typer.Option("--threshold", metavar="X", help="With --experts: largest loss of a class, above 0."),
]
NODES_SHOWN = DOMAINS_SHOWN = 3
NAMES_SHOWN = 5
Name = TypeVar("Name", bound=str)
TITLES = {"one": "one model", "few": "at most {} models", "each": "a model per class"}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(select)


def select(
    classes: ClassesOption = None,
    class_: ClassOption = None,
    domain: DomainOption = None,
    task: TaskOption = None,
    k: Annotated[
        int | None,
        typer.Option("-k", metavar="N", help=f"Models per class, at least 1; else 1, of experts {BUDGET}."),
    ] = None,
    max_models: MaxModelsOption = None,
    alpha: AlphaOption = 0.7,
    nodes: NodesOption = 5,
    match: MatchOption = "wordnet",
    estimator: EstimatorOption = "shrunk",
    captions: CaptionsOption = None,
    template: TemplateOption = TEMPLATE,
    max_params: MaxParamsOption = None,
    max_gflops: MaxGflopsOption = None,
    max_size: MaxSizeOption = None,
    max_latency: MaxLatencyOption = None,
    license_: LicenseOption = None,
    allow_unknown_license: UnknownLicenseOption = False,
    cached_only: CachedOption = False,
    models: ModelsOption = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples",
            metavar="DIR",
            help="A few labelled images of yours, DIR/CLASS/*.jpg: candidates are shown them, and chosen anew.",
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            "--unlabelled",
            metavar="DIR",
            help="Images of yours without labels: domains count by how like them they are; with or without --domain.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    experts: ExpertsOption = False,
    threshold: ThresholdOption = THRESHOLD,
    cost: CostOption = None,
    plot: PlotOption = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE", help="Write the selection for `predict` and `export`.", show_default=False
        ),
    ] = None,
    breadth: Annotated[
        str | None,
        typer.Option(
            "--breadth",
            metavar="NAME",
            help="With --save, which answer: one, few or each; else a model per class, or the few of --max-models.",
            show_default=False,
        ),
    ] = None,
    weighting: WeightingOption = DEFAULT_WEIGHTING,
    prompt: PromptOption = None,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="With --save: a temperature per model, from its label on the graph.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --save if it is there.")] = False,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Select models for a task from the names of its classes.

    Nothing else is needed: no images, no labels, no weights of any model. The models of a class are ordered by reuse:
    precision on the class, blended with the mean over the task. Three answers stand side by side, with how sure they
    are and the Python that uses them; the verdict may be to take the best-overall model instead. With --examples the
    candidates are loaded and shown images of yours, which count the more the more there are; with --unlabelled one
    model is, which says what sample images they are like (by embeddings of these, which the bundled hub is without).
    Images that cannot be read are reported and skipped (exit code 3).

    Example: mllctl select --classes classes.txt --domain satellite
    """
    names = read_classes(classes, class_)
    if save is None and (breadth or prompt or calibrated or force or weighting != DEFAULT_WEIGHTING):
        raise InvalidTask("--breadth, --weighting, --template, --calibrated and --force are for --save FILE")
    if (examples or unlabelled) and experts:
        raise InvalidTask("--examples and --unlabelled are about models; leave them out, or --experts")
    told = _find("--breadth", breadth, BREADTHS) if breadth else None
    weighed = find_weighting(weighting)
    prompts = tuple(prompt or (PROMPT,))
    for one in prompts:
        class_prompts(names, one)
    if save:
        check_new(save, replace=force)
    limits = read_limits(
        {"parameters": max_params, "gflops": max_gflops, "bytes": max_size, "ms": max_latency},
        license_,
        allow_unknown_license=allow_unknown_license,
        cached_only=cached_only,
        models=tuple(models or ()),
    )
    shown_cost = find_cost(cost, plot)
    if experts and (shown_cost or breadth or calibrated or weighting != DEFAULT_WEIGHTING or max_models is not None):
        others = "--cost, --plot, --breadth, --calibrated, --weighting and --max-models"
        raise InvalidTask(f"{others} are about models; leave them out, or --experts")
    path = hub_path(hub)
    with Hub.open(path) as opened:
        barred = barred_models(opened, limits)
        select_now = partial(
            make_selection,
            opened,
            names,
            domain,
            task=task,
            k=1 if k is None else k,
            alpha=alpha,
            nodes_per_class=nodes,
            match=match,
            estimator=estimator,
            max_models=max_models,
            captions=captions,
            template=template,
            barred=barred,
        )
        selection = select_now()
        like = _weigh_domains(opened, selection, unlabelled, device) if unlabelled else None
        if like:
            selection = select_now(domain_weights=like.weights)
        if examples:
            selection = _with_examples(opened, selection, examples, prompts, device)
        warm = _temperatures(opened, selection) if calibrated else None
        if experts:
            most = BUDGET if k is None else k
            barred = barred_experts(opened, limits)
            found = _choose_experts(opened, selection, most, threshold, captions, template, barred)
    if experts:
        _finish_experts(found, selection, prompts, save, json, force=force)
        return
    points = quality_by_cost(selection, shown_cost) if shown_cost else []
    if save:
        save_selection(selection, told, weighed, prompts, warm).write(save, replace=force)
    if json:
        by_cost = [dataclasses.asdict(point) for point in points]
        render.print_json({**selection_json(selection, path), **_shown_json(selection, like), "by_cost": by_cost})
    else:
        _print_selection(selection, path)
        if shown_cost:
            print_quality_by_cost(points, shown_cost)
    if plot and shown_cost:
        write_plot(points, shown_cost, plot)
    say_limits(selection)
    if save:
        render.say(f"wrote {save}; next: mllctl predict --selection {save} --images DIR")
    skipped = _skipped(selection, like)
    for missed in skipped:
        render.say(f"skipped {missed.path}: {missed.reason}")
    if skipped:
        raise typer.Exit(3)


def _weigh_domains(hub: Hub, selection: Selection, folder: Path, device: str) -> "Likeness":
    """Weigh sample domains by unlabelled images, and say by what."""
    from mllctl.reuse.showing import Showing
    from mllctl.reuse.unlabelled import weigh_by_images

    passed: list[str] = []
    words = {domain.name: domain.weight for domain in selection.domains} if selection.domain_matched else None
    with render.progress() as progress:
        how = Showing(device, cache=cache_folder(), say=render.say, progress=progress)
        like = weigh_by_images(hub, folder, words, selection.names, how, passed.append)
    _say_passed(passed)
    render.say(f"domains are weighed by {like.images} images, as {like.model} sees them")
    return like


def _say_passed(passed: list[str]) -> None:
    if passed:
        render.say(f"{len(passed)} files without an image's ending were passed over, such as {passed[0]}")


def _with_examples(hub: Hub, selection: Selection, folder: Path, prompts: tuple[str, ...], device: str) -> Selection:
    """Show labelled images to the candidates, and say what was done."""
    from mllctl.reuse.examples import read_examples
    from mllctl.reuse.showing import Showing

    passed: list[str] = []
    given = read_examples(folder, selection.classes, passed.append)
    _say_passed(passed)
    with render.progress() as progress:
        how = Showing(device, cache=cache_folder(), say=render.say, progress=progress)
        return mllctl.with_examples(hub, selection, given, prompts, how)


def _choose_experts(
    hub: Hub,
    selection: Selection,
    k: int,
    threshold: float,
    captions: Path | None,
    template: str,
    barred: dict[str, str],
) -> "ExpertSelection":
    from mllctl.experts import select_experts

    return select_experts(
        hub,
        selection.classes,
        selection.domain,
        k,
        threshold,
        matching=selection.options.matching,
        captions=read_captions(captions) if captions else None,
        template=template,
        barred=barred,
        encoder=index_encoder(hub),
    )


def _finish_experts(
    found: "ExpertSelection",
    general: Selection,
    prompts: tuple[str, ...],
    save: Path | None,
    json: bool,
    *,
    force: bool,
) -> None:
    from mllctl_cli.experts import experts_json, print_experts, say_left_out

    if save:
        from mllctl.reuse.experts import save_experts

        save_experts(found, general, prompts).write(save, replace=force)
    if json:
        render.print_json(experts_json(found, general))
    else:
        print_experts(found, general)
    say_left_out(found)
    if save:
        render.say(f"wrote {save}; next: mllctl predict --selection {save} --images DIR")


def make_selection(
    hub: Hub,
    names: list[str],
    domain: str | None,
    *,
    match: str,
    estimator: str,
    captions: Path | None,
    **options: Any,
) -> Selection:
    """Select as the options of a command say; those not named here are `mllctl.select_models`'s own."""
    own = read_captions(captions) if captions else None
    selection = mllctl.select_models(
        hub,
        names,
        domain,
        matching=_find("--match", match, MATCHINGS),
        estimator=_find("--estimator", estimator, ESTIMATORS),
        captions=own,
        encoder=index_encoder(hub),
        **options,
    )
    if own and (bare := without_captions([plain_name(name) for name in selection.classes], own)):
        render.say(f"{captions} has no caption for {len(bare)} of {len(names)} classes; the template stands for them")
    return selection


def _find(option: str, name: str, known: tuple[Name, ...]) -> Name:
    for one in known:
        if one == name:
            return one
    raise InvalidTask(f"{option} must be one of {', '.join(known)}, got {name!r}")


def _temperatures(hub: Hub, selection: Selection) -> dict[str, float]:
    from mllctl.reuse.calibrating import temperatures

    return temperatures(hub, selection)


def find_matching(name: str) -> Matching:
    """Return the way of matching of a name.

    Raises:
        InvalidTask: if there is none.
    """
    return _find("--match", name, MATCHINGS)


def find_weighting(name: str) -> Weighting:
    """Return the weighting of a name.

    Raises:
        InvalidTask: if there is none.
    """
    return _find("--weighting", name, WEIGHTINGS)


def selection_json(selection: Selection, hub: Path) -> dict[str, Any]:
    """Return a selection as docs/cli.md documents it."""
    options, doubt = selection.options, selection.doubt
    low, high = selection.task_belief.interval()
    mean = _mean_precision(selection)
    return {
        "domain": selection.domain,
        "task": selection.task,
        "k": options.k,
        "alpha": options.alpha,
        "nodes_per_class": options.nodes_per_class,
        "match": options.matching,
        "estimator": options.estimator,
        "max_models": options.max_models,
        "hub_generation": selection.hub_generation,
        "verdict": selection.verdict.advice,
        "reason": selection.verdict.reason,
        "single": selection.names[selection.single],
        "best_overall": selection.names[selection.overall],
        "runner_up": None if doubt.runner_up is None else selection.names[doubt.runner_up],
        "beats_runner_up": doubt.beats_runner_up,
        "beats_best_overall": doubt.beats_overall,
        "answers": [_answer_json(selection, answer, hub) for answer in selection.answers],
        "models": [
            {
                "model": name,
                "precision": mean[m],
                "low": None if mean[m] is None else float(low[m]),
                "high": None if mean[m] is None else float(high[m]),
                "reuse": float(selection.reuse[m].mean()),
                "parameters": selection.models[m].card.parameters,
            }
            for m, name in enumerate(selection.names)
        ],
        "left_out": [{"model": name, "reason": reason} for name, reason in selection.left_out],
        "domain_matched": selection.domain_matched,
        "domains": [{"name": d.name, "similarity": d.similarity, "weight": d.weight} for d in selection.domains],
        "classes": _classes_json(selection),
    }


def _shown_json(selection: Selection, like: "Likeness | None") -> dict[str, Any]:
    """Return what is told of the user's images; nothing without."""
    shown = selection.examples
    told: dict[str, Any] = {}
    if like:
        told["unlabelled"] = {"images": like.images, "model": like.model}
    if shown:
        told["examples"] = {
            "images": int(shown.images.sum()),
            "classes": int((shown.images > 0).sum()),
            "worth": shown.worth,
            "models": [
                {
                    "model": name,
                    "hits": int(shown.hits[m].sum()),
                    "expected": float((shown.expected[m] * shown.images).sum()),
                    "names_precision": float(shown.expected[m].mean()),
                }
                for m, name in enumerate(selection.names)
            ],
        }
    skipped = [{"path": one.path, "reason": one.reason} for one in _skipped(selection, like)]
    return {**told, "skipped": skipped} if told else {}


def _skipped(selection: Selection, like: "Likeness | None") -> list["Skipped"]:
    """Return the files of the user's that could not be used."""
    return [*(like.skipped if like else ()), *(selection.examples.skipped if selection.examples else ())]


def _answer_json(selection: Selection, answer: Answer, hub: Path) -> dict[str, Any]:
    return {
        "breadth": answer.breadth,
        "models": [selection.names[m] for m in answer.models],
        "parameters": sum(selection.models[m].card.parameters for m in answer.models),
        "precision": answer.precision,
        "best_choice": answer.exact,
        "python": python_lines(selection, answer, hub),
    }


def _classes_json(selection: Selection) -> list[dict[str, Any]]:
    members = selection.members.T, np.arange(len(selection.classes))
    low, high = selection.class_belief[members].interval()
    reuse_low, reuse_high = selection.reuse_belief[members].interval()
    share = selection.share
    told = []
    for c, name in enumerate(selection.classes):
        meaning = selection.meanings[c].synset if selection.meanings else None
        told.append(
            {
                "class": name,
                "covered": bool(selection.covered[c]),
                "meaning": meaning.synset if meaning else None,
                "similarity": float(selection.similarity[c]),
                "members": [
                    {
                        "model": selection.names[m],
                        "precision": float(share[m, c]),
                        "low": float(low[n, c]),
                        "high": float(high[n, c]),
                        "reuse": float(selection.reuse[m, c]),
                        "reuse_low": float(reuse_low[n, c]),
                        "reuse_high": float(reuse_high[n, c]),
                    }
                    for n, m in enumerate(selection.members[c])
                ],
                "nodes": [
                    {"node": node.synset, "weight": weight, "images": node.images}
                    for node, weight in selection.nodes_of(c)
                ],
            }
        )
    return told


def python_lines(selection: Selection, answer: Answer, hub: Path) -> list[str]:
    """Return the Python that makes this selection again, loads the models of an answer and uses them."""
    options = selection.options
    given = [repr(list(selection.classes)) if len(selection.classes) <= NAMES_SHOWN else "classes"]
    given += [f"{name}={value!r}" for name, value in (("domain", selection.domain), ("task", selection.task)) if value]
    plain = (("k", 1), ("alpha", 0.7), ("nodes_per_class", 5), ("matching", "wordnet"), ("estimator", "shrunk"))
    given += [f"{name}={getattr(options, name)!r}" for name, usual in plain if getattr(options, name) != usual]
    if options.max_models is not None:
        given.append(f"max_models={options.max_models}")
    if selection.weights_given:
        given.append(f"domain_weights={ {d.name: round(d.weight, 6) for d in selection.domains}!r}")
    asked = [tuple(few) for few in class_texts([plain_name(name) for name in selection.classes], None)]
    own = [
        *(["its captions or template"] if list(selection.texts) != asked else []),
        *(["the models that were left out as `barred`"] if selection.left_out else []),
    ]
    return [
        *([f"# add {' and '.join(own)}"] if own else []),
        "import mllctl",
        f"with mllctl.Hub.open({'mllctl.find_hub()' if hub == bundled_hub() else repr(str(hub))}) as hub:",
        f"    selection = mllctl.select_models(hub, {', '.join(given)})",
        *(["    selection = mllctl.with_examples(hub, selection, DIR)  # your images"] if selection.examples else []),
        _loading_line(answer),
        "names = ensemble.predict(images).names  # images: a list of PIL images",
    ]


def _loading_line(answer: Answer) -> str:
    return f'ensemble = mllctl.Ensemble.from_selection(selection, "uniform", breadth="{answer.breadth}")'


def _mean_precision(selection: Selection) -> list[float | None]:
    """Return each model's mean precision over the classes that have evidence; None if none has."""
    share = selection.share[:, selection.covered]
    return [float(row.mean()) if len(row) else None for row in share]


def _print_selection(selection: Selection, hub: Path) -> None:
    members = selection.members.T, np.arange(len(selection.classes))
    low, high = selection.class_belief[members].interval()
    rows = [_class_row(selection, c, low[:, c], high[:, c]) for c in range(len(selection.classes))]
    render.print_table(("class", "model", "precision %", "evidence from"), rows, ("precision %",), ("model",))
    render.print_line()
    facts = {_title(selection, answer): _said(selection, answer) for answer in selection.answers}
    if selection.examples:
        facts["examples"] = _said_of_examples(selection)
    facts["best-overall model"] = _with_mean(selection, selection.overall)
    facts["verdict"] = f"{selection.verdict.advice}: {selection.verdict.reason}"
    if selection.domain_matched:
        heavy = [d for d in sorted(selection.domains, key=lambda d: -d.weight)[:DOMAINS_SHOWN] if d.weight >= 0.001]
        facts["weight of domains"] = ", ".join(f"{d.name} {render.percent(d.weight)} %" for d in heavy)
    render.print_facts(facts)
    render.print_line()
    for line in python_lines(selection, selection.answers[0], hub)[:-2]:
        render.print_line(line)
    for answer in selection.answers:
        render.print_line(_loading_line(answer))


def _said_of_examples(selection: Selection) -> str:
    """Say how many images were shown, and what the chosen model showed on them."""
    shown, m = selection.examples, selection.single
    if not shown:
        return ""
    images, hits = int(shown.images.sum()), int(shown.hits[m].sum())
    hoped = float((shown.expected[m] * shown.images).sum())
    of = f"{images} images of {int((shown.images > 0).sum())} classes, beside names that are worth {shown.worth:.0f}"
    return f"{of}; {selection.names[m]} has {hits} right, by names {hoped:.1f} were expected"


def _title(selection: Selection, answer: Answer) -> str:
    return TITLES[answer.breadth].format(selection.options.max_models or 2)


def _said(selection: Selection, answer: Answer) -> str:
    """Name the models of an answer, and what they are believed to reach."""
    doubt = selection.doubt
    if not selection.covered.any():
        return selection.names[selection.overall]
    if answer.breadth == "one":
        sure = ""
        if doubt.runner_up is not None:
            sure = f"; {chance(doubt.beats_runner_up)} sure to beat {selection.names[doubt.runner_up]}"
        return f"{_with_mean(selection, answer.models[0])}{sure}"
    names = [selection.names[m] for m in answer.models]
    listed = ", ".join(names) if len(names) <= NAMES_SHOWN else f"{len(names)} models"
    return f"{listed}, mean precision {render.percent(answer.precision)} %"


def _with_mean(selection: Selection, m: int) -> str:
    mean = _mean_precision(selection)[m]
    if mean is None:
        return selection.names[m]
    low, high = selection.task_belief.interval()
    between = f"({100 * low[m]:.0f} to {100 * high[m]:.0f})"
    return f"{selection.names[m]}, mean precision {render.percent(mean)} % {between}"


def _class_row(selection: Selection, c: int, low: Any, high: Any) -> tuple[str, str, str, str]:
    name, share = selection.classes[c], selection.share
    if not selection.covered[c]:
        # Rounded down: just under the floor must not read as the floor.
        similarity = math.floor(100 * selection.similarity[c]) / 100
        return name, "no evidence", "", f"nearest is only {similarity:.2f} like it"
    members = selection.members[c]
    nodes = selection.nodes_of(c)
    parts = sum(weight for _, weight in nodes)
    return (
        name,
        "\n".join(selection.names[m] for m in members),
        "\n".join(
            f"{100 * share[m, c]:.0f} ({100 * low[n]:.0f} to {100 * high[n]:.0f})" for n, m in enumerate(members)
        ),
        ", ".join(f"{node.name} {100 * weight / parts:.0f} %" for node, weight in nodes[:NODES_SHOWN]),
    )


def say_limits(selection: Selection) -> None:
    """Say on stderr what the answer does not rest on."""
    bare = [name for name, covered in zip(selection.classes, selection.covered, strict=True) if not covered]
    if bare:
        more = f" and {len(bare) - NAMES_SHOWN} more" if len(bare) > NAMES_SHOWN else ""
        listed = ", ".join(bare[:NAMES_SHOWN]) + more
        render.say(f"the hub has no evidence for {len(bare)} of {len(selection.classes)} classes: {listed}")
    if selection.domain and not selection.domain_matched:
        best = max(selection.domains, key=lambda d: d.similarity or 0)
        render.say(
            f"no sample domain is like {selection.domain!r} (nearest is {best.name} at {best.similarity:.2f}); "
            "all domains count alike"
        )
    for name, reason in selection.left_out[:NAMES_SHOWN]:
        render.say(f"{name} is left out: {reason}")
    if len(selection.left_out) > NAMES_SHOWN:
        render.say(f"{len(selection.left_out) - NAMES_SHOWN} more models are left out; --json names them")
