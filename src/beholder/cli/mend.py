"""What `inpaint` and `edit` do alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beholder.inference.unmask import UnmaskConfig


def mend(
    image: Path,
    mask: Path,
    model: Path,
    out: Path,
    label: str | None,
    prompt: str | None,
    count: int,
    decoding: UnmaskConfig,
    batch_size: int,
    seed: int,
    device: str,
    threads: int | None,
    max_pixels: int,
    json: bool,
) -> None:
    """Read, paint, write and tell."""
    from beholder.data.decode import Limits
    from beholder.pretrained.part_folder import MASKED, open_part
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.inpaint import inpaint, names_of, save_all
    from beholder.tasks.masked_pictures import Wish
    from beholder.tasks.provenance import check_count, check_name

    check_count(count)
    for name in names_of(out, count):
        check_name(name, (image, mask))
    log = Log(as_json=json)
    found = inpaint(
        open_part(model, MASKED, "--model"), image, mask, wish=Wish(label, prompt), count=count, decoding=decoding,
        seed=seed, batch_size=batch_size, device=pick_device(device, threads), limits=Limits(max_pixels=max_pixels),
    )  # fmt: skip
    for note in found[0].notes:
        log.warn(note)
    for one, name in zip(found, save_all(found, out), strict=True):
        height, width = one.picture.shape[:2]
        log.result({"out": str(name), **one.origin}, f"{name}  {width} x {height}, seed {one.origin['seed']}")
