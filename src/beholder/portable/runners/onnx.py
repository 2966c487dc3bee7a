"""The model beside this file as a function. It needs onnxruntime and numpy."""

from pathlib import Path

import onnxruntime


def open_model(folder, threads=0):
    """Takes pictures of one size (N H W 3 bytes, red green blue), gives outputs by name; 0: all threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(Path(folder) / "model.onnx", options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda pictures: dict(zip(names, session.run(None, {"pictures": pictures}), strict=True))
