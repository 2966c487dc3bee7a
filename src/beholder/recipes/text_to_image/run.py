"""`train_text_to_image`: captions to pictures, on a tokenizer of one's own (DALL-E: Ramesh et al. 2021, arXiv
2102.12092).

    beholder train text-to-image --data pairs/ --tokenizer runs/tok --out runs/draw

Hardware: any CPU for the size tiny with pictures of 64 codes, a GPU for base.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.config import from_json, to_json
from beholder.pretrained.part_folder import Part
from beholder.recipes.budget import parse_budget
from beholder.recipes.code_training import begin_with_codes
from beholder.recipes.coded_pictures import PLAIN, CodeTables, encode_once, look_plainly
from beholder.recipes.over_codes import sit_over_codes
from beholder.recipes.sitting import Sitting
from beholder.recipes.text_to_image.fit import build_model, fit, steps_for
from beholder.recipes.text_to_image.judge import draw_all, judge
from beholder.recipes.text_to_image.material import gather
from beholder.recipes.text_to_image.reranker import train_reranker
from beholder.recipes.text_to_image.scorer import fit_scorer
from beholder.recipes.text_to_image.settings import TextToImageTraining, check
from beholder.recipes.text_to_image.stream import CaptionedStream
from beholder.recipes.text_to_image.tell import Finished, tell
from beholder.runtime.arrays import create_array
from beholder.runtime.log import Log, counted
from beholder.runtime.seed import derive
from beholder.tasks.captioned_pictures import CaptionedPictures
from beholder.tasks.picture_codes import PictureCodes
from beholder.tokenizers.captioned import config_of
from beholder.tokenizers.word_tables import library
from beholder.train.pace import Timed

_AT_ONCE = 64


def train_text_to_image(
    data: str | Path,
    *,
    tokenizer: str | Path,
    out: str | Path,
    budget: str | None = None,
    settings: TextToImageTraining | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train a model that draws what captions say on the folder's pairs, and one that chooses among what is drawn; judge
    them on pairs that are held out, and write the run folder `out` with its `model/`, `report.html` and `samples/`; an
    unfinished run there goes on. Gives what stands in `results.json`.

    `data`: pictures with a text each (`x.png` + `x.txt`, or a table with a column text, caption or captions), or with a
    class, whose name is then the caption. `tokenizer`: the run or model folder of an image codec. Raises UserError for
    what cannot work.
    """
    settings = settings or TextToImageTraining()
    settings = from_json(TextToImageTraining, to_json(replace(settings, budget=budget or settings.budget)))
    check(settings)
    parse_budget(settings.budget, needed=True)
    library()  # before anything is read
    with sit_over_codes(
        "train_text_to_image", data, tokenizer, out, settings, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=log,
    ) as (sitting, codec, asked):  # fmt: skip
        return _run(sitting, codec, asked)


def _run(sitting: Sitting[TextToImageTraining], codec: Part, asked: dict[str, Any]) -> dict[str, Any]:
    settings, seed, run, device, log = sitting.settings, sitting.seed, sitting.run, sitting.device, sitting.log
    with run.charged("reading"):
        material = gather(sitting, codec.facts)
    num_held, captions = int(material.collection.is_held_out.sum()), material.captions
    log.stage(
        "Captions",
        f"{len(set(material.texts)):,} different ones of {counted(len(captions.words), 'word')}, "
        f"{counted(captions.longest, 'token')} each; {num_held:,} of {len(material.texts):,} pairs held out",
    )
    pictures = PictureCodes(codec, device)
    with run.charged("encoding"):
        look = look_plainly(material.collection, pictures, sitting.limits, settings.num_views)
        tables = encode_once(sitting, pictures, look, [PLAIN], len(material.texts), settings.num_views)
        painted = _paint_once(sitting, pictures, tables)
    grammar = config_of(captions, pictures.num_codes, pictures.grid)
    stream = CaptionedStream(material, tables, grammar, settings, settings.batch_size, derive(seed, "stream"))
    model = build_model(settings, grammar, seed)
    begin_with_codes(model, pictures, seed)
    timed = Timed(**run.resolve("timed", lambda: to_json(steps_for(sitting, model, stream))))
    more = f", and {settings.reranker_share:.0%} more for the reranker" if settings.reranker_share else ""
    log.stage("Estimate", f"{timed.told(more)} ({device.reason})")
    drawer = CaptionedPictures(model.to(device.torch_device), pictures, captions, grammar, device)
    story = fit(sitting, material, tables, stream, drawer, timed.steps)
    squares = tables.squares[PLAIN]
    chooser = train_reranker(sitting, material, squares, painted, timed.seconds)
    with run.charged("judging"):
        scorer = fit_scorer(material, squares, painted, seed)
        asked_of = draw_all(sitting, material, drawer, chooser[0] if chooser else None, painted)
        judged = run.stage("judged", lambda: judge(sitting, material, tables, drawer, scorer, asked_of, painted))
    return tell(sitting, asked, Finished(material, tables, codec, model, story, chooser, judged, asked_of, timed))


def _paint_once(sitting: Sitting[TextToImageTraining], pictures: PictureCodes, tables: CodeTables) -> np.ndarray:
    """Every picture as the tokenizer paints it from its codes: uint8 n S S 3, mapped from a file."""
    path = sitting.run.scratch("codes") / "painted.npy"
    if not path.exists():
        codes = tables.tables[PLAIN][:, 0]
        part = path.with_suffix(".part.npy")
        painted = create_array(part, np.uint8, tables.squares[PLAIN].shape)
        with sitting.log.progress("Paint", len(codes)) as advance:
            for first in range(0, len(codes), _AT_ONCE):
                some = codes[first : first + _AT_ONCE]
                painted[first : first + len(some)] = pictures.decode(some.astype(np.int64))
                advance(len(some))
        painted.flush()
        part.replace(path)
    return np.load(path, mmap_mode="r")
