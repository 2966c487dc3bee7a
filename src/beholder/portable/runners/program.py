"""The model beside this file as a function. It needs torch and numpy."""

import json
from pathlib import Path

import torch


def open_model(folder, threads=0):
    """Takes pictures of one size (N H W 3 bytes, red green blue), gives outputs by name; 0: all threads."""
    if threads:
        torch.set_num_threads(threads)
    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    network = torch.export.load(Path(folder) / "model.pt2").module()

    def ask(pictures):
        with torch.inference_mode():
            found = network(torch.tensor(pictures))
        return {name: tensor.numpy() for name, tensor in zip(facts["outputs"], found, strict=True)}

    return ask
