"""What README.md and docs/ show is true: commands are accepted, options are all told, code compiles, links lead on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from beholder.cli.main import RECIPES, VERBS, main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
EVERYWHERE = {"--help", "--version", "--photos", "--json", "--no-json"}
"""Options that a page need not explain; `--photos` is the long name of PHOTOS."""


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """The words after `beholder` of each command line of the page's console blocks."""
    for block in blocks(page, "console"):
        for line in re.findall(r"^\$ (.*)", block.replace("\\\n", " "), re.MULTILINE):
            words = shlex.split(re.split(r"\s[|>;]|&&", line)[0], comments=True)
            if words and Path(words[0]).name == "beholder":
                yield words[1:]


def options_of(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setenv("COLUMNS", "200")  # a narrow console would break long names
    assert main([*verb.split(), "--help"]) == 0
    return set(OPTION.findall(capsys.readouterr().out))


def test_commands_name_verbs_that_exist_and_every_verb_is_shown() -> None:
    verbs = {words[0] for page in PAGES for words in commands(page)}
    assert verbs - {"--help", "--version"} == VERBS.keys()


@pytest.mark.parametrize("verb", [*(verb for verb in VERBS if verb != "train"), *(f"train {name}" for name in RECIPES)])
def test_options_shown_are_accepted_and_options_there_are_told(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = options_of(verb, capsys, monkeypatch)
    shown = {
        (page.name, option)
        for page in PAGES
        for words in commands(page)
        if words[: len(verb.split())] == verb.split()
        for option in OPTION.findall("\n".join(words))
    }
    assert not {(page, option) for page, option in shown if option not in known}
    own_page = (ROOT / "docs" / f"{verb.replace(' ', '_').replace('-', '_')}.md").read_text(encoding="utf-8")
    told = set(OPTION.findall(own_page))
    assert not {name for name in known - told - EVERYWHERE if not name.startswith(("--no-", "--empty-"))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_compiles(page: Path) -> None:
    for number, block in enumerate(blocks(page, "python"), start=1):
        compile(block, f"{page.name}, block {number}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert not [link for link in links if link and not (page.parent / link).exists()]
