"""Whole runs of `adapt` in a second or two: a tiny network in the place of the ImageNet one, and one thread."""

from __future__ import annotations

import pytest
from bundles import random_network


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random features still tell stripes across from stripes along."""
    monkeypatch.setattr("beholder.recipes.adapt.run.efficientnet_lite0", random_network)
    monkeypatch.setattr("beholder.runtime.device.usable_cores", lambda: 1)
