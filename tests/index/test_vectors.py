"""The index: what was added is found, whatever killed the writer, and the fast way finds what the plain way finds."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from beholder.index import neighbours, vectors
from beholder.index.exact import best_rows
from beholder.index.table import VectorTable
from beholder.index.vectors import VectorIndex
from beholder.runtime.log import Log
from beholder.types import UserError

WIDTH = 24
OWNER = {"model": "a test"}
needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")


def draw(count: int, seed: int = 0, width: int = WIDTH) -> Tensor:
    """Unit rows in clusters of about fifty."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(max(2, count // 50), width, generator=torch.Generator().manual_seed(99))
    chosen = torch.randint(len(centres), (count,), generator=generator)
    return F.normalize(centres[chosen] + 0.7 * torch.randn(count, width, generator=generator), dim=1)


def stamps(first: int, count: int) -> dict[str, str]:
    return {f"{number:05d}.png": f"stamp {number}" for number in range(first, first + count)}


def make(path: Path, points: Tensor) -> VectorTable:
    table = VectorTable.create(path, points.shape[1], OWNER)
    table.add(stamps(0, len(points)), points)
    return table


def reopen(path: Path) -> VectorTable:
    table = VectorTable.find(path)
    assert table is not None
    return table


def keys_like(table: VectorTable, query: Tensor, count: int = 10) -> list[str]:
    return [one.key for one in VectorIndex(table).search(query, count)]


def true_keys(points: Tensor, query: Tensor, count: int = 10) -> list[str]:
    return [f"{number:05d}.png" for number in (points @ query).topk(count).indices.tolist()]


class TestRows:
    def test_the_most_alike_are_found_best_first(self, tmp_path: Path) -> None:
        points, query = draw(300), draw(1, seed=1)[0]
        found = VectorIndex(make(tmp_path, points)).search(query, 10)
        assert [one.key for one in found] == true_keys(points, query)
        assert [one.score for one in found] == pytest.approx((points @ query).topk(10).values.tolist(), abs=1e-3)

    def test_rows_are_found_beyond_one_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("beholder.index.exact._ROWS_AT_ONCE", 7)
        points, queries = draw(50), draw(3, seed=1)
        scores, rows = best_rows(points.numpy(), queries, 60)
        assert torch.equal(rows, (queries @ points.T).argsort(1, descending=True))
        assert torch.allclose(scores, (queries @ points.T).sort(1, descending=True).values)

    def test_an_index_without_rows_finds_nothing(self, tmp_path: Path) -> None:
        assert VectorIndex(VectorTable.create(tmp_path, WIDTH, OWNER)).search(draw(1)[0], 3) == []

    def test_what_was_closed_is_open_again_as_it_was(self, tmp_path: Path) -> None:
        points, query = draw(40), draw(1, seed=1)[0]
        table = make(tmp_path, points)
        table.refuse({"torn.png": ("stamp", "truncated")})
        again = reopen(tmp_path)
        assert again.entries == table.entries and again.header == table.header
        assert keys_like(again, query) == keys_like(table, query)
        assert again.entries["torn.png"].refused == "truncated"

    def test_a_key_that_is_added_again_has_its_new_row_alone(self, tmp_path: Path) -> None:
        points, query = draw(30), draw(1, seed=1)[0]
        table = make(tmp_path, points)
        best = true_keys(points, query)[0]
        table.add({best: "new"}, -query[None])
        for one in (table, reopen(tmp_path)):
            assert best not in keys_like(one, query, 29)
            assert keys_like(one, -query)[0] == best
            assert one.num_live == 30

    def test_a_dropped_key_is_not_found(self, tmp_path: Path) -> None:
        points, query = draw(30), draw(1, seed=1)[0]
        table = make(tmp_path, points)
        first, *others = true_keys(points, query, 30)
        table.drop([first])
        for one in (table, reopen(tmp_path)):
            assert keys_like(one, query, 30) == others

    def test_compacting_changes_no_answer_and_frees_the_room(self, tmp_path: Path) -> None:
        points, query = draw(30), draw(1, seed=1)[0]
        table = make(tmp_path, points)
        table.refuse({"torn.png": ("stamp", "truncated")})
        table.drop(true_keys(points, query, 20))
        assert table.is_wasteful
        before = keys_like(table, query)
        table.compact()
        assert not table.is_wasteful
        for one in (table, reopen(tmp_path)):
            assert keys_like(one, query) == before
            assert one.entries["torn.png"].refused == "truncated"
            assert {key: entry.stamp for key, entry in one.entries.items()} == {
                key: entry.stamp for key, entry in table.entries.items()
            }
        assert sum(path.stat().st_size for path in tmp_path.glob("points-*")) == 10 * WIDTH * 2

    def test_a_kill_while_compacting_leaves_the_old_rows_in_force(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        points, query = draw(30), draw(1, seed=1)[0]
        table = make(tmp_path, points)
        expected = keys_like(table, query)

        def fail(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("beholder.index.table.write_json", fail)
            table.compact()
        again = reopen(tmp_path)
        assert keys_like(again, query) == expected
        again.mend()
        assert not list(tmp_path.glob("*-1.*"))
        again.compact()
        assert keys_like(reopen(tmp_path), query) == expected


@settings(deadline=None, max_examples=30)
@given(cut_points=st.floats(0, 1), cut_lines=st.floats(0, 1))
def test_files_cut_anywhere_lose_only_what_was_cut(
    tmp_path_factory: pytest.TempPathFactory, cut_points: float, cut_lines: float
) -> None:
    """A kill, a copy that was broken off: what is whole in both files is kept, and the rest can be added again."""
    folder, points = tmp_path_factory.mktemp("index"), draw(12)
    table = make(folder, points)
    for name, share in ((table.file("points", "f16"), cut_points), (table.file("rows", "jsonl"), cut_lines)):
        content = name.read_bytes()
        name.write_bytes(content[: round(share * len(content))])
    num_rows, num_lines = (
        table.file("points", "f16").stat().st_size // (2 * WIDTH),
        table.file("rows", "jsonl").read_bytes().count(b"\n"),
    )
    cut = reopen(folder)
    assert set(cut.entries) == set(stamps(0, min(num_rows, num_lines)))
    assert cut.num_damaged == max(0, num_lines - num_rows)
    cut.mend()
    missing = {key: stamp for key, stamp in stamps(0, 12).items() if key not in cut.entries}
    if missing:
        cut.add(missing, points[[int(key[:5]) for key in missing]])
    again = reopen(folder)
    assert len(again.entries) == 12
    for query in draw(3, seed=1):
        assert keys_like(again, query) == true_keys(points, query)
    shutil.rmtree(folder)


class TestDamage:
    @pytest.mark.parametrize("line", ["no json", '{"key": 3}', '{"key": "a.png"}', "[]", '{"key": "a", "row": -1}'])
    def test_a_line_that_tells_nothing_is_passed_over_and_counted(self, tmp_path: Path, line: str) -> None:
        table = make(tmp_path, draw(3))
        journal = table.file("rows", "jsonl")
        lines = journal.read_text().splitlines()
        journal.write_text("\n".join([lines[0], line, lines[2]]) + "\n")
        again = reopen(tmp_path)
        assert set(again.entries) == {"00000.png", "00002.png"}
        assert again.num_damaged == 1
        again.compact()
        assert reopen(tmp_path).num_damaged == 0

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("{", "cannot be used"),
            ("[1]", "cannot be used"),
            ('{"width": 0, "owner": {}}', "expected counts"),
            ('{"width": 8, "owner": {}, "format": 7}', "it has format 7 and this beholder reads 1"),
            ('{"name": "another program"}', "name is not a setting of Header"),
        ],
    )
    def test_a_header_that_is_none_is_refused_in_a_sentence(self, tmp_path: Path, content: str, told: str) -> None:
        make(tmp_path, draw(3))
        (tmp_path / "index.json").write_text(content)
        with pytest.raises(UserError, match=told) as caught:
            VectorTable.find(tmp_path)
        assert "delete this one to make it anew" in str(caught.value)

    def test_rows_that_are_no_numbers_are_refused(self, tmp_path: Path) -> None:
        table = make(tmp_path, draw(3))
        points = table.file("points", "f16")
        points.write_bytes(np.full(3 * WIDTH, np.nan, np.float16).tobytes())
        with pytest.raises(UserError, match="are damaged"):
            keys_like(reopen(tmp_path), draw(1)[0])

    def test_only_an_empty_folder_or_an_index_is_taken(self, tmp_path: Path) -> None:
        assert VectorTable.find(tmp_path) is None
        assert VectorTable.find(tmp_path / "none") is None
        (tmp_path / ".lock").write_text("")
        assert VectorTable.find(tmp_path) is None
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(UserError, match="holds other files and no index"):
            VectorTable.find(tmp_path)
        with pytest.raises(UserError, match="is a file"):
            VectorTable.find(tmp_path / "thesis.txt")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(vectors, "EXACT_BELOW", 500)
    return


@needs_faiss
@pytest.mark.usefixtures("few")
class TestNeighbours:
    def recall(self, index: VectorIndex, points: Tensor, queries: Tensor) -> float:
        hits = [len({one.key for one in index.search(query, 10)} & set(true_keys(points, query))) for query in queries]
        return sum(hits) / (10 * len(queries))

    def test_nearly_all_of_the_true_ones_are_found_and_their_scores_are_true(self, tmp_path: Path) -> None:
        points, queries = draw(3000), draw(40, seed=1)
        index = VectorIndex(make(tmp_path, points))
        assert index.is_exact and index.lacks_neighbours
        index.connect(Log(quiet=True))
        again = VectorIndex(reopen(tmp_path))
        assert not again.is_exact and not again.lacks_neighbours
        assert self.recall(again, points, queries) > 0.95
        for one in again.search(queries[0], 10):
            assert one.score == pytest.approx(float(points[int(one.key[:5])] @ queries[0]), abs=1e-3)

    def test_what_was_dropped_is_not_found_and_what_was_added_is(self, tmp_path: Path) -> None:
        points, query = draw(3000), draw(1, seed=1)[0]
        table = make(tmp_path, points)
        VectorIndex(table).connect(Log(quiet=True))
        table.drop(true_keys(points, query, 1400))
        table.add({"new.png": "stamp"}, query[None])
        index = VectorIndex(reopen(tmp_path))
        assert not index.is_exact and not index.lacks_neighbours
        found = [one.key for one in index.search(query, 10)]
        assert found[0] == "new.png"
        assert not set(found) & set(true_keys(points, query, 1400))
        assert len(found) == 10

    def test_everything_is_found_when_everything_is_asked_for(self, tmp_path: Path) -> None:
        table = make(tmp_path, draw(600))
        VectorIndex(table).connect(Log(quiet=True))
        assert len({one.key for one in VectorIndex(table).search(draw(1)[0], 1000)}) == 600

    def test_many_new_rows_are_filed(self, tmp_path: Path) -> None:
        points = draw(3000)
        table = make(tmp_path, points[:1500])
        VectorIndex(table).connect(Log(quiet=True))
        table.add(stamps(1500, 1500), points[1500:])
        index = VectorIndex(table)
        assert index.lacks_neighbours
        index.connect(Log(quiet=True))
        described = json.loads(table.file("neighbours", "json").read_text())
        assert (described["num_rows"], described["num_rows_learned"]) == (3000, 1500)
        assert self.recall(VectorIndex(reopen(tmp_path)), points, draw(20, seed=1)) > 0.9

    @pytest.mark.parametrize("name", ["neighbours-0.faiss", "neighbours-0.json"])
    def test_damaged_lists_are_made_again(self, tmp_path: Path, name: str) -> None:
        points = draw(1000)
        VectorIndex(make(tmp_path, points)).connect(Log(quiet=True))
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-40])
        index = VectorIndex(reopen(tmp_path))
        assert index.is_exact and index.lacks_neighbours
        assert self.recall(index, points, draw(5, seed=1)) == 1
        index.connect(Log(quiet=True))
        assert not VectorIndex(reopen(tmp_path)).is_exact

    def test_without_faiss_all_rows_are_compared_and_that_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        points, query = draw(600), draw(1, seed=1)[0]
        index = VectorIndex(make(tmp_path, points))
        monkeypatch.setitem(__import__("sys").modules, "faiss", None)
        assert not neighbours.has_faiss()
        index.connect(Log())
        assert "600 rows are compared one by one; faster with beholder[search]" in capsys.readouterr().out
        assert [one.key for one in index.search(query, 10)] == true_keys(points, query)


def test_the_index_of_small_tables_needs_no_faiss(tmp_path: Path) -> None:
    index = VectorIndex(make(tmp_path, draw(100)))
    index.connect(Log(quiet=True))
    assert index.is_exact and not index.lacks_neighbours
    assert not list(tmp_path.glob("neighbours*"))
