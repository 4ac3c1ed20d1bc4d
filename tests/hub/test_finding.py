import pytest

import mllctl_data
from mllctl.hub import Hub, bundled_hub, cache_folder, find_hub


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("MLLCTL_HUB", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_path_that_is_given_wins_then_the_environment_then_the_folder_beside_then_the_demo(tmp_path, monkeypatch):
    assert find_hub() == bundled_hub() == mllctl_data.path("demo", "hub")
    Hub.create(tmp_path / "hub").close()
    assert find_hub().resolve() == tmp_path / "hub"
    monkeypatch.setenv("MLLCTL_HUB", str(tmp_path / "named"))
    assert find_hub() == tmp_path / "named"
    assert find_hub("given") == find_hub(tmp_path / "given").relative_to(tmp_path)


def test_a_folder_called_hub_that_is_none_is_passed_over(tmp_path):
    (tmp_path / "hub").mkdir()
    assert find_hub() == bundled_hub()


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MLLCTL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MLLCTL_CACHE")
    assert cache_folder().name == "mllctl"
