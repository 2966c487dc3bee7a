"""`search` as a user meets it: embeddings are computed once, follow the folder, survive kills; mistakes are told."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import random_bundle
from pictures import draw, write_classes
from PIL import Image
from processors import PACKS_BF16
from towers import save_clip

import beholder
from beholder.backends.choose import Prepared, prepare
from beholder.backends.libraries import LIBRARIES
from beholder.cli.main import main
from beholder.data.decode import Limits
from beholder.recipes.ray_embedding import Embedder
from beholder.tasks.image_encoder import Way
from beholder.tasks.search import Finder
from beholder.types import Answer, Sample, UserError

TEXT = "a cracked solar cell"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("clip")
    save_clip(folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", 12)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("beholder.runtime.device.usable_cores", lambda: 1)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all images that are embedded from now on."""
    seen: list[str] = []
    place = Finder.place_samples

    def watched(self: Finder, samples: Sequence[beholder.types.Sample], *rest: object) -> Iterator[object]:
        seen.extend(sample.key for sample in samples)
        return place(self, samples, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Finder, "place_samples", watched)
    return seen


def found(answers: list[Answer]) -> list[tuple[str, float | None]]:
    return [(one.key, one.score) for one in answers if one.refused is None]


def is_same(one: list[Answer], two: list[Answer]) -> bool:
    """Equal but for the last bits, which hang on what was embedded in one batch."""
    scores = [[one.score or 0.0 for one in answers] for answers in (one, two)]
    return [one.key for one in one] == [one.key for one in two] and scores[0] == pytest.approx(scores[1], abs=1e-5)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one sentence that `beholder search ARGUMENTS` ends with."""
    capsys.readouterr()
    assert main(["search", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("beholder: ") and error.count("\n") == 1
    return error


class TestOnce:
    def test_every_image_is_embedded_once(self, photos: Path, clip: str, embedded: list[str]) -> None:
        first = beholder.search(photos, TEXT, model=clip, count=12)
        assert len(first) == len(set(embedded)) == len(embedded) == 12
        assert {one.details["path"] for one in first} == {str(path) for path in photos.rglob("*.png")}
        assert beholder.search(photos, TEXT, model=clip, count=12) == first
        assert beholder.search(photos, like=photos / "along" / "0001.png", model=clip)[0].key == "along/0001.png"
        assert len(embedded) == 12

    def test_only_what_is_new_or_changed_is_embedded_and_what_is_gone_is_not_found(
        self, photos: Path, clip: str, embedded: list[str]
    ) -> None:
        beholder.search(photos, TEXT, model=clip)
        embedded.clear()
        (photos / "along" / "0001.png").unlink()
        (photos / "along" / "0003.png").rename(photos / "across" / "moved.png")
        Image.fromarray(draw(np.random.default_rng(8), 2)).save(photos / "along" / "0005.png")
        Image.fromarray(draw(np.random.default_rng(9), 2)).save(photos / "new.png")
        answers = beholder.search(photos, TEXT, model=clip, count=99, index="one")
        (again,) = beholder.search(photos, TEXT, model=clip, count=1, index="one")
        assert len(embedded) == 12
        embedded.clear()
        updated = beholder.search(photos, TEXT, model=clip, count=99)
        assert sorted(embedded) == ["across/moved.png", "along/0005.png", "new.png"]
        assert is_same(updated, answers)
        assert is_same([again], updated[:1])

    def test_most_photos_gone_frees_the_room_of_their_rows(self, photos: Path, clip: str) -> None:
        beholder.search(photos, TEXT, model=clip, index="index")
        for path in sorted(photos.rglob("*.png"))[:9]:
            path.unlink()
        answers = beholder.search(photos, TEXT, model=clip, index="index")
        assert len(answers) == 3
        assert sum(path.stat().st_size for path in Path("index").glob("points-*")) == 3 * 20 * 2
        assert beholder.search(photos, TEXT, model=clip, index="index") == answers

    def test_photos_and_models_have_an_index_each(self, photos: Path, clip: str, tmp_path: Path) -> None:
        random_bundle().save(tmp_path / "mine")
        other = write_classes(tmp_path / "other", 4)
        for folder, model in ((photos, clip), (photos, str(tmp_path / "mine")), (other, clip), (photos, clip)):
            beholder.search(folder, like=folder / "along" / "0001.png", model=model)
        assert len(list(Path(".beholder").iterdir())) == 3

    def test_a_loaded_model_and_its_name_share_an_index(self, photos: Path, clip: str, embedded: list[str]) -> None:
        first = beholder.search(photos, TEXT, model=clip)
        assert beholder.search(photos, TEXT, model=beholder.load(clip)) == first
        assert len(embedded) == 12

    def test_photos_that_were_moved_are_not_embedded_again(
        self, photos: Path, clip: str, embedded: list[str], tmp_path: Path
    ) -> None:
        first = beholder.search(photos, TEXT, model=clip, index="index")
        photos.rename(tmp_path / "moved")
        second = beholder.search(tmp_path / "moved", TEXT, model=clip, index="index")
        assert found(second) == found(first)
        assert len(embedded) == 12

    def test_a_folder_named_twice_is_one_folder(self, photos: Path, clip: str, embedded: list[str]) -> None:
        first = beholder.search(photos, TEXT, model=clip)
        assert found(beholder.search(f"../work/../{photos.name}", TEXT, model=clip)) == found(first)
        assert len(embedded) == 12


class TestLayouts:
    def test_a_table_with_bytes(self, clip: str, embedded: list[str]) -> None:
        pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = []
        for index in range(4):
            stream = io.BytesIO()
            Image.fromarray(draw(np.random.default_rng(index), index % 3)).save(stream, "PNG")
            rows.append({"image": {"bytes": stream.getvalue(), "path": None}})
        parquet.write_table(pyarrow.Table.from_pylist(rows), "cells.parquet")
        answers = beholder.search("cells.parquet", TEXT, model=clip, index="index")
        assert len(answers) == 4 and {one.details["path"] for one in answers} == {None}
        rows[2]["image"]["bytes"] = rows[1]["image"]["bytes"]
        parquet.write_table(pyarrow.Table.from_pylist(rows), "cells.parquet")
        embedded.clear()
        beholder.search("cells.parquet", TEXT, model=clip, index="index")
        assert embedded == ["cells.parquet#3"]

    def test_a_table_of_paths(self, photos: Path, clip: str) -> None:
        with Path("some.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows([["path"], *([str(path)] for path in sorted(photos.rglob("*.png"))[:5])])
        answers = beholder.search("some.csv", TEXT, model=clip)
        assert len(answers) == 5 and all(Path(one.details["path"]).is_file() for one in answers)


class TestBroken:
    def test_they_are_answered_listed_and_told_each_time(
        self, photos: Path, clip: str, embedded: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (photos / "along" / "words.png").write_text("no picture")
        (photos / "dangling.png").symlink_to(photos / "nowhere.png")
        for _ in range(2):
            answers = beholder.search(photos, TEXT, model=clip, count=3, index="index")
            refused = {one.key: one.refused for one in answers[3:]}
            assert refused == {"along/words.png": "not an image (text file?)", "dangling.png": "dangling link"}
            lines = Path("index/quarantine.jsonl").read_text().splitlines()
            assert {one["key"]: one["reason"] for one in map(json.loads, lines)} == refused
            assert main(["search", str(photos), TEXT, "--model", clip, "--index", "index"]) == 0
            told = capsys.readouterr().out
            assert all(f"Broken    {key}: {reason}" in told for key, reason in refused.items())
        assert embedded.count("along/words.png") == 1

    def test_one_that_was_mended_is_found(self, photos: Path, clip: str) -> None:
        path = photos / "along" / "words.png"
        path.write_text("no picture")
        assert beholder.search(photos, TEXT, model=clip)[-1].refused
        Image.fromarray(draw(np.random.default_rng(8), 2)).save(path)
        answers = beholder.search(photos, TEXT, model=clip, count=99)
        assert len(answers) == 13 and not any(one.refused for one in answers)

    def test_another_limit_is_asked_again(self, photos: Path, clip: str) -> None:
        Image.fromarray(draw(np.random.default_rng(8), 2, side=90)).save(photos / "large.png")
        assert beholder.search(photos, TEXT, model=clip, max_pixels=60 * 60)[-1].key == "large.png"
        assert not any(one.refused for one in beholder.search(photos, TEXT, model=clip, count=99))

    def test_a_lack_of_rights_is_not_remembered(self, photos: Path, clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
        read = Path.read_bytes

        def forbid(path: Path) -> bytes:
            if path.name == "0003.png":
                raise PermissionError(13, "Permission denied")
            return read(path)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", forbid)
            assert beholder.search(photos, TEXT, model=clip)[-1].refused == "permission denied"
        assert not any(one.refused for one in beholder.search(photos, TEXT, model=clip, count=99))

    def test_when_no_image_can_be_read_that_is_told(
        self, tmp_path: Path, clip: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "a.png").write_text("no picture")
        told = refusal(capsys, tmp_path / "bad", TEXT, "--model", clip, "--index", "index")
        assert "Not one image of" in told and "index/quarantine.jsonl has the reasons" in told


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["nofolder", TEXT], "nofolder does not exist; name a folder of images, or a table."),
            (["PHOTOS"], "There is nothing to search for; give a text, or a picture with --like IMAGE."),
            (["PHOTOS", " "], "The text to search for is empty"),
            (["PHOTOS", "", "--like", "a.png"], "The text to search for is empty"),
            (["PHOTOS", TEXT, "--count", "0"], "--count 0: at least one image is told"),
            (["PHOTOS", "--like", "none.png"], "--like none.png cannot be read (no such file); name another picture."),
            (["PHOTOS", TEXT, "--index", "PHOTOS/index"], "--index PHOTOS/index lies in PHOTOS"),
            (["PHOTOS", TEXT, "--threads", "0"], "--threads 0"),
        ],
    )
    def test_each_is_one_sentence(
        self, photos: Path, clip: str, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
    ) -> None:
        named = [one.replace("PHOTOS", str(photos)) for one in arguments]
        assert told.replace("PHOTOS", str(photos)) in refusal(capsys, *named, "--model", clip)

    def test_a_text_for_a_model_that_reads_none(
        self, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        random_bundle().save(tmp_path / "mine")
        told = refusal(capsys, photos, TEXT, "--model", tmp_path / "mine")
        assert "mine reads no texts; search by a picture (--like IMAGE), or name a model that reads texts" in told
        assert not Path(".beholder").exists()

    def test_the_index_of_another_model_is_refused_and_kept(
        self, photos: Path, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = beholder.search(photos, TEXT, model=clip, index="index")
        random_bundle().save(tmp_path / "mine")
        like = ("--like", photos / "along" / "0001.png")
        told = refusal(capsys, photos, *like, "--model", tmp_path / "mine", "--index", "index")
        assert f"index was made by the model {clip}, this is {tmp_path / 'mine'}; choose another --index" in told
        assert beholder.search(photos, TEXT, model=clip, index="index") == first

    def test_the_index_of_other_photos_is_refused_and_kept(
        self, photos: Path, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = beholder.search(photos, TEXT, model=clip, index="index")
        other = write_classes(tmp_path / "other", 3, names=("x",))
        told = refusal(capsys, other, TEXT, "--model", clip, "--index", "index")
        assert f"index is the index of {photos} and has none of the images of {other}" in told
        assert beholder.search(photos, TEXT, model=clip, index="index") == first

    def test_a_working_directory_among_the_photos_needs_another_place(
        self, photos: Path, clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(photos)
        assert "whose files are read as photos; choose a folder outside." in refusal(capsys, ".", TEXT, "--model", clip)
        assert not (photos / ".beholder").exists()
        assert main(["search", ".", TEXT, "--model", clip, "--index", "../index"]) == 0

    def test_an_index_in_use_is_not_written_to(
        self, photos: Path, clip: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fcntl = pytest.importorskip("fcntl")
        beholder.search(photos, TEXT, model=clip, index="index")
        with Path("index/.lock").open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            assert len(beholder.search(photos, TEXT, model=clip, index="index")) == 10  # nothing is to be written
            (photos / "along" / "0001.png").unlink()
            told = refusal(capsys, photos, TEXT, "--model", clip, "--index", "index")
        assert "index is in use by another beholder process; wait for it, or choose another --index." in told

    def test_a_damaged_header_is_one_sentence_and_damaged_lines_are_made_again(
        self, photos: Path, clip: str, embedded: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = beholder.search(photos, TEXT, model=clip, index="index", count=12)
        journal = Path("index/rows-0.jsonl")
        journal.write_text(journal.read_text().replace('{"key": "along/0003.png"', "{{{", 1))
        embedded.clear()
        arguments = ["search", str(photos), TEXT, "--model", clip, "--index", "index"]
        assert main(arguments) == 0
        assert "1 line of index could not be used; what they told of is embedded again" in capsys.readouterr().out
        assert embedded == ["along/0003.png"]
        assert is_same(beholder.search(photos, TEXT, model=clip, index="index", count=12), first)
        assert main(arguments) == 0
        assert "could not be used" not in capsys.readouterr().out
        Path("index/index.json").write_text("{")
        assert "delete this one to make it anew" in refusal(capsys, *arguments[1:])

    def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(
        self, photos: Path, clip: str, embedded: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from beholder.index import table

        append, written = table.append_bytes, []

        def fill(path: Path, content: bytes) -> None:
            written.append(path)
            if len(written) > 2:
                raise OSError(28, "No space left on device", str(path))
            append(path, content)

        monkeypatch.setattr("beholder.recipes.photo_index._ROWS_A_WRITE", 5)
        with monkeypatch.context() as patched:
            patched.setattr("beholder.index.table.append_bytes", fill)
            with pytest.raises(UserError, match="the disk is full; free some space and run the same command again"):
                beholder.search(photos, TEXT, model=clip, index="index")
        embedded.clear()
        assert len(beholder.search(photos, TEXT, model=clip, index="index", count=99)) == 12
        assert len(embedded) == 2


def test_the_command_line_says_what_the_function_says(
    photos: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "words.png").write_text("no picture")
    like = photos / "along" / "0001.png"
    answers = beholder.search(photos, TEXT, like=like, model=clip, count=2)
    assert main(["search", str(photos), TEXT, "--like", str(like), "--model", clip, "--count", "2", "--json"]) == 0
    lines = [one for one in map(json.loads, capsys.readouterr().out.splitlines()) if "key" in one]
    assert lines == [
        {"key": one.key, "refused": one.refused} if one.refused else {"key": one.key, "score": one.score, **one.details}
        for one in answers
    ]
    assert {*answers[0].details} == {"text", "like", "path"}


def test_a_kill_without_warning_costs_no_more_than_was_not_written(
    photos: Path, clip: str, embedded: list[str]
) -> None:
    whole = beholder.search(photos, TEXT, model=clip, index="whole", count=12)
    code = (
        "import sys, time; from beholder.recipes import photo_index, search; photo_index._ROWS_A_WRITE = 2\n"
        "from beholder.tasks.search import Finder; place = Finder.place_samples\n"
        "def slow(*arguments):\n"
        "    for one in place(*arguments): time.sleep(0.3); yield one\n"
        "Finder.place_samples = slow\n"
        "search.search(sys.argv[1], 'x', model=sys.argv[2], index='cut', threads=1)"
    )
    path = str(Path(__file__).parents[2] / "src")
    journal = Path("cut/rows-0.jsonl")
    with subprocess.Popen(
        [sys.executable, "-c", code, photos, clip], env={**os.environ, "PYTHONPATH": path}
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= 4:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    num_kept = journal.read_bytes().count(b"\n")
    assert 4 <= num_kept < 12, "killed too early or too late to prove anything"
    with journal.open("a") as handle:
        handle.write('{"key": "along/')  # what a kill within a write leaves
    embedded.clear()
    assert is_same(beholder.search(photos, TEXT, model=clip, index="cut", count=12), whole)
    assert len(embedded) == 12 - num_kept


class TestBackends:
    def test_another_way_finds_the_same_and_is_remembered(
        self, photos: Path, clip: str, embedded: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain = beholder.search(photos, TEXT, model=clip, index="plain", count=99)
        ways = watch_ways(monkeypatch)
        first = beholder.search(photos, TEXT, model=clip, index="fast", count=99, backend="packed", precision="fp32")
        scores = dict(found(plain))
        assert [scores[key] for key, _ in found(first)] == pytest.approx([one for _, one in found(first)], abs=5e-3)
        assert json.loads(Path("fast/index.json").read_text())["owner"]["backend"] == "packed"
        assert "backend" not in json.loads(Path("plain/index.json").read_text())["owner"]
        Image.fromarray(draw(np.random.default_rng(9), 2)).save(photos / "new.png")
        again = beholder.search(photos, TEXT, model=clip, index="fast", count=99)
        assert len(again) == 13 and embedded[-1] == "new.png"
        assert beholder.search(photos, TEXT, model=clip, index="fast", count=99, backend="auto") == again
        assert ways == [Way("packed", "fp32")] * 2, "made ready where something was to be embedded, and only there"

    def test_two_ways_are_not_mixed(self, photos: Path, clip: str, capsys: pytest.CaptureFixture[str]) -> None:
        asked = (photos, TEXT, "--model", clip, "--index")
        first = beholder.search(photos, TEXT, model=clip, index="plain")
        told = refusal(capsys, *asked, "plain", "--backend", "packed", "--precision", "fp32")
        assert "plain was embedded by plain, this is packed in fp32, and points of two ways are not mixed" in told
        assert "delete that folder, to embed everything again" in told
        assert beholder.search(photos, TEXT, model=clip, index="plain") == first
        beholder.search(photos, TEXT, model=clip, index="fast", backend="packed", precision="fp32")
        assert "this is packed in bf16" in refusal(capsys, *asked, "fast", "--precision", "bf16", "--backend", "packed")
        assert "by packed in fp32, this is plain" in refusal(capsys, *asked, "fast", "--backend", "plain")

    def test_what_auto_took_is_remembered(self, photos: Path, clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("beholder.backends.choose.QUICK", ("packed",))
        precision = "bf16" if PACKS_BF16 else "fp32"
        beholder.search(photos, TEXT, model=clip, index="fast", precision=precision)
        owner = json.loads(Path("fast/index.json").read_text())["owner"]
        assert (owner["backend"], owner["precision"]) == ("packed", precision)

    def test_8_bits_take_their_ranges_from_the_photos(
        self, photos: Path, clip: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (photos / "across" / "0000.png").write_text("no picture")
        shown: list[torch.Tensor] = []

        def plainly(network: torch.nn.Module, example: tuple[torch.Tensor, ...], *asked: object) -> Prepared:
            assert asked[:2] == ("openvino", "int8")
            shown.extend(example)
            return replace(prepare(network, example, "plain"), backend="openvino")

        monkeypatch.setattr("beholder.tasks.image_encoder.prepare", plainly)
        beholder.search(photos, TEXT, model=clip, backend="openvino", precision="int8")
        (pixels,) = shown
        assert len(pixels) == 32 and torch.equal(pixels[:11], pixels[11:22]), "eleven pictures, again and again"
        assert len({tuple(one.flatten().tolist()) for one in pixels}) == 11

    def test_a_missing_library_is_told_and_nothing_is_begun(
        self, photos: Path, clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(LIBRARIES, ("openvino", "fp32"), ("no_such_library",))
        told = refusal(
            capsys, photos, TEXT, "--model", clip, "--index", "idx", "--backend", "openvino", "--precision", "fp32"
        )
        assert "needs no_such_library" in told and not Path("idx/index.json").exists()
        assert len(beholder.search(photos, TEXT, model=clip, index="idx", count=99)) == 12

    def test_a_model_that_adapt_made_is_run_in_another_way_too(self, photos: Path, tmp_path: Path) -> None:
        random_bundle().save(tmp_path / "mine")
        given = {"like": photos / "along" / "0001.png", "model": str(tmp_path / "mine"), "count": 99}
        plain = beholder.search(photos, **given, index="plain")  # type: ignore[arg-type]
        fast = beholder.search(photos, **given, index="fast", backend="packed", precision="fp32")  # type: ignore[arg-type]
        scores = dict(found(plain))
        assert [scores[key] for key, _ in found(fast)] == pytest.approx([one for _, one in found(fast)], abs=5e-3)

    def test_a_worker_makes_its_own_way_ready(self, photos: Path, clip: str) -> None:
        paths = [os.fsencode(path) for path in sorted(photos.rglob("*.png"))]
        batch = {"key": [str(place) for place in range(12)], "path": paths, "data": [b""] * 12}
        examples = [Sample("a", photos / "along" / "0001.png")]
        plain = Embedder(clip, "cpu", Limits())(batch)
        fast = Embedder(clip, "cpu", Limits(), Way("packed", "fp32"), examples)(batch)
        points = [np.stack([np.frombuffer(row, np.float32) for row in one["point"]]) for one in (plain, fast)]
        assert not np.array_equal(*points)
        np.testing.assert_allclose(*points, atol=0.02)


def watch_ways(monkeypatch: pytest.MonkeyPatch) -> list[Way]:
    """The ways that are made ready from now on."""
    from beholder.recipes import search

    ways, hasten = list[Way](), search.hasten

    def watched(*asked: Any) -> Any:
        ready, way = hasten(*asked)
        ways.append(way)
        return ready, way

    monkeypatch.setattr(search, "hasten", watched)
    return ways


class TestRay:
    def test_without_ray_the_remedy_is_told(
        self, photos: Path, clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        assert "pip install 'beholder[scale]'" in refusal(capsys, photos, TEXT, "--model", clip, "--ray")

    def test_a_loaded_model_cannot_travel(self, photos: Path, clip: str) -> None:
        with pytest.raises(UserError, match="give the name or the folder of one"):
            beholder.search(photos, TEXT, model=beholder.load(clip), ray=True)

    @pytest.mark.slow
    @pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (beholder[scale])")
    @pytest.mark.filterwarnings("default")  # ray leaves files and sockets to the garbage collector
    def test_rows_are_those_of_the_plain_way(self, photos: Path, clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
        import ray

        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        (photos / "words.png").write_text("no picture")
        try:
            ray.init(num_cpus=2, log_to_driver=False, logging_level="error", include_dashboard=False)
            scaled = beholder.search(photos, TEXT, model=clip, index="scaled", count=99, ray=True)
        finally:
            ray.shutdown()
        plain = beholder.search(photos, TEXT, model=clip, index="plain", count=99)
        assert {one.key: one.refused for one in scaled} == {one.key: one.refused for one in plain}
        scores = dict(found(scaled))
        assert [scores[key] for key, _ in found(plain)] == pytest.approx([one for _, one in found(plain)], abs=1e-3)
