"""A model of masked pictures for tests."""

from __future__ import annotations

from pathlib import Path

import torch

from beholder.models.maskgit import TRUNKS, MaskGIT, MaskGITConfig
from beholder.pretrained.part_folder import MASKED, Part, load_part, save_part
from beholder.tokenizers.captions import learn_captions

LABELS = ("bright", "dark")


def random_maskgit(num_classes: int = 2, num_words: int = 0, longest_caption: int = 0, seed: int = 0) -> MaskGIT:
    """Over 4 x 4 codes out of 16."""
    torch.manual_seed(seed)
    model = MaskGIT(MaskGITConfig(16, (4, 4), num_classes, num_words, longest_caption, TRUNKS["debug"]))
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return model.eval()


def save_masked(folder: Path, codec: Part, seed: int = 0) -> Part:
    """Random weights, two classes, and words of two captions."""
    captions = learn_captions(["a bright block", "two dark blocks"])
    model = random_maskgit(2, captions.num_tokens, captions.longest, seed)
    save_part(
        folder, MASKED, model, model.config, facts={"labels": LABELS}, card="# Holes\n", codec=codec, captions=captions
    )
    return load_part(folder)
