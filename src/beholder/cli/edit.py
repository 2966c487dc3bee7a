"""beholder edit"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Seed, Threads


def edit(
    image: Path,
    *,
    mask: Path,
    model: Path,
    out: Path,
    label: str | None = None,
    prompt: str | None = None,
    count: int = 1,
    steps: int = 12,
    temperature: float = 1.0,
    guidance: float = 3.0,
    batch_size: int = 64,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Put what you ask for into a part of a picture; the rest stays as it is, pixel for pixel.

    Example: `beholder edit tile.png --mask part.png --label crack --model runs/masked --out cracked.png`

    Parameters
    ----------
    image
        The picture.
    mask
        A picture of the same size: what is transparent is replaced, or, where nothing is, what is not black.
    model
        The run or model folder of `beholder train masked`, on data with classes or captions.
    out
        The PNG file to write; its metadata tell that it was generated, from what and how.
    label
        The class of picture that it should become.
    prompt
        What the whole picture should show, in words.
    count
        Versions; several are numbered, out-1.png, out-2.png, ...
    steps
        Looks at the picture in which the part is filled.
    temperature
        0 takes the likeliest codes; 1 draws them as often as the model expects them.
    guidance
        How far to go with what is asked for: 1 is the model as it is.
    batch_size
        Versions that are in memory at once.
    """
    from beholder.cli.mend import mend
    from beholder.inference.unmask import UnmaskConfig
    from beholder.types import UserError

    if label is None and prompt is None:
        raise UserError("edit: nothing is asked for; give --label or --prompt, or use `beholder inpaint`.")
    decoding = UnmaskConfig(num_steps=steps, temperature=temperature, guidance=guidance)
    mend(image, mask, model, out, label, prompt, count, decoding, batch_size, seed, device, threads, max_pixels, json)
