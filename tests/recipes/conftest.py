"""Whole runs of `adapt` in seconds: small views, a tiny network in the place of the ImageNet one, and one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bundles import random_network


@pytest.fixture(autouse=True, scope="session")
def _little_food() -> Iterator[None]:
    from diets import eat_little  # not above: one test alone starts sooner

    with pytest.MonkeyPatch.context() as patch:
        eat_little(patch.setattr)
        yield


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random features still tell stripes across from stripes along."""
    monkeypatch.setattr("beholder.recipes.adapt.run.efficientnet_lite0", random_network)
    monkeypatch.setattr("beholder.runtime.device.usable_cores", lambda: 1)
