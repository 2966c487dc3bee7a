from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from beholder.checkpoint.files import save_tensors
from beholder.runtime.energy import Cost
from beholder.runtime.files import new_folder, refuse_inside, told_kindly, write_json, write_whole
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.types import UserError


def test_a_stage_is_computed_once_and_then_loaded(tmp_path: Path) -> None:
    calls = []

    def compute() -> list[int]:
        calls.append(1)
        return [1, 2]

    for _ in range(2):
        with RunFolder.open(tmp_path / "run", {"seed": 1}) as run:
            assert run.stage("count", compute) == [1, 2]
    assert len(calls) == 1


def test_a_resumed_run_knows_its_decisions_and_its_costs(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, {"seed": 1}) as run:
        assert run.resolve("steps", lambda: 120) == 120
        run.charge("features", Cost(2.0, 3.0, 30.0, "model", 100))
    with RunFolder.open(tmp_path, {"seed": 1}) as run:
        assert run.is_resumed
        assert run.resolve("steps", lambda: 999) == 120
        run.charge("features", Cost(1.0, 1.0, 10.0, "model", 50))
        assert run.costs() == {"features": Cost(3.0, 4.0, 40.0, "model", 100)}


def test_that_a_run_goes_on_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder.open(tmp_path, {"seed": 1}, Log()) as run:
        run.resolve("steps", lambda: 3)
    assert "Resume" not in capsys.readouterr().out
    RunFolder.open(tmp_path, {"seed": 1}, Log()).close()
    assert f"Resume    {tmp_path}: what is done is kept" in capsys.readouterr().out


def test_a_mistaken_first_try_may_be_mended(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, {"labels": "lables.csv"}).close()
    with RunFolder.open(tmp_path, {"labels": "labels.csv"}) as run:
        assert not run.is_resumed


class TestWhatIsExpected:
    def test_it_decides_nothing_by_itself_and_is_kept_with_the_first_decision(self, tmp_path: Path) -> None:
        with RunFolder.open(tmp_path, {"size": 1}) as run:
            assert run.expect("pictures", {"count": 3}) == {"count": 3}
        with RunFolder.open(tmp_path, {"size": 2}) as run:  # another try
            assert run.expect("pictures", {"count": 4}) == {"count": 4}
            run.resolve("steps", lambda: 7)
        with RunFolder.open(tmp_path, {"size": 2}) as run:
            assert run.expect("pictures", {"count": 5}) == {"count": 4} and run.resolve("steps", lambda: 8) == 7

    def test_a_stage_keeps_it_too(self, tmp_path: Path) -> None:
        with RunFolder.open(tmp_path, {}) as run:
            run.expect("pictures", 3)
            run.stage("count", lambda: 3)
        with RunFolder.open(tmp_path, {}) as run:
            assert run.expect("pictures", 4) == 3

    def test_caches_that_were_made_for_another_value_are_dropped(self, tmp_path: Path) -> None:
        for value, is_there in (("a", False), ("a", True), ("b", False)):
            with RunFolder.open(tmp_path, {}) as run:
                run.expect("pictures", value)
                cache = run.scratch("codes") / "done.json"
                assert cache.exists() == is_there
                write_json(cache, 1)

    def test_a_run_that_is_refused_then_leaves_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="too few"), RunFolder.open(tmp_path / "run", {}) as run:
            run.expect("codec", "abc")
            raise UserError("too few")
        assert not (tmp_path / "run").exists()


class TestARefusedRun:
    def test_leaves_no_folder_when_nothing_was_done(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such table"), RunFolder.open(tmp_path / "run", {}) as run:
            run.scratch("pixels")
            (run.path / "quarantine.jsonl").touch()
            raise UserError("no such table")
        assert list(tmp_path.iterdir()) == []

    def test_leaves_the_folder_that_the_user_made(self, tmp_path: Path) -> None:
        with pytest.raises(UserError), RunFolder.open(tmp_path, {}):
            raise UserError("no such table")
        assert tmp_path.is_dir() and list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("found", ["a refused file", "a decision", "a stage"])
    def test_keeps_what_it_found(self, tmp_path: Path, found: str) -> None:
        with pytest.raises(UserError), RunFolder.open(tmp_path / "run", {}) as run:
            if found == "a refused file":
                (run.path / "quarantine.jsonl").write_text("{}\n")
            elif found == "a decision":
                run.resolve("steps", lambda: 3)
            else:
                run.stage("read", lambda: 3)
            raise UserError("two classes are needed")
        assert (tmp_path / "run" / "recipe.json").exists()

    def test_a_killed_run_is_kept(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), RunFolder.open(tmp_path / "run", {}):
            raise KeyboardInterrupt
        assert (tmp_path / "run" / "recipe.json").exists()


def test_what_was_made_for_another_recipe_is_not_used(tmp_path: Path) -> None:
    for side, is_kept in ((96, False), (96, True), (224, False)):
        with RunFolder.open(tmp_path, {"side": side}) as run:
            made = run.scratch("pixels") / "pixels.npy"
            assert made.exists() == is_kept
            made.write_bytes(b"1")


def test_another_recipe_is_refused_with_both_values(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, {"seed": 1}) as run:
        run.resolve("steps", lambda: 3)
    with pytest.raises(UserError, match="begun with --seed 1, this command comes with --seed 2;"):
        RunFolder.open(tmp_path, {"seed": 2})


@pytest.mark.parametrize(
    ("name", "known", "asked", "told"),
    [
        ("threads", 1, None, "begun with --threads 1, this command comes without --threads;"),
        ("thorough", False, True, "begun without --thorough, this command comes with --thorough;"),
        (
            "resolutions",
            (128, 224),
            (64,),
            "begun with --resolutions 128 224, this command comes with --resolutions 64",
        ),
        ("max_pixels", 9, 8, "begun with --max-pixels 9, this command comes with --max-pixels 8;"),
        ("budget", "9 steps", "0", "begun with --budget '9 steps', this command comes with --budget 0;"),
    ],
)
def test_a_setting_is_told_as_the_user_types_it(tmp_path: Path, name: str, known: Any, asked: Any, told: str) -> None:
    with RunFolder.open(tmp_path, {name: known}) as run:
        run.resolve("steps", lambda: 3)
    with pytest.raises(UserError, match=re.escape(told)):
        RunFolder.open(tmp_path, {name: asked})


@pytest.mark.parametrize("content", ['{"flour": 500}', "[1]", "{}", '{"asked": 3}', "flour, eggs", "\xff"])
def test_a_recipe_of_another_program_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / "recipe.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"recipe\.json is not the recipe of a beholder run; choose a new folder"):
        RunFolder.open(tmp_path, {"seed": 1})
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.json"]
    assert (tmp_path / "recipe.json").read_bytes() == content.encode("latin-1")


def test_a_finished_run_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, {}) as run:
        run.finish({"score": 1})
    with pytest.raises(UserError, match="finished run"):
        RunFolder.open(tmp_path, {})
    assert json.loads((tmp_path / "results.json").read_text()) == {"score": 1}


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="holds other files and no run"):
        RunFolder.open(tmp_path, {})


def test_a_file_where_a_folder_is_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RunFolder.open(tmp_path / "x", {})
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        RunFolder.open(tmp_path / "x" / "run", {})


def test_two_processes_cannot_share_a_run_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from beholder.runtime.run_folder import RunFolder\n"
        "run = RunFolder.open(Path(sys.argv[1]), {}); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(UserError, match="in use by another"):
            RunFolder.open(tmp_path, {})
        other.send_signal(signal.SIGKILL)
        other.wait()
    RunFolder.open(tmp_path, {}).close()


def test_a_line_cut_short_by_a_crash_is_dropped(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, {}) as run:
        run.record("step", step=1)
        with (tmp_path / "metrics.jsonl").open("a") as handle:
            handle.write('{"kind": "st')
        run.record("step", step=2)
        assert [entry["step"] for entry in run.records("step")] == [1, 2]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, 1)

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, write)
    assert path.read_text() == "1\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_all_files_have_the_permissions_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    """safetensors makes its files readable for their owner alone, whatever the umask."""
    with RunFolder.open(tmp_path, {"seed": 1}) as run:
        run.charge("features", Cost())
        write_json(run.path / "value.json", 1)
        save_tensors(run.path / "model.safetensors", {"weight": torch.ones(2)})
        write_whole(run.path / "closed", lambda path: (path.write_text("x"), path.chmod(0o600)))  # type: ignore[arg-type]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


class TestOutputInside:
    @pytest.mark.parametrize("out", ["photos", "photos/sub/deep", "photos/../photos/sub", "link/sub", "photos/sub/.."])
    def test_the_photos_is_refused(self, tmp_path: Path, out: str) -> None:
        (tmp_path / "photos" / "sub").mkdir(parents=True)
        (tmp_path / "link").symlink_to(tmp_path / "photos")
        with pytest.raises(UserError, match="whose files are read as photos; choose a folder outside"):
            refuse_inside(tmp_path / out, tmp_path / "photos")

    def test_the_current_folder_is_refused_by_any_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "photos").mkdir()
        monkeypatch.chdir(tmp_path / "photos")
        for out, photos in ((".", "."), ("run", "."), (".", "../photos"), ("../photos/run", tmp_path / "photos")):
            with pytest.raises(UserError, match="lies in"):
                refuse_inside(Path(out), Path(photos))

    @pytest.mark.parametrize("out", ["photos2", "out", ".", "photos/../out", "gone"])
    def test_other_folders_is_fine(self, tmp_path: Path, out: str) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "gone").symlink_to(tmp_path / "gone")  # a loop
        refuse_inside(tmp_path / out, tmp_path / "photos")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "may not write"), (errno.EROFS, "read-only")],
)
def test_the_file_systems_refusals_become_one_sentence(tmp_path: Path, number: int, remedy: str) -> None:
    with pytest.raises(UserError, match=remedy), told_kindly(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "x"))


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="weird"), told_kindly(tmp_path):
        raise OSError(errno.EIO, "weird")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class TestANewFolder:
    def test_takes_its_place_at_the_end(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        with new_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("1")
            assert list((tmp_path / "out").iterdir()) == []
        assert (tmp_path / "out" / "a").read_text() == "1" and names(tmp_path) == ["out"]

    def test_is_gone_when_the_work_fails(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("1")
            raise KeyboardInterrupt
        assert names(tmp_path) == []

    def test_clears_what_a_killed_one_left(self, tmp_path: Path) -> None:
        killed = f"""
            import os, pathlib, signal
            from beholder.runtime.files import new_folder
            with new_folder(pathlib.Path({str(tmp_path / "out")!r})) as folder:
                (folder / "half").write_text("1")
                os.kill(os.getpid(), signal.SIGKILL)
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(killed)], check=False)
        assert names(tmp_path) == [".out.draft"]
        with new_folder(tmp_path / "out") as folder:
            assert list(folder.iterdir()) == []
        assert names(tmp_path) == ["out"]

    def test_is_one_writers(self, tmp_path: Path) -> None:
        with (
            new_folder(tmp_path / "out"),
            pytest.raises(UserError, match="in use by another"),
            new_folder(tmp_path / "out"),
        ):
            pass
        assert names(tmp_path) == ["out"]
