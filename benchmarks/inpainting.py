"""Holes in held-out pictures, filled by a model of masked pictures beside OpenCV's two methods; and masked decoding
beside causal decoding by a trunk of the same shape that learned from the same codes.

    python benchmarks/inpainting.py --data photos/ --model runs/masked --causal-steps 400 > inpainting.json

`holes`: the mean distance from the truth within the hole (`metrics.filters.filter_distance`: fixed filters that no loss
has seen), PSNR, and by how much OpenCV's distance is larger, with its 95 % interval over holes. Rectangles and
irregular holes of a quarter to a half of the picture, at the model's side. `decoding`: seconds a picture on
`--threads`, one at a time and 16 at once, the median of rounds in which both take turns; and how 192 pictures from
nothing look as a set: Fréchet distance, precision and recall of 42 filter responses against held-out pictures. The
causal model is trained here for `--causal-steps` steps of as many pictures as the masked one saw in each of its own.

Without OpenCV that part is left out; requirements-peers.txt has the version that was compared.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beholder.data.decode import Limits
from beholder.evaluate.resample import grouped_interval
from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.sampling import SamplingConfig
from beholder.inference.unmask import UnmaskConfig
from beholder.metrics.coverage import coverage
from beholder.metrics.filters import filter_distance, filter_features
from beholder.metrics.pictures import frechet_distance
from beholder.models.lvm import LVM, LVMConfig, llama_trunk
from beholder.objectives.next_token import NextToken
from beholder.pretrained.part_folder import MASKED, open_part
from beholder.recipes.code_training import begin_with_codes
from beholder.recipes.coded_pictures import PLAIN, CodeTables, encode_once, look_plainly
from beholder.recipes.masked.holes import HoledPictures, put_holes
from beholder.recipes.masked.material import Material, gather
from beholder.recipes.masked.settings import MaskedTraining
from beholder.recipes.masked.stream import CodeStream
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.masked_pictures import MaskedPictures, Wish, open_masked
from beholder.tokenizers.sentences import SentenceConfig, write_prompt, write_sentences
from beholder.train.loop import Plan, train
from beholder.types import Batch

_RADIUS = 3
"""Of OpenCV's methods, in pixels: what its documentation uses."""
_NUM_SAMPLES, _AT_ONCE = 192, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--count", type=int, default=96, help="held-out pictures, each with two holes")
    parser.add_argument("--causal-steps", type=int, default=0, help="0: no comparison with causal decoding")
    parser.add_argument("--steps", type=int, nargs="+", default=[12], help="looks of masked decoding, each compared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    device, part = pick_device("cpu", asked.threads), open_part(asked.model, MASKED, "--model")
    painter = open_masked(part, device)
    with tempfile.TemporaryDirectory() as scratch:
        run = RunFolder.open(Path(scratch) / "run", {})
        sitting = Sitting(asked.data, MaskedTraining(), asked.seed, run, device, Limits(), Log(quiet=True))
        material = gather(sitting, part.need_codec().facts)
        look = look_plainly(material.collection, painter.pictures, Limits())
        tables = encode_once(sitting, painter.pictures, look, [PLAIN], len(material.collection.samples))
        told: dict[str, Any] = {"data": asked.data.name, "model": part.fingerprint[:12], "threads": asked.threads}
        holed = put_holes(material, tables, asked.count, asked.seed)
        told["holes"] = holes(holed, material.collection.groups[holed.places], painter, asked.seed)
        if asked.causal_steps:
            told["decoding"] = decoding(painter, material, tables, asked, Path(scratch) / "causal")
        run.close()
    json.dump(told, sys.stdout, indent=1)


def holes(holed: HoledPictures, groups: np.ndarray, painter: MaskedPictures, seed: int) -> dict[str, Any]:
    """Ours, and OpenCV's where it is there; pictures of one group, which err together, are redrawn together."""
    wishes = [Wish()] * len(holed.squares)
    filled = {"beholder": painter.mend(holed.squares, holed.holes, wishes, UnmaskConfig(), seed), **opencv(holed)}
    distances = {name: distance(one, holed.squares, holed.holes) for name, one in filled.items()}
    ours, kinds, generator = distances["beholder"], np.array(holed.kinds), np.random.default_rng(seed)
    told: dict[str, Any] = {
        "num_pictures": len(np.unique(holed.places)),
        "least_share": float(holed.holes.mean((1, 2)).min()),
    }
    for kind in np.unique(kinds):
        rows = kinds == kind
        told[str(kind)] = {
            name: {
                "distance": float(values[rows].mean()),
                "psnr": psnr(filled[name][rows], holed.squares[rows], holed.holes[rows]),
                "larger_by": float((values - ours)[rows].mean()),
                "interval": grouped_interval((values - ours)[rows], groups[rows], generator),
            }
            for name, values in distances.items()
        }
    return told


def opencv(holed: HoledPictures) -> dict[str, np.ndarray]:
    """Telea 2004 and Bertalmio et al. 2001, as OpenCV has them."""
    try:
        import cv2  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    methods = {"OpenCV Telea": cv2.INPAINT_TELEA, "OpenCV Navier-Stokes": cv2.INPAINT_NS}
    found = {}
    for name, way in methods.items():
        filled = [
            cv2.inpaint(one[..., ::-1].copy(), hole.astype(np.uint8), _RADIUS, way)  # it wants blue, green, red
            for one, hole in zip(holed.squares, holed.holes, strict=True)
        ]
        found[name] = np.stack(filled)[..., ::-1]
    return found


def decoding(
    painter: MaskedPictures, material: Material, tables: CodeTables, asked: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Seconds a picture and figures of sets, masked and causal."""
    settings, trunk = MaskedTraining(), painter.model.config.trunk
    grammar = SentenceConfig(painter.pictures.num_codes, painter.pictures.grid)
    torch.manual_seed(asked.seed)
    shape = llama_trunk(trunk.width, trunk.depth, trunk.attention.num_heads)
    causal = LVM(LVMConfig(grammar.num_codes, grammar.grid, grammar.vocabulary_size, grammar.length(1), trunk=shape))
    begin_with_codes(causal, painter.pictures, asked.seed)
    stream = Sentences(CodeStream(material, tables, settings.batch_size, asked.seed), grammar)
    num_steps = asked.causal_steps
    plan = Plan(num_steps, settings.lr, max(1, num_steps // 20), checkpoint_every_seconds=1e9, seed=asked.seed)
    train(causal, NextToken(), stream, plan=plan, device=painter.device, folder=folder)

    def paint(count: int, num_steps: int) -> np.ndarray:
        return painter.paint([Wish()] * count, UnmaskConfig(num_steps), asked.seed)

    is_code = torch.arange(grammar.vocabulary_size) < grammar.num_codes
    config = GenerationConfig(
        grammar.codes_per_picture, sampling=SamplingConfig(temperature=1.0), allowed=lambda step: is_code
    )
    begun = write_prompt(np.zeros((0, grammar.codes_per_picture), np.int64), grammar)

    def write(count: int) -> np.ndarray:
        return np.array(generate(causal, [begun] * count, config, asked.seed))

    ways: dict[str, Callable[[int], np.ndarray]] = {
        f"masked, {steps} steps": functools.partial(paint, num_steps=steps) for steps in asked.steps
    }
    ways["causal"] = write
    seconds: dict[str, list[float]] = {}
    for _ in range(asked.rounds):
        for name, way in ways.items():
            for count in (1, _AT_ONCE):
                began = time.perf_counter()
                way(count)
                seconds.setdefault(f"{name}, {count} at once", []).append((time.perf_counter() - began) / count)
    truth = np.stack([tables.squares[PLAIN][place] for place in material.places(True)])
    return {
        "trunk": f"{trunk.depth} x {trunk.width}, {grammar.codes_per_picture} codes a picture",
        "causal_steps": num_steps,
        "seconds_a_picture": {name: float(np.median(values)) for name, values in seconds.items()},
        "sets": {name: likeness(truth, painter.pictures.decode(way(_NUM_SAMPLES))) for name, way in ways.items()},
    }


class Sentences:
    """The masked model's batches, as a causal one reads them."""

    def __init__(self, codes: CodeStream, grammar: SentenceConfig) -> None:
        self.codes, self.grammar = codes, grammar

    def batch(self, step: int) -> Batch:
        """ "tokens": int64 B T."""
        codes = self.codes.batch(step)["codes"].numpy()
        return {"tokens": torch.from_numpy(write_sentences(codes[:, None], self.grammar))}


def likeness(truth: np.ndarray, painted: np.ndarray) -> dict[str, float]:
    """Of a set of pictures to the held-out ones."""
    rows = [filter_features(unit(one)).numpy() for one in (truth, painted)]
    mean, spread = rows[0].mean(0), rows[0].std(0).clip(0.01)
    true, drawn = ((one - mean) / spread for one in rows)
    size = min(len(true), len(drawn))
    found = coverage(true[:size], drawn[:size])
    return {"frechet": frechet_distance(true, drawn), "precision": found.precision, "recall": found.recall}


def distance(filled: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return filter_distance(unit(filled), unit(truth), torch.from_numpy(hole)).double().numpy()


def psnr(filled: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    errors = (np.square(filled.astype(float) - truth).mean(3) * hole).sum((1, 2)) / hole.sum((1, 2))
    return float((10 * np.log10(255.0**2 / errors.clip(1e-2))).mean())


def unit(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32)) / 255


if __name__ == "__main__":
    main()
