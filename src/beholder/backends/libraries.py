"""Which libraries a way to run a model needs."""

from __future__ import annotations

import importlib.util

from beholder.backends.outputs import Backend, Precision
from beholder.types import UserError

LIBRARIES: dict[tuple[Backend, Precision], tuple[str, ...]] = {
    ("onnxruntime", "fp32"): ("onnx", "onnxscript", "onnxruntime"),
    ("openvino", "fp32"): ("openvino",),
    ("openvino", "bf16"): ("openvino",),
    ("openvino", "int8"): ("openvino", "nncf"),
}


def check_libraries(backend: Backend, precision: Precision) -> None:
    """Raises UserError that names what is missing."""
    missing = [name for name in LIBRARIES.get((backend, precision), ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"backend={backend!r} in {precision} needs {' and '.join(missing)}, which is not installed: "
            "pip install 'beholder[fast]'."
        )
