"""Devices that are there and precisions that they have: on a machine with nothing but a processor."""

import numpy as np
import pytest
import torch

from fakes import FakeModel, fake, plain_card
from mllctl.backends import devices
from mllctl.backends.devices import (
    FLOAT32,
    PRECISIONS,
    card_in,
    check_precision,
    choose_device,
    in_precision,
    is_out_of_memory,
    precision_of,
)
from mllctl.errors import InvalidTask


@pytest.fixture
def found(monkeypatch):
    """As if torch found so many devices."""

    def found(**count):
        monkeypatch.setattr(devices, "_count_devices", lambda: {"cuda": 0, "mps": 0, **count})

    return found


@pytest.mark.parametrize(
    ("count", "chosen"), [({}, "cpu"), ({"mps": 1}, "mps"), ({"cuda": 1}, "cuda"), ({"cuda": 2, "mps": 1}, "cuda")]
)
def test_auto_is_the_first_of_cuda_mps_and_cpu(found, count, chosen):
    found(**count)
    assert choose_device() == chosen


@pytest.mark.parametrize(
    ("count", "wanted", "message"),
    [
        ({}, "cuda", "torch finds no cuda here; give --device auto or --device cpu"),
        ({"cuda": 1}, "mps", "torch finds no mps here"),
        ({"cuda": 1}, "cuda:1", "there is only cuda:0; give"),
        ({"cuda": 3}, "cuda:3", "there is only cuda:0 to cuda:2"),
        ({"cuda": 1}, "gpu", "no such device; give auto, cpu, cuda"),
        ({"cuda": 1}, "cuda:", "no such device"),
        ({"cuda": 1}, "auto:1", "no such device"),
        ({"cuda": 1}, "", "no such device"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(found, count, wanted, message):
    found(**count)
    with pytest.raises(InvalidTask, match=message):
        choose_device(wanted)


@pytest.mark.parametrize("wanted", ["cpu", "cuda", "cuda:1", "mps"])
def test_a_device_that_is_there_is_taken_as_it_was_named(found, wanted):
    found(cuda=2, mps=1)
    assert choose_device(wanted) == wanted


def test_what_torch_counts_here_is_what_auto_goes_by():
    assert (choose_device() == "cpu") == (not torch.cuda.is_available() and not torch.backends.mps.is_available())


def test_a_precision_is_refused_if_it_is_none_or_the_device_has_it_not():
    for precision in PRECISIONS:
        check_precision(precision, "cpu")
    with pytest.raises(InvalidTask, match="one of float32, bfloat16, float16"):
        check_precision("int8", "cpu")
    with pytest.raises(InvalidTask, match="meta:7 does not compute in it; give --precision float32"):
        check_precision("bfloat16", "meta:7")


def test_a_card_tells_of_its_precision_and_has_another_identity_in_each():
    card = plain_card("some/model")
    cards = {precision: card_in(card, precision) for precision in PRECISIONS}
    assert {precision: precision_of(cards[precision]) for precision in PRECISIONS} == {p: p for p in PRECISIONS}
    assert cards[FLOAT32] == card
    assert len({card.identity for card in cards.values()}) == 3
    for before in cards.values():
        assert {precision: card_in(before, precision) for precision in PRECISIONS} == cards


def test_float32_is_the_model_itself():
    model = fake(0)
    assert in_precision(model, FLOAT32, "cpu") is model


class Linear(FakeModel):
    """Gives what a layer of torch makes of numbers, in whatever it computes, not of length 1 in any."""

    def encode_images(self, images):
        torch.manual_seed(0)
        layer, x = torch.nn.Linear(16, 16), torch.rand(len(images), 16)
        with torch.inference_mode():
            made = layer(x)
        self.computed = made.dtype
        return made.float().numpy()

    encode_texts = encode_images


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_a_model_in_half_precision_computes_in_it_and_gives_unit_vectors_of_float32(precision):
    inner = Linear("fake/linear")
    model = in_precision(inner, precision, "cpu")
    for encode, wide in ((model.encode_images, inner.encode_images), (model.encode_texts, inner.encode_texts)):
        full = wide([None] * 5)
        vectors = encode([None] * 5)
        assert inner.computed == getattr(torch, precision)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
        assert vectors == pytest.approx(full / np.linalg.norm(full, axis=1, keepdims=True), abs=0.02)
    assert precision_of(model.card) == precision


def test_lack_of_memory_is_told_from_other_errors():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(OSError("out of memory"))
    foreign = type("RuntimeException", (Exception,), {"__module__": "onnxruntime.capi.onnxruntime_pybind11_state"})
    assert is_out_of_memory(foreign("Failed to allocate memory for requested buffer of size 1024"))
    assert not is_out_of_memory(foreign("Got invalid dimensions for input"))
    with pytest.raises(RuntimeError) as real:
        torch.empty(1 << 50)
    assert is_out_of_memory(real.value)


@pytest.mark.towers
@pytest.mark.parametrize("name", ["generalist", "conse-top10"])
def test_demo_models_compute_in_bfloat16(name):
    from mllctl import load_model
    from mllctl.demo import demo_tasks
    from mllctl.images import open_image

    model = load_model(f"demo:{name}")
    pictures = [open_image(uri) for task in demo_tasks()[:6] for uri in task.uris[:4]]
    half = in_precision(model, "bfloat16", "cpu")
    cosine = (half.encode_images(pictures) * model.encode_images(pictures)).sum(axis=1)
    # conse-top10 cuts its list of classes off: a rounding may change the tenth, so one picture may move far.
    assert np.median(cosine) == pytest.approx(1, abs=0.005)
    assert cosine.min() > 0.9
    assert (half.encode_texts(["a dog"]) * model.encode_texts(["a dog"])).sum() == pytest.approx(1, abs=0.005)
