"""Truths of reading texts: any layout, each text once, nothing silent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.data.texts import Text, read_texts, stretches_of
from beholder.types import UserError


def write_rows(path: Path, rows: list[object]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


class TestLayouts:
    def test_files_of_a_folder_are_a_text_each(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("One.\r\nTwo.")
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "b.md").write_text("# Three")
        (tmp_path / "photo.png").write_bytes(b"x")
        found = read_texts(tmp_path)
        assert found.texts == (Text("a.txt", "One.\nTwo."), Text("deep/b.md", "# Three"))
        assert found.kind == "texts" and "2 files: 2 texts" in found.description

    def test_rows_of_a_table_are_a_text_each(self, tmp_path: Path) -> None:
        path = write_rows(tmp_path / "t.jsonl", [{"text": "one"}, {"text": ""}, {"captions": ["x"], "text": "two"}])
        found = read_texts(path)
        assert [one.text for one in found.texts] == ["one", "two"]
        assert [(one.key, one.reason) for one in found.refused] == [("t.jsonl#2", "row 2 of t.jsonl has no text")]

    def test_questions_with_answers_and_conversations_are_turns(self, tmp_path: Path) -> None:
        pairs = write_rows(tmp_path / "qa.jsonl", [{"question": "how many?", "answer": "3"}])
        assert read_texts(pairs).texts[0].turns == (("how many?", "3"),)
        talk = [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Bye"},
            {"role": "assistant", "content": "So long"},
        ]  # fmt: skip
        found = read_texts(write_rows(tmp_path / "chat.jsonl", [{"messages": talk}]))
        assert found.kind == "conversations"
        assert found.texts[0].turns == (("Be brief.\nHi", "Hello"), ("Bye", "So long"))
        llava = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
        found = read_texts(write_rows(tmp_path / "llava.jsonl", [{"conversations": llava}]))
        assert found.texts[0].turns == (("Hi", "Hello"),)

    def test_a_text_that_comes_again_is_taken_once(self, tmp_path: Path) -> None:
        found = read_texts(write_rows(tmp_path / "t.jsonl", [{"text": "One  two"}, {"text": "one two"}]))
        assert [one.text for one in found.texts] == ["One  two"] and found.num_double == 1


@given(st.text(alphabet="ab \n", max_size=400), st.integers(2, 60))
def test_stretches_lose_nothing_but_space(text: str, length: int) -> None:
    parts = list(stretches_of(text, length))
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(0 < len(part) <= length for part in parts)


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
            ("a.txt", b"a\0b", "binary data"),
            ("a.txt", b"  \n ", "has no text to learn from"),
            ("a.png", b"x", "is no text"),
            ("a.csv", b"x,y\n1,2", "has no column of text; it has x, y"),
            ("a.jsonl", b'{"messages": [{"role": "user", "content": "x"}]}', "no question with an answer"),
            ("a.jsonl", b'{"messages": [{"role": "cat", "content": "x"}]}', "a turn from nobody"),
            ("a.jsonl", b'{"messages": [{"role": "assistant", "content": "x"}]}', "turn from assistant where"),
        ],
    )
    def test_they_are_told_in_one_sentence(self, name: str, content: bytes, told: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=told):
            read_texts(tmp_path / name)

    def test_a_broken_file_of_a_folder_is_listed_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"\xff")
        (tmp_path / "b.txt").write_text("fine")
        found = read_texts(tmp_path)
        assert len(found.texts) == 1 and "UTF-8" in found.refused[0].reason

    def test_texts_and_conversations_are_not_mixed(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("fine")
        write_rows(tmp_path / "b.jsonl", [{"question": "x", "answer": "y"}])
        with pytest.raises(UserError, match="has texts and conversations"):
            read_texts(tmp_path)

    def test_what_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such file or folder"):
            read_texts(tmp_path / "none")
