"""Smaller meals for `adapt`: what its tests state is true of any size of view, and usual ones take minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from beholder.recipes.adapt import estimate, health, pretrain

USUAL = pretrain.DIETS
SMALL = {name: replace(diet, view_size=64, cache_size=80, batch_size=16) for name, diet in USUAL.items()}


def eat_little(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """For the rest of the process, or as long as `put` lets it."""
    put(pretrain, "DIETS", SMALL)
    for module in (health, estimate):
        put(module, "NUM_VIEWED", 64)
        put(module, "VIEW_SIZE", 64)
