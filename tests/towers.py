"""A small CLIP as the hub holds one: random weights, a vocabulary of a few lines, its preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parity.reference import randomise, save
from spellings import BEGIN, END, save_pairs

from beholder.runtime.files import read_json


def save_clip(folder: Path) -> Any:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    save_pairs(folder, (BEGIN, END), "</w>")
    size = len(read_json(folder / "vocab.json"))
    shape = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
    text = {
        **shape,
        "vocab_size": size,
        "max_position_embeddings": 60,
        "eos_token_id": size - 1,
        "bos_token_id": size - 2,
    }
    image = {**shape, "image_size": 24, "patch_size": 8}
    model = randomise(CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=20)))
    save(model, folder)
    side = {"height": 24, "width": 24}
    CLIPImageProcessor(size={"shortest_edge": 24}, crop_size=side).save_pretrained(folder)
    return model
