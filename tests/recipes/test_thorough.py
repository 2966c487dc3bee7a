"""Four grouped folds through the whole of `adapt`: every image judges once, by features that never saw it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import write_classes

import beholder
from beholder.recipes.adapt import pretrain as stage
from beholder.runtime.files import read_json


def test_every_fold_is_pretrained_on_its_own_images_and_judged(
    tiny_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[int], set[int]]] = []
    train = stage._train

    def watched(session: object, domain: object, fold: int, *rest: object) -> object:
        learned = set(domain.training_images(fold).tolist())  # type: ignore[attr-defined]
        seen.append((learned, set(domain.folds[fold].test.tolist())))  # type: ignore[attr-defined]
        return train(session, domain, fold, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "_train", watched)
    photos = write_classes(tmp_path / "photos", 48)
    results = beholder.adapt(
        photos, out=tmp_path / "run", labels="auto", budget="2 steps", threads=1, resolutions=(64,), thorough=True
    )
    assert len(seen) == 4
    assert all(not learned & asked for learned, asked in seen)
    assert set.union(*(asked for _, asked in seen)) == set(range(48)) and sum(len(asked) for _, asked in seen) == 48
    assert results["verdict"]["protocol"].startswith("4 grouped folds")
    assert results["verdict"]["num_groups"] == results["data"]["num_groups"]
    checkpoints = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert checkpoints >= {f"pretraining-{fold}.safetensors" for fold in range(4)}
    assert "--thorough" in read_json(tmp_path / "run" / "results.json")["command"]
