"""beholder anomaly"""

from __future__ import annotations

from pathlib import Path

from beholder.runtime.log import Log


def anomaly(model: Path, /, *images: Path, device: str = "auto", json: bool = False) -> None:
    """Which images are unusual for their domain, judged from normal images alone.

    Example: `beholder anomaly runs/first/model photos/`

    Parameters
    ----------
    model
        A model folder, such as the one that adapt wrote.
    images
        Image files, or folders of them.
    device
        auto, cpu, cuda, cuda:N or mps.
    json
        Print one JSON object an image.
    """
    from beholder.cli.answers import print_answers
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.tasks.anomaly import anomaly as run

    bundle = load(model)
    print_answers(
        images,
        lambda samples: run(bundle, samples, pick_device(device)),
        "{label}  distance {score:.2f} (threshold {threshold:.2f}, p = {p_value:.3f})",
        Log(as_json=json),
    )
