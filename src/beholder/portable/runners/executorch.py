"""The model beside this file as a function. It needs executorch, torch (which executorch's Python reads) and numpy."""

import json
from pathlib import Path

import numpy as np
import torch
from executorch.runtime import Runtime

LONGEST = 1024  # side of a picture that the file has room for


def fitting(picture):
    """Larger pictures are averaged in blocks of whole pixels first."""
    step = -(-max(picture.shape[:2]) // LONGEST)
    if step == 1:
        return picture
    down, across = (min(step, side) for side in picture.shape[:2])
    high, wide = picture.shape[0] // down, picture.shape[1] // across
    blocks = picture[: high * down, : wide * across].reshape(high, down, wide, across, 3)
    return blocks.mean((1, 3)).round().astype(np.uint8)


def open_model(folder, threads=0):
    """Takes pictures of one size (N H W 3 bytes, red green blue), gives outputs by name; threads are its own affair."""
    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    method = Runtime.get().load_program(Path(folder) / "model.pte").load_method("forward")
    assert method is not None, "model.pte has no method"

    def ask(pictures):
        found = [method.execute([torch.tensor(fitting(one)[None])]) for one in pictures]
        return {name: torch.cat([row[at] for row in found]).numpy() for at, name in enumerate(facts["outputs"])}

    return ask
