"""A Ray cluster to work on: the one that RAY_ADDRESS names, else one of this machine's own."""

from __future__ import annotations

import importlib
import os
from typing import Any

from beholder.types import UserError


def connect(option: str, library: str) -> Any:
    """Ray with that library of its own ("data", "serve"), connected and quiet. Raises UserError where it is missing."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
        importlib.import_module(f"ray.{library}")
    except ImportError as error:
        raise UserError(f"{option} needs Ray {library.capitalize()}; pip install 'beholder[scale]'.") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
    return ray
