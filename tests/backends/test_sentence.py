import pytest

from mllctl.backends.sentence import sentence_encoder
from mllctl.errors import ModelNotLoadable


def test_an_encoder_that_is_nowhere_is_refused_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotLoadable, match=r"give all-MiniLM-L6-v2, multilingual-e5-small, .*, an id of"):
        sentence_encoder("no/such-encoder", cache=tmp_path)
