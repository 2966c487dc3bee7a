"""One thread a test process, so that parallel tests do not fight over cores; each test checks types anew."""

from __future__ import annotations

import pytest
import torch
from shapes import begin_test


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _types_are_checked_anew() -> None:
    begin_test()
