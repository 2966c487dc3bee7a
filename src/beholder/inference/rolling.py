"""Rows that begin and end at any time and are read side by side meanwhile (continuous batching: Yu et al. 2022, Orca):
none waits for another's end, and each says what it would say alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from beholder.inference.generate import GenerationConfig
from beholder.inference.reader import Reader
from beholder.inference.sampling import SamplingConfig, choose

Bind = Callable[[Sequence["Row"]], nn.Module]
"""The model before what these rows are shown, such as images."""


@dataclass(eq=False)
class Row:
    """One text that is being written."""

    prompt: Sequence[int]
    config: GenerationConfig
    """Its `suppression` and `allowed` are not read here."""
    seed: int = 0
    shown: Tensor | None = None
    """What the model has before it beside the prompt."""
    said: list[int] = field(default_factory=list)
    """The new tokens so far."""
    is_over: bool = False

    def take(self, token: int) -> None:
        """One more token, which may be the last."""
        self.said.append(token)
        config = self.config
        self.is_over = (
            token in config.stops
            or len(self.said) >= config.num_tokens
            or (config.ends is not None and config.ends(self.said))
        )


@dataclass
class _Group:
    """Rows that are read together, and their scores of what comes next."""

    rows: list[Row]
    reader: Reader
    logits: Tensor
    generators: list[torch.Generator]


class Rolling:
    """Writes on for all rows that were begun, one token each at a step."""

    def __init__(self, model: nn.Module, bind: Bind | None = None) -> None:
        """`model` reads on where nothing is shown any more; `bind` gives the one that reads prompts."""
        self._model = model
        self._bind = bind or (lambda rows: model)
        self._waiting: list[Row] = []
        self._groups: list[_Group] = []

    @property
    def num_rows(self) -> int:
        """Begun, and neither over nor dropped."""
        return len(self._waiting) + sum(len(group.rows) for group in self._groups)

    def begin(self, row: Row) -> None:
        """From the next step on it is written. Raises UserError where it does not fit into what the model reads."""
        Reader(self._model, [row.prompt], row.config.num_tokens)
        self._waiting.append(row)

    def drop(self, row: Row) -> None:
        """Nobody wants it any more; nothing happens where it is over."""
        row.is_over = True
        self._waiting = [one for one in self._waiting if one is not row]
        self._sweep()

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One token for each row; gives the rows that got one."""
        if self._waiting:
            self._read_prompts()
        told: list[Row] = []
        for group in self._groups:
            told += group.rows
            for row, token in zip(group.rows, _chosen(group), strict=True):
                row.take(token)
        self._sweep()
        for group in self._groups:
            last = torch.tensor([[row.said[-1]] for row in group.rows], device=group.logits.device)
            group.logits = group.reader.read(last)
        return told

    def _read_prompts(self) -> None:
        """What waits becomes a group, and one with the others where nothing but words is read on."""
        rows, self._waiting = self._waiting, []
        longest = getattr(self._model, "longest", None)
        needed = max(len(row.prompt) for row in rows) + max(row.config.num_tokens for row in rows) - 1
        fit = longest is None or needed <= longest  # side by side each is as long as the longest
        for some in [rows] if fit else [[row] for row in rows]:
            reader = Reader(self._bind(some), [row.prompt for row in some], max(row.config.num_tokens for row in some))
            logits = reader.begin()
            generators = [torch.Generator(logits.device).manual_seed(row.seed) for row in some]
            self._groups.append(_Group(some, reader, logits, generators))
        plain = [group for group in self._groups if group.reader.is_plain]
        if len(plain) < 2:
            return
        rows = [row for group in plain for row in group.rows]
        room = max(row.config.num_tokens - len(row.said) for row in rows)
        joined = _Group(
            rows,
            Reader.side_by_side(self._model, [group.reader for group in plain], room),
            torch.cat([group.logits for group in plain]),
            [generator for group in plain for generator in group.generators],
        )
        self._groups = [*(group for group in self._groups if not group.reader.is_plain), joined]

    def _sweep(self) -> None:
        """What is over costs nothing more."""
        for group in self._groups:
            places = [place for place, row in enumerate(group.rows) if not row.is_over]
            if len(places) == len(group.rows) or not places:
                group.rows = [group.rows[place] for place in places]
                continue
            kept = torch.tensor(places, device=group.logits.device)
            group.reader.go_on_from(kept)
            group.rows = [group.rows[place] for place in places]
            group.generators = [group.generators[place] for place in places]
            group.logits = group.logits[kept]
        self._groups = [group for group in self._groups if group.rows]


def _chosen(group: _Group) -> list[int]:
    """Each row by its own sampling."""
    by: dict[SamplingConfig, list[int]] = {}
    for place, row in enumerate(group.rows):
        by.setdefault(row.config.sampling, []).append(place)
    found = [0] * len(group.rows)
    for sampling, places in by.items():
        tokens = choose(group.logits[places], sampling, [group.generators[place] for place in places])
        for place, token in zip(places, tokens.tolist(), strict=True):
            found[place] = token
    return found
