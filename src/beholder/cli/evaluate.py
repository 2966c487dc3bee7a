"""beholder evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beholder.cli.options import Device, Json, MaxPixels, Threads


def evaluate(
    model: Path,
    /,
    *,
    data: Path,
    out: Path | None = None,
    spoken: str | None = None,
    things: Path | None = None,
    beams: int = 3,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Score a model's captions or answers on your own images, and whether it looks at them.

    Example: `beholder evaluate runs/describe --data mine.jsonl --out said.jsonl`

    Parameters
    ----------
    model
        The run or model folder of beholder train describe.
    data
        A folder or table of images with captions, with questions and answers, or with LLaVA's conversations.
    out
        A file of JSON lines for everything that was said, the worst first.
    spoken
        The language of the captions, where a table has several: zh takes the column captions_zh.
    things
        A text file of what your captions name, a thing a line, other words for it after commas: how many of those that
        the model names are named by nobody. If not given, what English captions of photos name.
    beams
        Sentences that are followed at once; 1 takes the likeliest word each time.
    """
    from beholder.recipes.evaluate import evaluate as run
    from beholder.runtime.log import Log

    log = Log(as_json=json)
    results = run(
        model, data, out=out, spoken=spoken, things=things, beams=beams, device=device, threads=threads,
        max_pixels=max_pixels, log=log,
    )  # fmt: skip
    lines = _told(results)
    for language, part in results.get("languages", {}).items():
        lines += ["", f"{language}, {part['num_judged']:,} captions", *_told(part)]
    log.result(results, "\n".join(lines))


def _told(judged: dict[str, Any]) -> list[str]:
    lines = []
    for name, row in judged["rows"].items():
        scores = ", ".join(f"{key} {value:.3f}" for key, value in row.items() if isinstance(value, float))
        lines.append(f"{name}: {scores}")
        if "behind" in row:
            low, high = row["behind"]["interval"]
            told = f"{row['behind']['value']:+.3f} {judged['measure']} (95 % interval {low:+.3f} to {high:+.3f})"
            lines.append(f"looking gains {told}")
    return lines
