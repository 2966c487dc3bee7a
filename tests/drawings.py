"""Pictures of coloured blocks with captions that tell the colour, and a codec of them, for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from beholder.models.codec import PRESETS, ImageCodec
from beholder.pretrained.part_folder import CODEC, Part, load_part, save_part

SIDE = 16
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220)}


def draw_block(colour: str, generator: np.random.Generator) -> np.ndarray:
    """A block of half the side anywhere on a dark ground, with noise."""
    picture = np.full((SIDE, SIDE, 3), 20.0)
    top, left = generator.integers(0, SIDE // 2 + 1, 2)
    picture[top : top + SIDE // 2, left : left + SIDE // 2] = COLOURS[colour]
    return np.clip(picture + generator.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)


def colour_of(picture: np.ndarray) -> str:
    """Which colour most of what is bright has."""
    bright = picture[picture.max(2) > 110].astype(float)
    if not len(bright):
        return "none"
    return list(COLOURS)[int(np.bincount(bright.argmax(1), minlength=3).argmax())]


def write_drawings(folder: Path, count: int, seed: int = 0) -> Path:
    """Pictures with metadata.jsonl."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = []
    for number in range(count):
        colour = list(COLOURS)[number % 3]
        Image.fromarray(draw_block(colour, generator)).save(folder / f"{number:04d}.png")
        text = f"a {colour} block" if number % 2 else f"One {colour} square"
        lines.append(json.dumps({"file_name": f"{number:04d}.png", "text": text}))
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def save_colour_codec(folder: Path, num_steps: int = 300, seed: int = 0) -> Part:
    """A few steps on such pictures."""
    torch.manual_seed(seed)
    codec, generator = ImageCodec(PRESETS["debug"]), np.random.default_rng(seed)
    pictures = torch.from_numpy(
        np.stack([draw_block(list(COLOURS)[number % 3], generator) for number in range(300)])
    ).permute(0, 3, 1, 2)  # fmt: skip
    optimizer = torch.optim.AdamW(codec.parameters(), lr=4e-3)
    for _ in range(num_steps):
        batch = pictures[torch.randint(300, (32,))].float() / 127.5 - 1
        loss = F.mse_loss(codec(batch)[0], batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_part(folder, CODEC, codec, PRESETS["debug"], facts={"image_size": SIDE}, card="# A codec\n")
    return load_part(folder)
