"""beholder search"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from beholder.cli.options import Device, Json, MaxPixels, Precision, Threads

Backend = Literal["auto", "plain", "packed", "compiled", "onnxruntime", "openvino"]


def search(
    photos: Path,
    text: str | None = None,
    *,
    like: Path | None = None,
    model: str | None = None,
    count: int = 10,
    index: Path | None = None,
    backend: Backend | None = None,
    precision: Precision | None = None,
    ray: bool = False,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Which images of a folder are like a text, an image, or both. Embeddings are computed once and kept.

    Example: `beholder search photos/ "a scratched cell"`

    Parameters
    ----------
    photos
        A folder of images in any common layout, or a table (CSV, parquet) that names them.
    text
        What the images show, in quotation marks.
    like
        An image; with a text too, both decide.
    model
        A model that reads images and texts, by folder or by its name on the Hugging Face hub. By image alone any image
        model will do, such as the one that adapt wrote. The embedded one if not given.
    count
        How many images are told.
    index
        Folder for the embeddings; one in .beholder/ of the working directory if not given.
    backend
        What runs the model to embed, see docs/backends.md; auto measures. If not given, that with which the index was
        begun, plain for a new one.
    precision
        Of products: fp32, bf16, or int8, whose ranges come from the first images of the folder. If not given, what the
        device multiplies fastest.
    ray
        Let the workers of a Ray cluster embed: that of RAY_ADDRESS, else one on this machine.
    """
    from beholder.recipes.search import search as run
    from beholder.runtime.log import Log

    log = Log(as_json=json)
    answers = run(
        photos, text, like=like, model=model, count=count, index=index, backend=backend, precision=precision, ray=ray,
        device=device, threads=threads, max_pixels=max_pixels, log=log,
    )  # fmt: skip
    for one in answers:
        if one.refused is None:
            shares = (
                "" if text is None or like is None else "  (text {text:+.3f}, like {like:+.3f})".format(**one.details)
            )
            log.result({"key": one.key, "score": one.score, **one.details}, f"  {one.score:+.3f}  {one.key}{shares}")
        elif json:  # people have been told the first of them
            log.result({"key": one.key, "refused": one.refused}, "")
