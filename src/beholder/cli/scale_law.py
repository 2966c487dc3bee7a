"""beholder scale-law"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Group, Json, MaxPixels, Seed, Threads


def scale_law(
    *,
    data: Path,
    tokenizer: Path,
    out: Path,
    sizes: tuple[str, ...] | None = None,
    tasks: str | None = None,
    group: Group = None,
    budget: str = "20m",
    pictures: int = 8,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """How the loss of models of your pictures falls as they grow, and whether small ones foretell a large one.

    Example: `beholder scale-law --data photos/ --tokenizer runs/tok --out runs/law`

    Parameters
    ----------
    data
        Your pictures, as for `beholder train lvm`.
    tokenizer
        The run or model folder of `beholder train tokenizer`.
    out
        Folder of the run.
    sizes
        At least four of WIDTHxDEPTH; a width is a multiple of 32. 32x2 64x2 96x3 128x4 192x5 if not given.
    tasks
        Of the sentences, between commas, as for `beholder train lvm`.
    budget
        For the training of all sizes together: a time such as 20m or 2h, or '400 steps' of each.
    pictures
        In a sentence.
    """
    from beholder.recipes.scale_law import scale_law as run
    from beholder.runtime.log import Log

    run(
        data, tokenizer=tokenizer, out=out, sizes=sizes, tasks=tasks, group=group, budget=budget, pictures=pictures,
        seed=seed, device=device, threads=threads, max_pixels=max_pixels, log=Log(as_json=json),
    )  # fmt: skip
