"""Files of images, and commands in process."""

import io
import json
import tarfile
from dataclasses import dataclass

import numpy as np
import pytest

from odd_images import encoded, picture


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command on a hub of its own, in an empty folder."""
    from mllctl_cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLLCTL_HUB", str(tmp_path / "hub"))
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*argv):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in argv])
        out, err = capsys.readouterr()
        return Outcome(end.value.code, out, err)

    run("init", tmp_path / "hub")
    return run


@pytest.fixture
def pngs():
    """Distinct valid PNG files without end."""

    def make():
        random = np.random.default_rng(7)
        while True:
            yield encoded(picture(random), "PNG")

    return make()


@pytest.fixture
def write_tar():
    """Write an archive of (name, content) pairs, or of `TarInfo`s."""

    def write(path, members):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for member in members:
                name, content = member if isinstance(member, tuple) else (member, b"")
                info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    return write
