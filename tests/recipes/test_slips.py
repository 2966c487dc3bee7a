"""Slips that a newcomer made: each is one sentence, and nothing is lost, guessed or waited for without end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import write_classes

import beholder
from beholder.data.decode import Limits, Unreadable, decode
from beholder.data.tables import read_table
from beholder.types import Sample, UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", 3)


class TestTables:
    def test_a_row_longer_than_the_header_is_refused(self, tmp_path: Path) -> None:
        """Else `crack, deep` and `crack, flat` would be one class."""
        table = tmp_path / "labels.csv"
        table.write_text("path,label\na.png,good\nb.png,crack, deep\n")
        with pytest.raises(UserError, match=r"row 2 has 3 cells and the header 2; put a text with ',' in it"):
            read_table(table)

    def test_empty_cells_after_the_last_column_are_no_harm(self, tmp_path: Path) -> None:
        table = tmp_path / "labels.csv"
        table.write_text("path;label\na.png;good;\nb.png;bad;;\n")
        assert [row["label"] for row in read_table(table).rows] == ["good", "bad"]

    def test_a_quotation_mark_without_its_second_is_refused(self, tmp_path: Path) -> None:
        """Else it would swallow the rows below."""
        table = tmp_path / "labels.csv"
        table.write_text('path,label\na.png,"good\nb.png,bad\nc.png,bad\n')
        with pytest.raises(UserError, match="quotation mark"):
            read_table(table)


class TestImages:
    def test_what_would_be_read_without_end_is_not_opened(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe.png"
        os.mkfifo(pipe)
        for path in (pipe, Path("/dev/zero")):
            with pytest.raises(Unreadable, match="not a regular file"):
                decode(Sample(str(path), path))

    def test_a_name_with_a_null_character(self) -> None:
        with pytest.raises(Unreadable, match="null character"):
            decode(Sample("a", Path("a\0b.png")))

    def test_a_limit_below_one_pixel(self) -> None:
        with pytest.raises(UserError, match="--max-pixels -1: an image has at least one pixel"):
            Limits(-1)


class TestFolders:
    def test_lists_are_not_written_over_a_run(self, photos: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        run.mkdir()
        (run / "results.json").write_text("{}")
        (run / "quarantine.jsonl").write_text("mine")
        with pytest.raises(UserError, match=r"holds other files, such as results\.json; choose a new folder"):
            beholder.curate(photos, out=run)
        assert (run / "quarantine.jsonl").read_text() == "mine"

    def test_lists_are_made_anew_where_they_were_made(self, photos: Path, tmp_path: Path) -> None:
        assert beholder.curate(photos, out=tmp_path / "lists", threads=1) == beholder.curate(
            photos, out=tmp_path / "lists", threads=1
        )


class TestSettings:
    @pytest.mark.parametrize("budget", ["99999999999h", "99999999999 steps"])
    def test_a_budget_without_end(self, budget: str, photos: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="slip of the finger"):
            beholder.adapt(photos, out=tmp_path / "run", budget=budget)
        assert not (tmp_path / "run").exists()

    def test_values_of_a_wrong_kind_are_told_before_anything_is_written(self, photos: Path, tmp_path: Path) -> None:
        """In a process of its own, where no checker of types stands before the function."""
        wrong = ({"backbone": "x"}, {"budget": 5}, {"resolutions": 128}, {"resolutions": (128.5,)}, {"max_pixels": -5})
        code = (
            "import sys, beholder\n"
            f"for wrong in {wrong!r}:\n"
            "    try:\n"
            "        beholder.adapt(sys.argv[1], out=sys.argv[2], **wrong)\n"
            "    except beholder.UserError as error:\n"
            "        print(error)\n"
        )
        run = tmp_path / "run"
        done = subprocess.run([sys.executable, "-c", code, photos, run], capture_output=True, text=True, check=True)
        said = done.stdout.splitlines()
        assert [line.split("=")[0].split(" ")[0] for line in said] == [
            "backbone", "budget", "resolutions", "resolutions", "--max-pixels",
        ]  # fmt: skip
        assert "choose one of conv, vit" in said[0]
        assert not run.exists()
