"""The console: stages, lines, progress bars with time left, and JSON for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from beholder.runtime.energy import Cost

_SECONDS_BETWEEN_LINES, _MOST_LINES = 60.0, 20


@runtime_checkable
class Advance(Protocol):
    """Moves a progress bar on by `steps`, with a short note such as the current loss."""

    def __call__(self, steps: int = 1, note: str = "") -> None: ...


class PipedConsole(Console):
    """Lets a closed pipe (`| head`) be told to the caller; rich would end the process with exit code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Log:
    """Where a verb speaks: to people on a terminal, or as JSON lines (`--json`) to machines.

    A quiet log says nothing, for use from Python and in tests.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._console = PipedConsole(file=sys.stderr if as_json else sys.stdout, highlight=False, soft_wrap=True)

    def stage(self, name: str, text: str) -> None:
        """One line of a named stage: `Read      folder per class, 2,624 images`."""
        if self._as_json:
            self._emit({"stage": name, "text": text})
        elif not self._quiet:
            self._console.print(f"[bold cyan]{name:<10}[/]", end="")
            self._console.print(text, markup=False)

    def line(self, text: str = "", style: str | None = None) -> None:
        if self._as_json:
            self._emit({"text": text})
        elif not self._quiet:
            self._console.print(text, style=style, markup=False)

    def warn(self, text: str) -> None:
        if self._as_json:
            self._emit({"warning": text})
        elif not self._quiet:
            self._console.print(f"[bold yellow]{'Note':<10}[/]", end="")
            self._console.print(text, markup=False)

    def result(self, value: Any, text: str) -> None:
        """The verb's answer: `value` for machines, `text` for people."""
        if self._as_json:
            self._emit(value)
        elif not self._quiet:
            self._console.print(text, markup=False)

    @contextmanager
    def progress(self, title: str, total: int, done: int = 0) -> Iterator[Advance]:
        """A bar with the time left on a terminal; in a log file at most a line a minute and 20 in all."""
        if self._as_json or self._quiet:
            yield lambda steps=1, note="": None
            return
        if not self._console.is_terminal:
            yield self._told_by_lines(title, total, done)
            return
        columns = (TextColumn("[bold cyan]{task.description:<10}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=self._console, transient=True
        ) as bars:
            task = bars.add_task(title, total=total, completed=done, note="")
            yield lambda steps=1, note="": bars.update(task, advance=steps, note=note)

    def _told_by_lines(self, title: str, total: int, done: int) -> Advance:
        began = told_at = time.monotonic()
        first = told = done

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done, told, told_at
            done += steps
            now = time.monotonic()
            if now - told_at < _SECONDS_BETWEEN_LINES or (done - told) * _MOST_LINES < total or done >= total:
                return
            told, told_at = done, now
            left = (now - began) / (done - first) * (total - done)
            self.stage(title, f"{done:,} of {total:,}, about {duration(left)} left{f', {note}' if note else ''}")

        return advance

    def _emit(self, value: Any) -> None:
        if not self._quiet:
            print(json.dumps(value, ensure_ascii=False), flush=True)


def counted(count: int, noun: str) -> str:
    """1 image, 2,624 images."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def energy(joules: float) -> str:
    """640 J, 1.4 kJ, 23 MJ."""
    for unit in ("J", "kJ", "MJ"):
        if joules < 999.5:
            return f"{joules:.0f} {unit}" if joules >= 9.95 or unit == "J" else f"{joules:.1f} {unit}"
        joules /= 1000
    return f"{joules:.1f} GJ"


def size(num_bytes: float) -> str:
    """640 kB, 1.4 GB: powers of 1,000, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if num_bytes >= 10 or unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def spent(cost: Cost, estimated_seconds: float | None = None) -> str:
    """What a run has cost, as its last lines tell it."""
    guess = "" if estimated_seconds is None else f" (estimated {duration(estimated_seconds)})"
    return (
        f"{duration(cost.seconds)}{guess}, {energy(cost.joules)}, {cost.joules_source}, "
        f"peak memory {size(cost.peak_memory_bytes)}"
    )
