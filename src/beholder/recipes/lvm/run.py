"""`train_lvm`: pictures as sentences, on a tokenizer of one's own (LVM: Bai et al. 2023, arXiv 2312.00785).

    beholder train lvm --data photos/ --tokenizer runs/tok --out runs/lvm

Hardware: any CPU for the sizes tiny and small with pictures of 64 codes, a GPU for base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.config import from_json, to_json
from beholder.models.lvm import TRUNKS
from beholder.pretrained.part_folder import Part
from beholder.recipes.budget import parse_budget
from beholder.recipes.code_training import begin_with_codes
from beholder.recipes.lvm.codes import encode_all
from beholder.recipes.lvm.fit import build_model, fit, steps_for
from beholder.recipes.lvm.judge import judge
from beholder.recipes.lvm.material import gather
from beholder.recipes.lvm.questions import ask_all
from beholder.recipes.lvm.settings import LVMTraining, check, check_length, parse_tasks
from beholder.recipes.lvm.sheets import sheet
from beholder.recipes.lvm.stream import SentenceStream
from beholder.recipes.lvm.tell import Finished, tell
from beholder.recipes.over_codes import sit_over_codes
from beholder.recipes.rows_of_pictures import stack, titled
from beholder.recipes.sitting import Sitting
from beholder.runtime.log import Log
from beholder.runtime.seed import derive
from beholder.tasks.picture_codes import PictureCodes
from beholder.tasks.visual_sentences import VisualSentences
from beholder.tokenizers.sentences import SentenceConfig
from beholder.train.pace import Timed

_NUM_SKETCHED, _NUM_SHOWN = 2, 4
"""Rows of each task on the sheets that are drawn on the way, and in the report."""


def train_lvm(
    data: str | Path,
    *,
    tokenizer: str | Path,
    out: str | Path,
    tasks: str | Sequence[str] | None = None,
    leave_out: str | Sequence[str] | None = None,
    budget: str | None = None,
    settings: LVMTraining | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train a model of visual sentences on the folder's pictures, judge it on a tenth that is held out, and write the
    run folder `out` with its `model/`, `report.html` and `samples/`; an unfinished run there goes on. Gives what stands
    in `results.json`.

    `tokenizer`: the run or model folder of an image codec. `tasks`: names between commas, of plain, edges, grey, noise,
    rotate, hole, masks, classes, frames; None: all but frames, as far as the data have them. `leave_out`: tasks with
    answers that are judged and never learned. `budget`: that of the settings if not given. Raises UserError for what
    cannot work.
    """
    settings = settings or LVMTraining()
    settings = replace(settings, budget=budget or settings.budget)
    if tasks is not None:
        settings = replace(settings, tasks=parse_tasks(tasks, "--tasks"))
    if leave_out is not None:
        settings = replace(settings, leave_out=parse_tasks(leave_out, "--leave-out"))
    settings = from_json(LVMTraining, to_json(settings))
    check(settings)
    parse_budget(settings.budget, needed=True)
    with sit_over_codes(
        "train_lvm", data, tokenizer, out, settings, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=log,
    ) as (sitting, codec, asked):  # fmt: skip
        return _run(sitting, codec, asked)


def _run(sitting: Sitting[LVMTraining], codec: Part, asked: dict[str, Any]) -> dict[str, Any]:
    settings, seed, run, device, log = sitting.settings, sitting.seed, sitting.run, sitting.device, sitting.log
    pictures = PictureCodes(codec, device)
    grammar = SentenceConfig(pictures.num_codes, pictures.grid)
    check_length(settings, grammar.length(settings.num_pictures))
    with sitting.run.charged("reading"):
        material = gather(sitting, codec.facts)
    num_held = int(material.is_held_out.sum())
    log.stage("Tasks", f"{', '.join(material.tasks)}; {num_held:,} of {len(material.samples):,} pictures held out")
    with sitting.run.charged("encoding"):
        tables = encode_all(sitting, material, pictures)
    stream = SentenceStream(material, tables, grammar, settings, derive(seed, "stream"))
    model = build_model(TRUNKS[settings.size], settings.num_pictures, grammar, seed)
    begin_with_codes(model, pictures, seed)
    log.stage(
        "Sentences",
        f"of {settings.num_pictures} pictures, {model.longest:,} tokens each, {settings.batch_size} at once; "
        "such a step is timed",
    )
    timed = Timed(**run.resolve("timed", lambda: to_json(steps_for(settings, model, stream, device))))
    log.stage("Estimate", f"{timed.told()} ({device.reason})")
    speaker = VisualSentences(model.to(device.torch_device), pictures, grammar, device)
    questions = ask_all(stream, seed)

    def sketch() -> np.ndarray | None:
        sheets = [titled(sheet(one, tables, speaker, _NUM_SKETCHED), one.task) for one in questions]
        return stack(sheets) if sheets else None

    story = fit(sitting, model, stream, speaker, timed.steps, sketch)
    with sitting.run.charged("judging"):
        judged = run.stage("judged", lambda: judge(sitting, questions, stream, speaker))
        drawn = {one.task: sheet(one, tables, speaker, _NUM_SHOWN) for one in questions}
    return tell(sitting, asked, Finished(material, codec, model, story, judged, drawn, timed))
