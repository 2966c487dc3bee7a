"""One thread a test process, so that parallel tests do not fight over cores; each test checks types anew."""

from __future__ import annotations

import pytest
import torch
from shapes import begin_test


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    begin_test()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    """What several tests share is checked as a test is, whichever of them comes first."""
    if fixturedef.scope != "function":
        begin_test()
