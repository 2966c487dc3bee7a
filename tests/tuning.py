"""Small sets to tune on, and a small CLIP that knows one of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from towers import save_clip

from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load
from beholder.tasks.similarity import PROMPTS
from beholder.tokenizers.pixels import prepare

COLOURS = {"red": (200, 40, 40), "green": (40, 170, 60), "blue": (50, 70, 220), "grey": (128, 128, 128)}
SIDE = 24


def colour(generator: np.random.Generator, name: str) -> np.ndarray:
    """Noise on a colour."""
    image = generator.normal(0, 30, (SIDE, SIDE, 3)) + COLOURS[name]
    return image.clip(0, 255).astype(np.uint8)


def lit(generator: np.random.Generator, name: str) -> np.ndarray:
    """Any colour in a light or a dark shade: easy enough to be learned in a few steps on any machine."""
    image = colour(generator, str(generator.choice(list(COLOURS)))).astype(int)
    return (image + (70 if name == "light" else -70)).clip(0, 255).astype(np.uint8)


def write_general(folder: Path, count: int = 80, seed: int = 1) -> Path:
    """A folder a colour."""
    return _write(folder, count, tuple(COLOURS), colour, seed)


def write_own(folder: Path, count: int = 100, seed: int = 2) -> Path:
    """A folder a shade."""
    return _write(folder, count, ("light", "dark"), lit, seed)


def write_own_texts(folder: Path, count: int = 100, seed: int = 3) -> Path:
    """A text beside each picture; a text comes several times."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        name, side = list(COLOURS)[number % 4], ("left", "right")[number // 4 % 2]
        image = colour(generator, name).astype(int)
        image[:, : SIDE // 2] += 60 if side == "left" else -60
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
        (folder / f"{number:03d}.txt").write_text(f"{name} with the light {side} {number // 8}")
    return folder


def save_knowing_clip(folder: Path) -> Path:
    """A CLIP as the hub holds one that names colours rightly, by a few seconds of training of all weights."""
    save_clip(folder / "random")
    loaded = load(folder / "random")
    assert isinstance(loaded, Foreign) and loaded.pixels is not None
    model = loaded.model.train().requires_grad_(True)
    generator, names = np.random.default_rng(0), list(COLOURS)
    wordings = [loaded.need_words().encode([prompt.format(name) for name in names]) for prompt in PROMPTS]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    steps = 120
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)  # ends far from ties, on any machine
    for step in range(steps):
        words = wordings[step % len(wordings)]
        labels = generator.integers(4, size=24)
        pixels = prepare([colour(generator, names[label]) for label in labels], loaded.pixels)
        scores = 10 * model.encode_images(pixels) @ model.encode_texts(words.numbers, words.is_real).T  # type: ignore[operator]
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        slower.step()
    trained = replace(loaded, model=model.eval().requires_grad_(False))
    export_to_huggingface(trained, folder / "knowing")
    return folder / "knowing"


def _write(folder: Path, count: int, names: tuple[str, ...], draw: object, seed: int) -> Path:
    generator = np.random.default_rng(seed)
    for number in range(count):
        name = names[number % len(names)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        image = draw(generator, name)  # type: ignore[operator]
        Image.fromarray(image).save(folder / name / f"{number:03d}.png")
    return folder
