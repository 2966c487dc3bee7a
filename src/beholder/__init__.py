"""Large vision models for your own domain.

    import beholder
    beholder.adapt("photos/", out="runs/first", labels="auto")
    for answer in beholder.classify("runs/first/model", ["photos/a.png"]):
        print(answer.label, answer.score)

The functions are those of the command line. Nothing heavy is imported until one of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beholder.version import VERSION as __version__

if TYPE_CHECKING:
    from beholder.api import (
        adapt,
        anomaly,
        answer,
        classify,
        complete,
        curate,
        describe,
        distil,
        doctor,
        edit,
        export,
        export_to_huggingface,
        generate,
        inpaint,
        load,
        pick,
        scale_law,
        search,
        similarity,
        tune,
        write,
    )
    from beholder.types import Answer, UserError

__all__ = [
    "Answer", "UserError", "__version__", "adapt", "anomaly", "answer", "classify", "complete", "curate", "describe",
    "distil", "doctor", "edit", "export", "export_to_huggingface", "generate", "inpaint", "load", "pick",
    "scale_law", "search", "similarity", "tune", "write",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("Answer", "UserError"):  # light: no torch for an `except beholder.UserError`
        from beholder import types

        return getattr(types, name)
    if name in __all__:
        from beholder import api

        return getattr(api, name)
    raise AttributeError(f"module 'beholder' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
