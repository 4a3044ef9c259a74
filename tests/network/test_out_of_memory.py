"""When memory runs out the user is told what to do; every other error stays what it is."""

import pytest
import torch

from segflow.contracts.errors import TrainingError
from segflow.network.memory import fits_in_memory, free_memory

WHAT = "training 3d_fullres (patch 128 x 128 x 128, batch 2)"
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def fits(device):
    return fits_in_memory(WHAT, device=device, remedy="use a smaller patch", error=TrainingError)


def message_for(error, device="cuda"):
    with pytest.raises(TrainingError) as caught, fits(device):
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    ("reserved_gb", "described"),
    [(78.5, "NVIDIA H100 (80.0 GB)"), (20, "NVIDIA H100 (80.0 GB, of which other programs hold 59.0 GB)")],
)
def test_the_message_says_what_where_and_what_to_do(monkeypatch, reserved_gb, described):
    """On a card of 80 GB with 1 GB free."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(1e9), int(80e9)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(reserved_gb * 1e9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    assert message_for(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")) == (
        f"{WHAT} does not fit into the memory of the {described}; use a smaller patch"
    )


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation",
        "Unable to find an engine to execute this computation",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "[enforce fail at alloc_cpu.cpp:1] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9",
    ],
)
def test_other_words_for_it_and_a_card_that_does_not_answer(monkeypatch, text):
    def broken(device):
        raise RuntimeError(text)

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert f"{WHAT} does not fit into the memory of device cuda;" in message_for(RuntimeError(text))


@pytest.mark.parametrize(
    ("device", "described"),
    [
        ("cpu", r"this machine \(\d+\.\d GB, CPU\);"),
        pytest.param("cuda", r"the .+ GB", marks=[pytest.mark.gpu, NEEDS_CUDA]),
    ],
)
def test_an_allocation_that_really_fails(device, described):
    with (
        pytest.raises(TrainingError, match=f"the memory of {described}") as caught,
        fits(device),
    ):
        torch.empty(2**50, dtype=torch.uint8, device=device)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("DefaultCPUAllocator is a word"),
        TrainingError("the loss is nan"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, fits("cpu"):
        raise error
    assert caught.value is error


def test_what_torch_holds_in_reserve_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300)
    assert free_memory("cuda") == 1400
