"""`load(name)`: a ready model from a folder."""

from __future__ import annotations

from pathlib import Path

from beholder.pretrained.bundle import Bundle, load_bundle


def load(name: str | Path) -> Bundle:
    """A ready model from a model folder, or from the run folder that holds one.

    Raises UserError when the folder is missing, broken or of an unknown format.
    """
    folder = Path(name)
    if not (folder / "config.json").is_file() and (folder / "model" / "config.json").is_file():
        folder = folder / "model"
    return load_bundle(folder)
