"""Whole runs of `adapt` from layouts other than a folder per class: read, named, judged, and a model at the end."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import draw
from PIL import Image

import beholder
from beholder.runtime.files import read_json

pytestmark = pytest.mark.usefixtures("tiny_network")

NAMES = ("across", "along")


def run(photos: Path, out: Path, **options: Any) -> dict[str, Any]:
    """The written `results.json` of a run without pretraining."""
    beholder.adapt(photos, out=out, budget="0", threads=1, resolutions=(64,), **options)
    results = read_json(out / "results.json")
    page = (out / "report.html").read_text()
    assert results["data"]["description"] in page
    assert beholder.load(out).card.count(results["data"]["description"]) == 1
    return results


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Of kind 0 and 1 in turn."""
    generator = np.random.default_rng(seed)
    return [draw(generator, index % 2) for index in range(count)]


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def test_a_parquet_table_with_bytes(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"image": {"bytes": png(image), "path": None}, "label": NAMES[index % 2], "patient": f"p{index // 3}"}
        for index, image in enumerate(pictures(30))
    ]
    rows[7]["image"]["bytes"] = b"no picture"
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "cells.parquet")
    results = run(tmp_path / "cells.parquet", tmp_path / "run", labels="auto", group="patient")
    data = results["data"]
    assert data["layout"] == "parquet"
    assert "parquet" in data["description"]
    assert (data["num_found"], data["num_kept"], data["num_labelled"]) == (30, 29, 29)
    assert data["classes"] == {"across": 15, "along": 14}
    assert data["num_groups"] == 10
    assert [entry["key"] for entry in results["curation"]["quarantine"]] == ["cells.parquet#8"]
    assert results["score"]["value"] > 0.8
    assert beholder.load(tmp_path / "run").labels == NAMES


def test_dicom_files(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="pydicom is not installed")
    for index, image in enumerate(pictures(24)):
        path = tmp_path / "photos" / NAMES[index % 2] / f"{index:03d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(image[..., 0].astype(np.uint16) * 12))
    results = run(tmp_path / "photos", tmp_path / "run", labels="auto")
    data = results["data"]
    assert (data["layout"], data["num_kept"], data["num_quarantined"]) == ("folder per class", 24, 0)
    assert data["classes"] == {"across": 12, "along": 12}
    assert results["score"]["value"] > 0.8
    (answer,) = beholder.classify(tmp_path / "run", tmp_path / "photos" / "along" / "001.dcm")
    assert answer.label in NAMES


def dicom(values: np.ndarray) -> bytes:
    """A grey picture of 12 bits."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = values.tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_image_and_text_pairs(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for index, image in enumerate(pictures(24)):
        Image.fromarray(image).save(tmp_path / "photos" / f"{index:03d}.png")
        (tmp_path / "photos" / f"{index:03d}.txt").write_text(f"stripes {NAMES[index % 2]}")
    results = run(tmp_path / "photos", tmp_path / "run")
    data = results["data"]
    assert data["layout"] == "image and text pairs"
    assert data["description"].startswith("folder of image and text pairs: 24 images")
    assert (data["num_kept"], data["num_labelled"], data["classes"]) == (24, 0, {})
    assert results["verdict"]["outcome"] == "not judged"
    assert "curve" not in results


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """train/good, test/good, test/crack and the masks of the cracks."""
    places = ["train/good"] * 48 + ["test/good"] * 6 + ["test/crack"] * 6
    generator = np.random.default_rng(0)
    for index, place in enumerate(places):
        image = draw(generator, 0)
        if place == "test/crack":
            image[10:40, 10:40] = generator.integers(0, 256, (30, 30, 3), dtype=np.uint8)
            mask = tmp_path / "photos" / "ground_truth" / "crack" / f"{index:03d}_mask.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (48, 48)).save(mask)
        path = tmp_path / "photos" / place / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "photos"


def test_an_mvtec_like_folder(mvtec: Path, tmp_path: Path) -> None:
    """Defects stand in the test part alone: nothing to classify is learned, unusual images are."""
    results = run(mvtec, tmp_path / "run", labels="auto")
    data = results["data"]
    assert data["layout"] == "MVTec"
    assert data["description"].startswith("MVTec-like good and defect folders with train/test: 60 images")
    assert (data["num_kept"], data["classes"]) == (60, {"crack": 6, "good": 54})
    assert data["split"] == {"train": 48, "test": 12}
    assert any("masks" in note for note in data["notes"])
    assert results["unusual"]["num_reference"] == 48
    assert results["unusual"]["auroc"] > 0.9
    assert "curve" not in results
    assert results["verdict"]["outcome"] == "not judged"
    answers = beholder.anomaly(tmp_path / "run", mvtec / "test" / "crack")
    assert [one.label for one in answers] == ["unusual"] * 6
