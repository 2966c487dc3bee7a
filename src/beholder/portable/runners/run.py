"""Ask the model beside this file: python run.py PICTURE... It knows nothing of beholder; see README.md."""

import json
import sys
from pathlib import Path

import numpy as np
from model import open_model  # type: ignore[import-not-found]  # written beside this file


def read(name):
    """A picture as H W 3 bytes, red green blue; all but .npy need Pillow."""
    if name.endswith(".npy"):
        return np.load(name)
    from PIL import Image, ImageOps

    return np.array(ImageOps.exif_transpose(Image.open(name)).convert("RGB"))


def tell(found, facts):
    """What the outputs say of one picture."""
    told = {}
    if facts["labels"]:
        shares = found["probabilities"][0]
        told.update(label=facts["labels"][int(shares.argmax())], score=round(float(shares.max()), 6))
    if "distance" in found:
        distance = float(found["distance"][0])
        told.update(unusual=distance > facts["threshold"], distance=round(distance, 6))
    return told or {"embedding": found["embedding"][0].tolist()}


if __name__ == "__main__":
    missing = [name for name in sys.argv[1:] if not Path(name).is_file()]
    if missing or len(sys.argv) < 2:
        sys.exit(f"Name pictures: python run.py PICTURE...{' Not there: ' if missing else ''}{', '.join(missing)}")
    folder = Path(__file__).parent
    facts, ask = json.loads((folder / "model.json").read_text(encoding="utf-8")), open_model(folder)
    for name in sys.argv[1:]:
        print(json.dumps({"picture": name, **tell(ask(read(name)[None]), facts)}))
