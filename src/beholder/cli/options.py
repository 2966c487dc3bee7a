"""Options that several verbs share, each told once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

DEFAULT_PAIRS = "embedded"
"""As in `pretrained.embedded`, which imports torch; help has to be quick."""

Group = Annotated[
    str | None,
    Parameter(
        help="A column, or folder: which pictures belong together (a patient, a video), on one side of the split."
    ),
]
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")]
Threads = Annotated[int | None, Parameter(help="CPU threads; all cores of this process if not given.")]
MaxPixels = Annotated[int, Parameter(help="Larger images are set aside, with this reason, before they are decoded.")]
Pairs = Annotated[
    str,
    Parameter(
        help="A model that reads images and texts: its folder, or its name on the Hugging Face hub. If not given, the "
        "embedded one, which needs beholder[text]."
    ),
]
PairsForNames = Annotated[
    str | None,
    Parameter(help="For --names: the model of images and texts, by folder or name of the hub; embedded if not given."),
]
Port = Annotated[int, Parameter(help="0 takes any that is free, and tells it.")]
Regions = Annotated[
    bool,
    Parameter(
        help="Take each image apart, name what is in the parts, say a phrase about each, and join phrases and what is "
        "seen into one description; by a model of beholder train describe --regions."
    ),
]
Boxes = Annotated[
    Path | None,
    Parameter(
        help="For regions: boxes that a detector found, instead of parts that are found here; COCO's json, or a table "
        "with file_name and objects."
    ),
]
Names = Annotated[
    Path | None,
    Parameter(
        help="For regions: a text file of what may be named, a name a line, which the model of images and texts in "
        "--pairs tells apart. If not given, what captions taught the model, else ImageNet's classes."
    ),
]
Pictures = Annotated[
    Path | None, Parameter(help="For regions: a folder for a picture of each image with its boxes and texts.")
]
Heat = Annotated[
    Path | None, Parameter(help="A folder for a picture of each image that shows where the model looked for each word.")
]
Backend = Annotated[
    Literal["plain", "auto", "packed", "compiled", "onnxruntime", "openvino"],
    Parameter(help="What runs the part that sees, on a CPU, see docs/backends.md; auto measures."),
]
Precision = Literal["fp32", "bf16", "int8"]
Language = Annotated[
    str | None,
    Parameter(help="Of the captions, such as zh: one of those that the model learned by --spoken, else the first."),
]
Beams = Annotated[int, Parameter(help="Texts that are followed at once; 1 takes the likeliest word each time.")]
Temperature = Annotated[
    float, Parameter(help="Above 0: words are drawn instead, the more freely the higher; 1 is as the model learned.")
]
TopK = Annotated[int | None, Parameter(help="Words are drawn from so many of the likeliest.")]
TopP = Annotated[float | None, Parameter(help="Words are drawn from the fewest that have this share together.")]
Stop = Annotated[tuple[str, ...], Parameter(help="A text that ends what is said, and is not told; may be repeated.")]
Seed = Annotated[int, Parameter(help="Of everything that is random.", validator=Number(gte=0, lt=1 << 62))]
Json = Annotated[bool, Parameter(help="Print JSON lines for machines.")]
