"""One process at a time in a folder; the lock goes with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from beholder.types import UserError


def lock_folder(folder: Path, remedy: str) -> int:
    """An exclusive lock on an existing folder, held until `os.close` of what is returned or the end of the process.

    Raises UserError, which ends in `remedy`, when another process holds it.
    """
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o666)  # less what the umask takes
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UserError(f"{folder} is in use by another beholder process; {remedy}.") from None
    return handle
