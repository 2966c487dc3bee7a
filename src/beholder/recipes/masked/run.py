"""`train_masked`: masked visual tokens, on a tokenizer of one's own (MaskGIT: Chang et al. 2022, arXiv 2202.04200).

    beholder train masked --data photos/ --tokenizer runs/tok --out runs/masked

Hardware: any CPU for the sizes tiny and small with pictures of 64 codes, a GPU for base.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from beholder.config import from_json, to_json
from beholder.pretrained.part_folder import Part
from beholder.recipes.budget import parse_budget
from beholder.recipes.code_training import begin_with_codes
from beholder.recipes.coded_pictures import PLAIN, encode_once, look_plainly
from beholder.recipes.masked.fit import build_model, fit, steps_for, stream_of
from beholder.recipes.masked.holes import put_holes
from beholder.recipes.masked.judge import judge
from beholder.recipes.masked.material import gather
from beholder.recipes.masked.settings import MaskedTraining, check
from beholder.recipes.masked.sheets import sketch
from beholder.recipes.masked.tell import Finished, tell
from beholder.recipes.over_codes import sit_over_codes
from beholder.recipes.sitting import Sitting
from beholder.runtime.log import Log
from beholder.tasks.masked_pictures import MaskedPictures
from beholder.tasks.picture_codes import PictureCodes
from beholder.train.pace import Timed


def train_masked(
    data: str | Path,
    *,
    tokenizer: str | Path,
    out: str | Path,
    budget: str | None = None,
    settings: MaskedTraining | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train a model of masked pictures on the folder's pictures, judge it on a tenth that is held out, and write the
    run folder `out` with its `model/`, `report.html` and `samples/`; an unfinished run there goes on. Gives what
    stands in `results.json`.

    `tokenizer`: the run or model folder of an image codec. Classes and captions are learned as something to ask for
    where the data have them. Raises UserError for what cannot work.
    """
    settings = settings or MaskedTraining()
    settings = from_json(MaskedTraining, to_json(replace(settings, budget=budget or settings.budget)))
    check(settings)
    parse_budget(settings.budget, needed=True)
    with sit_over_codes(
        "train_masked", data, tokenizer, out, settings, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=log,
    ) as (sitting, codec, asked):  # fmt: skip
        return _run(sitting, codec, asked)


def _run(sitting: Sitting[MaskedTraining], codec: Part, asked: dict[str, Any]) -> dict[str, Any]:
    settings, seed, run, device, log = sitting.settings, sitting.seed, sitting.run, sitting.device, sitting.log
    with run.charged("reading"):
        material = gather(sitting, codec.facts)
    num_held, count = int(material.collection.is_held_out.sum()), len(material.collection.samples)
    told = [f"{len(material.labels)} classes" if material.labels else "no classes"]
    told.append("captions" if material.captions else "no captions")
    log.stage("Learn", f"{', '.join(told)} to ask by; {num_held:,} of {count:,} pictures held out")
    pictures = PictureCodes(codec, device)
    with run.charged("encoding"):
        look = look_plainly(material.collection, pictures, sitting.limits)
        tables = encode_once(sitting, pictures, look, [PLAIN], count)
    model = build_model(settings, material, pictures, seed)
    begin_with_codes(model, pictures, seed)

    def stream(batch_size: int) -> Any:
        return stream_of(sitting, material, tables, batch_size)

    timed = Timed(**run.resolve("timed", lambda: to_json(steps_for(settings, model, stream, device))))
    log.stage("Estimate", f"{timed.told()} ({device.reason})")
    painter = MaskedPictures(model.to(device.torch_device), pictures, material.labels, material.captions, device)
    holed = put_holes(material, tables, settings.num_judged, seed)
    story = fit(
        sitting, painter, stream(settings.batch_size), timed.steps,
        lambda: sketch(painter, settings, material, tables, holed),
    )  # fmt: skip
    with run.charged("judging"):
        judged, sheets = judge(sitting, holed, material, tables, painter)
    return tell(sitting, asked, Finished(material, codec, painter, story, judged, sheets, timed))
