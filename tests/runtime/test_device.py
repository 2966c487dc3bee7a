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


def test_autocast_multiplies_in_the_compute_type() -> None:
    device = pick_device("cpu", 1)
    with device.autocast():
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert product.dtype == device.compute_dtype
