"""One server with small models of every kind for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bundles import CPU, random_bundle
from holes import save_masked
from sentences import save_codec, save_drawer
from serving import Address, running, save_language, save_words

from beholder.pretrained.describer_folder import load_describer
from beholder.pretrained.load import load
from beholder.serve.served import Served, open_served


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Served]:
    place = tmp_path_factory.mktemp("served")
    codec = save_codec(place / "codec")
    return [
        open_served("solar", random_bundle(), CPU),
        open_served("answers", load_describer(save_words(place / "answers", ("answer",))), CPU),
        open_served("captions", load_describer(save_words(place / "captions", ("describe",))), CPU),
        open_served("writer", load(save_language(place / "writer")), CPU),
        open_served("asked", load(save_language(place / "asked", is_asked=True)), CPU),
        open_served("masked", save_masked(place / "masked" / "model", codec), CPU),
        open_served("drawer", save_drawer(place / "drawer" / "model", codec, "causal"), CPU),
    ]


@pytest.fixture(scope="session")
def address(models: list[Served]) -> Iterator[Address]:
    with running(models) as found:
        yield found


@pytest.fixture
def serving(models: list[Served]) -> Callable[..., Any]:
    return lambda *args, **told: running(models, *args, **told)
