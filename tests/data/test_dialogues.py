"""What was said of images is read as people have it; what cannot be used is listed, and the rest goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from beholder.data.dialogues import MARK, Dialogues, Exchange, read_dialogues
from beholder.types import UserError


def images(folder: Path, count: int = 3) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        Image.new("RGB", (16, 16), (number * 40, 90, 10)).save(folder / name)
    return names


def table(folder: Path, *rows: dict[str, Any]) -> Path:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return folder


def said(found: Dialogues) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    return {
        one.images[0]: [(exchange.question, exchange.answers) for exchange in one.exchanges] for one in found.dialogues
    }


class TestTables:
    def test_all_captions_of_an_image_belong_to_it(self, tmp_path: Path) -> None:
        images(tmp_path)
        table(
            tmp_path,
            {"file_name": "0.png", "captions": ["a cat", "one  cat\n", "a cat"]},
            {"file_name": "1.png", "caption": "a dog"},
            {"file_name": "2.png", "captions": []},
        )
        found = read_dialogues(tmp_path)
        assert found.kind == "captions"
        assert said(found) == {"0.png": [(MARK, ("a cat", "one cat"))]}
        assert [one.key for one in found.source.refused] == ["1.png", "2.png"]

    def test_rows_about_one_image_are_joined(self, tmp_path: Path) -> None:
        images(tmp_path, 1)
        table(tmp_path, {"file_name": "0.png", "caption": "a cat"}, {"file_name": "0.png", "caption": "a pet"})
        assert said(read_dialogues(tmp_path)) == {"0.png": [(MARK, ("a cat", "a pet"))]}

    def test_the_language_chooses_the_column(self, tmp_path: Path) -> None:
        images(tmp_path, 1)
        table(tmp_path, {"file_name": "0.png", "captions": ["a cat"], "captions_zh": ["一只猫"]})
        assert said(read_dialogues(tmp_path, "zh"))["0.png"] == [(MARK, ("一只猫",))]
        assert said(read_dialogues(tmp_path, "en"))["0.png"] == [(MARK, ("a cat",))]
        with pytest.raises(UserError, match=r"--spoken fr: metadata\.jsonl has no column such as captions_fr"):
            read_dialogues(tmp_path, "fr")

    def test_several_languages_are_asked_for_by_name(self, tmp_path: Path) -> None:
        images(tmp_path, 2)
        table(
            tmp_path,
            {"file_name": "0.png", "captions": ["a cat", "a pet"], "captions_zh": ["一只猫"]},
            {"file_name": "1.png", "captions": ["a dog"]},
        )
        found = read_dialogues(tmp_path, "en, zh")
        assert said(found) == {
            "0.png": [(f"{MARK} en", ("a cat", "a pet")), (f"{MARK} zh", ("一只猫",))],
            "1.png": [(f"{MARK} en", ("a dog",))],
        }
        assert found.kind == "captions" and not found.source.refused and "en and zh" in found.source.description
        with pytest.raises(UserError, match="no column such as captions_fr"):
            read_dialogues(tmp_path, "en,fr")
        with pytest.raises(UserError, match="names no language"):
            read_dialogues(tmp_path, ",")

    def test_questions_stand_in_columns_or_in_a_list(self, tmp_path: Path) -> None:
        images(tmp_path, 2)
        table(
            tmp_path,
            {"file_name": "0.png", "question": "how many?", "answer": 2},
            {
                "file_name": "1.png",
                "qa": [{"question": "what?", "answers": ["cup", "mug"]}, {"question": "", "answer": "x"}],
            },
        )
        found = read_dialogues(tmp_path)
        assert found.kind == "questions"
        assert said(found) == {
            "0.png": [(f"{MARK} how many?", ("2",))],
            "1.png": [(f"{MARK} what?", ("cup", "mug"))],
        }

    def test_a_table_by_itself_and_an_image_that_is_not_there(self, tmp_path: Path) -> None:
        images(tmp_path / "photos", 1)
        file = tmp_path / "mine.csv"
        file.write_text("path,caption\nphotos/0.png,a cat\nphotos/9.png,a dog\n")
        found = read_dialogues(file)
        assert said(found) == {"photos/0.png": [(MARK, ("a cat",))]}
        assert "row 2 of mine.csv names a file that is not there" in found.source.refused[0].reason

    def test_nothing_said_is_told(self, tmp_path: Path) -> None:
        images(tmp_path, 2)
        table(tmp_path, {"file_name": "0.png", "label": "cat"})
        with pytest.raises(UserError, match="none of 1 rows says something"):
            read_dialogues(tmp_path)
        (tmp_path / "metadata.jsonl").unlink()
        with pytest.raises(UserError, match="says nothing about its images"):
            read_dialogues(tmp_path)


def test_texts_beside_images_are_captions(tmp_path: Path) -> None:
    images(tmp_path, 2)
    (tmp_path / "0.txt").write_text("a cat\n")
    found = read_dialogues(tmp_path)
    assert said(found) == {"0.png": [(MARK, ("a cat",))]} and [one.key for one in found.source.samples] == ["0.png"]


class TestConversations:
    def write(self, folder: Path, *rows: Any) -> Path:
        images(folder / "images")
        path = folder / "talk.json"
        path.write_text(json.dumps(rows), "utf-8")
        return path

    @staticmethod
    def row(image: Any, *turns: str) -> dict[str, Any]:
        whose = ("human", "gpt")
        return {
            "image": image,
            "conversations": [{"from": whose[at % 2], "value": text} for at, text in enumerate(turns)],
        }

    def test_they_are_read_as_they_are(self, tmp_path: Path) -> None:
        path = self.write(
            tmp_path, self.row("images/0.png", "<image>\nWhat is it?", "A cup.", "Of what?", "Tea."),
            self.row("images/1.png", "Which colour?", "Red."),
            self.row(["images/0.png", "images/1.png"], "<image> or <image>?", "The first."),
        )  # fmt: skip
        for found in (read_dialogues(path), read_dialogues(tmp_path)):
            assert found.kind == "conversations" and not found.source.refused
            first, second, third = found.dialogues
            assert first.is_row
            assert first.exchanges == (Exchange("<image> What is it?", ("A cup.",)), Exchange("Of what?", ("Tea.",)))
            assert second.exchanges == (Exchange("<image> Which colour?", ("Red.",)),)
            assert third.images == ("images/0.png", "images/1.png")
            assert third.exchanges == (Exchange("<image> or <image> ?", ("The first.",)),)

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (("images/9.png", "<image> what?", "x"), "names images/9.png, which is not there"),
            (("images/0.png", "<image> <image>?", "x"), "2 places <image> and 1 images"),
            ((["images/0.png", "images/1.png"], "<image>?", "x"), "1 places <image> and 2 images"),
            (("images/0.png", "<image>?"), "no question with an answer"),
            (("images/0.png", "<image>?", "<image>"), "answer that is empty, or shows an image"),
            ((None, "what?", "x"), "names no image"),
            ((["images/0.png", 3], "what?", "x"), "names no image"),
        ],
    )
    def test_what_cannot_be_used_is_listed_with_its_reason(self, row: Any, reason: str, tmp_path: Path) -> None:
        path = self.write(tmp_path, self.row(*row), self.row("images/1.png", "what?", "that"))
        found = read_dialogues(path)
        assert len(found.dialogues) == 1
        assert len(found.source.refused) == 1 and reason in found.source.refused[0].reason

    def test_none_that_can_be_used_is_told(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, self.row("images/9.png", "<image> what?", "x"))
        with pytest.raises(UserError, match="none of its 1 conversations can be used"):
            read_dialogues(path)

    def test_broken_json_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "talk.json"
        path.write_text('[{"conversations": [', "utf-8")
        with pytest.raises(UserError, match="cannot be read as json"):
            read_dialogues(path)


@pytest.mark.parametrize(
    ("name", "language", "kind", "count"),
    [
        ("flickr8k_mini", None, "captions", 900),
        ("flickr8k_mini", "zh", "captions", 900),
        ("daquar_mini", None, "questions", 391),
    ],
)
def test_real_sets_are_read(name: str, language: str | None, kind: str, count: int) -> None:
    folder = Path(os.environ.get("BEHOLDER_DATA", "")) / name
    if "BEHOLDER_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("BEHOLDER_DATA does not name a folder with this set")
    found = read_dialogues(folder, language)
    assert found.kind == kind and len(found.dialogues) == count and not found.source.refused
