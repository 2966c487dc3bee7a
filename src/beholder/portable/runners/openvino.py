"""The model beside this file as a function. It needs openvino and numpy."""

import json
from pathlib import Path

import numpy as np
import openvino


def open_model(folder, threads=0):
    """Takes pictures of one size (N H W 3 bytes, red green blue), gives outputs by name; 0: all threads."""
    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    hint = "bf16" if facts["precision"] == "bf16" else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    network = openvino.Core().compile_model(Path(folder) / "model.xml", "CPU", settings)
    names = [output.get_any_name() for output in network.outputs]

    def ask(pictures):
        found = network(pictures)
        return {name: np.array(found[place]) for place, name in enumerate(names)}

    return ask
