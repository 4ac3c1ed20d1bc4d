"""Pictures come in order and in the same batches, however many threads decode them."""

import random
import threading
import time
import warnings
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

import mllctl_data
from mllctl.images import Skipped, feeding, open_image
from mllctl.images.feeding import picture_batches


@pytest.fixture(scope="module")
def uris(tmp_path_factory):
    """Forty files of as many sizes, six of them unreadable."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    paths = []
    for n in range(40):
        path = folder / f"{n}.{('png', 'jpg')[n % 2]}"
        if n % 7 == 3:
            path.write_bytes(b"no picture")
        else:
            Image.fromarray(draw.integers(0, 256, (8 + n, 60 - n, 3), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


def contents(batches):
    return [[p if isinstance(p, Skipped) else (p.size, p.tobytes()) for p in batch] for batch in batches]


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("mllctl-decode")]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("room", [1, 10_000, feeding.ROOM])
def test_batches_are_those_of_a_plain_loop_whatever_the_workers_and_the_room(uris, workers, room):
    plain = contents(picture_batches(uris, 6, 0))
    assert [len(batch) for batch in plain] == [6] * 6 + [4]
    assert contents(picture_batches(uris, 6, workers, room)) == plain
    assert decoding_threads() == []


def test_order_is_kept_when_early_pictures_take_longest(uris, monkeypatch):
    decode, chance = feeding._decode, random.Random(0)

    def dawdling(*given):
        time.sleep(chance.random() / 100)
        return decode(*given)

    plain = contents(picture_batches(uris, 6, 0))
    monkeypatch.setattr(feeding, "_decode", dawdling)
    assert contents(picture_batches(uris, 6, 4)) == plain


def test_the_pictures_are_those_of_open_image(uris):
    [first] = picture_batches(uris[:3], 3, 2)
    assert [picture.tobytes() for picture in first] == [open_image(uri).tobytes() for uri in uris[:3]]
    [[broken]] = picture_batches(uris[3:4], 1, 2)
    assert broken == Skipped(uris[3], "not an image")


def test_shipped_pictures_of_a_pack_are_each_their_own(tmp_path):
    """Rows of a pack of several row groups, read by four threads with one reader between them."""
    source = parquet.read_table(mllctl_data.path("demo", "images.parquet"), columns=["picture"]).slice(0, 60)
    parquet.write_table(pa.table({"picture": source.column("picture")}), tmp_path / "some.parquet", row_group_size=7)
    rows = [f"{tmp_path}/some.parquet#{n}" for n in (*range(60), 60, *range(0, 60, 7))]
    ahead = contents(picture_batches(rows, 8, 4))
    assert ahead == contents(picture_batches(rows, 8, 0))
    assert ahead[7][4] == Skipped(rows[60], "no picture in this row")


def test_no_more_waits_for_the_model_than_there_is_room_for(tmp_path):
    paths = []
    for n in range(12):
        Image.new("RGB", (100, 100), (n, n, n)).save(tmp_path / f"{n}.png")
        paths.append(str(tmp_path / f"{n}.png"))
    queue = feeding._Ahead(paths, room=60_000)  # two pictures of 30,000 bytes
    threads = [threading.Thread(target=queue.work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    most = 0
    for n in range(12):
        time.sleep(0.02)
        with queue._changed:
            most = max(most, queue._held)
        queue.take(n)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    # One more a worker may have been begun before the room was full.
    assert 30_000 < most <= 30_000 * (2 + 1)
    assert queue._held == 0


def test_whoever_stops_early_leaves_no_thread_behind(uris):
    with closing(picture_batches(uris, 4, 3, room=1)) as batches:
        next(batches)
        assert decoding_threads()
    assert decoding_threads() == []


def test_what_goes_wrong_in_a_worker_is_raised_where_the_picture_is_asked_for(uris, monkeypatch):
    def failing(uri, content=None):
        raise ZeroDivisionError(uri)

    monkeypatch.setattr(feeding, "_decode", failing)
    with pytest.raises(ZeroDivisionError):
        list(picture_batches(uris, 4, 2))
    assert decoding_threads() == []


def test_warnings_are_as_they_were_when_the_threads_have_ended(uris):
    before = list(warnings.filters)
    list(picture_batches(uris * 10, 4, 4))
    assert warnings.filters == before


def test_no_uris_are_no_batches():
    assert list(picture_batches([], 4, 2)) == []


@pytest.mark.parametrize(("size", "workers", "named"), [(0, 1, "size"), (1, -1, "workers")])
def test_what_makes_no_sense_is_refused(size, workers, named):
    with pytest.raises(ValueError, match=named):
        picture_batches(["a"], size, workers)
