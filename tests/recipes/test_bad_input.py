"""What users get wrong: one sentence with the remedy and exit code 2, or quarantine and go on. Never a traceback."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import draw, write_classes
from PIL import Image

import beholder
from beholder.cli.main import main
from beholder.runtime.files import read_json

SMALL = ["--budget", "0", "--threads", "1", "--resolutions", "64"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one sentence that `beholder ARGUMENTS` ends with."""
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("beholder: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def save(path: Path, image: np.ndarray | Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(path, **options)


def write_labels(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([("path", "label"), *rows])
    return path


class TestFolders:
    def test_a_missing_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "none" in refused(capsys, "adapt", tmp_path / "none", "--out", tmp_path / "run")

    def test_an_empty_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "photos").mkdir()
        assert "is empty" in refused(capsys, "adapt", tmp_path / "photos", "--out", tmp_path / "run")

    def test_a_file_where_a_folder_is_meant(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save(tmp_path / "a.png", draw(np.random.default_rng(0), 0))
        assert "folder" in refused(capsys, "adapt", tmp_path / "a.png", "--out", tmp_path / "run")

    def test_a_folder_without_images(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "notes.md").write_text("hello")
        assert "no image" in refused(capsys, "adapt", tmp_path / "photos", "--out", tmp_path / "run").lower()

    def test_only_broken_images(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "photos").mkdir()
        for index in range(3):
            (tmp_path / "photos" / f"{index}.jpg").write_text("text")
        error = refused(capsys, "adapt", tmp_path / "photos", "--out", tmp_path / "run")
        assert "3 of 3" in error
        assert len((tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()) == 3

    def test_the_output_is_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_classes(tmp_path / "photos", 4)
        (tmp_path / "run").write_text("")
        assert "is a file" in refused(capsys, "adapt", tmp_path / "photos", "--out", tmp_path / "run")


class TestFewImages:
    def test_one_image(self, tmp_path: Path) -> None:
        save(tmp_path / "photos" / "a.png", draw(np.random.default_rng(0), 0))
        results = beholder.adapt(
            tmp_path / "photos", out=tmp_path / "run", budget="2 steps", threads=1, resolutions=(64,)
        )
        assert results["verdict"]["outcome"] == "not judged"
        assert (tmp_path / "run" / "report.html").exists()

    def test_one_class(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "photos" / "train", 30, names=("only",))
        rows = [(f"train/only/{index:04d}.png", "only") for index in range(30)]
        labels = write_labels(tmp_path / "labels.csv", rows)
        results = beholder.adapt(
            tmp_path / "photos", out=tmp_path / "run", labels=labels, budget="0", threads=1, resolutions=(64,)
        )
        assert "curve" not in results
        assert any("all labels are 'only'" in note for note in results["data"]["notes"])

    def test_a_class_with_one_example_is_left_out_aloud(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "photos", 40)
        save(tmp_path / "photos" / "rare" / "one.png", draw(np.random.default_rng(0), 2))
        results = beholder.adapt(
            tmp_path / "photos", out=tmp_path / "run", labels="auto", budget="0", threads=1, resolutions=(64,)
        )
        assert any("'rare' has a single example" in note for note in results["data"]["notes"])
        assert set(results["data"]["classes"]) == {"across", "along"}

    def test_all_images_identical(self, tmp_path: Path) -> None:
        image = draw(np.random.default_rng(0), 0)
        for index in range(20):
            save(tmp_path / "photos" / ("a" if index % 2 else "b") / f"{index}.png", image)
        results = beholder.adapt(
            tmp_path / "photos", out=tmp_path / "run", labels="auto", budget="2 steps", threads=1, resolutions=(64,)
        )
        assert any("same picture" in note for note in results["data"]["notes"])
        assert results["curation"]["conflicts"]
        assert results["verdict"]["outcome"] == "not judged"


class TestLabels:
    def test_a_label_file_that_names_missing_files(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_classes(tmp_path / "photos", 8)
        labels = write_labels(tmp_path / "labels.csv", [(f"gone/{index}.png", "a") for index in range(8)])
        error = refused(capsys, "adapt", tmp_path / "photos", "--out", tmp_path / "run", "--labels", labels, *SMALL)
        assert "gone/0.png" in error

    def test_a_few_missing_files_are_listed_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "photos", 40)
        names = sorted(path.relative_to(tmp_path / "photos") for path in (tmp_path / "photos").rglob("*.png"))
        rows = [(str(name), name.parts[0]) for name in names]
        labels = write_labels(tmp_path / "labels.csv", [*rows, ("gone.png", "along")])
        results = beholder.adapt(
            tmp_path / "photos", out=tmp_path / "run", labels=labels, budget="0", threads=1, resolutions=(64,)
        )
        assert [entry["key"] for entry in results["curation"]["quarantine"]] == ["gone.png"]
        assert results["data"]["num_labelled"] == 40

    def test_labels_for_none_of_the_images(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_classes(tmp_path / "photos", 8)
        names = [str(path.relative_to(tmp_path / "photos")) for path in (tmp_path / "photos").rglob("*.png")]
        labels = write_labels(tmp_path / "labels.csv", [(name, "") for name in names])
        error = refused(capsys, "adapt", tmp_path / "photos", "--out", tmp_path / "run", "--labels", labels, *SMALL)
        assert "label" in error

    def test_an_unknown_group_column_is_refused_with_the_known_ones(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_classes(tmp_path / "photos", 8)
        names = [str(path.relative_to(tmp_path / "photos")) for path in (tmp_path / "photos").rglob("*.png")]
        labels = write_labels(tmp_path / "labels.csv", [(name, name.split("/")[0]) for name in names])
        arguments = ("--labels", labels, "--group", "module", *SMALL)
        assert "module" in refused(capsys, "adapt", tmp_path / "photos", "--out", tmp_path / "run", *arguments)

    def test_an_unknown_normal_class(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_classes(tmp_path / "photos", 8)
        arguments = ("--labels", "auto", "--normal", "fine", *SMALL)
        error = refused(capsys, "adapt", tmp_path / "photos", "--out", tmp_path / "run", *arguments)
        assert "across, along" in error

    def test_conflicting_labels_of_duplicates_are_listed(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "photos", 40)
        image = draw(np.random.default_rng(77), 0)
        save(tmp_path / "photos" / "across" / "twin.png", image)
        save(tmp_path / "photos" / "along" / "twin.png", image)
        results = beholder.adapt(
            tmp_path / "photos", out=tmp_path / "run", labels="auto", budget="0", threads=1, resolutions=(64,)
        )
        assert results["curation"]["conflicts"] == [
            {"keys": ["across/twin.png", "along/twin.png"], "labels": ["across", "along"]}
        ]


def test_strange_pictures_are_read_or_quarantined_and_nothing_stops(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 40)
    image = draw(np.random.default_rng(5), 0)
    grey = Image.fromarray(image[..., 0])
    good = {
        "deep.png": Image.fromarray(image[..., 0].astype(np.uint16) * 257),
        "cmyk.jpg": Image.fromarray(image).convert("CMYK"),
        "palette.png": grey.convert("P"),
        "alpha.png": Image.fromarray(np.dstack([image, 255 - image[..., :1]])),
        "wide.png": Image.fromarray(np.tile(image[:8], (1, 100, 1))),
        "spaces and Unicode \u00e4\u4e2d\u6587.png": grey,
        "line\nbreak.png": grey.rotate(90),
        "n" * 200 + ".png": grey.rotate(180),
    }
    for name, picture in good.items():
        save(photos / "across" / name, picture)
    grey.save(photos / "across" / "moving.gif", save_all=True, append_images=[grey.rotate(90)])
    turned = Image.Exif()
    turned[0x0112] = 6
    save(photos / "across" / "turned.jpg", Image.fromarray(image), exif=turned)
    truncated = (photos / "across" / "turned.jpg").read_bytes()[:-400]
    (photos / "along" / "truncated.jpg").write_bytes(truncated)
    (photos / "along" / "truncated.png").write_bytes((photos / "across" / "deep.png").read_bytes()[:-300])
    (photos / "along" / "bomb.png").write_bytes(_bomb(50_000, 50_000))
    save(photos / "along" / "dot.png", Image.new("RGB", (1, 1)))
    save(photos / "along" / "line.png", Image.new("RGB", (1, 5000)))
    (photos / "along" / "loop").symlink_to(photos)
    (photos / "along" / "dangling.png").symlink_to(photos / "nowhere.png")
    results = beholder.adapt(photos, out=tmp_path / "run", labels="auto", budget="0", threads=1, resolutions=(64,))
    refused_keys = {
        Path(json.loads(line)["key"]).name: json.loads(line)["reason"]
        for line in (tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()
    }
    expected = {"truncated.jpg", "truncated.png", "bomb.png", "dot.png", "line.png", "dangling.png", "loop"}
    assert set(refused_keys) == expected
    assert "50,000" in refused_keys["bomb.png"]
    assert results["data"]["num_kept"] == 40 + len(good) + 2
    assert read_json(tmp_path / "run" / "results.json")["data"]["num_quarantined"] == len(expected)


def _bomb(width: int, height: int) -> bytes:
    """A PNG whose header claims so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
