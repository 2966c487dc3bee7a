"""beholder distil"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Device, Json, MaxPixels, Threads


def distil(
    teacher: Path,
    /,
    *,
    data: Path,
    out: Path,
    student: Literal["base", "small", "tiny"] = "small",
    labels: str | None = None,
    budget: str = "5m",
    pictures: int = 4096,
    views: int = 4096,
    batch_size: int = 32,
    lr: float = 3e-4,
    seed: int = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """A small model that says what a large one says, and what that costs.

    Example: `beholder distil runs/first/model --student small --data photos/ --labels auto --out runs/small`

    Parameters
    ----------
    teacher
        A model that adapt made.
    data
        Pictures to learn from, and others to compare on; labels are not needed.
    out
        The run folder; the student is its model/.
    student
        Side of the square that it sees: base 224, small 160, tiny 96 pixels.
    labels
        A table with a path and a label column, or "auto" for the labels that the layout carries: then accuracy is told
        of both.
    budget
        Of training: a time such as 90s, 5m or 2h, or a number such as "400 steps".
    pictures
        At most so many are learned from.
    views
        Pictures and cuttings of them that the teacher is asked about; at most four a picture.
    """
    from beholder.recipes.distil.run import distil as run
    from beholder.runtime.log import Log

    log = Log(as_json=json)
    found = run(
        teacher, data=data, out=out, student=student, labels=labels, budget=budget, pictures=pictures, views=views,
        batch_size=batch_size, lr=lr, seed=seed, device=device, threads=threads, max_pixels=max_pixels, log=log,
    )  # fmt: skip
    if json:
        log.result(found, "")
