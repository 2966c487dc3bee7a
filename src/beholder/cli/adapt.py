"""beholder adapt"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Device, Json, MaxPixels, Seed, Threads
from beholder.runtime.log import Log


def adapt(
    photos: Path,
    *,
    out: Path,
    labels: str | None = None,
    group: str | None = None,
    normal: str | None = None,
    budget: str = "5m",
    backbone: Literal["conv", "vit"] = "conv",
    objective: Literal["auto", "teacher", "masked", "own-class"] = "auto",
    finetune: Literal["none", "low-rank", "full"] = "none",
    resolutions: tuple[int, ...] = (128, 224, 300),
    lvm: Path | None = None,
    thorough: bool = False,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """From a folder of images to a model of that domain, with a verdict and a report.

    Example: `beholder adapt photos/ --out runs/first --labels labels.csv --group module --budget 5m`

    The same command resumes a run that was killed. A finished run is never overwritten.

    Parameters
    ----------
    photos
        A folder of images in any common layout, or a table (CSV, parquet) that names them.
    out
        Folder of the run: report.html, results.json, quarantine.jsonl and model/ are written here.
    labels
        A table with a path and a label column, or "auto" for the labels that the layout carries.
    group
        Column whose values belong together (patient, module, video) and never straddle a split; "folder" for the
        image's folder.
    normal
        The class of normal images, from which unusual ones are told.
    budget
        For pretraining: 90s, 5m, 2h, "400 steps", or 0 for none.
    backbone
        conv continues from ImageNet weights; vit is a small transformer from scratch.
    objective
        How it learns without labels: self-distillation with a moving-average teacher, masked prediction, or each image
        told from all others; auto takes own-class for conv and teacher for vit.
    finetune
        Let the backbone learn from the labels too, by low-rank updates or with all its weights; kept only where it
        wins on training images that it was not shown.
    resolutions
        Sides in pixels of the squares that the backbone sees; one side is faster, several see faults of several sizes.
    lvm
        The run or model folder of `beholder train lvm`: its features are judged beside the others, and never shipped.
    thorough
        Four grouped folds instead of one split: a surer verdict for about four times the time.
    """
    log = Log(as_json=json)
    from beholder.recipes.adapt import adapt as run

    results = run(
        photos, out=out, labels=labels, group=group, normal=normal, budget=budget, backbone=backbone,
        objective=objective, finetune=finetune, resolutions=resolutions, lvm=lvm, thorough=thorough, seed=seed,
        device=device, threads=threads, max_pixels=max_pixels, log=log,
    )  # fmt: skip
    hint = f"Next      beholder {'classify' if 'score' in results else 'anomaly'} {out / 'model'} IMAGE..."
    log.result({"results": results}, hint)
