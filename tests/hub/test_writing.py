import dataclasses
import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from fakes import FakeEncoder, FakeModel, TableModel, commit_label, paint_folder, plain_card, plain_synset
from mllctl import build_index, label_model, select_models
from mllctl.errors import HubBusy, HubExists, HubNotFound, HubReadOnly, NotInHub, StageMissing
from mllctl.graph import Graph
from mllctl.hub import Hub, LabelInput, writing
from mllctl.hub.manifest import read_history, read_manifest
from mllctl.hub.writing import HubChange, change_hub, seal
from mllctl.images import Domain, SampleImage, scan
from mllctl.index import open_index
from mllctl.label.growing import Label, write_part


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A hub of two nodes and two domains without images."""
    path = tmp_path_factory.mktemp("pristine") / "hub"
    Hub.create(path).close()
    synsets = (plain_synset(0), plain_synset(1, [0]))
    with change_hub(path) as change:
        change.add_domain(Domain("photo", "photographs"))
        change.add_domain(Domain("drawing", "drawings"))
        change.set_graph(Graph(synsets, ((0, 1),)))
    return path


@pytest.fixture
def small(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "small")


def image(name, node=0, domain="photo"):
    return SampleImage(f"/{name}", f"n{node:08d}", domain, hashlib.sha256(name.encode()).hexdigest())


def add(path, *images):
    with change_hub(path) as change:
        return change.add_images(images)


def places(path):
    with Hub.open(path) as hub:
        return [(image.image, image.uri, image.block, image.bit) for image in hub.images()]


def contents(path):
    """Every file of a hub with its content, but for the lock."""
    files = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


# -- who may change a hub -----------------------------------------------------------------------------


def test_only_a_hub_can_be_changed(tmp_path):
    with pytest.raises(HubNotFound), change_hub(tmp_path / "absent"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_sealed_hub_refuses_change_and_keeps_only_what_answers_need(labelled_copy):
    seal(labelled_copy)
    with pytest.raises(HubReadOnly, match="read-only"), change_hub(labelled_copy):
        pass
    manifest = read_manifest(labelled_copy)
    assert set(contents(labelled_copy)) == {"manifest.json", *(file.path for file in manifest.files())}
    assert manifest.image_features == manifest.caption_features == ()


def test_a_sealed_hub_answers_as_it_did_before(labelled, labelled_copy):
    seal(labelled_copy)
    with Hub.open(labelled.hub) as before, Hub.open(labelled_copy) as after:
        assert (after.nodes(), after.images(), after.edges()) == (before.nodes(), before.images(), before.edges())
        assert after.models() == before.models()
        assert after.overall_precision() == before.overall_precision()
        for view in ("precision", "precision_by_domain", "confusion", "similarity", "sample", "model_card"):
            assert after.query(f"FROM {view} ORDER BY ALL") == before.query(f"FROM {view} ORDER BY ALL")
        for nodes in ([0, 1, 2, 3, 4], [1, 3], [2]):
            assert np.array_equal(before.hits(nodes, range(3)).hits, after.hits(nodes, range(3)).hits)
            for m in range(3):
                assert after.winners(m, nodes).winner.tolist() == before.winners(m, nodes).winner.tolist()
        old, new = (select_models(hub, ["dog", "car"], encoder=FakeEncoder()) for hub in (before, after))
        assert old.reuse.tolist() == new.reuse.tolist()


def test_a_sealed_hub_says_that_it_does_not_know_rather_than_name_a_wrong_winner(small):
    # Image 0 shows node 0, which eleven other nodes beat, the one with the lowest ordinal most of all.
    rivals = range(2, 13)
    with change_hub(small) as change:
        change.add_nodes([plain_synset(n) for n in rivals])
        change.add_images([image("a"), *(image(f"b{n}", n) for n in rivals)])
    with Hub.open(small) as hub:
        captions, uris = hub.captions(), [image.uri for image in hub.images()]
    likeness = [0, 0, *np.linspace(1, 1 / 2, 11)]
    model = TableModel(
        plain_card("fake/model"),
        {uri: [1.0] for uri in uris},
        {caption: [value] for caption, value in zip(captions, likeness, strict=True)},
    )
    commit_label(small, model)

    def winners():
        with Hub.open(small) as hub:
            return [int(hub.winners(0, selected).winner[0]) for selected in ([0, 10, 11], [0, 9, 11], [0])]

    assert winners() == [10, 9, 0]
    seal(small)
    # The eight strongest rivals are kept, 2 to 9. Of those behind them it is known that they take an image, not which.
    assert winners() == [-1, 9, 0]


def test_a_second_writer_is_turned_away_while_another_process_writes(small):
    hold = "import sys, filelock; lock = filelock.FileLock(sys.argv[1])\nwith lock: print('held', flush=True); input()"
    command = [sys.executable, "-c", hold, str(small / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(HubBusy, match="another process") as busy, change_hub(small):
            pass
        assert busy.value.path == small
        # A reader does not mind.
        Hub.open(small).close()
        other.communicate(b"\n")
    assert add(small, image("a")) == 1


def test_a_second_writer_of_the_same_process_is_turned_away_and_harms_nothing(small):
    with change_hub(small) as change:
        change.add_images([image("a")])
        with pytest.raises(HubBusy), change_hub(small):
            pass
    assert [uri for _, uri, _, _ in places(small)] == ["/a"]


# -- generations --------------------------------------------------------------------------------------


def test_each_change_is_one_generation(small):
    before = read_manifest(small).generation
    add(small, image("a"))
    add(small, image("b"))
    assert read_manifest(small).generation == before + 2


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_change_that_fails_leaves_every_file_as_it_was(labelled_copy, error):
    before = contents(labelled_copy)
    with pytest.raises(error), change_hub(labelled_copy) as change:
        change.add_domain(Domain("drawing", "drawings"))
        change.remove_images([0, 1, 2])
        change.remove_model("fake/0")
        change.set_index(b"index", 1, np.zeros((2, 3), dtype=np.float32), "fake", "f")
        raise error
    assert contents(labelled_copy) == before


def test_a_commit_keeps_the_files_of_the_last_generations_and_no_others(small, monkeypatch):
    monkeypatch.setattr("mllctl.hub.manifest.GENERATIONS_KEPT", 3)
    for orphan in ("labels/000099-000001.duckdb", "labels/000099-000001.arrow", "catalog-000999.duckdb.wal"):
        (small / orphan).write_bytes(b"orphan")
    manifests = []
    for n in range(5):
        add(small, image(f"a{n}"))
        manifests.append(read_manifest(small))
    named = {file.path for manifest in manifests[-3:] for file in manifest.files()}
    past = {f"manifests/{manifest.generation:06d}.json" for manifest in manifests[-3:]}
    assert set(contents(small)) == {*named, *past, "manifest.json"}
    assert read_history(small) == manifests[-3:]
    for manifest in manifests[-3:]:
        with Hub.open(small, manifest.generation) as hub:
            assert hub.manifest == manifest
            assert len(hub.images()) == manifests.index(manifest) + 1
    with pytest.raises(NotInHub, match=f"kept are {manifests[2].generation} to {manifests[4].generation}"):
        Hub.open(small, manifests[1].generation)


def test_a_reader_keeps_its_generation_through_two_further_commits(labelled, labelled_copy, tmp_path, nouns):
    def answers(hub):
        selection = select_models(hub, ["dog", "car"], encoder=FakeEncoder())
        evidence = hub.hits(range(5), range(3))
        return hub.nodes(), hub.images(), hub.models(), evidence.hits.tolist(), selection.reuse.tolist()

    new = scan(paint_folder(tmp_path / "new", ["dog.n.01"], 2, seed=5), "photo", nouns).images
    with Hub.open(labelled.hub) as untouched, Hub.open(labelled_copy) as reader:
        with change_hub(labelled_copy) as change:
            change.remove_images(range(30))
            change.remove_model("fake/0")
            change.add_images(new)
        for _ in range(2):
            build_index(labelled_copy, FakeEncoder())
            label_model(labelled_copy, FakeModel("fake/1", seed=7))
        assert answers(reader) == answers(untouched)
    with Hub.open(labelled_copy) as reader:
        assert len(reader.images()) == 12


@pytest.fixture
def deaths(small, tmp_path, monkeypatch):
    """Add a domain and a labelled model, and keep each state of the disk that a kill could leave."""
    moments, states = [], [{}]
    part = tmp_path / "part"
    write_small_label(part)

    def after(function):
        def watched(*args, **options):
            result = function(*args, **options)
            if contents(small) != states[-1]:
                states.append(contents(small))
                moments.append(shutil.copytree(small, tmp_path / f"moment-{len(moments):02d}"))
            return result

        return watched

    with monkeypatch.context() as patch:
        patch.setattr(HubChange, "_run", after(HubChange._run))
        for name in ("sync_folder", "describe", "write_manifest", "sweep"):
            patch.setattr(writing, name, after(getattr(writing, name)))
        with change_hub(small) as change:
            change.add_domain(Domain("clip art", "clip art"))
            model = change.add_model(plain_card("fake/model"))
            change.put_label(model, part, whole=True)
    return moments


def write_small_label(folder):
    numbers = np.zeros(1, dtype=np.uint32)
    given = LabelInput(1, numbers, ("thing",), numbers, numbers, numbers, np.zeros(1, dtype=np.uint8), ("x",))
    model = TableModel(plain_card("fake/model"), {"x": [1.0]}, {"thing": [1.0]})
    write_part(folder, given, model.card, Label.empty(), *model.features(given))


def test_a_kill_at_any_moment_leaves_the_old_generation_or_the_new_and_nothing_to_the_next_change(deaths):
    def state(path):
        with Hub.open(path) as hub:
            return [domain.name for domain in hub.domains()], [model.card.name for model in hub.models()]

    old, new = (["photo", "drawing"], []), (["photo", "drawing", "clip art"], ["fake/model"])
    found = [state(moment) for moment in deaths]
    assert found == [old] * found.count(old) + [new] * found.count(new)
    assert old in found
    assert new in found
    for moment, (domains, models) in zip(deaths, found, strict=True):
        with change_hub(moment) as change:
            change.add_domain(Domain("next", "the change after"))
        assert state(moment) == ([*domains, "next"], models)


# -- images -------------------------------------------------------------------------------------------


def test_the_same_content_counts_once_in_one_change_or_in_two(small):
    assert add(small, image("a"), image("a"), image("b")) == 2
    again = SampleImage("/elsewhere", "n00000001", "drawing", image("a").sha256)
    assert add(small, again, image("c")) == 1
    assert [uri for _, uri, _, _ in places(small)] == ["/a", "/b", "/c"]


def test_images_fill_a_block_of_their_node_and_domain_and_then_open_the_next(small):
    add(small, *(image(f"a{n}") for n in range(60)))
    add(small, image("b", node=1), image("c", domain="drawing"))
    add(small, *(image(f"d{n}") for n in range(6)))
    taken = places(small)
    assert [(block, bit) for _, _, block, bit in taken[:60]] == [(0, n) for n in range(60)]
    assert [(block, bit) for _, _, block, bit in taken[60:62]] == [(1, 0), (2, 0)]
    assert [(block, bit) for _, _, block, bit in taken[62:]] == [(0, n) for n in range(60, 64)] + [(3, 0), (3, 1)]


def test_a_removed_image_comes_back_as_a_new_one_and_its_bit_and_ordinal_are_never_reused(small):
    add(small, image("a"), image("b"), image("c"))
    with change_hub(small) as change:
        change.remove_images([1, 2])
    assert places(small) == [(0, "/a", 0, 0)]
    add(small, image("c"), image("d"))
    assert places(small) == [(0, "/a", 0, 0), (3, "/c", 0, 3), (4, "/d", 0, 4)]
    with Hub.open(small) as hub:
        assert hub.query("SELECT live, used FROM block").rows == ((0b11001, 5),)
        assert hub.nodes()[0].images == hub.domains()[0].images == 3


def test_the_ordinal_of_the_last_image_is_not_reused_either(small):
    add(small, *(image(f"a{n}") for n in range(64)))
    with change_hub(small) as change:
        change.remove_images(range(64))
    assert places(small) == []
    add(small, image("a0"))
    assert places(small) == [(64, "/a0", 1, 0)]


def test_removing_images_that_are_not_there_changes_nothing(small):
    add(small, image("a"))
    with change_hub(small) as change:
        change.remove_images([])
        change.remove_images([7])
    assert places(small) == [(0, "/a", 0, 0)]


def test_a_removed_image_is_no_evidence_and_a_readded_one_none_until_it_is_labelled(labelled_copy):
    with Hub.open(labelled_copy) as hub:
        gone = hub.images(synset="dog.n.01")[0]
        node, before = gone.node, hub.hits([gone.node], [0]).images.sum()
        sha256 = hub.query(f"SELECT sha256 FROM sample WHERE image = {gone.image}").rows[0][0]
        wnid = hub.query(f"SELECT wnid FROM node WHERE node = {node}").rows[0][0]
    with change_hub(labelled_copy) as change:
        change.remove_images([gone.image])
    with Hub.open(labelled_copy) as hub:
        assert hub.hits([node], [0]).images.sum() == before - 1
        assert hub.models()[0].state == "complete"
    assert add(labelled_copy, SampleImage(gone.uri, wnid, "photo", sha256)) == 1
    with Hub.open(labelled_copy) as hub:
        assert hub.hits([node], [0]).images.sum() == before - 1
        assert (hub.models()[0].state, hub.models()[0].missing) == ("stale", 1)
        assert hub.unseen_nodes([node]) == {0, 1, 2}
        assert hub.unseen_nodes([0]) == set()


# -- domains, nodes, graph ----------------------------------------------------------------------------


def test_a_domain_keeps_its_ordinal_and_its_first_description(small):
    with change_hub(small) as change:
        change.add_domain(Domain("photo", "something else"))
        change.add_domain(Domain("clip art", "clip art"))
    with Hub.open(small) as hub:
        found = [(domain.domain, domain.name, domain.description) for domain in hub.domains()]
    assert found == [(0, "photo", "photographs"), (1, "drawing", "drawings"), (2, "clip art", "clip art")]


def test_nodes_are_appended_in_the_order_given_and_known_ones_stay(small):
    with change_hub(small) as change:
        change.add_nodes([plain_synset(5), plain_synset(1), plain_synset(3), plain_synset(5)])
    with Hub.open(small) as hub:
        assert [node.name for node in hub.nodes()] == ["thing0", "thing1", "thing5", "thing3"]
        assert hub.nodes()[2].caption == "thing5 which is thing number 5"
        assert hub.nodes_outside_graph() == 2


def test_a_graph_has_a_new_version_only_when_something_is_new(small):
    graph = Graph((plain_synset(0), plain_synset(1, [0])), ((0, 1),))
    with change_hub(small) as change:
        assert not change.set_graph(graph)
        change.add_nodes([plain_synset(2)])
        assert change.set_graph(Graph((*graph.synsets, plain_synset(2)), graph.edges))
        assert change.set_graph(Graph((*graph.synsets, plain_synset(2)), (*graph.edges, (1, 2))))
    with Hub.open(small) as hub:
        assert (hub.graph_version(), hub.nodes_outside_graph()) == (3, 0)
        assert hub.edges() == [(0, 1), (1, 2)]


# -- models -------------------------------------------------------------------------------------------


def test_other_weights_under_a_known_name_are_another_model_and_the_old_label_goes(labelled_copy):
    with change_hub(labelled_copy) as change:
        ordinal = change.add_model(plain_card("fake/1", "other weights"))
    with Hub.open(labelled_copy) as hub:
        assert ordinal == hub.model("fake/1").model == 3
        assert hub.model("fake/1").state == "none"
        assert [file.model for file in hub.manifest.labels] == [0, 2]
        assert not hub.hits(range(5), [1, 3]).images.any()
        assert hub.query("SELECT count(*) FROM label_made WHERE model = 1").rows == ((0,),)
    label_model(labelled_copy, FakeModel("fake/1", seed=1))
    with Hub.open(labelled_copy) as hub:
        assert {model.card.name: model.model for model in hub.models()} == {"fake/0": 0, "fake/1": 4, "fake/2": 2}


def test_the_same_weights_with_another_card_keep_their_label(labelled_copy, labelled):
    card = labelled.models[1].card
    renewed = type(card)(**{**vars(card), "logit_scale": 7.0, "source": "elsewhere"})
    with change_hub(labelled_copy) as change:
        assert change.add_model(renewed) == 1
    with Hub.open(labelled_copy) as hub:
        assert (hub.model("fake/1").card, hub.model("fake/1").state) == (renewed, "complete")


def test_a_removed_model_leaves_nothing_and_its_ordinal_is_not_reused(labelled_copy):
    with change_hub(labelled_copy) as change:
        change.remove_model("fake/2")
        with pytest.raises(NotInHub, match="mllctl model list"):
            change.remove_model("fake/2")
    with Hub.open(labelled_copy) as hub:
        assert [model.model for model in hub.models()] == [0, 1]
        assert all(f"{2:06d}-" not in file.path for file in hub.manifest.files())
    with change_hub(labelled_copy) as change:
        assert change.add_model(plain_card("fake/2")) == 3


def test_a_folder_with_files_of_somebody_else_is_no_place_for_a_hub(tmp_path):
    mine = tmp_path / "features" / "mine.parquet"
    mine.parent.mkdir()
    mine.touch()
    with pytest.raises(HubExists):
        Hub.create(tmp_path)
    assert mine.exists()


def test_an_index_that_nodes_overtook_is_older_than_its_captions(painted_copy):
    with Hub.open(painted_copy) as hub:
        nodes = len(hub.captions())
    with change_hub(painted_copy) as change:
        change.set_index(b"index", nodes - 1, np.zeros((1, 3), dtype=np.float32), "fake", "f")
    with Hub.open(painted_copy) as hub, pytest.raises(StageMissing, match="older than its captions"):
        open_index(hub)


def test_the_same_weights_prepared_in_another_way_lose_their_old_label(labelled_copy):
    with Hub.open(labelled_copy) as hub:
        card = hub.models()[0].card
    with change_hub(labelled_copy) as change:
        change.add_model(dataclasses.replace(card, preprocess="another"))
    with Hub.open(labelled_copy) as hub:
        assert hub.model(card.name).state == "none"
