"""The one list of formats: which precisions they have, what writes them and what runs them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from beholder.backends.outputs import Precision
from beholder.portable import runners
from beholder.portable.executorch_file import write_executorch
from beholder.portable.exportable import Exportable
from beholder.portable.onnx_file import write_onnx
from beholder.portable.openvino_file import write_openvino
from beholder.portable.program_file import write_program
from beholder.types import UserError

FormatName = Literal["onnx", "openvino", "executorch", "program"]
MODEL, RUN = "model.py", "run.py"
"""Programs that are written beside the model."""


@dataclass(frozen=True)
class Format:
    """A form in which other programs run a model."""

    write: Callable[[Exportable, Precision, Sequence[Tensor], Path], None]
    libraries: dict[Precision, tuple[str, ...]]
    """What writing needs, by precision; those that are not here do not exist."""
    why_not: dict[Precision, str]
    """Of those that do not exist."""
    needs: str
    """What running needs."""
    runner: str
    """Name of the program that is written as `model.py`."""
    extra: str = "fast"
    """Of beholder, with the libraries."""


FORMATS: dict[FormatName, Format] = {
    "onnx": Format(
        write_onnx,
        {"fp32": ("onnx", "onnxscript", "onnxruntime"), "int8": ("onnx", "onnxscript", "onnxruntime")},
        {"bf16": "ONNX Runtime has no products in bfloat16 on CPUs"},
        "onnxruntime numpy",
        "onnx.py",
    ),
    "openvino": Format(
        write_openvino,
        {"fp32": ("openvino",), "bf16": ("openvino",), "int8": ("openvino", "nncf")},
        {},
        "openvino numpy",
        "openvino.py",
    ),
    "executorch": Format(
        write_executorch,
        {"fp32": ("executorch",)},
        {
            "bf16": "XNNPACK has no products in bfloat16",
            "int8": "XNNPACK refuses convolutions of the embedded backbone in 8 bits; onnx has int8 for phones",
        },
        "executorch torch numpy",
        "executorch.py",
        extra="phone",
    ),
    "program": Format(
        write_program,
        {"fp32": (), "bf16": ()},
        {"int8": "torch runs 8 bits fast only after a compiler that is not part of it"},
        "torch numpy",
        "program.py",
    ),
}


def check_format(name: FormatName, precision: Precision) -> Format:
    """Raises UserError for a pair that does not exist, and for libraries that are not installed."""
    if name not in FORMATS:
        raise UserError(f"--format {name}: not a format; choose {', '.join(FORMATS)}.")
    found = FORMATS[name]
    if precision not in found.libraries:
        why = f" ({found.why_not[precision]})" if precision in found.why_not else ""
        able = ", ".join(found.libraries)
        raise UserError(f"--format {name} has no --precision {precision}{why}; it has {able}.")
    missing = [one for one in found.libraries[precision] if importlib.util.find_spec(one) is None]
    if missing:
        raise UserError(
            f"--format {name} in {precision} needs {' and '.join(missing)}, which is not installed: "
            f"pip install 'beholder[{found.extra}]'."
        )
    return found


def write_runners(found: Format, folder: Path) -> None:
    """The programs that ask the model."""
    source = Path(str(runners.__file__)).parent
    for name, written in ((found.runner, MODEL), (RUN, RUN)):
        (folder / written).write_text((source / name).read_text(encoding="utf-8"), encoding="utf-8")


def open_export(folder: Path, threads: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The export as its own program opens it."""
    spec = importlib.util.spec_from_file_location("beholder_exported_model", folder / MODEL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.open_model(folder, threads)
