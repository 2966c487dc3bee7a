"""The command line as a user meets it: exit codes, one sentence for a mistake, fast help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from beholder.cli.main import VERBS, main


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(verb in told for verb in VERBS)


def test_help_and_import_load_nothing_heavy() -> None:
    code = (
        "import sys, beholder; from beholder.cli.main import main; main(['--help'])\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'PIL', 'rich', 'cyclopts'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    told = capsys.readouterr().out
    assert "Example" in told
    assert f"beholder {verb}" in told


def test_an_unknown_verb_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adpat"]) == 2
    assert "did you mean adapt?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["adapt"], "photos"),
        (["adapt", "x", "--out", "y", "--budgte", "5m"], "--budgte"),
        (["adapt", "x", "--out", "y", "--seed", "many"], "many"),
        (["adapt", "x", "--out", "y", "--backbone", "huge"], "huge"),
    ],
)
def test_a_bad_argument_is_one_sentence(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert told in error.lower() or told in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_a_mistake_is_json_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", str(tmp_path / "none"), "--out", str(tmp_path / "run"), "--json"]) == 2
    assert "none" in json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
