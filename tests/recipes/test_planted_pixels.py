"""What was planted in pictures is what `adapt` finds and ships; a small copy of benchmarks/planted_pixels.py."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from diets import USUAL

from beholder.recipes.adapt import pretrain

pytestmark = pytest.mark.long
BUDGET = "8 steps"


@pytest.fixture(scope="module")
def planted() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "planted_pixels.py"
    spec = importlib.util.spec_from_file_location("planted_pixels", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope="module")
def _usual_food() -> Iterator[None]:
    """What is gained depends on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "DIETS", USUAL)
        yield


@pytest.fixture(scope="module")
def cloth(planted: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted") / "cloth"
    planted.plant(folder, seed=0, num_lots=24, num_each=10)
    return folder


def test_where_adapting_gains_the_adapted_features_are_shipped_and_score_higher(
    planted: ModuleType, cloth: Path
) -> None:
    row = planted.run(cloth, "gain", 0, BUDGET)
    assert row["outcome"] != "hurt"
    assert row["gain"] > 0
    assert row["shipped"] != "generic"
    assert row["shipped_score"] > row["generic_score"]
    assert row["fresh_score"] > row["generic_score"]  # on pictures that the run never had


def test_where_adapting_loses_the_generic_features_are_shipped(planted: ModuleType, cloth: Path) -> None:
    row = planted.run(cloth, "loss", 0, BUDGET)
    assert row["outcome"] != "helped"
    assert row["gain"] < 0
    assert row["shipped"] == "generic"
    assert row["shipped_score"] == pytest.approx(row["generic_score"], abs=0.005)
