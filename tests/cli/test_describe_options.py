"""Options of `describe` that another way of describing reads are refused, each by one sentence, before anything is
loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.cli.main import main


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--language", "zh"],
            "needs a model that writes captions; name a run of train describe by --model.",
        ),
        (["--regions", "--heat", "h"], "--heat needs a model that writes captions"),
        (["--regions", "--heat", "h", "--model", "m"], "--heat is for captions of whole images; leave it or --regions"),
        (["--regions", "--candidates", "c"], "--candidates and --regions are two ways"),
        (["--candidates", "c", "--boxes", "b"], "--boxes is for --regions; add it, or leave --boxes out."),
        (["--model", "m", "--count", "3"], "--count is for --candidates; add it, or leave --count out."),
        (["--model", "m", "--out", "o"], "--out is for --regions; add it, or leave --out out."),
        (["--regions", "--pairs", "p"], "--pairs is for --names; add it, or leave --pairs out."),
        (["--candidates", "c", "--count", "0"], "--count 0: at least one description"),
    ],
)
def test_what_nobody_would_read_is_refused(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    assert main(["describe", str(tmp_path / "a.png"), *options]) == 2
    assert told in capsys.readouterr().err
