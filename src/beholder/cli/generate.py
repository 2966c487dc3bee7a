"""beholder generate"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, Seed, Threads


def generate(
    prompt: str | None = None,
    *,
    model: Path,
    out: Path,
    label: str | None = None,
    count: int = 4,
    keep: int | None = None,
    guidance: float = 3.0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    steps: int | None = None,
    reranker: str | None = None,
    batch_size: int = 32,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Pictures of what a text says, or of a class.

    Example: `beholder generate "a red chess knight" --model runs/draw --count 4 --out drawn`

    Parameters
    ----------
    prompt
        What the picture should show, in words like those of the captions that the model learned.
    model
        The run or model folder of `beholder train text-to-image` or `beholder train masked`.
    out
        A new folder: a PNG for each picture, whose metadata tell that it was generated and how, and sheet.png.
    label
        A class that the pictures should show; of masked models, which also draw without any wish.
    count
        Pictures to give. A reranker chooses them out of four times as many.
    keep
        Draw --count pictures instead, and give this many, the best by the reranker.
    guidance
        How far to go towards the text and away from what would be drawn without any: 1 not at all, 3 clearly.
    temperature
        0 takes the likeliest code each time; 1 draws codes as often as the model expects them.
    top_k
        Only so many codes may be drawn at a place.
    top_p
        Only the fewest codes that together have this share may be drawn; 0.95 without --top-k.
    steps
        Of masked models: in how many looks they draw; 12 if not given.
    reranker
        What chooses: a model that reads images and texts, as for similarity, or none. The model's own if not given,
        unless it was found to do harm.
    batch_size
        Pictures that are drawn at once; fewer take less memory.
    """
    from beholder.pretrained.part_folder import MASKED, TEXT_TO_IMAGE, open_part
    from beholder.recipes.rows_of_pictures import lay_out
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.generate import DrawingConfig, check_folder
    from beholder.tasks.generate import generate as run
    from beholder.tasks.provenance import write_picture

    log, config = Log(as_json=json), DrawingConfig(guidance, temperature, top_k, top_p, steps)
    part = open_part(model, (TEXT_TO_IMAGE, MASKED), "--model")
    check_folder(out)
    found = run(
        part, prompt, label=label, count=count, keep=keep, config=config, seed=seed, reranker=reranker,
        batch_size=batch_size, device=pick_device(device, threads),
    )  # fmt: skip
    for note in found.notes:
        log.warn(note)
    paths = found.save(out)
    columns = min(len(paths), 4)
    pictures = [one.picture for one in found.pictures]
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    write_picture(out / "sheet.png", lay_out(rows), {**found.pictures[0].origin, "seed": seed})
    for path, one in zip(paths, found.pictures, strict=True):
        score = f"  {one.score:.3f} by the reranker" if one.score is not None else ""
        log.result({"out": str(path), "score": one.score, **one.origin}, f"{path}  seed {one.origin['seed']}{score}")
