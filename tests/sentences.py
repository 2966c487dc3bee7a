"""A codec of tiny pictures, a model of their sentences and one that draws what a text says, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from beholder.models.codec import PRESETS, ImageCodec
from beholder.models.dalle import Form, TextToImageConfig, build_text_to_image
from beholder.models.lvm import LVM, TRUNKS, LVMConfig
from beholder.pretrained.part_folder import CODEC, SENTENCES, TEXT_TO_IMAGE, Part, load_part, save_part
from beholder.tokenizers.captioned import config_of
from beholder.tokenizers.captions import learn_captions
from beholder.tokenizers.sentences import SentenceConfig

SIDE = 16
GRAMMAR = SentenceConfig(16, (4, 4))


def draw_block(generator: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """A bright block somewhere on a dark ground: a quarter of the side large, on a grid of its size."""
    picture = np.full((side, side, 3), 20, np.uint8)
    step = side // 4
    for _ in range(2):
        top, left = generator.integers(0, 4, 2) * step
        picture[top : top + step, left : left + step] = 230
    return picture


def write_blocks(folder: Path, count: int, seed: int = 0, side: int = SIDE, has_masks: bool = False) -> Path:
    """Drawn pictures, with a mask of each block where asked."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        picture = draw_block(generator, side)
        noisy = np.clip(picture + generator.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:04d}.png")
        if has_masks:
            Image.fromarray(np.where(picture[..., 0] > 127, 1, 0).astype(np.uint8)).save(
                folder / f"{number:04d}_mask.png"
            )
    return folder


def save_codec(folder: Path, num_steps: int = 0, seed: int = 0) -> Part:
    """Random weights, or a few steps on blocks and on all that is made of them."""
    torch.manual_seed(seed)
    codec = ImageCodec(PRESETS["debug"])
    generator = np.random.default_rng(seed)
    pictures = torch.from_numpy(np.stack([draw_block(generator) for _ in range(256)])).permute(0, 3, 1, 2)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=3e-3)
    for _ in range(num_steps):
        batch = pictures[torch.randint(256, (32,))].float() / 127.5 - 1
        loss = F.mse_loss(codec(batch)[0], batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_part(folder, CODEC, codec, PRESETS["debug"], facts={"image_size": SIDE}, card="# A codec\n")
    return load_part(folder)


def save_lvm(folder: Path, codec: Part, num_pictures: int = 6, seed: int = 0) -> Part:
    """Random weights."""
    torch.manual_seed(seed)
    config = LVMConfig(16, (4, 4), GRAMMAR.vocabulary_size, GRAMMAR.length(num_pictures), trunk=TRUNKS["debug"])
    model = LVM(config)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.2 * torch.randn_like(value))
    save_part(folder, SENTENCES, model, config, facts={}, card="# Sentences\n", codec=codec)
    return load_part(folder)


def save_drawer(folder: Path, codec: Part, form: Form = "causal", seed: int = 0) -> Part:
    """Random weights, and words of two captions."""
    torch.manual_seed(seed)
    captions = learn_captions(["a red block", "two green blocks"])
    rows = config_of(captions, 16, (4, 4))
    config = TextToImageConfig(
        16, (4, 4), rows.num_words, rows.longest, rows.vocabulary_size, form, TRUNKS["debug"]
    )  # fmt: skip
    model = build_text_to_image(config)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.2 * torch.randn_like(value))
    save_part(
        folder, TEXT_TO_IMAGE, model, config, facts={}, card="# Draws\n", codec=codec, captions=captions
    )  # fmt: skip
    return load_part(folder)
