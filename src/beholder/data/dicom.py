"""DICOM pictures through pydicom (extra `medical`): the grey values that a radiologist would see, as 8-bit pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from jaxtyping import UInt8

from beholder.data.tones import stretch_to_bytes

MAGIC = b"DICM"
MAGIC_OFFSET = 128


class DicomError(Exception):
    """Why a DICOM file gives no picture, as one phrase."""


def open_dicom(content: bytes) -> Any:
    """The parsed dataset; raises DicomError when pydicom is missing or the file holds no picture."""
    try:
        import pydicom  # the extra `medical`
    except ImportError:
        raise DicomError("DICOM needs pydicom; pip install 'beholder[medical]'") from None
    # Old files lack the preamble, so parsing is forced; what is no DICOM then has no rows and columns.
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise DicomError("not a DICOM picture")
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DicomError("a DICOM file without pixels")
    return dataset


def dicom_size(dataset: Any) -> tuple[int, int]:
    """Width and height in pixels, known before anything is decoded."""
    return int(dataset.Columns), int(dataset.Rows)


def dicom_pixels(dataset: Any) -> UInt8[np.ndarray, "H W 3"]:
    """The first frame: rescale slope and intercept applied, then the file's lookup table or first window, else the
    whole range; MONOCHROME1 (white is low) inverted."""
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
    from pydicom.pixels.utils import pixel_array

    # The dataset carries its transfer syntax; a forced file without one is the default of the standard.
    if not getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None):
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ImplicitVRLittleEndian

        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    values = pixel_array(dataset, index=0)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
    if values.ndim == 3:  # H W 3
        return values.astype(np.uint8) if values.dtype == np.uint8 else stretch_to_bytes(values)
    values = apply_modality_lut(values, dataset)
    low = high = None
    if "VOILUTSequence" in dataset:
        values = apply_voi_lut(values, dataset)
    elif "WindowCenter" in dataset and "WindowWidth" in dataset:
        center, width = _first(dataset.WindowCenter), max(_first(dataset.WindowWidth), 1.0)
        low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2  # DICOM PS3.3 C.11.2.1.2
    grey = stretch_to_bytes(values, low, high)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        grey = 255 - grey
    return np.repeat(grey[:, :, None], 3, axis=2)


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)
