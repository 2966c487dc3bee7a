from __future__ import annotations

import pytest
import torch

from beholder.runtime.device import pick_device
from beholder.types import UserError


def test_the_cpu_is_always_there_and_says_why() -> None:
    device = pick_device("cpu", 1)
    assert device.torch_device.type == "cpu"
    assert device.num_threads == torch.get_num_threads() == 1
    assert "CPU, 1 thread" in device.reason


def test_what_is_not_here_is_refused_and_not_replaced() -> None:
    with pytest.raises(UserError, match="not a device"):
        pick_device("quantum", 1)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA GPU"):
            pick_device("cuda", 1)


@pytest.mark.parametrize("name", ["meta", "cpu:3", "xla", "cuda:many", "cuda:-1", "mps:1", "0", ""])
def test_what_torch_knows_and_nothing_runs_on_is_no_device(name: str) -> None:
    with pytest.raises(UserError, match=f"--device {name}: not a device; choose auto, cpu, cuda, cuda:N or mps"):
        pick_device(name, 1)


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**12])
def test_a_number_of_threads_that_cannot_be_is_refused(threads: int) -> None:
    before = torch.get_num_threads()
    with pytest.raises(UserError, match=f"--threads {threads}: .* between 1 and 1,024; leave it out to use all cores"):
        pick_device("cpu", threads)
    assert torch.get_num_threads() == before


def test_autocast_multiplies_in_the_compute_type() -> None:
    device = pick_device("cpu", 1)
    with device.autocast():
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert product.dtype == device.compute_dtype
