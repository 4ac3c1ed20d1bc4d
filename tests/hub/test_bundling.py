"""Bundles: what was exported answers as before where neither images nor weights are, and nothing else is let in.

Run as a script, this is the process that dies while it exports or imports; see `tests/label/killing.py`.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from fakes import COLOURS, FakeEncoder, FakeModel, fake, hub_of_folders, paint_folder
from mllctl import build_index, label_model, select_models
from mllctl.checkup import check_hub
from mllctl.errors import HubError, HubExists, HubReadOnly, SourceUnreadable, StageMissing
from mllctl.explain import explain_choice
from mllctl.hub import Hub, bundled_hub
from mllctl.hub.archive import CONTENTS, DIGEST, Archive, Piece, is_safe, write_archive
from mllctl.hub.bundling import export_labels, import_labels, read_bundle
from mllctl.hub.manifest import read_manifest
from mllctl.hub.parts import SCHEMA
from mllctl.hub.writing import change_hub, seal
from mllctl.images import Domain, scan
from mllctl.label import compact_labels, remove_images

TASKS = (
    ("dog", "wolf"),
    ("cat", "apple", "car"),
    ("quantum", "dog"),
)
DOMAINS = (None, "drawing", "satellite")
# In two hubs of one content these differ: how often they were changed, and which model came when.
OF_THE_HUB = {"hub_generation", "model"}
VIEWS = ("precision", "precision_by_domain", "confusion", "scores", "similarity", "sample", "model_card")


def make_hub(root, nouns, models=(0, 1, 2)):
    """A hub of two domains with images of its own."""
    folders = {
        "photo": paint_folder(root / "photo", list(COLOURS), 5),
        "drawing": paint_folder(root / "drawing", list(COLOURS)[1:], 3, seed=7),
    }
    hub = hub_of_folders(root / "hub", folders, nouns)
    build_index(hub, FakeEncoder())
    for number in models:
        label_model(hub, fake(number))
    return hub


def export(hub, target, *licenses, **options):
    with Hub.open(hub) as opened:
        return export_labels(opened, target, licenses, **options)


def files_of(hub):
    return {path: path.read_bytes() for path in hub.rglob("*") if path.is_file()}


def plain(value):
    """A value as lists, so that two of them can be compared."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in OF_THE_HUB]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, np.ndarray):
        return value.dtype.str, repr(value.tolist())  # NaN is no number, and not itself
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def answers(path, winners=True):
    """All that is asked of a hub: selections, explanations, counts, views."""
    with Hub.open(path) as hub:
        models = hub.models()
        evidence = np.flatnonzero(hub.evidence_nodes())
        chance = np.random.default_rng(0)
        some = [evidence, *(chance.choice(evidence, size=max(1, len(evidence) // 3), replace=False) for _ in range(5))]
        found = {
            "nodes": plain(hub.nodes()),
            "edges": hub.edges(),
            "domains": plain(hub.domains()),
            "models": plain([stored.card for stored in models]),
            "state": [stored.state for stored in models],
            "hits": [plain(hub.hits(nodes, [stored.model for stored in models]).hits) for nodes in some],
            "by masks": [plain(hub.hits_by_masks(nodes, [stored.model for stored in models]).hits) for nodes in some],
            "typical": plain(hub.typical_precision([stored.model for stored in models])),
            "views": {view: repr(hub.query(f"FROM {view} ORDER BY ALL").rows) for view in VIEWS},
        }
        if winners:
            found["winners"] = [plain(hub.winners(stored.model, nodes)) for stored in models for nodes in some]
        if hub.manifest.index and hub.manifest.index.encoder == "fake":
            for classes in TASKS:
                for domain in DOMAINS:
                    chosen = select_models(hub, classes, domain, k=2, encoder=FakeEncoder())
                    found[f"{classes} {domain}"] = plain(chosen)
            if winners:
                found["why"] = plain(explain_choice(hub, chosen, classes[0]))
        return found


@pytest.fixture(scope="module")
def gone(tmp_path_factory, nouns):
    """Bundles of a hub that is not there any more, nor are its images; and what it had answered."""
    root = tmp_path_factory.mktemp("gone")
    hub = make_hub(root, nouns)
    before = answers(hub)
    unordered = answers(hub, winners=False)
    contents = export(hub, root / "labels.tar")
    again = (root / "labels.tar").read_bytes()
    export(hub, root / "again.tar")
    assert (root / "again.tar").read_bytes() == again
    export(hub, root / "labels.tar.gz")
    export(hub, root / "no-order.tar", orders=False)
    export(hub, root / "embeddings.tar", embeddings=True)
    for folder in ("photo", "drawing", "hub"):
        shutil.rmtree(root / folder)
    return SimpleNamespace(root=root, bundle=root / "labels.tar", before=before, unordered=unordered, contents=contents)


# -- the same answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["labels.tar", "labels.tar.gz", "embeddings.tar"])
def test_what_is_imported_answers_as_the_hub_that_is_gone(gone, tmp_path, name):
    imported = import_labels(gone.root / name, tmp_path / "new")
    assert imported.created
    assert imported.taken == ("fake/0", "fake/1", "fake/2")
    assert answers(tmp_path / "new") == gone.before


def test_without_orders_hits_are_the_same_and_no_winner_is_wrong(gone, tmp_path):
    import_labels(gone.root / "no-order.tar", tmp_path / "new")
    import_labels(gone.bundle, tmp_path / "whole")
    assert answers(tmp_path / "new", winners=False) == gone.unordered
    assert read_manifest(tmp_path / "new").orders == ()
    with Hub.open(tmp_path / "new") as hub, Hub.open(tmp_path / "whole") as whole:
        evidence = np.flatnonzero(whole.evidence_nodes())
        winner = hub.winners(0, evidence).winner
        known = winner >= 0
        found = whole.winners(0, evidence)
        assert np.array_equal(winner[known], found.winner[known])
        assert np.array_equal(winner == found.truth, found.winner == found.truth)


def test_the_bundled_hub_travels(tmp_path):
    export(bundled_hub(), tmp_path / "demo.tar")
    import_labels(tmp_path / "demo.tar", tmp_path / "new")
    with Hub.open(tmp_path / "new") as new, Hub.open(bundled_hub()) as old:
        evidence = np.flatnonzero(old.evidence_nodes())
        models = range(len(old.models()))
        for nodes in (evidence, evidence[::2], evidence[:30]):
            assert plain(new.hits(nodes, models)) == plain(old.hits(nodes, models))
        assert plain(new.models()) == plain(old.models())
        assert plain(new.typical_precision(models)) == plain(old.typical_precision(models))
        assert new.images() == old.images()
        assert new.caption_index() == old.caption_index()
        assert plain(new.domain_embeddings()) == plain(old.domain_embeddings())
    with change_hub(tmp_path / "new") as change:
        change.add_domain(Domain("new", "which nothing sealed could take"))


def test_a_bundle_of_an_imported_hub_is_imported_alike(gone, tmp_path):
    import_labels(gone.bundle, tmp_path / "first")
    export(tmp_path / "first", tmp_path / "second.tar")
    import_labels(tmp_path / "second.tar", tmp_path / "second")
    assert answers(tmp_path / "second") == gone.before


def test_two_hubs_of_one_graph_merge_into_one_of_all_models(nouns, tmp_path):
    base = make_hub(tmp_path, nouns, models=())
    hubs = {name: shutil.copytree(base, tmp_path / name) for name in ("all", "here", "there")}
    for name, numbers in {"all": (0, 1, 2), "here": (0,), "there": (1, 2)}.items():
        for number in numbers:
            label_model(hubs[name], fake(number))
    export(hubs["there"], tmp_path / "there.tar")
    imported = import_labels(tmp_path / "there.tar", hubs["here"])
    assert (imported.created, imported.taken, imported.skipped) == (False, ("fake/1", "fake/2"), ())
    assert answers(hubs["here"]) == answers(hubs["all"])
    assert [read_manifest(hubs[name]).labels[1].model for name in ("here", "all")] == [1, 1]
    # Models that came with a bundle and those that were labelled here leave together.
    export(hubs["here"], tmp_path / "both.tar")
    import_labels(tmp_path / "both.tar", tmp_path / "new")
    assert answers(tmp_path / "new") == answers(hubs["all"])


def test_a_model_that_is_in_the_hub_but_not_labelled_takes_the_label(gone, tmp_path):
    import_labels(gone.bundle, tmp_path / "new")
    with change_hub(tmp_path / "new") as change:
        change.remove_model("fake/2")
    with change_hub(tmp_path / "new") as change:
        change.add_model(fake(2).card)
    imported = import_labels(gone.bundle, tmp_path / "new")
    assert (imported.taken, imported.skipped) == (("fake/2",), ("fake/0", "fake/1"))
    assert answers(tmp_path / "new") == gone.before


def test_importing_twice_changes_nothing(gone, tmp_path):
    import_labels(gone.bundle, tmp_path / "new")
    before = files_of(tmp_path / "new")
    imported = import_labels(gone.bundle, tmp_path / "new")
    assert (imported.taken, imported.generation) == ((), 1)
    assert files_of(tmp_path / "new") == before


def test_a_bundle_goes_into_a_folder_that_is_empty_or_a_hub_that_is(gone, tmp_path):
    (tmp_path / "folder").mkdir()
    Hub.create(tmp_path / "hub").close()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("all I have")
    assert import_labels(gone.bundle, tmp_path / "folder").created
    assert import_labels(gone.bundle, tmp_path / "hub").created
    with pytest.raises(HubExists):
        import_labels(gone.bundle, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_places_that_another_hub_gave_out_are_not_given_out_again(nouns, tmp_path):
    """An image that came and went where the label was made must not be taken for one that comes here."""
    base = make_hub(tmp_path, nouns, models=())
    there = shutil.copytree(base, tmp_path / "there")
    extra = scan(paint_folder(tmp_path / "extra", ["dog.n.01", "car.n.01"], 3, seed=3), "photo", nouns).images
    with change_hub(there) as change:
        change.add_domain(Domain("sketch", "a sketch"))
        change.add_images(extra)
        change.add_images([dataclasses.replace(image, domain="sketch", sha256=f"{n}") for n, image in enumerate(extra)])
    label_model(there, fake(0))
    with Hub.open(there) as hub:
        late = [image.image for image in hub.images() if image.uri in {one.uri for one in extra}]
    remove_images(there, late)
    export(there, tmp_path / "there.tar")
    label_model(base, fake(0))
    with change_hub(base) as change:
        change.remove_model("fake/0")
    import_labels(tmp_path / "there.tar", base)
    other = scan(paint_folder(tmp_path / "other", ["dog.n.01", "car.n.01"], 3, seed=4), "photo", nouns).images
    with change_hub(base) as change:
        change.add_domain(Domain("sketch", "a sketch"))
        change.add_images([*other, dataclasses.replace(other[0], domain="sketch", sha256="new")])
    with Hub.open(base) as hub:
        [model] = hub.models()
        assert (model.missing, model.state) == (7, "stale")


# -- what is refused ------------------------------------------------------------------------------------


def refused(bundle, path, match):
    """An import is refused in one line, and leaves nothing where nothing was."""
    there = path.exists()
    with pytest.raises(SourceUnreadable, match=match) as refusal:
        import_labels(bundle, path)
    assert "\n" not in str(refusal.value)
    assert path.exists() == there
    return str(refusal.value)


def test_a_byte_that_is_not_what_was_written_is_noticed_wherever_it_is(gone, tmp_path):
    content = bytearray(gone.bundle.read_bytes())
    with Archive(gone.bundle) as archive:
        starts = [*archive._at.values(), archive._end - 1024]
    chance = random.Random(0)
    # Headers, the padding before them, the two members that come first, the end; and anywhere.
    places = {chance.randrange(start - 40, start + 512) for start in starts for _ in range(6)}
    places |= {chance.randrange(4096) for _ in range(60)} | {len(content) - 1, len(content) - 700}
    places |= {chance.randrange(len(content)) for _ in range(150)}
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(content)
    for place in sorted(places):
        with damaged.open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ 1 << chance.randrange(8)]))
        with pytest.raises(SourceUnreadable):
            read_bundle(damaged)
        with damaged.open("r+b") as file:
            file.seek(place)
            file.write(content[place : place + 1])
    assert read_bundle(damaged) == gone.contents


def test_a_gzipped_bundle_is_noticed_to_be_damaged_or_is_what_it_was(gone, tmp_path):
    content = (gone.root / "labels.tar.gz").read_bytes()
    chance = random.Random(1)
    damaged = tmp_path / "damaged.tar.gz"
    noticed = 0
    for place in [chance.randrange(len(content)) for _ in range(40)]:
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
        try:
            assert read_bundle(damaged) == gone.contents
        except SourceUnreadable:
            noticed += 1
    assert noticed >= 38


@pytest.mark.parametrize("name", ["labels.tar", "labels.tar.gz"])
@pytest.mark.parametrize("part", [0, 0.0001, 0.3, 0.999, 1.1])
def test_a_bundle_that_is_cut_off_or_too_long_is_refused(gone, tmp_path, name, part):
    content = (gone.root / name).read_bytes()
    cut = content[: int(part * len(content))] if part < 1 else content + b"more"
    (tmp_path / name).write_bytes(cut)
    refused(tmp_path / name, tmp_path / "new", "damaged|no bundle")


def changed(bundle, target, **facts):
    """Write a bundle again with other facts."""
    with Archive(bundle) as archive:
        pieces = [Piece(member, archive.read(path)) for path, member in archive.members.items()]
        write_archive(target, {**archive.facts, **facts}, pieces)
    return target


def test_a_bundle_of_another_version_or_schema_is_refused_with_what_to_do(gone, tmp_path):
    new = tmp_path / "new"
    refused(changed(gone.bundle, tmp_path / "a.tar", version=2), new, "has bundle version 2, .* upgrade it")
    refused(changed(gone.bundle, tmp_path / "b.tar", schema_version=99), new, "version 99, .* upgrade mllctl")
    refused(changed(gone.bundle, tmp_path / "c.tar", schema_version=1), new, "version 1, .* hub upgraded and exported")
    refused(changed(gone.bundle, tmp_path / "d.tar", models=3), new, "cannot be understood")
    refused(changed(gone.bundle, tmp_path / "e.tar", format="other"), new, "is no bundle")


def tar(target, *members):
    """Write a tar as anyone might: (TarInfo or name, content)."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as out:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content) if info.isreg() else 0
            out.addfile(info, io.BytesIO(content))
    return target


def crafted(target, listed, *members, facts=None):
    """Write a tar whose contents list anything, and whose members are anything."""
    facts = {"format": "mllctl label bundle", "version": 1, "schema_version": 3, **(facts or {}), "files": listed}
    contents = json.dumps(facts).encode()
    digest = hashlib.sha256(contents).hexdigest().encode()
    return tar(target, (CONTENTS, contents), (DIGEST, digest), *members)


def listed(path, content=b"evil", size=None):
    size = len(content) if size is None else size
    return {"path": path, "size": size, "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    "path",
    ["../evil", "/tmp/evil", "a/../../evil", "a//b", "./a", "a/", "", "..", "c:evil", "a\\evil", "a\nb", "x" * 200],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, path):
    assert not is_safe(path)
    bundle = crafted(tmp_path / "evil.tar", [listed(path)], (path or "none", b"evil"))
    refused(bundle, tmp_path / "new", "no place in a bundle")
    with pytest.raises(ValueError, match="relative paths"):
        write_archive(tmp_path / "out.tar", {}, [Piece.of(path, b"")])


def special(path, kind, target):
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_what_is_no_plain_file_is_refused(tmp_path, kind):
    for size in (0, 4):
        bundle = crafted(
            tmp_path / "evil.tar", [listed("labels/a", b"\0" * size)], (special("labels/a", kind, "/etc/passwd"), b"")
        )
        refused(bundle, tmp_path / "new", "damaged")


@pytest.mark.parametrize("size", [1 << 60, 1 << 90, 10**30, -1, 4.0, True, None, "4"])
def test_a_size_that_is_none_is_refused_before_anything_is_written(gone, tmp_path, size):
    with Archive(gone.bundle) as archive:
        facts = archive.facts
    files = [listed("labels/a") | {"size": size}]
    bundle = crafted(tmp_path / "evil.tar", files, ("labels/a", b"evil"), facts=facts)
    refused(bundle, tmp_path / "new", "damaged")
    (tmp_path / "evil.tar.gz").write_bytes(gzip.compress(bundle.read_bytes()))
    refused(tmp_path / "evil.tar.gz", tmp_path / "new", "damaged")


def test_what_is_read_whole_has_a_limit(gone, tmp_path, monkeypatch):
    """A thousandth of it may have travelled."""
    monkeypatch.setattr("mllctl.hub.archive.READ_LIMIT", 1000)
    refused(gone.root / "labels.tar.gz", tmp_path / "new", "catalog/.* is too large")


def test_no_file_lies_below_another(tmp_path):
    with pytest.raises(ValueError, match="relative paths"):
        write_archive(tmp_path / "out.tar", {}, [Piece.of(path, b"") for path in ("a", "a-b", "a/b")])


def test_a_gzipped_bundle_is_unpacked_in_one_go(gone, tmp_path, monkeypatch):
    """Going back in it means to begin again: of many models, many times."""
    bundle = tmp_path / "whole.tar.gz"
    export(import_labels(gone.root / "embeddings.tar", tmp_path / "a").path, bundle, embeddings=True)
    unpacked = []
    extract = Archive.extract
    monkeypatch.setattr(
        Archive, "extract", lambda self, path, target: unpacked.append(path) or extract(self, path, target)
    )
    import_labels(bundle, tmp_path / "b")
    assert unpacked == sorted(unpacked)
    assert len(unpacked) == 3 * 4 + 1


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"files_of": {}}, "cannot be understood"),
        ({"files_of": None}, "cannot be understood"),
        (
            {"files_of": {"labels": [], "orders": [], "image_features": [], "caption_features": [], "experts": []}},
            "lacks the label of",
        ),
        ({"files_of": {"labels": [{}], "orders": [], "image_features": [], "caption_features": []}}, "understood"),
        ({"index": {"path": "README.txt"}}, "cannot be understood"),
        ({"licenses": ["README.txt"]}, "names a file for what it is not"),
        ({"licenses": ["licenses/none"]}, "lacks licenses/none"),
        ({"licenses": [3]}, "lacks 3|understood"),
    ],
)
def test_facts_that_do_not_fit_the_files_are_refused_before_a_hub_is_made(gone, tmp_path, facts, match):
    refused(changed(gone.bundle, tmp_path / "a.tar", **facts), tmp_path / "new", match)


def rewritten(bundle, target, path, content):
    """Write a bundle again with another content of one member, whose hash is right."""
    with Archive(bundle) as archive:
        facts = json.loads(json.dumps(archive.facts))
        pieces = [Piece.of(name, content if name == path else archive.read(name)) for name in archive.members]
        write_archive(target, facts, pieces)
    return target


def arrow(table):
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["node", "image", "model", "counter"])
def test_tables_of_another_form_are_refused_before_a_hub_is_made(gone, tmp_path, name):
    bundle = rewritten(gone.bundle, tmp_path / "a.tar", f"catalog/{name}.arrow", arrow(pa.table({"a": [1]})))
    refused(bundle, tmp_path / "new", "has not the columns of a catalog")


@pytest.mark.parametrize(("name", "column"), [("node", "node"), ("block", "block"), ("model", "model")])
def test_tables_that_the_catalog_does_not_take_are_refused_and_the_hub_is_as_it_was(gone, tmp_path, name, column):
    import_labels(gone.bundle, tmp_path / "old")
    with change_hub(tmp_path / "old") as change:
        change.remove_model("fake/2")
    with Archive(gone.bundle) as archive:
        table = pa.ipc.open_file(archive.read(f"catalog/{name}.arrow")).read_all()
    rows = table.set_column(table.column_names.index(column), column, pa.array([[1]] * len(table)))
    bundle = rewritten(gone.bundle, tmp_path / "a.tar", f"catalog/{name}.arrow", arrow(rows))
    before = files_of(tmp_path / "old")
    for hub in ("old", "new"):
        with pytest.raises(SourceUnreadable, match="the bundle is damaged") as refusal:
            import_labels(bundle, tmp_path / hub)
        assert "\n" not in str(refusal.value)
    assert files_of(tmp_path / "old") == before
    # If an empty hub was made, the good bundle goes into it.
    assert import_labels(gone.bundle, tmp_path / "new").created


def label_that_is_a_view(path):
    """A file of which the hub would run what it says."""
    with duckdb.connect(str(path)) as db:
        db.execute((SCHEMA / "label.sql").read_text())
        db.execute("DROP TABLE label_node")
        db.execute("CREATE VIEW label_node AS SELECT unnest(range(5))::UINTEGER AS node")
    return path.read_bytes()


@pytest.mark.parametrize("what", ["no database", "no table", "a view"])
def test_what_is_no_label_is_refused_and_the_hub_can_be_opened(gone, tmp_path, what):
    if what == "no table":
        duckdb.connect(str(tmp_path / "label")).close()
    content = {
        "no database": lambda: b"labels" * 1000,
        "no table": lambda: (tmp_path / "label").read_bytes(),
        "a view": lambda: label_that_is_a_view(tmp_path / "label"),
    }[what]()
    import_labels(gone.bundle, tmp_path / "hub")
    with change_hub(tmp_path / "hub") as change:
        change.remove_model("fake/2")
    before = files_of(tmp_path / "hub")
    with Archive(gone.bundle) as archive:
        path = archive.facts["files_of"]["labels"][2]["path"]
    bundle = rewritten(gone.bundle, tmp_path / "a.tar", path, content)
    with pytest.raises(SourceUnreadable, match=r"is no label|has not the tables of a label"):
        import_labels(bundle, tmp_path / "hub")
    assert files_of(tmp_path / "hub") == before


def test_other_files_are_no_bundles(gone, tmp_path):
    (tmp_path / "text").write_text("labels\n" * 1000)
    (tmp_path / "empty").write_text("")
    tar(tmp_path / "other.tar", ("README", b"hello"))
    crafted(tmp_path / "twice.tar", [listed("a"), listed("a")], ("a", b"evil"), ("a", b"evil"))
    for name in ("text", "empty", "other.tar"):
        refused(tmp_path / name, tmp_path / "new", "no bundle of labels")
    refused(tmp_path / "twice.tar", tmp_path / "new", "no place")
    refused(tmp_path / "nowhere.tar", tmp_path / "new", "no such file")
    refused(tmp_path, tmp_path / "new", "directory")
    # A member that is not listed, behind all that are.
    with tarfile.open(shutil.copy(gone.bundle, tmp_path / "more.tar"), "a") as out:
        out.addfile(tarfile.TarInfo("extra"))
    refused(tmp_path / "more.tar", tmp_path / "new", "damaged")


def test_another_graph_is_refused_naming_the_first_difference(gone, nouns, tmp_path):
    import_labels(gone.bundle, tmp_path / "hub")
    with Hub.open(tmp_path / "hub") as hub:
        first = hub.images()[0]
    cases = {
        "fewer": lambda change: change.remove_images([first.image]),
        "words": lambda change: change._run("UPDATE node SET caption = 'a dog' WHERE synset = 'dog.n.01'"),
        "nodes": lambda change: change.add_nodes(nouns.senses("quantum")),
        "edges": lambda change: change._run("DELETE FROM edge WHERE parent = 0 OR child = 0"),
        "other": lambda change: change._run(
            "UPDATE image SET sha256 = 'f' WHERE image = $image", {"image": first.image}
        ),
    }
    told = {
        "fewer": f"image {first.image} is not in the hub and {first.synset}, photo, sha256 .* in the bundle",
        "words": "caption of node dog.n.01 is a dog in the hub and dog which is .* in the bundle",
        "nodes": "node [0-9]+ is quantum.n.01 in the hub and not in the bundle",
        "edges": "edge .* - .* is not in the hub and there in the bundle",
        "other": f"image {first.image} is .* sha256 f, bit 0 of 0 in the hub and .* in the bundle",
    }
    for name, make in cases.items():
        path = shutil.copytree(tmp_path / "hub", tmp_path / name)
        with change_hub(path) as change:
            # As one who may: a label without embeddings cannot follow all of this.
            make(change)
        with pytest.raises(HubError, match=told[name]) as refusal:
            import_labels(gone.bundle, path)
        assert "--hub NEW" in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert read_manifest(path).generation == 2


def test_other_weights_under_a_known_name_are_refused_with_the_cure(gone, nouns, tmp_path):
    import_labels(gone.bundle, tmp_path / "hub")
    with change_hub(tmp_path / "hub") as change:
        change.add_model(dataclasses.replace(fake(1).card, fingerprint="other"))
    with pytest.raises(HubError, match="mllctl model remove fake/1"):
        import_labels(gone.bundle, tmp_path / "hub")
    with change_hub(tmp_path / "hub") as change:
        change.remove_model("fake/1")
    assert import_labels(gone.bundle, tmp_path / "hub").taken == ("fake/1",)


def test_a_sealed_hub_takes_nothing(gone, labelled_copy):
    seal(labelled_copy)
    with pytest.raises(HubReadOnly):
        import_labels(gone.bundle, labelled_copy)


# -- labels without embeddings --------------------------------------------------------------------------


def test_a_bare_label_that_lacks_something_is_refused_before_anything_is_shown(nouns, tmp_path):
    hub = make_hub(tmp_path, nouns, models=(0,))
    export(hub, tmp_path / "bare.tar")
    import_labels(tmp_path / "bare.tar", tmp_path / "new")
    model = fake(0)
    report = label_model(tmp_path / "new", model)
    assert (report.shown, report.images, model.shown) == (0, 37, 0)
    with Hub.open(hub) as old:
        assert report.hits == old.overall_hits(0)
    with change_hub(tmp_path / "new") as change:
        change.add_images(scan(paint_folder(tmp_path / "more", ["dog.n.01"], 2, seed=5), "photo", nouns).images)
    with pytest.raises(HubError, match=r"^the label of fake/0 was imported without .*; `mllctl model remove fake/0`"):
        label_model(tmp_path / "new", model)
    assert model.shown == 0
    assert not list((tmp_path / "new" / "staging").iterdir())
    [finding] = [found for found in check_hub(tmp_path / "new") if found.what == "label of fake/0"]
    assert finding.remark.startswith("2 images and 0 nodes not seen yet; the label of fake/0 was imported without")


def test_a_bare_label_cannot_be_merged_and_says_so(gone, tmp_path):
    import_labels(gone.bundle, tmp_path / "new")
    assert compact_labels(tmp_path / "new") == []
    with pytest.raises(HubError, match=r"the label of fake/0 \(and of 1 more\) was imported without its embeddings"):
        compact_labels(tmp_path / "new", ["fake/0", "fake/2"])
    assert read_manifest(tmp_path / "new").generation == 1


def test_images_of_a_node_that_no_bare_label_has_seen_can_be_taken_out_again(gone, nouns, tmp_path):
    import_labels(gone.bundle, tmp_path / "new")
    folder = paint_folder(tmp_path / "more", ["dog.n.01"], 2, seed=5)
    (folder / "dog.n.01").rename(folder / "violin.n.01")
    found = scan(folder, "photo", nouns).images
    with change_hub(tmp_path / "new") as change:
        change.add_nodes(nouns.senses("violin.n.01"))
        change.add_images(found)
    with Hub.open(tmp_path / "new") as hub:
        mistaken = [image.image for image in hub.images(synset="violin.n.01")]
        dogs = [image.image for image in hub.images(synset="dog.n.01")]
    with pytest.raises(HubError, match=r"last images of 'dog.n.01', .* fake/0 \(and of 2 more\)"):
        remove_images(tmp_path / "new", [*dogs, *mistaken])
    remove_images(tmp_path / "new", mistaken)
    with Hub.open(tmp_path / "new") as hub:
        assert [model.state for model in hub.models()] == ["complete"] * 3


def test_a_label_without_embeddings_stays_as_it_is_and_says_so(nouns, tmp_path):
    hub = make_hub(tmp_path, nouns, models=(0,))
    export(hub, tmp_path / "bare.tar")
    import_labels(tmp_path / "bare.tar", tmp_path / "new")
    with Hub.open(tmp_path / "new") as opened:
        dogs = [image.image for image in opened.images(synset="dog.n.01")]
    remove_images(tmp_path / "new", dogs[:1])
    with pytest.raises(HubError, match=r"last images of 'dog.n.01', .* `mllctl model remove fake/0`"):
        remove_images(tmp_path / "new", dogs[1:])
    found = scan(paint_folder(tmp_path / "more", ["dog.n.01"], 2, seed=5), "photo", nouns).images
    with change_hub(tmp_path / "new") as change:
        change.add_images(found)
    with pytest.raises(HubError, match="without its embeddings"):
        label_model(tmp_path / "new", fake(0))
    with change_hub(tmp_path / "new") as change:
        change.remove_model("fake/0")
    report = label_model(tmp_path / "new", fake(0))
    assert (report.images, report.skipped) == (38, ())


def test_a_label_with_embeddings_grows_as_at_home(nouns, tmp_path):
    hub = make_hub(tmp_path, nouns, models=(0,))
    export(hub, tmp_path / "whole.tar", embeddings=True)
    import_labels(tmp_path / "whole.tar", tmp_path / "new")
    found = scan(paint_folder(tmp_path / "more", ["dog.n.01"], 2, seed=5), "photo", nouns).images
    for path in (hub, tmp_path / "new"):
        with change_hub(path) as change:
            change.add_images(found)
        assert label_model(path, fake(0)).shown == 2
    assert answers(tmp_path / "new") == answers(hub)


def test_a_label_that_has_grown_goes_with_its_embeddings_or_is_merged_first(nouns, tmp_path):
    hub = make_hub(tmp_path, nouns, models=(0,))
    with change_hub(hub) as change:
        change.add_images(scan(paint_folder(tmp_path / "more", ["dog.n.01"], 2, seed=5), "photo", nouns).images)
    label_model(hub, fake(0))
    with pytest.raises(StageMissing, match=r"\(--embeddings\) until it is merged; run `mllctl hub compact"):
        export(hub, tmp_path / "no.tar")
    assert not (tmp_path / "no.tar").exists()
    export(hub, tmp_path / "grown.tar", embeddings=True)
    import_labels(tmp_path / "grown.tar", tmp_path / "grown")
    assert answers(tmp_path / "grown") == answers(hub)
    compact_labels(hub)
    export(hub, tmp_path / "merged.tar")
    import_labels(tmp_path / "merged.tar", tmp_path / "merged")
    assert answers(tmp_path / "merged") == answers(hub)


def test_a_new_model_cannot_be_labelled_where_the_images_are_not(gone, tmp_path):
    import_labels(gone.bundle, tmp_path / "new")
    with pytest.raises(SourceUnreadable, match=r"no such file.*no image of the hub can be read") as refusal:
        label_model(tmp_path / "new", FakeModel("fake/new"))
    assert "\n" not in str(refusal.value)
    assert answers(tmp_path / "new") == gone.before


# -- what goes into it ----------------------------------------------------------------------------------


def test_a_bundle_is_not_written_over_unless_asked(gone, tmp_path):
    import_labels(gone.bundle, tmp_path / "new")
    (tmp_path / "taken.tar").write_text("mine")
    with pytest.raises(SourceUnreadable, match="give --force"):
        export(tmp_path / "new", tmp_path / "taken.tar")
    assert (tmp_path / "taken.tar").read_text() == "mine"
    export(tmp_path / "new", tmp_path / "taken.tar", overwrite=True)
    assert read_bundle(tmp_path / "taken.tar").models == gone.contents.models


def test_a_damaged_hub_makes_no_bundle(gone, tmp_path):
    hub = tmp_path / "new"
    import_labels(gone.bundle, hub)
    with Hub.open(hub) as opened:
        file = hub / opened.manifest.labels[1].path
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(SourceUnreadable, match="the hub is damaged"):
            export_labels(opened, tmp_path / "out.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_nothing_that_is_labelled_is_nothing_to_export(painted, tmp_path):
    with pytest.raises(StageMissing, match="mllctl label --all"):
        export(painted.hub, tmp_path / "out.tar")


def test_licences_go_along_stay_and_go_on(gone, tmp_path):
    texts = tmp_path / "texts"
    (texts / "more").mkdir(parents=True)
    (texts / "photos.txt").write_text("CC-BY-4.0, by Ada")
    (texts / "more" / "drawings.txt").write_text("public domain")
    single = tmp_path / "NOTICE"
    single.write_text("be nice")
    import_labels(gone.bundle, tmp_path / "a")
    contents = export(tmp_path / "a", tmp_path / "a.tar", texts, single)
    assert contents.licenses == ("licenses/NOTICE", "licenses/more/drawings.txt", "licenses/photos.txt")
    with tarfile.open(tmp_path / "a.tar") as shown:
        readme = shown.extractfile("README.txt").read().decode()
        assert {member.mtime for member in shown} == {0}
        assert all(member.isreg() for member in shown)
    assert "licenses/photos.txt" in readme
    assert "from generation 1 of a hub" in readme
    import_labels(tmp_path / "a.tar", tmp_path / "b")
    assert (tmp_path / "b" / "licenses" / "photos.txt").read_text() == "CC-BY-4.0, by Ada"
    assert export(tmp_path / "b", tmp_path / "b.tar").licenses == contents.licenses
    # Another text of the same name stands beside the first.
    (texts / "photos.txt").write_text("CC0")
    with change_hub(tmp_path / "b") as change:
        change.remove_model("fake/0")
    export(tmp_path / "a", tmp_path / "c.tar", texts)
    import_labels(tmp_path / "c.tar", tmp_path / "b")
    kept = {path.read_text() for path in (tmp_path / "b" / "licenses").rglob("photos.txt")}
    assert kept == {"CC-BY-4.0, by Ada", "CC0"}
    with pytest.raises(SourceUnreadable, match="the same name"):
        export(tmp_path / "a", tmp_path / "d.tar", single, single)
    with pytest.raises(SourceUnreadable, match="no such file"):
        export(tmp_path / "a", tmp_path / "d.tar", tmp_path / "none")


def test_a_text_that_is_given_is_not_dropped_for_one_that_came_with_a_bundle(gone, tmp_path):
    (tmp_path / "NOTICE").write_text("by Ada")
    import_labels(gone.bundle, tmp_path / "a")
    export(tmp_path / "a", tmp_path / "a.tar", tmp_path / "NOTICE")
    import_labels(tmp_path / "a.tar", tmp_path / "b")
    assert export(tmp_path / "b", tmp_path / "b.tar", tmp_path / "NOTICE").licenses == ("licenses/NOTICE",)
    (tmp_path / "NOTICE").write_text("by Ada and Grace")
    with pytest.raises(SourceUnreadable, match=r"another text of this name came into the hub: .*; rename yours"):
        export(tmp_path / "b", tmp_path / "c.tar", tmp_path / "NOTICE")


def test_a_folder_of_licences_and_a_licence_may_have_one_name_in_two_bundles(gone, tmp_path):
    (tmp_path / "texts" / "photos").mkdir(parents=True)
    (tmp_path / "texts" / "photos" / "ada.txt").write_text("by Ada")
    (tmp_path / "photos").write_text("by Grace")
    import_labels(gone.bundle, tmp_path / "a")
    with pytest.raises(SourceUnreadable, match="its folder has the name of"):
        export(tmp_path / "a", tmp_path / "c.tar", tmp_path / "texts", tmp_path / "photos")
    export(tmp_path / "a", tmp_path / "folder.tar", tmp_path / "texts")
    export(tmp_path / "a", tmp_path / "file.tar", tmp_path / "photos")
    for first, second in (("folder", "file"), ("file", "folder")):
        hub = tmp_path / f"{first} first"
        import_labels(tmp_path / f"{first}.tar", hub)
        with change_hub(hub) as change:
            change.remove_model("fake/0")
        import_labels(tmp_path / f"{second}.tar", hub)
        kept = {path.read_text() for path in (hub / "licenses").rglob("*") if path.is_file()}
        assert kept == {"by Ada", "by Grace"}


def test_licences_of_weights_are_those_mllctl_knows(tmp_path):
    contents = export(bundled_hub(), tmp_path / "demo.tar", orders=False)
    assert {model.license for model in contents.models} == {"MIT AND Apache-2.0", "Apache-2.0"}
    assert (contents.orders, contents.embeddings) == (False, False)


# -- killed ---------------------------------------------------------------------------------------------


def export_here(path):
    """Export; what an earlier, killed one left must be a whole bundle or none."""
    target = path / "labels.tar"
    if target.exists():
        read_bundle(target)
    export(path, target, overwrite=True)
    assert not list(path.glob(".labels*"))


@pytest.mark.parametrize(("operation", "points"), [("merge", 8), ("fill", 8), ("export", 6)])
def test_a_killed_process_leaves_a_whole_hub_and_the_same_command_goes_on(gone, tmp_path, operation, points):
    hub = tmp_path / "hub"
    if operation == "fill":
        Hub.create(hub).close()
    else:
        import_labels(gone.bundle, hub)
        with change_hub(hub) as change:
            change.remove_model("fake/1")
    shutil.copy(gone.bundle, tmp_path / "bundle.tar")
    folder = Path(__file__).parents[1] / "label"
    path = os.pathsep.join([str(folder), *sys.path])
    command = [sys.executable, __file__, operation, str(hub), str(tmp_path), str(points)]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == points
    assert all(kill["same"] and kill["rubbish"] == [] for kill in found), found
    assert {kill["left"] for kill in found} <= {"old", "new"}
    assert found[0]["left"] == "old"


if __name__ == "__main__":
    import killing

    scratch = Path(sys.argv[3])
    take = {"import": lambda path: import_labels(scratch / "bundle.tar", path), "export": export_here}
    killing.OPERATIONS |= {"merge": take["import"], "fill": take["import"], "export": take["export"]}
    killing.main(sys.argv[1], Path(sys.argv[2]), scratch, int(sys.argv[4]))
