"""`train_tokenizer`: a discrete image tokenizer of one's own pictures (VQGAN: Esser et al. 2020, arXiv 2012.09841; with
finite scalar codes: Mentzer et al. 2023, arXiv 2309.15505).

    beholder train tokenizer --data photos/ --out runs/tok

Hardware: any CPU, or a GPU for sides above 64. Two cores take about 3 steps of 32 pictures of 64 x 64 a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.models.codec import CodecConfig
from beholder.recipes.tokenizer.judge import judge
from beholder.recipes.tokenizer.learn import learn, steps_for
from beholder.recipes.tokenizer.pictures import read_pictures
from beholder.recipes.tokenizer.settings import TokenizerConfig, check, codec_of
from beholder.recipes.tokenizer.sitting import Sitting
from beholder.recipes.tokenizer.tell import tell
from beholder.runtime.device import pick_device
from beholder.runtime.files import refuse_inside
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.train.pace import Timed


def train_tokenizer(
    data: str | Path,
    *,
    out: str | Path,
    size: int = 64,
    stride: int = 8,
    kind: Literal["conv", "vit"] = "conv",
    codes: Literal["finite", "learned"] | None = None,
    levels: tuple[int, ...] | None = None,
    num_codes: int | None = None,
    also: str | None = None,
    group: str | None = None,
    budget: str = "12m",
    adversary: bool = False,
    shape: CodecConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train a codec on the pictures of `data`, judge it on a tenth that is held out, and write the run folder `out`
    with `model/`, `report.html` and `samples/`; an unfinished run there goes on. Gives what stands in `results.json`.

    Labels are not needed. Pictures become squares of `size` pixels: the shorter side is fitted and the middle cut out.
    `shape` is a codec whose encoder and decoder are taken in the place of the usual ones of that kind. The other
    arguments are told in `TokenizerConfig`. Raises UserError for what cannot work, such as fewer than 20 pictures.
    """
    log, out = log or Log(quiet=True), Path(out)
    config = check(
        TokenizerConfig(
            str(data), size, stride, shape.kind if shape else kind, codes, levels, num_codes, also, budget,
            adversary, seed, device, threads, max_pixels, group,
        )
    )  # fmt: skip
    codec = codec_of(config, shape)
    refuse_inside(out, Path(data))
    picked = pick_device(device, threads)
    asked = {**to_json(config), "shape": to_json(shape) if shape else None}
    with RunFolder.open(out, asked, log) as run:
        limits = Limits(max_pixels=max_pixels, min_side=codec.stride)
        sitting = Sitting(config, codec, run, picked, limits, log)
        pictures = read_pictures(sitting)
        timed = Timed(**run.resolve("timed", lambda: to_json(steps_for(sitting))))
        log.stage("Estimate", f"{timed.told()} ({picked.reason})")
        learned = learn(sitting, pictures, timed.steps)
        with sitting.run.charged("judging"):
            judged = judge(sitting, learned.codec, pictures)
        results = tell(sitting, pictures, learned, judged, timed)
    return results
