"""What a checkpoint may lack and still be of use."""

from __future__ import annotations

from beholder.types import UserError


class Absent(UserError):
    """A part that a checkpoint does not have, or has in a form that is not read here; the others can be used."""
