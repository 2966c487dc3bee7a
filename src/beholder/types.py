"""The nouns that flow through beholder, and the one legend of shape letters.

    Sample --tokenizers--> Tokens --models--> Outputs --objectives--> Losses --train--> checkpoint
       ^ data                                    '---- tasks ----> Answer --> evaluate, export, serve

Shape letters, the same in every file:
    B batch   T tokens   S source tokens   D width        N heads   K head width   F feed-forward
    E experts V vocabulary  C channels     H W image      P patch   Q queries      L layers

Nothing heavy is imported here: the command line reads this file on every start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


class UserError(ValueError):
    """A mistake that the user can mend: one sentence with the value, the rule and the remedy."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One example as it lies on disk, before anything is decoded."""

    key: str
    """Stable name, unique in its source: the path relative to the folder, or the table row."""
    path: Path | None = None
    """The image file; None when `data` holds the bytes."""
    data: bytes | None = None
    """The encoded image, for tables that carry bytes."""
    label: str | None = None
    group: str | None = None
    """Samples of one group (a patient, a module, a video) never straddle a split."""
    split: str | None = None
    """"train", "validation" or "test" where the source says so."""
    text: str | None = None


@dataclass(frozen=True)
class Tokens:
    """A sequence that a trunk reads."""

    values: Tensor
    """B T D, embeddings."""
    grid: tuple[int, int] | None = None
    """Rows and columns when the last rows * columns tokens lie on an image grid."""
    num_prefix: int = 0
    """Tokens before the grid: class token and registers."""


@dataclass(frozen=True)
class Outputs:
    """What a vision backbone saw: dense maps from fine to coarse, and one summary of the image."""

    maps: tuple[Tensor, ...]
    """Each B C H W."""
    summary: Tensor
    """B D."""


@dataclass(frozen=True)
class Losses:
    """What an objective asks to be made smaller: `total` is differentiated, `parts` are only told."""

    total: Tensor
    """Scalar."""
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a task tells the user about one input."""

    key: str
    """The input's name."""
    label: str | None = None
    score: float | None = None
    """In [0, 1] for probabilities; otherwise the task's docstring gives the unit."""
    details: Mapping[str, Any] = field(default_factory=dict)
    refused: str | None = None
    """Why there is no answer, in one sentence."""


Batch = Mapping[str, "Tensor"]
"""What a stream yields for one step, by name: "views" is a float tensor V B C H W of normalised pixels."""


@runtime_checkable
class Objective(Protocol):
    """A loss that is given the model: it may run it several times and may own modules (a teacher, a predictor).

    Every objective is a torch module: `parameters()` yields what it trains beside the model, `state_dict()` what a
    resumed run needs.
    """

    def __call__(self, model: Any, batch: Batch) -> Losses: ...

    def after_step(self, model: Any, progress: float) -> None:
        """Called after each optimizer update; `progress` in (0, 1] is the share of the run that is done."""
        ...
