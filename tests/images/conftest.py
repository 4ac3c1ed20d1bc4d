"""Files of images, and a hub for commands."""

import io
import tarfile

import numpy as np
import pytest

from odd_images import encoded, picture


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run a command on a hub of its own."""
    monkeypatch.setenv("MLLCTL_HUB", str(tmp_path / "hub"))
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
