"""How every run over picture codes begins: its tokenizer, its folder, and a sitting that holds both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.pretrained.part_folder import CODEC, Part, check_codec, open_part
from beholder.recipes.sitting import Settings, Sitting
from beholder.runtime.device import pick_device
from beholder.runtime.files import refuse_inside
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder


@contextmanager
def sit_over_codes(
    recipe: str,
    data: str | Path,
    tokenizer: str | Path,
    out: str | Path,
    settings: Settings,
    *,
    seed: int,
    device: str,
    threads: int | None,
    max_pixels: int,
    log: Log | None,
) -> Iterator[tuple[Sitting[Settings], Part, dict[str, Any]]]:
    """The sitting, the codec, and what was asked for, as `recipe.json` keeps it; the folder `out` is locked within.

    Raises UserError for a folder within the data, for no tokenizer, and for another one than an unfinished run had.
    """
    log, data, out = log or Log(quiet=True), Path(data), Path(out)
    refuse_inside(out, data)
    codec = open_part(tokenizer, CODEC, "--tokenizer")
    asked = {"recipe": recipe, "data": str(data), "tokenizer": str(tokenizer), **to_json(settings), "seed": seed}
    with RunFolder.open(out, asked, log) as run:
        limits = Limits(max_pixels=max_pixels, min_side=codec.config.stride)
        check_codec(run.expect("codec", codec.fingerprint), codec, out)
        yield Sitting(data, settings, seed, run, pick_device(device, threads), limits, log), codec, asked
