"""Truths of captions: rows of one length, read back; the same table in every process; strange words are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from beholder.runtime.words import words_of
from beholder.tokenizers.captions import CAPTION_FILES, CaptionConfig, learn_captions, load_captions
from beholder.types import UserError

TEXTS = [f"A {colour} {shape}" for colour in ("red", "green", "blue") for shape in ("circle", "square", "chess knight")]
CAPTIONS = learn_captions(TEXTS)

_LEARN = """
import random, sys
from pathlib import Path
from beholder.tokenizers.captions import CaptionConfig, learn_captions
draw = random.Random(0)
texts = ["".join(draw.choice("abcdef ") for _ in range(12)) for _ in range(400)]  # full of equally frequent pairs
learn_captions(texts, CaptionConfig(vocabulary_size=600)).save(Path(sys.argv[1]))
"""


def test_a_caption_comes_back_from_its_row() -> None:
    for text, row in zip(TEXTS, CAPTIONS.encode(TEXTS), strict=True):
        assert CAPTIONS.decode(row) == text.lower()


def test_any_text_can_be_written_and_read_back() -> None:
    wide = learn_captions([*TEXTS, "x" * 200 + " naïve 红色的马 \N{GRINNING FACE}"], CaptionConfig(longest=300))
    for text in ("zebra?", "红色 naïve", "\N{GRINNING FACE}!", "<pad> </s>"):
        assert wide.decode(wide.encode([text])[0]) == text


def test_rows_have_one_length_and_what_fills_them_is_no_text() -> None:
    rows = CAPTIONS.encode(["red", "a green chess knight", ""])
    assert rows.shape == (3, CAPTIONS.longest) and rows.max() == CAPTIONS.pad == CAPTIONS.num_tokens - 1
    assert (rows[2] == CAPTIONS.pad).all()
    assert (rows[1] != CAPTIONS.pad).sum() == 4  # each word has become one token


def test_case_and_spaces_do_not_count() -> None:
    assert np.array_equal(CAPTIONS.encode(["  A RED\n circle "]), CAPTIONS.encode(["a red circle"]))


def test_a_row_is_no_longer_than_asked_for_and_what_is_cut_is_counted() -> None:
    short = learn_captions(TEXTS, CaptionConfig(longest=2))
    assert short.encode(["a red circle"]).shape == (1, 2)
    assert short.num_cut(["a red circle", "red"]) == [1, 0]
    assert short.check("a red circle") == [
        "the end of the prompt is not read: it has 1 token more than the 2 that the model reads"
    ]


def test_every_process_learns_the_same_table(tmp_path: Path) -> None:
    found = []
    for seed, parallel in (("1", "false"), ("2", "true")):
        folder = tmp_path / seed
        folder.mkdir()
        told = {**os.environ, "PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": parallel}
        subprocess.run([sys.executable, "-c", _LEARN, str(folder)], env=told, check=True)
        found.append([(folder / name).read_bytes() for name in CAPTION_FILES])
    assert found[0] == found[1]


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    CAPTIONS.save(tmp_path)
    again = load_captions(tmp_path)
    assert np.array_equal(again.encode(TEXTS), CAPTIONS.encode(TEXTS))
    assert (again.longest, again.words, again.num_tokens) == (CAPTIONS.longest, CAPTIONS.words, CAPTIONS.num_tokens)


def test_words_are_counted_by_caption() -> None:
    assert CAPTIONS.words["a"] == 9 and CAPTIONS.words["knight"] == 3 and "Circle" not in CAPTIONS.words
    assert next(iter(CAPTIONS.words)) == "a"


def test_signs_of_scripts_without_spaces_are_words_each() -> None:
    assert words_of("Red-马车, 2 naïve") == ["red", "马", "车", "2", "naïve"]


def test_a_known_prompt_is_not_talked_about() -> None:
    assert CAPTIONS.check("Green circle!") == []


def test_strange_words_are_told_with_near_ones() -> None:
    note = CAPTIONS.check("grean circle")[0]
    assert "'grean'" in note and "near are: green" in note


@pytest.mark.parametrize(("prompt", "told"), [("circel skware", "circle, square"), ("zzz", "frequent ones are: a,")])
def test_a_prompt_of_strange_words_only_is_refused(prompt: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        CAPTIONS.check(prompt)


@pytest.mark.parametrize("prompt", ["", "  ", "?!"])
def test_a_prompt_without_words_is_refused(prompt: str) -> None:
    with pytest.raises(UserError, match="no words"):
        CAPTIONS.check(prompt)


def test_what_is_no_caption_is_refused() -> None:
    with pytest.raises(UserError, match="surrogates"):
        CAPTIONS.encode(["\ud800"])
    with pytest.raises(UserError, match="No caption has a word"):
        learn_captions(["", "..."])
    with pytest.raises(UserError, match="bytes alone"):
        CaptionConfig(vocabulary_size=100)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"beholder\[hub\]"):
        learn_captions(TEXTS)
