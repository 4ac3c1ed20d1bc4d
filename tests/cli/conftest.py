"""What commands meet: an empty folder, fake encoders and models, hubs in every state. No towers, no network.

`open_fake` stands where open_clip is asked for a model: `fake/0`, `fake/1` and `fake/2` are those
of the labelled hub, `fake/ANYTHING` is one more, `fake/interrupted` ends in Ctrl-C.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import mllctl
from fakes import COLOURS, FakeEncoder, FakeModel, InterruptedModel, fake, paint_folder
from mllctl.backends import checking, open_clip_models
from mllctl.backends.checking import check_model
from mllctl.errors import ModelNotLoadable
from mllctl.hub import Hub
from mllctl.hub.writing import change_hub, seal
from mllctl.images import Domain, scan


def open_fake(arch, weights, device="cpu"):
    if arch != "fake":
        raise ModelNotLoadable(f"{arch}/{weights}", f"open_clip has no architecture {arch!r}")
    if weights == "interrupted":
        return InterruptedModel("fake/interrupted", after=0)
    return fake(int(weights)) if weights in "012" else FakeModel(f"fake/{weights}")


def check_fake(arch, weights, cache):
    if arch != "fake":
        check_model(arch, weights, cache)


@pytest.fixture(autouse=True)
def world(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("MLLCTL_HUB", "COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLLCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(open_clip_models, "open_model", open_fake)
    monkeypatch.setattr(checking, "check_model", check_fake)
    monkeypatch.setattr(mllctl, "sentence_encoder", lambda name, **options: FakeEncoder())
    monkeypatch.setattr("mllctl.backends.sentence.is_exported", lambda *args, **options: True)
    monkeypatch.setattr("mllctl.checkup.is_exported", lambda *args, **options: True)


@pytest.fixture
def photos(tmp_path):
    """An ImageFolder as people have them: a wnid, a word of many senses, what is no image, what is no word."""
    folder = paint_folder(tmp_path / "photos", ["dog.n.01", "cat.n.01", "car.n.01"], 2)
    (folder / "cat.n.01").rename(folder / "n02121620")
    (folder / "car.n.01").rename(folder / "crane")
    (folder / "dog.n.01" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, but no more")
    (folder / "dog.n.01" / "notes.txt").write_text("not an image")
    paint_folder(folder, ["apple.n.01"], 2)
    (folder / "apple.n.01").rename(folder / "xyzzy")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="session")
def hubs(tmp_path_factory, painted, labelled, nouns):
    """Hubs in every state that a command may meet; no test changes them."""
    root = tmp_path_factory.mktemp("hubs")

    def copied(source, name):
        return Path(shutil.copytree(source, root / name))

    Hub.create(root / "empty").close()
    ungraphed = root / "ungraphed"
    Hub.create(ungraphed).close()
    _add_images(ungraphed, paint_folder(root / "dogs", ["dog.n.01"], 2), "photo", nouns)
    unindexed = copied(ungraphed, "unindexed")
    with change_hub(unindexed) as change:
        from mllctl.graph import with_ancestors

        change.set_graph(with_ancestors([nouns.senses("dog.n.01")[0].wnid], nouns))
    outdated = copied(labelled.hub, "outdated")
    _add_images(outdated, paint_folder(root / "more", list(COLOURS), 1, seed=9), "drawing", nouns)
    unseen = copied(outdated, "unseen")
    mllctl.build_index(unseen, FakeEncoder())
    mllctl.label_model(unseen, fake(1))
    sealed = copied(labelled.hub, "sealed")
    seal(sealed)
    return SimpleNamespace(
        empty=root / "empty",
        ungraphed=ungraphed,
        unindexed=unindexed,
        unlabelled=painted.hub,
        labelled=labelled.hub,
        outdated=outdated,
        unseen=unseen,
        sealed=sealed,
        **{name: _damaged(copied(labelled.hub, name), name) for name in DAMAGE},
    )


def _add_images(hub, folder, domain, nouns):
    found = scan(folder, domain, nouns)
    with change_hub(hub) as change:
        change.add_domain(Domain(domain, f"{domain} which is how these images look"))
        change.add_nodes([nouns[image.wnid] for image in found.images])
        change.add_images(found.images)


def _damaged(hub, name):
    pattern, content = DAMAGE[name]
    for path in hub.glob(pattern):
        path.write_bytes(content(path.read_bytes()))
    return hub


# What happens to files whose name matches.
DAMAGE = {
    "truncated": ("labels/*.duckdb", lambda content: content[:100]),
    "scrambled": ("catalog-*.duckdb", lambda content: bytes(len(content))),
    "unreadable_index": ("nodes-*.faiss", lambda content: b"x" * len(content)),
    "no_json": ("manifest.json", lambda content: content[:-5]),
    "foreign_json": ("manifest.json", lambda content: b"[]"),
    "too_new": ("manifest.json", lambda content: b'{"schema_version": 99}'),
}
