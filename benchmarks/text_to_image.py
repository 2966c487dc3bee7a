"""What guidance and the reranker are worth: a finished run of `train text-to-image` draws for the captions that it held
out, at several strengths, and the run's own scorer (fixed filters and colours; neither the reranker nor the network of
the tokenizer's loss) tells how often a picture goes better with its own caption than with another.

    python benchmarks/text_to_image.py --data openclipart/ --run runs/draw --guidance 1 3 5

Data: any pairs; docs/benchmarks.md has drawings of the Open Clip Art Library (openclipart.org, public domain) with
their titles. Hardware: a minute on one core for 96 captions at 64 pixels.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from beholder.config import from_json
from beholder.data.decode import Limits
from beholder.evaluate.resample import mean_interval
from beholder.pretrained.load import load
from beholder.pretrained.part_folder import TEXT_TO_IMAGE, open_part
from beholder.recipes.coded_pictures import PLAIN, encode_once, look_plainly
from beholder.recipes.sitting import Sitting
from beholder.recipes.text_to_image.judge import ask
from beholder.recipes.text_to_image.material import gather
from beholder.recipes.text_to_image.reranker import choose_best
from beholder.recipes.text_to_image.scorer import fit_scorer, preferred
from beholder.recipes.text_to_image.settings import TextToImageTraining
from beholder.runtime.device import pick_device
from beholder.runtime.files import read_json
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import numpy_generator
from beholder.tasks.captioned_pictures import USUAL, open_captioned
from beholder.tasks.rerank import RERANKER
from beholder.tasks.shared_space import open_space


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the pairs that the run learned from")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0, 5.0])
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    part, device = open_part(asked.run, TEXT_TO_IMAGE, "--run"), pick_device("cpu", asked.threads)
    recipe = read_json(asked.run / "recipe.json")["asked"]
    known = TextToImageTraining.__dataclass_fields__
    settings = from_json(TextToImageTraining, {key: value for key, value in recipe.items() if key in known})
    drawer = open_captioned(part, device)
    own = part.source / RERANKER
    space = open_space(load(own), device) if own.is_dir() else None
    with tempfile.TemporaryDirectory() as scratch, RunFolder.open(Path(scratch) / "run", {}) as run:
        sitting = Sitting(asked.data, settings, recipe["seed"], run, device, Limits(), Log(quiet=True))
        material = gather(sitting, part.need_codec().facts)
        look = look_plainly(material.collection, drawer.pictures, Limits(), 1)
        tables = encode_once(sitting, drawer.pictures, look, [PLAIN], len(material.texts), 1)
        painted = drawer.pictures.decode(tables.tables[PLAIN][:, 0].astype(np.int64))
        squares = np.asarray(tables.squares[PLAIN])
    scorer = fit_scorer(material, squares, painted, recipe["seed"])
    places = ask(material, settings.num_judged, recipe["seed"])
    texts = [material.texts[place] for place in places]
    readable = [drawer.captions.decode(row) for row in drawer.captions.encode(texts)]

    def tell(name: str, pictures: np.ndarray) -> None:
        share = preferred(scorer.scores(pictures, texts), texts)
        low, high = mean_interval(share, numpy_generator(0, "bootstrap"))
        told = {"pictures": name, "preferred": float(share.mean()), "interval": [low, high], "captions": len(texts)}
        print(json.dumps(told))

    tell("true", squares[places])
    tell("true, as the tokenizer paints them", painted[places])
    for guidance in asked.guidance:
        wanted = [text for text in texts for _ in range(asked.candidates)]
        drawn = drawer.pictures.decode(drawer.draw(wanted, USUAL, guidance, seed=1))
        drawn = drawn.reshape(len(texts), asked.candidates, *drawn.shape[1:])
        tell(f"drawn, guidance {guidance:g}", drawn[:, 0])
        if space is not None:
            best = choose_best(space, readable, drawn)
            tell(f"drawn, guidance {guidance:g}, best of {asked.candidates}", drawn[np.arange(len(best)), best])


if __name__ == "__main__":
    main()
