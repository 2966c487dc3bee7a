"""What lies in a folder: image files, other files, and what cannot be followed or opened. Nothing is decoded here."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from beholder.data.decode import image_extensions
from beholder.types import UserError

_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
"""What operating systems leave behind; passed over in silence, as are names that begin with a dot."""


@dataclass(frozen=True)
class Refused:
    """One input that is not used."""

    key: str
    """The sample's key, or the path as the user's table has it."""
    reason: str
    """One phrase."""


@dataclass(frozen=True)
class Listing:
    """The files below a folder, by their path relative to it (with `/`), sorted."""

    folder: Path
    images: dict[str, Path] = field(default_factory=dict)
    """Files whose extension is that of a picture; their content may yet be something else."""
    others: dict[str, Path] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()


def list_files(folder: Path) -> Listing:
    """List `folder` and everything below it; each real folder is entered once, so links cannot loop.

    Real folders come before links to folders. Raises UserError when `folder` itself cannot be read.
    """
    walk = _Walk(folder)
    walk.run()
    return Listing(
        folder,
        dict(sorted(walk.images.items())),
        dict(sorted(walk.others.items())),
        tuple(sorted(walk.refused, key=lambda refused: refused.key)),
    )


class _Walk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: dict[str, Path] = {}
        self.others: dict[str, Path] = {}
        self.refused: list[Refused] = []
        self._entered: set[tuple[int, int]] = set()
        self._folders: list[tuple[str, Path]] = [("", folder)]
        self._links: list[tuple[str, Path]] = []

    def run(self) -> None:
        while self._folders or self._links:
            if not self._folders:
                self._links.sort(reverse=True)
                self._folders.append(self._links.pop())
            self._enter(*self._folders.pop())

    def _enter(self, key: str, folder: Path) -> None:
        try:
            status = folder.stat()
            identity = status.st_dev, status.st_ino
            if identity in self._entered:
                self.refused.append(Refused(key, _why_entered(folder)))
                return
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not key:
                reason = (error.strerror or str(error)).lower()
                raise UserError(f"{folder} cannot be read ({reason}); check its permissions.") from None
            self.refused.append(Refused(key, f"folder cannot be read: {(error.strerror or str(error)).lower()}"))
            return
        self._entered.add(identity)
        for entry in found:
            if not entry.name.startswith(".") and entry.name not in _CLUTTER:
                self._take(entry, f"{key}/{_printable(entry.name)}" if key else _printable(entry.name))

    def _take(self, entry: os.DirEntry[str], key: str) -> None:
        path = Path(entry.path)
        try:
            mode = entry.stat().st_mode  # of the target, where it is a link
        except OSError as error:
            reasons = {errno.ENOENT: "dangling link", errno.ELOOP: "link loop"}
            self.refused.append(
                Refused(key, reasons.get(error.errno or 0, f"cannot be read: {error.strerror}".lower()))
            )
            return
        if stat.S_ISDIR(mode):
            (self._links if entry.is_symlink() else self._folders).append((key, path))
        elif path.suffix.lower() not in image_extensions():
            self.others[key] = path
        elif stat.S_ISREG(mode):
            self.images[key] = path
        else:
            self.refused.append(Refused(key, "not a regular file"))


def _why_entered(folder: Path) -> str:
    target, parent = os.path.realpath(folder), os.path.realpath(folder.parent)
    is_above = parent == target or parent.startswith(target.rstrip(os.sep) + os.sep)
    return "link loop" if is_above else "link to a folder that is read already"


def _printable(name: str) -> str:
    """The name with undecodable bytes written as \\xNN: keys are printed and stored as UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
