"""beholder complete"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Seed, Threads


def complete(
    *pictures: Path,
    model: Path,
    out: Path,
    temperature: float = 0.0,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Go on by example: pairs of a picture and its answer, then a picture; its answer is painted.

    Example: `beholder complete a.png a2.png b.png b2.png c.png --model runs/lvm --out c2.png`

    Parameters
    ----------
    pictures
        An odd number of image files: A, A's answer, B, B's answer, ..., and the question.
    model
        The run or model folder of `beholder train lvm`.
    out
        The PNG file to write; its metadata tell that it was generated, from what and how.
    temperature
        0 takes the likeliest code each time; 1 draws codes as often as the model expects them.
    """
    from beholder.data.decode import Limits
    from beholder.inference.sampling import SamplingConfig
    from beholder.pretrained.part_folder import SENTENCES, open_part
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.complete import complete as run
    from beholder.tasks.provenance import check_name

    check_name(out, pictures)
    log, sampling = Log(as_json=json), SamplingConfig(temperature=temperature)
    found = run(
        open_part(model, SENTENCES, "--model"), list(pictures), sampling=sampling, seed=seed,
        device=pick_device(device, threads), limits=Limits(max_pixels=max_pixels),
    )  # fmt: skip
    for note in found.notes:
        log.warn(note)
    found.save(out)
    value = {"out": str(out), "nats_per_code": found.nats_per_code, **found.origin}
    log.result(
        value, f"{out}  {found.picture.shape[1]} x {found.picture.shape[0]}, {found.nats_per_code:.2f} nats a code"
    )
