"""beholder tune"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Seed, Threads


def tune(
    model: str,
    *,
    data: Path,
    out: Path,
    guard: Path | None = None,
    rank: int = 8,
    steps: int | None = None,
    lr: float = 1e-3,
    may_lose: float | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """A model of images and texts learns your own, and what it forgets is told and bounded.

    Example: `beholder tune embedded --data photos/ --guard general/ --out runs/tuned`

    The same command resumes a run that was killed. A finished run is never overwritten.

    Parameters
    ----------
    model
        A model that reads images and texts: embedded, a folder, or a name on the Hugging Face hub.
    data
        Your images in one folder per class, or with a text each, or a table (CSV, parquet) that names them.
    out
        Folder of the run: report.html, results.json, quarantine.jsonl and model/ are written here.
    guard
        Other images of the same forms that the model should not forget; never learned from.
    rank
        Of the updates that are learned: more can learn more, and forget more.
    steps
        Of 32 images; chosen from the number of images if not given.
    lr
        The highest learning rate.
    may_lose
        How many points the general score may fall for the sake of your own; if not given both count the same.
    """
    from beholder.recipes.tune import tune as run
    from beholder.runtime.log import Log

    log = Log(as_json=json)
    results = run(
        model, data=data, out=out, guard=guard, rank=rank, steps=steps, lr=lr, may_lose=may_lose, seed=seed,
        device=device, threads=threads, max_pixels=max_pixels, log=log,
    )  # fmt: skip
    verb = "classify" if results["data"]["has_classes"] else "similarity"
    rest = "--labels A,B" if verb == "classify" else '"a text" "another text"'
    log.result({"results": results}, f"Next      beholder {verb} {out / 'model'} IMAGE {rest}")
