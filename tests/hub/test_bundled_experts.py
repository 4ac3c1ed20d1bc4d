"""Experts travel with the labels of models: selected from as before where no image is, and let in only if sound.

Run as a script, this is the process that dies while it exports or imports; see `tests/label/killing.py`.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest

from fakes import COLOURS, FakeEncoder, FakeExpert, FakeModel, fake, hub_of_folders, paint_folder
from mllctl import build_index, label_model
from mllctl.errors import HubError, SourceUnreadable, StageMissing
from mllctl.experts import select_experts
from mllctl.hub import Hub
from mllctl.hub.archive import Archive, Piece, write_archive
from mllctl.hub.bundling import export_labels, import_labels, read_bundle
from mllctl.hub.experts import write_expert
from mllctl.hub.features import write_features
from mllctl.hub.parts import SCHEMA
from mllctl.hub.writing import change_hub
from mllctl.images import scan
from mllctl.label import compact_labels, label_expert, remove_images

EXPERTS = (
    FakeExpert("colours/animals", ("dog.n.01", "cat.n.01", "wolf.n.01"), sharpness=0.2),
    FakeExpert("colours/things", ("apple.n.01", "car.n.01"), named=False, sharpness=0.2),
)
TASKS = (["dog", "cat", "apple", "car"], ["dog", "wolf"], ["cat", "quantum"])
NAMES = ("fake/0", "fake/1", "colours/animals", "colours/things")


def make_hub(root, nouns):
    folders = {
        "photo": paint_folder(root / "photo", list(COLOURS), 5),
        "drawing": paint_folder(root / "drawing", list(COLOURS)[1:], 3, seed=7),
    }
    hub = hub_of_folders(root / "hub", folders, nouns)
    build_index(hub, FakeEncoder())
    return hub


def export(hub, target, **options):
    with Hub.open(hub) as opened:
        return export_labels(opened, target, **options)


def files_of(hub):
    return {path: path.read_bytes() for path in hub.rglob("*") if path.is_file()}


def answers(path):
    """All that experts of a hub are asked: cards, sums, selections and views, without ordinals."""
    with Hub.open(path) as hub:
        nodes = [node.node for node in hub.nodes()]
        found = {}
        for stored in hub.experts():
            totals = hub.head_totals(stored.expert, nodes)
            block, shown = hub.shown_images(stored.expert)
            columns = (totals.node, totals.images, totals.total, block[shown != 0], shown[shown != 0])
            sums = [column.tolist() for column in columns]
            found[stored.card.name] = (stored.card, stored.state, sums)
        for number, classes in enumerate(TASKS):
            for domain in (None, "drawing"):
                for recursive in (False, True):
                    chosen = select_experts(hub, classes, domain, recursive=recursive, encoder=FakeEncoder())
                    numbers = [chosen.losses, chosen.gaps, chosen.members, *chosen.labels, *chosen.combinations]
                    found[number, domain, recursive] = (
                        chosen.names,
                        chosen.nodes,
                        chosen.left_out,
                        [repr(array.tolist()) for array in numbers],
                    )
    return {**found, "views": views(path)}


def views(path):
    with Hub.open(path) as hub:
        asked = ("head_logit", "expert_card", "expert_head", "expert_label(0.5)")
        return [repr(hub.query(f"FROM {view} ORDER BY ALL").rows) for view in asked]


@pytest.fixture(scope="module")
def gone(tmp_path_factory, nouns):
    """Bundles of a hub with models and experts that is not there any more, nor are its images."""
    root = tmp_path_factory.mktemp("experts")
    hub = make_hub(root, nouns)
    label_model(hub, fake(0))
    label_expert(hub, EXPERTS[0])
    label_model(hub, fake(1))
    label_expert(hub, EXPERTS[1])
    before = answers(hub)
    contents = export(hub, root / "labels.tar")
    export(hub, root / "again.tar")
    assert (root / "again.tar").read_bytes() == (root / "labels.tar").read_bytes()
    export(hub, root / "labels.tar.gz")
    export(hub, root / "embeddings.tar", embeddings=True)
    for folder in ("photo", "drawing", "hub"):
        shutil.rmtree(root / folder)
    return SimpleNamespace(root=root, bundle=root / "labels.tar", before=before, contents=contents)


# -- the same answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["labels.tar", "labels.tar.gz", "embeddings.tar"])
def test_experts_answer_as_in_the_hub_that_is_gone(gone, tmp_path, name):
    imported = import_labels(gone.root / name, tmp_path / "new")
    assert (imported.created, imported.taken, imported.skipped) == (True, NAMES, ())
    assert answers(tmp_path / "new") == gone.before
    export(tmp_path / "new", tmp_path / "second.tar")
    import_labels(tmp_path / "second.tar", tmp_path / "second")
    assert answers(tmp_path / "second") == gone.before


def test_a_bundle_says_which_experts_are_in_it(gone):
    card = EXPERTS[1].card
    animals, things = gone.contents.experts
    assert (animals.name, animals.heads, animals.state, animals.images) == ("colours/animals", 4, "complete", 37)
    assert (things.name, things.fingerprint, things.source) == (card.name, card.fingerprint, card.source)
    assert not gone.contents.embeddings
    assert read_bundle(gone.root / "embeddings.tar").embeddings
    with Archive(gone.bundle) as archive:
        readme = archive.read("README.txt").decode()
    assert "colours/things  (3 heads; label complete, 37 images; loaded as expert:colours/things)" in readme


def test_importing_twice_changes_nothing(gone, tmp_path):
    import_labels(gone.bundle, tmp_path / "new")
    before = files_of(tmp_path / "new")
    imported = import_labels(gone.bundle, tmp_path / "new")
    assert (imported.taken, imported.skipped, imported.generation) == ((), NAMES, 1)
    assert files_of(tmp_path / "new") == before


def test_a_hub_that_has_some_takes_the_others(gone, nouns, tmp_path):
    base = make_hub(tmp_path, nouns)
    hubs = {name: shutil.copytree(base, tmp_path / name) for name in ("here", "there", "all")}
    for name, models, experts in (("here", [1], [1]), ("there", [0, 1], [0, 1]), ("all", [1, 0], [1, 0])):
        for number in models:
            label_model(hubs[name], fake(number))
        for number in experts:
            label_expert(hubs[name], EXPERTS[number])
    export(hubs["there"], tmp_path / "there.tar")
    imported = import_labels(tmp_path / "there.tar", hubs["here"])
    assert (imported.taken, imported.skipped) == (
        ("fake/0", "colours/animals"),
        ("fake/1", "colours/things"),
    )
    assert answers(hubs["here"]) == answers(hubs["all"])
    with Hub.open(hubs["here"]) as hub:
        ordinals = [model.model for model in hub.models()] + [expert.expert for expert in hub.experts()]
        assert len(set(ordinals)) == 4
    # What is labelled afterwards gets an ordinal of its own.
    label_expert(hubs["here"], FakeExpert("colours/late", ("dog.n.01",)))
    with Hub.open(hubs["here"]) as hub:
        assert hub.expert("colours/late").expert == max(ordinals) + 1


def test_an_expert_that_was_added_but_not_labelled_takes_the_label_and_stays_behind_without(gone, tmp_path):
    import_labels(gone.bundle, tmp_path / "new")
    with Hub.open(tmp_path / "new") as hub:
        ordinal = hub.expert("colours/things").expert
    with change_hub(tmp_path / "new") as change:
        change.remove_expert(ordinal)
    with change_hub(tmp_path / "new") as change:
        write_expert(tmp_path / "new" / "staging" / "added", EXPERTS[1].card, [])
        added = change.put_expert(None, tmp_path / "new" / "staging" / "added", whole=True)
    assert [expert.name for expert in export(tmp_path / "new", tmp_path / "one.tar").experts] == ["colours/animals"]
    assert import_labels(gone.bundle, tmp_path / "new").taken == ("colours/things",)
    assert answers(tmp_path / "new") == gone.before
    with Hub.open(tmp_path / "new") as hub:
        assert hub.expert("colours/things").expert == added


def test_a_hub_of_experts_alone_travels(nouns, tmp_path):
    hub = make_hub(tmp_path, nouns)
    label_expert(hub, EXPERTS[0])
    contents = export(hub, tmp_path / "labels.tar", embeddings=True)
    assert (contents.models, contents.embeddings) == ((), True)
    import_labels(tmp_path / "labels.tar", tmp_path / "new")
    assert answers(tmp_path / "new") == answers(hub)


# -- labels that grow or do not -------------------------------------------------------------------------


def more_dogs(hub, folder, nouns):
    with change_hub(hub) as change:
        change.add_images(scan(paint_folder(folder, ["dog.n.01"], 2, seed=5), "photo", nouns).images)


def test_with_its_answers_a_label_grows_as_at_home(nouns, tmp_path):
    hub = make_hub(tmp_path, nouns)
    label_expert(hub, EXPERTS[0])
    export(hub, tmp_path / "labels.tar", embeddings=True)
    import_labels(tmp_path / "labels.tar", tmp_path / "new")
    for path in (hub, tmp_path / "new"):
        more_dogs(path, tmp_path / "more", nouns)
        assert label_expert(path, EXPERTS[0]).shown == 2
        with Hub.open(path) as opened:
            remove_images(path, [image.image for image in opened.images("cat.n.01")])
    assert answers(tmp_path / "new") == answers(hub)
    # A label that has grown needs its answers, or is merged.
    with pytest.raises(StageMissing, match=r"colours/animals has grown .*; run `mllctl hub compact"):
        export(hub, tmp_path / "grown.tar")
    export(hub, tmp_path / "grown.tar", embeddings=True)
    import_labels(tmp_path / "grown.tar", tmp_path / "grown")
    assert answers(tmp_path / "grown") == answers(hub)
    assert compact_labels(tmp_path / "grown") == ["colours/animals"]
    export(tmp_path / "grown", tmp_path / "merged.tar")
    import_labels(tmp_path / "merged.tar", tmp_path / "merged")
    assert answers(tmp_path / "merged") == answers(hub)


def test_a_label_that_has_grown_under_other_libraries_travels(nouns, tmp_path):
    hub = make_hub(tmp_path, nouns)
    expert = FakeExpert("colours/animals", ("dog.n.01", "cat.n.01"))
    label_expert(hub, expert)
    more_dogs(hub, tmp_path / "more", nouns)
    expert.card = replace(expert.card, libraries={"fake": "2"})
    label_expert(hub, expert)
    export(hub, tmp_path / "grown.tar", embeddings=True)
    import_labels(tmp_path / "grown.tar", tmp_path / "new")
    assert answers(tmp_path / "new") == answers(hub)


def test_an_image_that_came_is_not_taken_for_one_that_went(gone, nouns, tmp_path):
    hub = tmp_path / "new"
    import_labels(gone.bundle, hub)
    with Hub.open(hub) as opened:
        remove_images(hub, [image.image for image in opened.images("dog.n.01")[:2]])
    with Hub.open(hub) as opened:
        assert select_experts(opened, ["dog", "cat"], encoder=FakeEncoder()).left_out == ()
        assert opened.expert("colours/animals").state == "complete"
    more_dogs(hub, tmp_path / "more", nouns)
    with Hub.open(hub) as opened, pytest.raises(StageMissing, match="no expert has a label that covers these classes"):
        select_experts(opened, ["dog", "cat"], encoder=FakeEncoder())


def test_without_its_answers_a_label_stays_as_it_is_and_says_so(gone, nouns, tmp_path):
    hub = tmp_path / "new"
    import_labels(gone.bundle, hub)
    expert = FakeExpert("colours/animals", ("dog.n.01", "cat.n.01", "wolf.n.01"), sharpness=0.2)
    report = label_expert(hub, expert)
    assert (report.shown, report.images, report.changed, expert.shown) == (0, 37, False, 0)
    more_dogs(hub, tmp_path / "more", nouns)
    before = views(hub)
    with pytest.raises(HubError, match=r"^the label of colours/animals was imported without .* `mllctl model remove"):
        label_expert(hub, expert)
    with pytest.raises(HubError, match="colours/animals was imported without"):
        compact_labels(hub, ["colours/animals"])
    assert compact_labels(hub) == []
    assert views(hub) == before
    assert expert.shown == 0
    assert not list((hub / "staging").iterdir())


# -- what is refused ------------------------------------------------------------------------------------


def rewritten(bundle, target, path=None, content=b"", **facts):
    """Write a bundle again with another content of one member, or other facts; all hashes are right."""
    with Archive(bundle) as archive:
        pieces = [Piece.of(name, content if name == path else archive.read(name)) for name in archive.members]
        write_archive(target, {**archive.facts, **facts}, pieces)
    return target


def facts_of(bundle):
    with Archive(bundle) as archive:
        return json.loads(json.dumps(archive.facts))


def refused(bundle, hub, match):
    """Into a hub and into nothing: one line, and what was there is as it was."""
    before = files_of(hub)
    for path in (hub, hub.with_name("nowhere")):
        with pytest.raises(SourceUnreadable, match=match) as refusal:
            import_labels(bundle, path)
        assert "\n" not in str(refusal.value)
        assert "the bundle is damaged" in str(refusal.value)
    assert files_of(hub) == before
    shutil.rmtree(hub.with_name("nowhere"), ignore_errors=True)


@pytest.fixture
def hub(gone, tmp_path):
    """A hub that lacks one expert of the bundle."""
    import_labels(gone.bundle, tmp_path / "hub")
    with Hub.open(tmp_path / "hub") as opened:
        ordinal = opened.expert("colours/things").expert
    with change_hub(tmp_path / "hub") as change:
        change.remove_expert(ordinal)
    return tmp_path / "hub"


def of_things(card=EXPERTS[1].card, blocks=((0, 1, [0.0, -1.0, -2.0]),)):
    """A label of the second expert, as a file's bytes."""

    def make(path):
        rows = [(np.uint32(block), np.uint64(shown), np.array([total])) for block, shown, total in blocks]
        parts = [(np.array([b], np.uint32), np.array([s], np.uint64), total) for b, s, total in rows]
        write_expert(path, card, parts)

    return make


def by_sql(*queries):
    """The same after somebody's SQL."""

    def make(path):
        of_things()(path)
        with duckdb.connect(str(path)) as db:
            for query in queries:
                db.execute(query)

    return make


def of_a_view(path):
    with duckdb.connect(str(path)) as db:
        db.execute((SCHEMA / "expert.sql").read_text())
        db.execute("DROP TABLE expert_block")
        db.execute("CREATE VIEW expert_block AS SELECT 0::UINTEGER AS block, 1::UBIGINT AS shown, [0.0] AS total")


THINGS = EXPERTS[1].card
UNSOUND = {
    "no database": (lambda path: path.write_bytes(b"expert" * 1000), "is no label"),
    "no tables": (lambda path: duckdb.connect(str(path)).close(), "has not the tables of a label"),
    "a view": (of_a_view, "has not the tables of a label"),
    "another expert": (of_things(replace(THINGS, fingerprint="other")), "has not the card that the bundle says"),
    "another name": (of_things(replace(THINGS, name="other")), "has not the card"),
    "more heads": (of_things(replace(THINGS, heads=("a", "b", "c", "d"))), "has not the card"),
    "no card": (by_sql("DELETE FROM expert_made"), "has not the card"),
    "two cards": (by_sql("INSERT INTO expert_made FROM expert_made"), "has not the card"),
    "fewer sums": (of_things(blocks=[(0, 1, [0.0, -1.0])]), "has sums that are of no images, or are not numbers"),
    "not a number": (of_things(blocks=[(0, 1, [0.0, np.nan, 0.0])]), "has sums"),
    "infinite": (of_things(blocks=[(0, 1, [0.0, -np.inf, 0.0])]), "has sums"),
    "nothing": (by_sql("UPDATE expert_block SET total = [0.0, NULL, 0.0]"), "has sums"),
    "no block": (of_things(blocks=[(10**6, 1, [0.0, -1.0, -2.0])]), "has sums"),
    "no image": (of_things(blocks=[(0, 1 << 63, [0.0, -1.0, -2.0])]), "has sums"),
    "twice": (of_things(blocks=[(0, 1, [0.0, -1.0, -2.0])] * 2), "has sums"),
    "null": (
        by_sql("ALTER TABLE expert_block ALTER shown DROP NOT NULL", "UPDATE expert_block SET shown = NULL"),
        "has sums",
    ),
}


def path_of_things(bundle, field="experts"):
    facts = facts_of(bundle)
    [number] = [number for number, card in facts["expert_cards"].items() if card["name"] == "colours/things"]
    return next(file["path"] for file in facts["files_of"][field] if file["model"] == int(number))


@pytest.mark.parametrize("what", UNSOUND)
def test_what_is_no_label_of_that_expert_is_refused_and_the_hub_is_as_it_was(gone, hub, tmp_path, what):
    make, match = UNSOUND[what]
    make(tmp_path / "label")
    content = (tmp_path / "label").read_bytes()
    bundle = rewritten(gone.bundle, tmp_path / "a.tar", path_of_things(gone.bundle), content)
    refused(bundle, hub, f"{match}.*get it again")


def test_a_sound_label_that_was_put_in_by_hand_is_taken(gone, hub, tmp_path):
    of_things()(tmp_path / "label")
    content = (tmp_path / "label").read_bytes()
    bundle = rewritten(gone.bundle, tmp_path / "a.tar", path_of_things(gone.bundle), content)
    assert import_labels(bundle, hub).taken == ("colours/things",)
    with Hub.open(hub) as opened:
        assert opened.expert("colours/things").labelled == 1


@pytest.mark.parametrize("what", ["no file", "nothing", "fewer heads", "not a number"])
def test_answers_that_are_none_are_refused(gone, hub, tmp_path, what):
    vectors = {"fewer heads": [[0, 0]], "not a number": [[0, np.nan, 0]]}.get(what)
    if vectors:
        write_features(tmp_path / "a", [(np.zeros(1, np.uint32), np.array(vectors, np.float16))])
    content = (tmp_path / "a").read_bytes() if vectors else {"no file": b"arrow" * 100, "nothing": b""}[what]
    path = path_of_things(gone.root / "embeddings.tar", "image_features")
    bundle = rewritten(gone.root / "embeddings.tar", tmp_path / "a.tar", path, content)
    refused(bundle, hub, r"-image.arrow holds (no )?answers")


def test_a_byte_of_an_experts_label_that_is_not_what_was_written_is_noticed(gone, hub, tmp_path):
    content = bytearray(gone.bundle.read_bytes())
    with Archive(gone.bundle) as archive:
        at = archive._at[path_of_things(gone.bundle)] + 512 + 5000
    content[at] ^= 1
    (tmp_path / "a.tar").write_bytes(content)
    refused(tmp_path / "a.tar", hub, "is not what was written")


def lacking(facts):
    facts["files_of"]["experts"].pop()


def without_the_field(facts):
    del facts["files_of"]["experts"]


def of_a_model(facts):
    facts["files_of"]["labels"][0]["model"] = facts["files_of"]["experts"][0]["model"]


def with_orders(facts):
    facts["files_of"]["orders"][0]["model"] = facts["files_of"]["experts"][0]["model"]


def of_nobody(facts):
    facts["files_of"]["experts"][0]["model"] = [1]


def elsewhere(facts):
    facts["files_of"]["experts"][0]["path"] = "../evil"


def shared(facts):
    facts["files_of"]["experts"][0]["path"] = facts["files_of"]["labels"][0]["path"]


def namesake(facts):
    for card in facts["expert_cards"].values():
        card["name"] = "fake/0"


def headless(facts):
    for card in facts["expert_cards"].values():
        card["heads"] = []


def nameless(facts):
    for card in facts["expert_cards"].values():
        card["name"] = ["a"]


def cardless(facts):
    facts["expert_cards"] = {"x": {}}


def shown_wrongly(facts):
    facts["experts"] = [{"name": "x"}]


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lacking, "lacks the label of colours/things"),
        (without_the_field, "cannot be understood"),
        (of_a_model, "lacks the label of fake/0|names a file for what it is not"),
        (with_orders, "names a file for what it is not"),
        (of_nobody, "names a file for what it is not"),
        (elsewhere, r"lacks \.\./evil"),
        (shared, "names a file for what it is not"),
        (namesake, "two of its models are one"),
        (headless, "cards of its models cannot be understood"),
        (nameless, "cards of its models cannot be understood"),
        (cardless, "cards of its models cannot be understood"),
        (shown_wrongly, "cannot be understood"),
    ],
)
def test_facts_that_do_not_fit_are_refused_before_a_hub_is_made(gone, hub, tmp_path, spoil, match):
    facts = facts_of(gone.bundle)
    spoil(facts)
    bundle = rewritten(gone.bundle, tmp_path / "a.tar", **facts)
    refused(bundle, hub, match)


@pytest.mark.parametrize("other", ["weights", "model"])
def test_another_model_under_the_name_of_an_expert_is_refused_with_the_cure(gone, hub, tmp_path, other):
    if other == "weights":
        with change_hub(hub) as change:
            write_expert(tmp_path / "label", replace(EXPERTS[1].card, fingerprint="other"), [])
            change.put_expert(None, tmp_path / "label", whole=True)
    else:
        with change_hub(hub) as change:
            change.add_model(FakeModel("colours/things").card)
    before = files_of(hub)
    with pytest.raises(
        HubError, match=r"another model under the name colours/things .* `mllctl model remove"
    ) as refusal:
        import_labels(gone.bundle, hub)
    assert "\n" not in str(refusal.value)
    assert files_of(hub) == before


def test_a_model_under_the_name_of_an_expert_here_is_refused(hub, nouns, tmp_path):
    there = make_hub(tmp_path / "there", nouns)
    label_model(there, FakeModel("colours/animals"))
    # Of the same images, so that the name is all that is in the way.
    export(there, tmp_path / "there.tar")
    with pytest.raises(HubError, match="under the name colours/animals"):
        import_labels(tmp_path / "there.tar", hub)


# -- killed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operation", "points"), [("merge", 8), ("fill", 8), ("export", 5)])
def test_a_killed_process_leaves_a_whole_hub_and_the_same_command_goes_on(gone, hub, tmp_path, operation, points):
    if operation == "fill":
        shutil.rmtree(hub)
        Hub.create(hub).close()
    shutil.copy(gone.root / "embeddings.tar", tmp_path / "bundle.tar")
    folder = Path(__file__).parents[1] / "label"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, operation, str(hub), str(tmp_path), str(points)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == points
    assert all(kill["same"] and kill["rubbish"] == [] for kill in found), found
    assert {kill["left"] for kill in found} <= {"old", "new"}
    assert found[0]["left"] == "old"


def export_here(path):
    """Export; what an earlier, killed one left must be a whole bundle or none."""
    if (path / "labels.tar").exists():
        read_bundle(path / "labels.tar")
    assert [expert.name for expert in export(path, path / "labels.tar", overwrite=True).experts] == ["colours/animals"]
    assert not list(path.glob(".labels*"))


if __name__ == "__main__":
    import killing

    scratch = Path(sys.argv[3])
    take = {"import": lambda path: import_labels(scratch / "bundle.tar", path), "export": export_here}
    killing.OPERATIONS |= {"merge": take["import"], "fill": take["import"], "export": take["export"]}
    killing.main(sys.argv[1], Path(sys.argv[2]), scratch, int(sys.argv[4]))
