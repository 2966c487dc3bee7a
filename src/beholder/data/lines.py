"""A text file of one thing a line."""

from __future__ import annotations

from pathlib import Path

from beholder.types import UserError


def read_lines(path: Path, option: str) -> list[str]:
    """Lines without the space around them; empty ones are left out. `option` is what named the file.

    Raises UserError when it is missing, no text, or has none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{option} {path}: no such file; name a text file with one line each.") from error
    except IsADirectoryError as error:
        raise UserError(f"{option} {path} is a folder; name a text file with one line each.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{option} {path} cannot be read as text ({error}); save it as UTF-8.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{option} {path} is empty; write one line each.")
    return lines
