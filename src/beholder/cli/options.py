"""Options that several verbs share, each told once."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

DEFAULT_PAIRS = "embedded"
"""As in `pretrained.embedded`, which imports torch; help has to be quick."""

Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")]
Threads = Annotated[int | None, Parameter(help="CPU threads; all cores of this process if not given.")]
MaxPixels = Annotated[int, Parameter(help="Larger images are set aside, with this reason, before they are decoded.")]
Pairs = Annotated[
    str,
    Parameter(
        help="A model that reads images and texts: its folder, or its name on the Hugging Face hub. If not given, the "
        "embedded one, which needs beholder[text]."
    ),
]
Seed = Annotated[int, Parameter(help="Of everything that is random.")]
Json = Annotated[bool, Parameter(help="Print JSON lines for machines.")]
