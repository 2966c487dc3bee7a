"""Options that several verbs share, each told once."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")]
Threads = Annotated[int | None, Parameter(help="CPU threads; all cores of this process if not given.")]
MaxPixels = Annotated[int, Parameter(help="Larger images are set aside, with this reason, before they are decoded.")]
Seed = Annotated[int, Parameter(help="Of everything that is random.")]
Json = Annotated[bool, Parameter(help="Print JSON lines for machines.")]
