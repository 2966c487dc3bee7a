"""Labelling: every key is in the table before the next picture comes, undo takes it back, adapt reads the table."""

from __future__ import annotations

import csv
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browsers import opened_browser
from bundles import random_bundle
from serving import picture, png

from beholder.cli.main import main
from beholder.data.decode import decode
from beholder.data.label_files import open_labels, put_labels
from beholder.data.listing import list_files
from beholder.data.sources import read_source
from beholder.recipes.label import LabelTable, open_table
from beholder.runtime.log import Log
from beholder.serve.labelling import build_label_app
from beholder.serve.run import listen, server_of
from beholder.types import UserError

QUIET = Log(quiet=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for number in range(4):
        (folder / ("deep" if number % 2 else ".") / f"{number}.png").write_bytes(png(picture(number)))
    return folder


def labels_of(photos: Path, table: Path) -> dict[str, str | None]:
    """As adapt reads them."""
    samples = {one.key: one for one in read_source(photos).samples}
    found, refused = put_labels(samples, list_files(photos), open_labels(table), None)
    assert not refused
    return {key: sample.label for key, sample in found.items()}


@contextmanager
def serving(table: LabelTable, samples: Any, classes: tuple[str, ...] = (), guess: Any = None) -> Iterator[str]:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = server_of(build_label_app(table, lambda place: decode(samples[place]), classes, guess, port))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)


class TestTheTable:
    def test_adapt_reads_what_was_labelled(self, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "tables" / "todo.csv"
        table, _ = open_table(photos, out, QUIET)
        for place, key in enumerate(table.keys):
            table.put(place, f"class, {int(Path(key).stem) % 2}")
        told = labels_of(photos, out)
        assert told == {key: f"class, {int(Path(key).stem) % 2}" for key in told} and len(told) == 4

    def test_a_table_of_pick_is_filled_in_its_order(self, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "todo.csv"
        out.write_text("path,label,note\n3.png,,a\ndeep/1.png,old,b\n".replace("3.png", "deep/3.png"))
        table, samples = open_table(photos, out, QUIET)
        assert table.keys == ["deep/3.png", "deep/1.png"] and [one.key for one in samples] == table.keys
        table.put(0, "new")
        with out.open() as handle:
            rows = list(csv.DictReader(handle))
        assert rows == [
            {"path": "deep/3.png", "label": "new", "note": "a"}, {"path": "deep/1.png", "label": "old", "note": "b"},
        ]  # fmt: skip
        again, _ = open_table(photos, out, QUIET)
        assert again.label_of(0) == "new" and again.classes() == ["new", "old"]

    def test_undo_undoes_in_turn(self, photos: Path, tmp_path: Path) -> None:
        table, _ = open_table(photos, tmp_path / "t.csv", QUIET)
        table.put(0, "a")
        table.put(0, "b")
        table.put(2, "c")
        assert [table.undo(), table.label_of(2)] == [2, ""]
        assert [table.undo(), table.label_of(0)] == [0, "a"]
        assert [table.undo(), table.label_of(0), table.undo()] == [0, "", None]

    def test_what_cannot_be_written_changes_nothing(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table, _ = open_table(photos, tmp_path / "t.csv", QUIET)
        table.put(0, "a")
        before = (tmp_path / "t.csv").read_bytes()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("beholder.recipes.label.write_text", full)
        with pytest.raises(UserError, match="the disk is full"):
            table.put(1, "b")
        assert table.label_of(1) == "" and (tmp_path / "t.csv").read_bytes() == before
        monkeypatch.undo()
        assert table.undo() == 0

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("t.txt", "", "end it in .csv"),
            ("t.csv", "x,label\n1,a\n", "no column with image files"),
            ("t.csv", "path,label\nnone.png,a\n", "names none.png, which is no image"),
            ("t.csv", "path,label\n", "has no rows"),
        ],
    )
    def test_mistakes_are_told(
        self, name: str, content: str, told: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / name).write_text(content)
        assert main(["label", str(photos), "--out", str(tmp_path / name)]) == 2
        assert told in capsys.readouterr().err
        assert (tmp_path / name).read_text() == content


class TestTheServer:
    def test_another_name_of_this_address_is_refused(self, photos: Path, tmp_path: Path) -> None:
        table, samples = open_table(photos, tmp_path / "t.csv", QUIET)
        with serving(table, samples) as url:
            assert httpx.get(f"{url}/state").status_code == 200
            assert httpx.get(f"{url}/state", headers={"Host": "evil.example"}).status_code == 403
            assert httpx.get(f"{url}/picture/99").status_code == 404
            assert httpx.get(f"{url}/guess/0").status_code == 404
            assert httpx.post(f"{url}/label", json={"place": 99, "label": "x"}).status_code == 404
            assert httpx.post(f"{url}/label", content=b"{").status_code == 422
            told = httpx.post(f"{url}/label", json={"place": 1, "label": "  two   words "}).json()
            assert told["labels"][1] == "two words" == table.label_of(1)


def test_a_taken_port_or_a_wrong_model_leaves_nothing(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "t.csv"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = ["label", str(photos), "--out", str(out), "--port", str(taken.getsockname()[1])]
        assert main(given) == 2 and "cannot be listened on" in capsys.readouterr().err
    given = ["label", str(photos), "--out", str(out), "--port", "0"]
    assert main([*given, "--model", str(tmp_path / "none")]) == 2 and "none" in capsys.readouterr().err
    assert not out.parent.exists()


@pytest.mark.browser
def test_pictures_are_labelled_by_keys(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    table, samples = open_table(photos, out, QUIET)
    bundle = random_bundle()
    shares = dict(zip(bundle.labels, np.array([0.25, 0.75]).tolist(), strict=True))
    with serving(table, samples, ("good", "bad"), lambda place: shares) as url, opened_browser() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
        page.goto(url)
        page.wait_for_selector("#progress >> text=0 of 4")
        page.keyboard.press("2")
        page.wait_for_selector("#progress >> text=1 of 4")
        page.keyboard.press("1")
        page.wait_for_selector("#progress >> text=2 of 4")
        assert [table.label_of(place) for place in range(4)] == ["bad", "good", "", ""]
        page.keyboard.press("u")
        page.wait_for_selector("#progress >> text=1 of 4")
        page.keyboard.press("?")
        page.wait_for_selector("#guessed >> text=75.0 %")
        page.keyboard.press("ArrowRight")
        page.fill("#new", "odd one")
        page.press("#new", "Enter")
        page.wait_for_selector("#progress >> text=2 of 4")
        page.wait_for_selector("#classes >> text=odd one")
        page.keyboard.press("3")
        page.wait_for_selector("#progress >> text=3 of 4")
        assert sorted(filter(None, (table.label_of(place) for place in range(4)))) == ["bad", "odd one", "odd one"]
        assert labels_of(photos, out)[table.keys[0]] == "bad"
        assert not wrong
