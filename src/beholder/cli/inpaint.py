"""beholder inpaint"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Seed, Threads


def inpaint(
    image: Path,
    *,
    mask: Path,
    model: Path,
    out: Path,
    count: int = 1,
    steps: int = 12,
    temperature: float = 1.0,
    batch_size: int = 64,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Put something that fits into a hole of a picture; the rest stays as it is, pixel for pixel.

    Example: `beholder inpaint tile.png --mask hole.png --model runs/masked --out mended.png`

    Parameters
    ----------
    image
        The picture.
    mask
        A picture of the same size: what is transparent is replaced, or, where nothing is, what is not black.
    model
        The run or model folder of `beholder train masked`.
    out
        The PNG file to write; its metadata tell that it was generated, from what and how.
    count
        Versions; several are numbered, out-1.png, out-2.png, ...
    steps
        Looks at the picture in which the hole is filled.
    temperature
        0 takes the likeliest codes; 1 draws them as often as the model expects them.
    batch_size
        Versions that are in memory at once.
    """
    from beholder.cli.mend import mend
    from beholder.inference.unmask import UnmaskConfig

    decoding = UnmaskConfig(num_steps=steps, temperature=temperature)
    mend(image, mask, model, out, None, None, count, decoding, batch_size, seed, device, threads, max_pixels, json)
