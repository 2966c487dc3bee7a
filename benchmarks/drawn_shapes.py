"""Are the colour and the shape drawn that were asked for? Text to image and `edit --prompt` on pictures of one shape.

    python benchmarks/drawn_shapes.py write --data DATA/easy_vqa --out runs/shapes
    beholder train tokenizer --data runs/shapes --out runs/tok --budget 4m --threads 1
    beholder train text-to-image --data runs/shapes --tokenizer runs/tok --out runs/draw --budget "386 steps"
    beholder train masked --data runs/shapes --tokenizer runs/tok --out runs/masked --budget "1538 steps"
    python benchmarks/drawn_shapes.py judge --data runs/shapes --draw runs/draw --masked runs/masked

`write` makes captions ("a blue rectangle") of easy-VQA's answers (victorzhou.com, MIT licence), 24 different ones. The
judge is a convolutional network of this script, taught colour and shape on the true training pictures: neither the
network of the tokenizer's loss nor the reranker. Drawn: every caption eight times. Edited: held-out pictures whose
shape is covered by a mask and asked for anew, in another colour and another shape. Hardware: judging takes two minutes
of one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import beholder
from beholder.evaluate.resample import mean_interval
from beholder.runtime.seed import numpy_generator

COLOURS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
SHAPES = ("circle", "rectangle", "triangle")
SIDE, STEPS, BATCH = 64, 1200, 64
EACH, NUM_EDITED = 8, 192
_COVER = 4
"""Pixels of mask around a shape."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "judge"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="write: a new folder")
    parser.add_argument("--draw", type=Path, help="judge: a run of train text-to-image")
    parser.add_argument("--masked", type=Path, help="judge: a run of train masked")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.what == "write":
        write(asked.data, asked.out)
        return
    rows = [json.loads(line) for line in (asked.data / "metadata.jsonl").read_text().splitlines()]
    learned, held_out = ([row for row in rows if row["split"] == part] for part in ("train", "test"))
    judge = taught(asked.data, learned)
    seen = [picture_of(asked.data, row) for row in held_out]
    tell("true, held out", judge, seen, [row["text"] for row in held_out])
    models = {name: beholder.load(run) for name in ("draw", "masked") if (run := getattr(asked, name)) is not None}
    for guidance in asked.guidance:
        if "draw" in models:
            drawn(judge, models["draw"], guidance, asked.threads)
        if "masked" in models:
            edited(judge, models["masked"], held_out, seen, guidance, asked.threads)


def write(data: Path, out: Path) -> None:
    """Pictures and metadata.jsonl with a caption each; the pictures that easy-VQA tests by are held out."""
    (out / "images").mkdir(parents=True)
    lines = []
    for number, line in enumerate((data / "metadata.jsonl").read_text().splitlines()):
        row = json.loads(line)
        said = {word for one in row["qa"] for word in true_words(one["question"], one["answer"])}
        colour, shape = said & set(COLOURS), said & set(SHAPES)
        if len(colour) != 1 or len(shape) != 1:
            continue  # nobody asked about both
        name = f"images/{number:04d}.png"
        (out / name).write_bytes((data / row["file_name"]).read_bytes())
        lines.append(json.dumps({"file_name": name, "text": f"a {colour.pop()} {shape.pop()}", "split": row["split"]}))
    (out / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    print(f"{len(lines):,} pictures with a caption: {out}")


def true_words(question: str, answer: str) -> set[str]:
    """Those of the picture: of an answer, and of a question that is not answered by no."""
    words = set(question.strip("?").split())
    is_true = answer not in ("yes", "no") or (answer == "yes") == words.isdisjoint({"no", "not"})
    return {answer} | (words if is_true else set())


def picture_of(data: Path, row: dict[str, str]) -> np.ndarray:
    with Image.open(data / row["file_name"]) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))


class Judge(nn.Module):
    """Colour and shape of a picture."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 96)
        self.layers = nn.Sequential(*[
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(widths)
        ])  # fmt: skip
        self.colour, self.shape = nn.Linear(2 * widths[-1], len(COLOURS)), nn.Linear(2 * widths[-1], len(SHAPES))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.layers(pictures).flatten(2)
        pooled = torch.cat([maps.mean(2), maps.amax(2)], 1)
        return self.colour(pooled), self.shape(pooled)


def taught(data: Path, rows: Sequence[dict[str, str]]) -> Judge:
    """On true pictures, mirrored, moved by a few pixels and a little noisy or blurred, as painted ones are."""
    torch.manual_seed(0)
    pictures = as_tensor([picture_of(data, row) for row in rows])
    colours, shapes = (torch.tensor(part) for part in zip(*(classes_of(row["text"]) for row in rows), strict=True))
    judge = Judge().train()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        chosen = torch.randint(len(pictures), (BATCH,))
        batch = torch.roll(pictures[chosen], tuple(torch.randint(-4, 5, (2,)).tolist()), (2, 3))
        batch = batch.flip(3) if step % 2 else batch
        batch = F.avg_pool2d(F.pad(batch, (1, 1, 1, 1), mode="replicate"), 3, 1) if step % 3 == 0 else batch
        batch = batch + 0.05 * torch.rand(1) * torch.randn_like(batch)
        colour, shape = judge(batch)
        loss = F.cross_entropy(colour, colours[chosen]) + F.cross_entropy(shape, shapes[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return judge.eval()


def classes_of(text: str) -> tuple[int, int]:
    _, colour, shape = text.split()
    return COLOURS.index(colour), SHAPES.index(shape)


def as_tensor(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def tell(name: str, judge: Judge, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> None:
    """Shares that are right, and their 95 % intervals."""
    resized = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BOX)) for one in pictures]
    said = [part.argmax(1) for part in judge(as_tensor(resized))]
    wanted = [torch.tensor(part) for part in zip(*map(classes_of, texts), strict=True)]
    colour, shape = (((one == other).double().numpy()) for one, other in zip(said, wanted, strict=True))
    told: dict[str, object] = {"pictures": name, "count": len(texts)}
    for what, right in (("colour", colour), ("shape", shape), ("both", colour * shape)):
        low, high = mean_interval(right, numpy_generator(0, "bootstrap"))
        told[what] = f"{100 * right.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"
    print(json.dumps(told), flush=True)


def drawn(judge: Judge, model: Any, guidance: float, threads: int) -> None:
    first, best, texts = [], [], []
    for colour in COLOURS:
        for shape in SHAPES:
            text = f"a {colour} {shape}"
            made = beholder.generate(
                model, text, "cpu", count=EACH, guidance=guidance, reranker="none", threads=threads
            )
            first += [one.picture for one in made.pictures]
            again = beholder.generate(model, text, "cpu", count=EACH, keep=1, guidance=guidance, threads=threads)
            best += [one.picture for one in again.pictures]
            texts.append(text)
    tell(f"drawn, guidance {guidance:g}", judge, first, [text for text in texts for _ in range(EACH)])
    tell(f"drawn, guidance {guidance:g}, best of {EACH} by its reranker", judge, best, texts)


def edited(
    judge: Judge, model: Any, rows: Sequence[dict[str, str]], seen: Sequence[np.ndarray], guidance: float, threads: int
) -> None:
    generator = numpy_generator(0, "wishes")
    made, filled, texts = [], [], []
    for row, picture in list(zip(rows, seen, strict=True))[:NUM_EDITED]:
        colour, shape = classes_of(row["text"])
        other = (colour + generator.integers(1, len(COLOURS))) % len(COLOURS)
        text = f"a {COLOURS[other]} {SHAPES[(shape + generator.integers(1, len(SHAPES))) % len(SHAPES)]}"
        mask = covering(picture)
        how = {"threads": threads, "seed": len(texts)}
        made.append(beholder.edit(model, picture, mask, "cpu", prompt=text, guidance=guidance, **how)[0].picture)
        if guidance == 1:
            filled.append(beholder.inpaint(model, picture, mask, "cpu", **how)[0].picture)
        texts.append(text)
    tell(f"edited as asked, guidance {guidance:g}", judge, made, texts)
    if filled:
        tell("the same holes filled with nothing asked for", judge, filled, texts)


def covering(picture: np.ndarray) -> np.ndarray:
    """True over a square around what is unlike the corner, and a few pixels more."""
    unlike = np.abs(picture.astype(int) - picture[0, 0]).sum(2) > 60
    down, across = np.flatnonzero(unlike.any(1)), np.flatnonzero(unlike.any(0))
    mask = np.zeros(unlike.shape, bool)
    if len(down):
        mask[max(0, down[0] - _COVER) : down[-1] + 1 + _COVER, max(0, across[0] - _COVER) : across[-1] + 1 + _COVER] = 1
    return mask


if __name__ == "__main__":
    main()
