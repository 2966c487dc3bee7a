"""beholder serve"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from beholder.cli.options import Backend, Device, Json, Port, Precision, Threads

Replicas = Annotated[
    int,
    Parameter(
        help="Above 0: so many processes on a Ray cluster, or on one of this machine's own, with one thread each or "
        "--threads; needs beholder[scale]."
    ),
]
Numbers = Annotated[Precision | None, Parameter(help="Of what sees; as the machine multiplies fastest if not given.")]
RemoteImages = Annotated[
    bool, Parameter(help="Fetch images from addresses that requests name; private addresses never.")
]
Examples = Annotated[
    Path | None,
    Parameter(
        help="A folder of pictures of the kind that will come: the way is tried on them, and int8 takes its ranges "
        "from them."
    ),
]
MayDiffer = Annotated[
    float | None,
    Parameter(
        help="How far what sees may lie from its outputs in fp32, as a share of their length; if not given, 0.1 in "
        "int8, 0.05 in bf16."
    ),
]


def serve(
    *models: str,
    host: str = "127.0.0.1",
    port: Port = 8000,
    search: Path | None = None,
    key_file: Path | None = None,
    batch_size: int = 16,
    batch_wait: float = 5.0,
    most_waiting: int = 256,
    most_rows: int = 32,
    most_bytes: int = 32 << 20,
    most_pixels: int = 40_000_000,
    most_images: int = 32,
    most_tokens: int = 1024,
    seconds: float = 120.0,
    per_minute: int = 0,
    remote_images: RemoteImages = False,
    replicas: Replicas = 0,
    backend: Backend | None = None,
    precision: Numbers = None,
    may_differ: MayDiffer = None,
    examples: Examples = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Models behind an address that any OpenAI client speaks, with a page to try them in a browser.

    Example: `beholder serve runs/first/model --port 8000`

    Parameters
    ----------
    models
        Model or run folders, names of the Hugging Face hub, or embedded.
    host
        Where to listen; others than this machine reach 0.0.0.0, and then --key-file is advised.
    search
        Pictures that /v1/search searches, by the first model that places images and texts, or images alone.
    key_file
        A text file of keys, one a line, of which clients send one.
    batch_size
        Most inputs of one kind that are run together.
    batch_wait
        Milliseconds that an input waits for others.
    most_waiting
        Inputs that may wait; more are answered 429.
    most_rows
        Texts that are written at once.
    most_bytes
        Of a request.
    most_pixels
        Of an image.
    most_images
        Of a request.
    most_tokens
        That a request may ask for.
    seconds
        That a request may take.
    per_minute
        Requests of a key, or of an address without keys; 0: any number.
    """
    from beholder.runtime.log import Log
    from beholder.serve.settings import ServeConfig
    from beholder.types import UserError

    try:
        from beholder.recipes.serve import serve as run
    except ImportError as error:
        raise UserError(f"Serving needs {error.name}; install it with: pip install 'beholder[serve]'") from error

    config = ServeConfig(
        batch_size, batch_wait, most_waiting, most_rows, most_bytes, most_pixels, most_images, most_tokens, seconds,
        per_minute, remote_images,
    )  # fmt: skip
    run(
        models, host=host, port=port, search=search, config=config, key_file=key_file, replicas=replicas,
        backend=backend, precision=precision, may_differ=may_differ, examples=examples, device=device,
        threads=threads, log=Log(as_json=json),
    )  # fmt: skip
