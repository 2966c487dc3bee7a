"""beholder export"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Json, MaxPixels, Threads


def export(
    model: str,
    /,
    *,
    format: Literal["onnx", "openvino", "executorch", "program"],
    data: Path,
    out: Path,
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    labels: str | None = None,
    names: str | None = None,
    may_lose: float = 0.5,
    may_differ: float | None = None,
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """A model in a form that other programs run, checked on your pictures before it is kept.

    Example: `beholder export runs/first/model --format onnx --precision int8 --data photos/ --labels auto --out phone/`

    Parameters
    ----------
    model
        A model folder of adapt, or a model that reads pictures: embedded, its folder, or its name on the Hugging Face
        hub.
    format
        onnx for ONNX Runtime, openvino, executorch for phones, or program for torch alone.
    data
        A folder or table of pictures on which the export is compared with the original; 8 bits take their ranges from
        others of them.
    out
        A new folder.
    precision
        bf16 exists in openvino and program, int8 in onnx and openvino.
    labels
        A table with a path and a label column, or "auto" for the labels that the layout carries: then accuracy is told
        before and after.
    names
        Names of classes with commas between them: makes a classifier of a model that reads texts.
    may_lose
        Points of accuracy; an export that loses more is refused.
    may_differ
        How far outputs may lie from the original's, as a share; by the precision if not given: 0.01, 0.1, 0.25.
    """
    from beholder.recipes.export import export as run
    from beholder.runtime.log import Log

    log = Log(as_json=json)
    found = run(
        model, format=format, data=data, out=out, precision=precision, labels=labels,
        names=None if names is None else names.split(","), may_lose=may_lose, may_differ=may_differ, threads=threads,
        max_pixels=max_pixels, log=log,
    )  # fmt: skip
    if json:
        log.result(found, "")
