"""A reader that lives long beside processes that write."""

import os
import subprocess
import sys
import time

import pytest

from fakes import FakeModel, plain_card
from mllctl import label_model
from mllctl.errors import HubDamaged, HubNotFound
from mllctl.hub import Hub, HubReader
from mllctl.hub.writing import change_hub

WRITER = """
import sys, time
from pathlib import Path
from fakes import FakeModel
from mllctl import label_model
for n in range(int(sys.argv[2])):
    label_model(Path(sys.argv[1]), FakeModel(f"fake/new{n}", seed=n))
    print(n, flush=True)
"""


def test_a_reader_sees_a_new_generation_at_its_next_call_and_keeps_the_old_one_until_then(labelled_copy):
    with HubReader(labelled_copy) as reader:
        old = reader.newest()
        assert reader.newest() is old
        label_model(labelled_copy, FakeModel("fake/new"))
        assert len(old.models()) == 3
        assert len(reader.newest().models()) == 4
        assert reader.newest() is not old


def test_reader_and_writer_of_two_processes_do_not_wait_for_each_other(labelled_copy):
    # Hits of each generation, once seen, never change; every generation is whole.
    command = [sys.executable, "-c", WRITER, str(labelled_copy), "6"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    seen, answers = {}, 0
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer,
        HubReader(labelled_copy) as reader,
    ):
        while writer.poll() is None:
            hub = reader.newest()
            models = hub.models()
            hits = hub.hits(range(5), [model.model for model in models]).hits.tolist()
            assert all(model.state == "complete" for model in models)
            assert seen.setdefault(hub.manifest.generation, hits) == hits
            answers += 1
            time.sleep(0.01)
        assert writer.returncode == 0
        assert len(reader.newest().models()) == 9
    assert answers > 6
    assert len(seen) > 1


def test_a_reader_needs_no_lock(labelled_copy):
    with HubReader(labelled_copy) as reader, change_hub(labelled_copy) as change:
        change.add_model(plain_card("model/new"))
        assert len(reader.newest().models()) == 3


def test_a_reader_of_what_is_no_hub_says_so_and_keeps_what_it_had(labelled_copy, tmp_path):
    with pytest.raises(HubNotFound):
        HubReader(tmp_path / "absent").newest()
    with HubReader(labelled_copy) as reader:
        hub = reader.newest()
        whole = (labelled_copy / "manifest.json").read_bytes()
        (labelled_copy / "manifest.json").write_bytes(whole[:40])
        with pytest.raises(HubDamaged):
            reader.newest()
        assert len(hub.models()) == 3
        (labelled_copy / "manifest.json").write_bytes(whole)
        assert len(reader.newest().models()) == 3
    Hub.open(labelled_copy).close()
