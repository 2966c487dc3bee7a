"""DICOM: what a radiologist would see."""

from __future__ import annotations

import io

import numpy as np
import pytest

from beholder.data.decode import Limits, Unreadable, decode
from beholder.types import Sample

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")


def dicom(values: np.ndarray, photometric: str = "MONOCHROME2", **attributes) -> Sample:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return Sample("x.dcm", data=stream.getvalue())


RAMP = np.linspace(0, 4000, 64).astype(np.uint16).reshape(8, 8)


def test_without_a_window_the_whole_range_is_used():
    pixels = decode(dicom(RAMP))
    assert pixels.shape == (8, 8, 3) and pixels[0, 0, 0] == 0 and pixels[-1, -1, 0] == 255


def test_monochrome1_is_inverted():
    assert np.array_equal(decode(dicom(RAMP, "MONOCHROME1")), 255 - decode(dicom(RAMP)))


def test_the_window_is_in_rescaled_units():
    # Stored 0..4000 means -1000..3000; the window 0..1000 saturates below and above.
    pixels = decode(dicom(RAMP, RescaleSlope=1, RescaleIntercept=-1000, WindowCenter=500, WindowWidth=1000))
    values = RAMP.astype(int) - 1000
    assert (pixels[values < -5] == 0).all() and (pixels[values > 1005] == 255).all()
    middle = pixels[..., 0][(values > 100) & (values < 900)]
    assert middle.min() > 0 and middle.max() < 255


def test_colour_is_kept():
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[..., 0] = 200
    assert decode(dicom(colours, "RGB"))[0, 0].tolist() == [200, 0, 0]


def test_bad_dicom_is_refused(tmp_path):
    text = tmp_path / "x.dcm"
    text.write_text("no dicom at all\n" * 30)
    with pytest.raises(Unreadable):
        decode(Sample("x.dcm", text))
    with pytest.raises(Unreadable, match="the limit is 10"):
        decode(dicom(RAMP), Limits(max_pixels=10))
    sample = dicom(RAMP)
    assert sample.data is not None
    with pytest.raises(Unreadable):
        decode(Sample("x.dcm", data=sample.data[:-40]))
