"""`predict`: classify images with the models selected for their classes."""

import dataclasses
import sys
import tempfile
from contextlib import ExitStack
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import mllctl
from mllctl.captions import PROMPT, class_prompts
from mllctl.errors import InvalidTask
from mllctl.files import check_new, write_whole
from mllctl.limits import parse_amount
from mllctl.reuse.saved import DEFAULT_WEIGHTING, SavedSelection, read_selection, save_selection
from mllctl_cli import render
from mllctl_cli.classes import ClassesOption, ClassOption, read_classes
from mllctl_cli.options import (
    BatchOption,
    DeviceOption,
    DomainOption,
    HubOption,
    JsonOption,
    WorkersOption,
    hub_path,
    index_encoder,
)
from mllctl_cli.select import (
    AlphaOption,
    KOption,
    NodesOption,
    PromptOption,
    WeightingOption,
    find_weighting,
    say_limits,
)

if TYPE_CHECKING:
    from mllctl.images import Skipped
    from mllctl.reuse.answering import Answering
    from mllctl.reuse.measuring import Measures, Tally

SHARE = 0.5  # of the memory there is, for models that are loaded together
MISTAKES_SHOWN = WORDS_SHOWN = 5
Record = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(predict)


def predict(
    image: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="The same as --images.", show_default=False)
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="SOURCE",
            help="Image file, folder, .csv or .parquet with a column path, .parquet with pictures, webdataset .tar, "
            ".txt with a path a line, or - for such lines on stdin; may be given again.",
        ),
    ] = None,
    selection: Annotated[
        Path | None,
        typer.Option("--selection", metavar="FILE", help="What `select --save` wrote.", show_default=False),
    ] = None,
    classes: ClassesOption = None,
    class_: ClassOption = None,
    domain: DomainOption = None,
    k: KOption = 1,
    weighting: WeightingOption = DEFAULT_WEIGHTING,
    single: Annotated[
        bool, typer.Option("--single", help="Use the one best model of the task for all classes.")
    ] = False,
    template: PromptOption = None,
    alpha: AlphaOption = 0.7,
    nodes: NodesOption = 5,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write .csv, .jsonl or .parquet.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Best classes of an image to tell.")] = 5,
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth",
            metavar="NAME",
            help="Where the true class is: a column, a key or member beside an image in a shard, or `folder`.",
            show_default=False,
        ),
    ] = None,
    measures: Annotated[
        Path | None,
        typer.Option(
            "--measures", metavar="FILE", help="With --truth: write all measures as JSON.", show_default=False
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="With --truth: draw reliability, as SVG.", show_default=False),
    ] = None,
    device: DeviceOption = "auto",
    batch: BatchOption = 64,
    workers: WorkersOption = 2,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="N",
            help="Load models together up to this size, such as 4GB; else half of what there is.",
            show_default=False,
        ),
    ] = None,
    hub: HubOption = None,
    json: JsonOption = False,
) -> None:
    """Classify images with the models selected for their classes.

    The models come from a saved selection, or are selected now for --class or --classes; what else `select` can be told
    goes into a selection with its --save. Each model is shown each image once. With --out, memory does not grow with
    the images, and the same command goes on after an interruption. Images that cannot be read are reported and skipped
    (exit code 3). With --truth it says how good the answers are.

    Example: mllctl predict photos/ --selection selection.json --out answers.csv
    """
    sources = [*(image or []), *(images or [])]
    if not sources:
        raise InvalidTask("name images, folders or files that list them")
    outputs = Outputs(out, measures, plot, truth is not None, top, json)
    outputs.check(force)
    now = MadeNow(classes, class_, domain, k, weighting, single, template, alpha, nodes, hub)
    budget = parse_amount(memory, "bytes") if memory else None
    saved = _read(selection, now) if selection else now.select()
    with ExitStack() as stack:
        if out:
            folder = out.with_name(f".{out.name}.unfinished")
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mllctl-")))
        work = stack.enter_context(_list_images(folder, saved, sources, truth))
        _ask(work, device, batch, workers, budget)
        answers, found = _gather(work, folder, outputs)
        skipped = work.skipped
        outputs.write(found)
        if out:
            work.clear()
    _print(answers, skipped, found, outputs)
    for missed in skipped:
        render.say(f"skipped {missed.path}: {missed.reason}")
    if skipped:
        raise typer.Exit(3)


@dataclasses.dataclass(frozen=True)
class MadeNow:
    """What the options say of a selection that was not saved."""

    classes: Path | None = None
    class_: list[str] | None = None
    domain: str | None = None
    k: int = 1
    weighting: str = DEFAULT_WEIGHTING
    single: bool = False
    template: list[str] | None = None
    alpha: float = 0.7
    nodes: int = 5
    hub: Path | None = None

    def given(self) -> list[str]:
        """Return the options that were given."""
        usual = MadeNow()
        names = {"class_": "--class", "k": "-k"}
        fields = [field.name for field in dataclasses.fields(self)]
        return [
            names.get(name, f"--{name}") for name in fields if getattr(self, name) not in (getattr(usual, name), [])
        ]

    def select(self) -> SavedSelection:
        """Select models as the options say."""
        names = read_classes(self.classes, self.class_)
        weighting = find_weighting(self.weighting)
        for prompt in self.template or []:
            class_prompts(names, prompt)  # refuses a wrong template before anything is asked of the hub
        with mllctl.Hub.open(hub_path(self.hub)) as opened:
            selection = mllctl.select_models(
                opened, names, self.domain, None, self.k, self.alpha, self.nodes, encoder=index_encoder(opened)
            )
        say_limits(selection)
        return save_selection(selection, "one" if self.single else None, weighting, tuple(self.template or (PROMPT,)))


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Where answers and measures go."""

    out: Path | None
    measures: Path | None
    plot: Path | None
    truth: bool
    top: int
    json: bool

    def check(self, force: bool) -> None:
        """Refuse, before any model is loaded, what could not be written after."""
        if not self.truth and (self.measures or self.plot):
            cure = "say where that is written by --truth"
            raise InvalidTask(f"--measures and --plot need to know what images show; {cure}")
        if self.out:
            from mllctl.reuse.writing import check_ending

            check_ending(self.out)
        files = [path for path in (self.out, self.measures, self.plot) if path]
        for path in files:
            check_new(path, replace=force)
        if len({path.absolute() for path in files}) < len(files):
            raise InvalidTask("--out, --measures and --plot must be different files")

    def write(self, found: "Measures | None") -> None:
        """Write the measures, where that was asked for."""
        if found is None:
            if self.truth:
                render.say("no image could be measured")
            return
        if self.measures:
            write_whole(self.measures, dumps(measures_json(found), indent=2) + "\n")
            render.say(f"wrote {self.measures}")
        if self.plot:
            from mllctl.reuse.plotting import reliability_svg

            write_whole(self.plot, reliability_svg(found))
            render.say(f"wrote {self.plot}")


def _read(file: Path, now: MadeNow) -> SavedSelection:
    saved = read_selection(file)
    if given := now.given():
        raise InvalidTask(f"{file} says all of that; leave out {', '.join(given)}, or --selection")
    if saved.told.advice != "use":
        render.say(f"when it was selected, the verdict was: {saved.told.advice}: {saved.told.reason}")
    return saved


def _list_images(folder: Path, saved: SavedSelection, sources: list[str], truth: str | None) -> "Answering":
    from mllctl.images.listing import list_images
    from mllctl.reuse.answering import Answering

    passed: list[str] = []
    work = Answering(folder, saved, list_images(sources, truth, sys.stdin.buffer, passed.append))
    if passed:
        render.say(f"{len(passed)} files without an image's ending were passed over, such as {passed[0]}")
    if truth is not None and work.count:
        words = ", ".join(f"{word!r} ({count})" for word, count in work.unknown.most_common(WORDS_SHOWN))
        if not work.known:
            work.abandon()
            seen = f"it has {words}" if words else "it has nothing there"
            raise InvalidTask(f"--truth {truth}: names no class of the task for any image; {seen}")
        if words:
            render.say(
                f"the truth of {work.unknown.total()} images is none of the classes: {words}; they are not measured"
            )
    if work.done:
        render.say(f"going on with what was answered before: {work.done:,} of {work.count * len(saved.names):,}")
    return work


def _ask(work: "Answering", device: str, batch: int, workers: int, budget: float | None) -> None:
    from mllctl.backends.devices import choose_device, memory_of
    from mllctl.hub import cache_folder
    from mllctl.reuse.answering import Manner

    where = choose_device(device)
    budget = SHARE * memory_of(where) if budget is None else budget
    render.say(f"answering with {', '.join(work.saved.names)}")
    with render.progress() as progress:
        work.ask(Manner(where, batch, workers, budget, cache_folder(), mllctl.load_model, say=render.say), progress)


def _gather(work: "Answering", folder: Path, outputs: Outputs) -> "tuple[list[Record], Measures | None]":
    """Combine what models have answered, and put it where it belongs; return it if it goes nowhere."""
    from mllctl.reuse.writing import answer_records, check_ending, open_writer

    saved = work.saved
    top = min(outputs.top, len(saved.classes))
    tally = _tally(saved) if outputs.truth else None
    answers: list[Record] = []
    with ExitStack() as stack:
        unfinished = folder / "out"
        writer = None
        if outputs.out:
            opened = open_writer(unfinished, check_ending(outputs.out), top, outputs.truth)
            writer = stack.enter_context(opened)
        for part in work.parts():
            records = answer_records(saved, part, top, outputs.truth)
            if writer:
                writer.write(records)
            else:
                answers += records
            if tally:
                tally.add(part.probability[:0] if saved.experts else part.probability, part.confidence, part.truth)
    if outputs.out:
        unfinished.replace(outputs.out)
        render.say(f"wrote {outputs.out}")
    return answers, tally.measures() if tally else None


def _tally(saved: SavedSelection) -> "Tally":
    from mllctl.reuse.measuring import Tally

    # What one model is worth is told of models that answer alike; beside experts only the whole is measured.
    if saved.experts:
        return Tally(saved.classes, [], saved.members[:, :0], saved.weighting)
    return Tally(saved.classes, [model.name for model in saved.models], saved.members, saved.weighting)


# -- what is shown ------------------------------------------------------------------------------------


def _print(answers: list[Record], skipped: tuple["Skipped", ...], found: "Measures | None", outputs: Outputs) -> None:
    if outputs.json:
        missed = [{"path": one.path, "reason": one.reason} for one in skipped]
        out = str(outputs.out) if outputs.out else None
        measures = {"measures": measures_json(found) if found else None} if outputs.truth else {}
        render.print_json({"predictions": answers, "out": out, "skipped": missed, **measures})
        return
    if not outputs.out:
        rows = [(a["path"], a["class"], f"{a['confidence']:.3f}", _second(a)) for a in answers]
        render.print_table(("image", "class", "confidence", "second"), rows, ("confidence",))
    if found:
        _print_measures(found)


def _second(answer: Record) -> str:
    """Return the next best class with its confidence, as text."""
    return "".join(f"{few['class']} {few['confidence']:.3f}" for few in answer["top"][1:2])


def _print_measures(found: "Measures") -> None:
    facts: dict[str, object] = {
        "images": found.images,
        "top-1 %": render.percent(found.accuracy),
        "mean recall of classes %": render.percent(found.mean_class_recall),
    }
    if found.top5 is not None:
        facts["top-5 %"] = render.percent(found.top5)
    facts["calibration error %"] = render.percent(found.calibration_error)
    mistaken = [f"{truth} as {said} {count}" for truth, said, count in found.mistaken(MISTAKES_SHOWN)]
    if mistaken:
        facts["mistaken most"] = ", ".join(mistaken)
    render.print_line()
    render.print_facts(facts)
    columns = ("model", "classes", "weight %", "alone %", "without it %")
    rows = [
        (
            part.model,
            part.classes,
            render.percent(part.weight),
            render.percent(part.alone),
            "" if part.without is None else render.percent(part.without),
        )
        for part in found.contribution
    ]
    render.print_line()
    render.print_table(columns, rows, columns[1:])


def measures_json(found: "Measures") -> dict[str, Any]:
    """Return measures as docs/cli.md documents them."""
    return {
        "images": found.images,
        "outside": found.outside,
        "accuracy": found.accuracy,
        "mean_class_recall": found.mean_class_recall,
        "top5": found.top5,
        "calibration_error": found.calibration_error,
        "reliability": [dataclasses.asdict(row) for row in found.reliability],
        "classes": [
            {"class": row.class_, "images": row.images, "recall": row.recall, "precision": row.precision}
            for row in found.classes
        ],
        "confusion": found.confusion.tolist(),
        "contribution": [dataclasses.asdict(part) for part in found.contribution],
    }
