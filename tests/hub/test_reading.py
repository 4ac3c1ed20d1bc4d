import numpy as np
import pytest

from fakes import COLOURS
from mllctl.errors import HubExists, NotInHub, QueryRefused
from mllctl.hub import Hub
from mllctl.hub.reading import _close_names


@pytest.fixture(scope="module")
def hub(labelled):
    with Hub.open(labelled.hub) as opened:
        yield opened


# -- create -------------------------------------------------------------------------------------------


def test_a_new_hub_is_empty_and_answers_every_question(tmp_path):
    with Hub.create(tmp_path / "new" / "hub") as hub:
        assert (hub.manifest.generation, hub.graph_version(), hub.nodes_outside_graph()) == (0, 0, 0)
        assert hub.nodes() == hub.edges() == hub.domains() == hub.images() == hub.models() == hub.captions() == []
        assert hub.images_held(["0"]) == {}
        assert set() == hub.unseen_nodes([]) == hub.unseen_nodes([0]) == set()
        assert hub.overall_precision() == {}
        assert hub.winners(0, [0]).image.shape == hub.label_nodes(0).shape == (0,)
        assert hub.evidence_nodes().shape == (0,)
        assert hub.hits([], []).hits.shape == (0, 0, 0)
        assert hub.caption_index() is None
        assert len(hub.label_input().images) == 0
        for view in ("model_card", "sample", "precision", "precision_by_domain", "confusion", "similarity"):
            assert hub.query(f"FROM {view}").rows == ()


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("notes.txt", "already holds files; choose"),
        ("manifest.json", "is a hub already; name it with --hub"),
        ("labels.txt", "already holds files; choose"),
    ],
)
def test_a_hub_is_not_created_among_other_files(tmp_path, taken, said):
    (tmp_path / taken).touch()
    with pytest.raises(HubExists, match=said):
        Hub.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_a_hub_is_not_created_twice_nor_in_place_of_a_file(tmp_path):
    Hub.create(tmp_path / "hub").close()
    (tmp_path / "file").touch()
    for path in (tmp_path / "hub", tmp_path / "file"):
        with pytest.raises(HubExists):
            Hub.create(path)


def test_a_creation_that_was_cut_off_is_begun_again(tmp_path):
    (tmp_path / "staging").mkdir()
    (tmp_path / "catalog-000000.duckdb").write_bytes(b"half a catalog")
    (tmp_path / "manifest.json.new").write_text("{")
    with Hub.create(tmp_path) as hub:
        assert hub.nodes() == []


# -- questions ----------------------------------------------------------------------------------------


def test_nodes_come_by_ordinal_with_their_images(hub, nouns):
    nodes = hub.nodes()
    assert [node.node for node in nodes] == list(range(len(nodes)))
    assert {node.synset: node.images for node in nodes if node.images} == dict.fromkeys(COLOURS, 8)
    assert hub.evidence_nodes().tolist() == [node.images > 0 for node in nodes]
    assert hub.captions() == [f"{node.name} which is {node.definition}" for node in nodes]


def test_edges_are_the_hypernyms_of_wordnet_sorted(hub, nouns):
    synsets = [node.synset for node in hub.nodes()]
    wnids = {synset: nouns.senses(synset)[0].wnid for synset in synsets}
    ordinal = {wnid: n for n, wnid in enumerate(wnids[synset] for synset in synsets)}
    expected = [(ordinal[above], ordinal[wnid]) for wnid in wnids.values() for above in nouns[wnid].hypernyms]
    assert hub.edges() == sorted(expected)


def test_images_are_found_by_synset_and_domain(hub):
    assert [image.image for image in hub.images()] == list(range(40))
    dogs = hub.images(synset="dog.n.01")
    assert len(dogs) == 8
    assert {image.synset for image in dogs} == {"dog.n.01"}
    assert hub.images(synset="dog.n.01", domain="photo") == dogs
    assert hub.images(domain="drawing") == hub.images(synset="violin.n.01") == []
    assert [(domain.name, domain.images) for domain in hub.domains()] == [("photo", 40)]


def test_domain_embeddings_are_unit_vectors_by_ordinal(hub):
    embedding = hub.domain_embeddings()
    assert embedding.shape == (1, 256)
    assert embedding.dtype == np.float32
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)


def test_models_come_back_as_they_were_added(hub, labelled):
    assert [stored.card for stored in hub.models()] == [model.card for model in labelled.models]
    assert [stored.state for stored in hub.models()] == ["complete"] * 3


def test_a_model_that_is_not_there_is_refused_with_those_of_like_names(hub):
    with pytest.raises(NotInHub, match="did you mean") as refusal:
        hub.model("fake/00")
    assert "fake/0" in str(refusal.value)
    assert (refusal.value.kind, refusal.value.name) == ("model", "fake/00")
    with pytest.raises(NotInHub, match="mllctl model list"):
        hub.model("something else")


def test_a_hub_opens_wherever_it_lies(labelled, tmp_path):
    strange = tmp_path / 'it\'s a "hub" #1; DROP'
    strange.symlink_to(labelled.hub)
    with Hub.open(str(strange)) as hub:
        assert len(hub.models()) == 3


# -- SQL of a person ----------------------------------------------------------------------------------


def test_a_query_gives_columns_and_rows(hub):
    table = hub.query("SELECT 1 AS one, 'x' AS letter UNION ALL SELECT 2, 'y' ORDER BY one")
    assert (table.columns, table.rows) == (("one", "letter"), ((1, "x"), (2, "y")))


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT * FROM nothing_of_this_name",
        "INSERT INTO catalog.domain VALUES (9, 'x', 'y')",
        "DELETE FROM label_0.rival_mask",
        "DROP TABLE catalog.node",
        "COPY node TO '{target}'",
        "COPY (SELECT 1) TO '{target}'",
        "EXPORT DATABASE '{target}'",
        "ATTACH '{target}' AS other",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM '{secret}'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET enable_external_access",
        "SET default_order = 'desc'",
        "INSTALL httpfs",
    ],
)
def test_a_query_that_fails_writes_or_reads_files_is_refused_in_one_line(hub, tmp_path, sql):
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n1\n")
    with pytest.raises(QueryRefused, match="query refused") as refusal:
        hub.query(sql.format(target=tmp_path / "target", secret=secret))
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == [secret]
    assert hub.query("SELECT count(*) FROM image").rows == ((40,),)


def test_close_names_are_found_by_either_part_of_a_name():
    known = ["local-dir/tiny-a", "lite0-minilm/generalist", "ViT-B-32/laion2b_s34b_b79k"]
    for typed, meant in (("tinya", 0), ("local-dir/tiny", 0), ("GENERAL", 1), ("vit-b-32", 2), ("laion2b", 2)):
        assert _close_names(typed, known)[0] == known[meant]
    assert _close_names("another", known) == []
