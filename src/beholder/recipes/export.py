"""`export`: a finished model in a form that other programs run, checked on the user's pictures before it is kept.

beholder export runs/first/model --format onnx --precision int8 --data photos/ --labels auto --out phone/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beholder.backends.outputs import Precision
from beholder.data.decode import Limits
from beholder.data.sources import read_source
from beholder.portable.check import MAY_DIFFER, MAY_LOSE, Comparison
from beholder.portable.cost import guess_seconds, memory_of_export, memory_of_original, time_in_turn
from beholder.portable.exportable import Exportable, open_exportable
from beholder.portable.formats import Format, FormatName, check_format, open_export, write_runners
from beholder.portable.quantise import NUM_EXAMPLES
from beholder.pretrained.load import load
from beholder.recipes.before_after import BeforeAfter, Pictures, Weight, choose_pictures, compare_on
from beholder.runtime.device import pick_device
from beholder.runtime.files import new_folder, refuse_inside, told_kindly, write_json, write_text
from beholder.runtime.log import Log, counted, duration
from beholder.types import UserError
from beholder.version import VERSION

_NUM_PLAIN_EXAMPLES = 4


def export(
    model: str | Path,
    *,
    format: FormatName,
    data: str | Path,
    out: str | Path,
    precision: Precision = "fp32",
    labels: str | Path | None = None,
    names: Sequence[str] | None = None,
    may_lose: float = MAY_LOSE,
    may_differ: float | None = None,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Write a model that reads pictures (of `adapt`, of images and texts, or an image encoder by its name) as "onnx",
    "openvino", "executorch" or torch's "program", in "fp32", "bf16" or "int8", with preprocessing inside and
    two programs beside it that ask it without beholder. `names` make a classifier of a model of images and texts.

    It is asked about pictures of `data` beside the original: it is refused when outputs differ by more than
    `may_differ` (a share, see `MAY_DIFFER`), and, where `labels` are given ("auto" or a table), when more than
    `may_lose` points of accuracy are lost. Returns what was measured. Raises UserError with the numbers when it is
    refused, and for what cannot be exported; then `out` is as it was.
    """
    log, data, out = log or Log(quiet=True), Path(data), Path(out)
    found = check_format(format, precision)
    bound = MAY_DIFFER[precision] if may_differ is None else may_differ
    if not bound > 0:  # also where it is no number
        raise UserError(f"--may-differ {bound:g}: give a share above 0.")
    if not may_lose >= 0:
        raise UserError(f"--may-lose {may_lose:g}: give points of accuracy from 0.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is there already; name a new folder.")
    refuse_inside(out, data)
    source = read_source(data, labels=labels)
    device = pick_device("cpu", threads)
    listed = [name.strip() for name in names or ()]
    original = open_exportable(load(model), listed, device)
    log.stage("Model", f"{model}: gives {', '.join(original.outputs)}")
    pictures = choose_pictures(source, data, labels, original.labels, Limits(max_pixels), NUM_EXAMPLES, log)
    title, num_judged = f"{format} {precision}", len(pictures.judged)
    seconds = 2 * num_judged * guess_seconds(lambda images: original.ask(list(images)), pictures.first)
    log.stage(
        "Estimate",
        f"{duration(seconds)} to compare on {counted(num_judged, 'picture')}, after writing {format} in {precision}, "
        "which takes up to some minutes",
    )
    with told_kindly(out), new_folder(out) as folder:
        log.stage("Write", title)
        _write(original, found, precision, pictures, folder, {"source": str(model), "format": format})
        checked = _check(original, folder, pictures, device.num_threads, str(model), listed, log)
        log.line(checked.table(title))
        _refuse(checked.comparison, bound, may_lose, title)
        results = {
            "format": format, "precision": precision, "may_differ": bound, "may_lose": may_lose,
            "threads": device.num_threads, **checked.findings(),
        }  # fmt: skip
        write_json(folder / "check.json", results)
        write_text(folder / "README.md", _card(found, original, str(model), title, checked))
    log.stage("Export", f"{out}: python {out}/run.py PICTURE...; it needs {found.needs.replace(' ', ' and ')}")
    return results


def _write(
    original: Exportable, found: Format, precision: Precision, pictures: Pictures, folder: Path, facts: dict[str, str]
) -> None:
    count = NUM_EXAMPLES if precision == "int8" else _NUM_PLAIN_EXAMPLES
    examples = pictures.examples(count)
    if len(examples) < 2:
        raise UserError("Fewer than two pictures can be read besides those to compare on; give more pictures.")
    told = {
        "made_by": f"beholder {VERSION} export", **facts, "precision": precision,
        "input": "pictures: N H W 3 bytes, red green blue, of one size", "outputs": list(original.outputs),
        "labels": list(original.labels), "threshold": original.threshold,
    }  # fmt: skip
    write_json(folder / "model.json", told)
    write_runners(found, folder)
    try:
        found.write(original, precision, original.read(examples), folder)
    except UserError:
        raise
    except Exception as error:  # whatever a library trips over in a model that it cannot read
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].removesuffix(".")
        raise UserError(
            f"This model cannot be written as {facts['format']} in {precision} ({reason}); choose another format."
        ) from error


def _check(
    original: Exportable, folder: Path, pictures: Pictures, threads: int, model: str, names: list[str], log: Log
) -> BeforeAfter:
    ask = open_export(folder, threads)

    def one_by_one(images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        found = [ask(image[None]) for image in images]
        return {name: np.concatenate([one[name] for one in found]) for name in original.outputs}

    comparison = compare_on(pictures, original, one_by_one, log)
    speeds = time_in_turn([lambda images: original.ask(list(images)), ask], pictures.first)
    peaks = memory_of_original(model, names, pictures.first, threads), memory_of_export(folder, pictures.first, threads)
    sizes = original.num_bytes, sum(path.stat().st_size for path in folder.iterdir())
    before, after = (Weight(*one) for one in zip(sizes, speeds, peaks, strict=True))
    return BeforeAfter(before, after, comparison)


def _refuse(comparison: Comparison, may_differ: float, may_lose: float, title: str) -> None:
    if not comparison.distance <= may_differ:  # also where it is no number
        name = max(comparison.distances, key=lambda name: comparison.distances[name])
        raise UserError(
            f"{title}: its {name} lies {comparison.distance:.2g} away from the original's (length of the difference "
            f"over theirs), more than the {may_differ:g} allowed; choose a higher precision, or allow more by "
            "--may-differ. Nothing was written."
        )
    if comparison.points_lost is not None and comparison.points_lost > may_lose:
        before, after = comparison.accuracies or (0.0, 0.0)
        raise UserError(
            f"{title}: accuracy falls from {before:.1%} to {after:.1%}, by {comparison.points_lost:.1f} points, more "
            f"than the {may_lose:g} allowed; choose a higher precision, or allow more by --may-lose. Nothing was "
            "written."
        )


def _card(found: Format, original: Exportable, model: str, title: str, checked: BeforeAfter) -> str:
    classes = f" Classes: {', '.join(original.labels)}." if original.labels else ""
    unusual = (
        "" if original.threshold is None else f" A picture is unusual above a distance of {original.threshold:.4g}."
    )
    return f"""# {model} as {title}

Made by beholder {VERSION}. Preprocessing is part of the graph: it takes the bytes of pictures of any size (N H W 3, red
green blue) and gives {", ".join(original.outputs)}.{classes}{unusual}

```console
$ pip install {found.needs} pillow
$ python run.py picture.png
```

```python
from model import open_model

ask = open_model(".")
outputs = ask(pictures)  # a numpy array by name
```

`run.py` reads .npy without Pillow. Pictures of 16 bits, or of medicine, have to be brought to bytes first.

## Beside the original

On {checked.comparison.num_pictures} pictures; both with preprocessing, the original in torch.

```text
{checked.table(title)}
```
"""
