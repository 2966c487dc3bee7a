"""Writes that are whole or absent: a reader never sees half a file, whatever kills the writer."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beholder.runtime.lock import lock_folder
from beholder.types import UserError


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary neighbour of `path`, flush it to disk, then put it in place in one step.

    Its permissions are those that the umask gives to new files, whatever `write` would choose (safetensors: 0600).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        usual = stat.S_IMODE(temporary.stat().st_mode)
        write(temporary)
        if stat.S_IMODE(temporary.stat().st_mode) != usual:
            temporary.chmod(usual)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))  # type: ignore[arg-type]


def write_json(path: Path, value: Any) -> None:
    """JSON with sorted reading in mind: two spaces, no NaN (a NaN is a bug upstream and raises ValueError)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path` (absent, or empty) when the block ends well and is gone when it does not.

    Until then it lies in a hidden neighbour, which the next writer of `path` clears away should this one be killed.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(draft, "wait for it or choose another --out")
    folder = draft / "folder"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        if path.exists():
            path.rmdir()
        folder.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(lock)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def refuse_inside(out: Path, photos: Path, option: str = "--out") -> None:
    """Raise UserError when `out` is the folder `photos` or lies in it: what is written there would be read as photos,
    or as a table of them, next time. `option` is what named it."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(photos)):
        raise UserError(f"{option} {out} lies in {photos}, whose files are read as photos; choose a folder outside.")


def refuse_unwritable(path: Path, option: str = "--out") -> None:
    """Raise UserError where no file or folder `path` can be made, before the work whose result it is to hold. Folders
    above it that are missing are no hindrance: who writes makes them."""
    with told_kindly(path, option):
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise UserError(f"{option} {path}: {above} is a file and no folder; choose another {option}.")
        if not os.access(above, os.W_OK | os.X_OK):
            raise UserError(f"{option} {path}: this user may not write into {above}; choose another {option}.")


@contextmanager
def told_kindly(path: Path, option: str = "--out") -> Iterator[None]:
    """Turn the file system's refusals while writing below `path`, which `option` named, into one sentence with the
    remedy."""
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "the disk is full; free some space and run the same command again, it goes on from here",
            errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
            errno.EACCES: f"this user may not write there; choose another {option}",
            errno.EPERM: f"this user may not write there; choose another {option}",
            errno.EROFS: f"that file system is read-only; choose another {option}",
            errno.ENOENT: f"no folder can be made there; choose another {option}",
            errno.EEXIST: f"a broken link or another thing that is no folder stands there; choose another {option}",
            errno.ENAMETOOLONG: f"the name is too long for that file system; choose a shorter {option}",
            errno.ENOTDIR: f"a file stands where a folder is needed; choose another {option}",
        }
        if error.errno not in remedies:
            raise
        raise UserError(f"Cannot write {error.filename or path}: {remedies[error.errno]}.") from error
