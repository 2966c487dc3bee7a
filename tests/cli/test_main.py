"""The command line as a user meets it: exit codes, one sentence for a mistake, fast help."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import write_classes

from beholder.cli.main import RECIPES, VERBS, main


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


@pytest.mark.parametrize("verb", [one for one in VERBS if one not in ("train", "doctor")])
def test_what_is_missing_is_named_and_told(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb]) == 2
    told = capsys.readouterr().err
    own = ("No image was named; give image files or folders.", "Name at least one model: beholder serve")
    missing = re.fullmatch(rf"beholder: [A-Z-]+[a-z-]* is missing: .{{8,}}\. See beholder {verb} --help\.\n", told)
    assert missing or any(sentence in told for sentence in own), told


def test_an_option_without_its_value_or_misspelt_is_no_missing_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "a", "--model"]) == 2
    assert "--model requires an argument" in capsys.readouterr().err
    assert main(["train", "lvm", "--data", "x", "--tokenzer", "y", "--out", "z"]) == 2
    assert "Did you mean --tokenizer" in capsys.readouterr().err


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
        (["adapt", "x", "--out", "y", "--seed", "1.5"], "--seed 1.5: give a whole number"),
        (["adapt", "x", "--out", "y", "--resolutions=128.5"], "--resolutions 128.5: give a whole number"),
        (["adapt", "x", "--out", "y", "--resolutions", "128", "224.7"], "--resolutions 224.7: give a whole number"),
        (["train", "tokenizer", "--data", "x", "--out", "y", "--levels", "8.5", "5"], "--levels 8.5: give a whole"),
        (
            ["inpaint", "x", "--mask", "m", "--model", "n", "--out", "o.png", "--count", "1.5"],
            "--count 1.5",
        ),
    ],
)
def test_a_bad_argument_is_one_sentence(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert told in error.lower() or told in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "sides", [["16", "224"], ["16", "--resolutions", "224"], ["16", "224", "--resolutions", "300"]]
)
def test_several_values_may_follow_one_option(sides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The first side is refused for its size by `adapt` itself: the command line has taken them all."""
    assert main(["adapt", "x", "--resolutions", *sides, "--out", "y"]) == 2
    assert capsys.readouterr().err.startswith("beholder: --resolutions 16: a side lies between 32 and 2048 pixels")


@pytest.mark.parametrize("verb", [*(one for one in VERBS if one != "train"), *(f"train {one}" for one in RECIPES)])
def test_help_shows_no_twin_of_an_option(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert "--json" in told
    assert not re.findall(r"--(?:no|empty)-[a-z]+", told)


@pytest.mark.parametrize("words", [["--help"], ["adapt", "--help"], ["adpat"], ["curate", "."]])
def test_a_closed_pipe_ends_quietly(words: list[str], tmp_path: Path) -> None:
    """Nobody reads standard output any more, such as after `| head -1`."""
    write_classes(tmp_path, 4)
    if words[0] == "curate":
        words = [*words, "--out", str(tmp_path.parent / "clean")]
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from beholder.cli.main import main; sys.exit(main())"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
    finally:
        os.close(writing)
    if words[0] == "adpat":  # a mistake is still told, and on standard error
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    else:
        assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("verb", "told"), [("doctor", "Interrupted."), ("adapt", "goes on from the last checkpoint")])
def test_an_interrupted_verb_says_so(
    verb: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(f"beholder.cli.{verb}"), verb, interrupted)
    assert main([verb]) == 130
    assert told in capsys.readouterr().err


def test_a_mistake_is_json_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", str(tmp_path / "none"), "--out", str(tmp_path / "run"), "--json"]) == 2
    assert "none" in json.loads(capsys.readouterr().out.splitlines()[-1])["error"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], ["classify", "--help"], ["doctor"]])
def test_a_full_disk_under_its_output_is_one_sentence(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "beholder.cli.main", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        both = subprocess.run(command, stdout=full, stderr=full, check=False)
    assert done.returncode == both.returncode == 2
    assert re.fullmatch(r"beholder: The disk is full: .*\n", done.stderr)


class TestTrain:
    def test_lists_its_recipes(self, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments in (["train"], ["train", "--help"]):
            assert main(arguments) == 0
            told = capsys.readouterr().out
            assert all(name in told for name in RECIPES)

    def test_runs_a_file_with_the_arguments_after_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", [])
        monkeypatch.setattr(sys, "path", [*sys.path])
        (tmp_path / "neighbour.py").write_text("def shout(word):\n    print(word.upper())\n")
        recipe = tmp_path / "recipe.py"
        recipe.write_text(
            "import sys\nfrom neighbour import shout\nif __name__ == '__main__':\n    shout(sys.argv[1])\n"
        )
        assert main(["train", str(recipe), "slowly"]) == 0
        assert capsys.readouterr().out == "SLOWLY\n"

    @pytest.mark.parametrize(("recipe", "said"), [("paris", "did you mean pairs"), ("missing.py", "no such file")])
    def test_what_is_no_recipe(self, recipe: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["train", recipe]) == 2
        assert said in capsys.readouterr().err
