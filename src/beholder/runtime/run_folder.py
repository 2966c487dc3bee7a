"""One long run on disk: stages done once, whole writes, one process at a time, resumed by the same command.

    with RunFolder.open(path, recipe) as run:
        table = run.stage("read", read)          # computed once; a resumed run loads it
        ...
        run.finish(results)

`kill -9` at any point leaves only whole files behind. A stage is done when its JSON file stands in `stages/`; whatever
else a stage writes (tensors, shards) it writes before that.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beholder.runtime.device import release_freed_memory
from beholder.runtime.energy import Cost, Stopwatch
from beholder.runtime.files import read_json, told_kindly, write_json
from beholder.runtime.lock import lock_folder
from beholder.runtime.log import Log
from beholder.types import UserError

_EXPECTED = "expected"


class RunFolder:
    """A run's folder: `recipe.json`, `stages/`, `metrics.jsonl`, `costs.jsonl`, `results.json`.

    Built by `open`; holds an exclusive lock until `close` or the end of the process.
    """

    def __init__(self, path: Path, lock: int, is_resumed: bool, is_new: bool) -> None:
        self.path = path
        self.is_resumed = is_resumed
        self.is_new = is_new
        """Whether the folder itself was made by this process."""
        self._lock = lock
        self._expected: dict[str, Any] = {}

    @classmethod
    def open(cls, path: Path, recipe: dict[str, Any], log: Log | None = None) -> RunFolder:
        """Create the run, or resume it when its recipe is the same, which the log tells.

        Raises UserError when the folder holds a finished run, another recipe, something that is not a run,
        or is in use by a live process.
        """
        with told_kindly(path):
            if path.exists() and not path.is_dir():
                raise UserError(f"--out {path} is a file; name a new folder.")
            _refuse_finished(path)
            if _read_recipe(path) is None and path.exists() and _has_foreign_files(path):
                raise UserError(f"{path} holds other files and no run; choose a new folder for --out.")
            is_new = not path.exists()
            (path / "stages").mkdir(parents=True, exist_ok=True)
            lock = lock_folder(path, "wait for it or choose another --out")
            try:
                _refuse_finished(path)  # another process may have finished it since
                is_resumed = _begin(path, json.loads(json.dumps(recipe)))
                if is_resumed and log is not None:
                    log.stage("Resume", f"{path}: what is done is kept")
                return cls(path, lock, is_resumed=is_resumed, is_new=is_new)
            except BaseException:
                os.close(lock)
                raise

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A run that is refused before it did or found anything leaves no folder behind."""
        if kind is not None and issubclass(kind, UserError) and _holds_nothing_yet(self.path):
            for entry in self.path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if self.is_new:
                self.path.rmdir()
        self.close()

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def is_done(self, name: str) -> bool:
        return self._stage_file(name).exists()

    def stage(self, name: str, compute: Callable[[], Any]) -> Any:
        """The stage's JSON result: loaded when the stage is done, else computed and written."""
        if self.is_done(name):
            return read_json(self._stage_file(name))
        with told_kindly(self.path):
            value = compute()
            self._keep_expected()
            write_json(self._stage_file(name), value)
        return read_json(self._stage_file(name))

    def resolve(self, name: str, compute: Callable[[], Any]) -> Any:
        """A value that is decided once, such as the number of steps a budget buys, kept in `recipe.json`."""
        recipe = read_json(self.path / "recipe.json")
        if name not in recipe:
            recipe[name] = compute()
            write_json(self.path / "recipe.json", {**recipe, **self._expected})
        return read_json(self.path / "recipe.json")[name]

    def expect(self, name: str, value: Any) -> Any:
        """What a run was begun with, such as the digest of its data, as JSON: `value` as long as nothing was decided.

        Unlike `resolve` it decides nothing by itself, so that a first try that is refused later may be mended. It is
        kept with the first decision or stage; until then caches in `scratch` that another value had are dropped.
        """
        recipe, value = read_json(self.path / "recipe.json"), json.loads(json.dumps(value))
        if name in recipe:
            return recipe[name]
        mark = self.path / "scratch" / _EXPECTED / f"{name}.json"
        with told_kindly(self.path):
            if mark.exists() and read_json(mark) != value:
                shutil.rmtree(self.path / "scratch")
            mark.parent.mkdir(parents=True, exist_ok=True)
            write_json(mark, value)
        self._expected[name] = value
        return value

    def _keep_expected(self) -> None:
        recipe = read_json(self.path / "recipe.json")
        if not self._expected.keys() <= recipe.keys():
            write_json(self.path / "recipe.json", {**recipe, **self._expected})

    def record(self, kind: str, **values: Any) -> None:
        """Append one line to `metrics.jsonl`."""
        _append(self.path / "metrics.jsonl", {"kind": kind, **values})

    def records(self, kind: str) -> list[dict[str, Any]]:
        """All lines of one kind, in the order written; a repeated step (after a kill) is there twice."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [entry for line in lines if (entry := json.loads(line))["kind"] == kind]

    @contextmanager
    def charged(self, name: str) -> Iterator[None]:
        """Book what the block costs to a stage; the memory that it leaves behind goes back to the system."""
        watch = Stopwatch()
        try:
            yield
        finally:
            self.charge(name, watch.cost())
            release_freed_memory()

    def charge(self, name: str, cost: Cost) -> None:
        """Book what a stage, or the part of it since the last checkpoint, has cost."""
        _append(self.path / "costs.jsonl", {"stage": name, **asdict(cost)})

    def costs(self) -> dict[str, Cost]:
        """What each stage has cost so far, interrupted parts included, in the order of first mention."""
        ledger: dict[str, Cost] = {}
        path = self.path / "costs.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            entry = json.loads(line)
            name = entry.pop("stage")
            ledger[name] = ledger.get(name, Cost()) + Cost(**entry)
        return ledger

    def finish(self, results: dict[str, Any]) -> None:
        """Write `results.json`, the mark of a finished run, and drop the scratch folder."""
        with told_kindly(self.path):
            write_json(self.path / "results.json", results)
            shutil.rmtree(self.path / "scratch", ignore_errors=True)

    def scratch(self, name: str) -> Path:
        """A folder for caches and shards, deleted when the run is finished."""
        folder = self.path / "scratch" / name
        with told_kindly(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _stage_file(self, name: str) -> Path:
        return self.path / "stages" / f"{name}.json"


def _append(path: Path, entry: dict[str, Any]) -> None:
    """One line in one write; a line cut short by a crash is dropped before the next is added."""
    with path.open("ab+") as handle:
        end = handle.seek(0, os.SEEK_END)
        if end:
            handle.seek(end - 1)
            if handle.read(1) != b"\n":
                content = path.read_bytes()
                handle.truncate(content.rfind(b"\n") + 1)
        handle.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())


def _refuse_finished(path: Path) -> None:
    if (path / "results.json").exists():
        raise UserError(f"{path} holds a finished run; choose another --out, or delete that folder first.")


def _holds_nothing_yet(path: Path) -> bool:
    """Whether a run's folder holds what was asked and nothing else: no decision, no stage, no list of refused files."""
    begun = _read_recipe(path)
    if begun is not None and begun.keys() != {"asked"}:
        return False
    files = (entry for entry in path.rglob("*") if entry.is_file())
    return all(
        entry.name in {"recipe.json", ".lock", "costs.jsonl"}
        or entry.parent.name == _EXPECTED
        or entry.stat().st_size == 0
        for entry in files
    )


def _begin(path: Path, recipe: dict[str, Any]) -> bool:
    """Write down what was asked, or compare it with what was; whether there is something to resume."""
    begun = _read_recipe(path)
    if begun is None or begun.keys() == {"asked"}:  # nothing was decided yet: a first try may be mended
        if begun is not None and begun["asked"] != recipe:  # what lies there was made for other settings
            shutil.rmtree(path / "scratch", ignore_errors=True)
        write_json(path / "recipe.json", {"asked": recipe})
        return False
    _refuse_other_recipe(path, begun["asked"], recipe)
    return True


def _read_recipe(path: Path) -> dict[str, Any] | None:
    """The run's recipe, None before there is one. Raises UserError when some other program's file stands there."""
    file = path / "recipe.json"
    try:
        recipe = read_json(file) if file.exists() else None
    except ValueError:  # no JSON, or no UTF-8
        recipe = {}
    if recipe is None or (isinstance(recipe, dict) and isinstance(recipe.get("asked"), dict)):
        return recipe
    raise UserError(f"{file} is not the recipe of a beholder run; choose a new folder for --out.")


def _has_foreign_files(path: Path) -> bool:
    return any(entry.name not in {"stages", ".lock"} and not entry.name.endswith(".tmp") for entry in path.iterdir())


def _refuse_other_recipe(path: Path, known: dict[str, Any], asked: dict[str, Any]) -> None:
    changed = [name for name in sorted({*known, *asked}) if known.get(name) != asked.get(name)]
    if changed:
        first = changed[0]
        raise UserError(
            f"{path} was begun {_as_typed(first, known.get(first))}, this command comes "
            f"{_as_typed(first, asked.get(first))}; repeat the first command to resume, or choose another --out."
        )


def _as_typed(name: str, value: Any) -> str:
    """A setting as the user types it: `with --threads 1`, `without --labels`."""
    if name.startswith("has_") and isinstance(value, bool):  # `has_labels` is the option --without-labels
        name, value = name.replace("has_", "without_", 1), not value
    option = "--" + {"num_pictures": "pictures"}.get(name, name).replace("_", "-")
    if value is None or value is False:
        return f"without {option}"
    values = [] if value is True else value if isinstance(value, list) else [value]
    return f"with {shlex.join([option, *map(str, values)])}"
