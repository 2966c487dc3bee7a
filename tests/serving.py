"""Small models of every kind, and a server of them on a free port of this machine, for tests."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles import CPU, random_network
from PIL import Image

from beholder.models.describer import Describer
from beholder.models.gpt import GPT, GPTConfig
from beholder.models.lvm import llama_trunk
from beholder.models.seen import SeenTokens
from beholder.models.vision_language import VisionLanguage, VisionLanguageConfig
from beholder.pretrained.describer_folder import save_describer
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.serve.app import build_app
from beholder.serve.run import listen, server_of
from beholder.serve.served import Served
from beholder.serve.settings import USUAL, ServeConfig
from beholder.tokenizers.language import learn_words
from beholder.tokenizers.pixels import PixelConfig

TEXTS = ["a red block on the left", "how many blocks are there?", "two green ones", "the dog runs away."]


def shaken(module: torch.nn.Module, seed: int = 0) -> Any:
    """With weights that make what it says depend on what it reads."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def save_language(folder: Path, *, is_asked: bool = False, longest: int = 128) -> Path:
    words = learn_words(TEXTS, 300, longest, are_conversations=is_asked)
    model = shaken(GPT(GPTConfig(words.size, None, context_length=longest, trunk=llama_trunk(32, 2, 2))))
    export_to_huggingface(model, folder, kind="llama", words=words)
    return folder


def save_words(folder: Path, can: tuple[str, ...]) -> Path:
    words = learn_words(TEXTS, 300, 128)
    vision = SeenTokens(random_network(), 2)
    language = GPTConfig(words.size, None, context_length=128, trunk=llama_trunk(32, 2, 2))
    speaker = shaken(VisionLanguage(VisionLanguageConfig("linear", vision.width, vision.num_tokens, language)))
    model = Describer(vision, speaker).eval()
    save_describer(
        folder, model, words, PixelConfig(size=32), has_embedded_vision=False, can=can, facts={}, card="# A card\n"
    )
    return folder


@dataclass(frozen=True)
class Address:
    """Of a running server."""

    url: str
    port: int


@contextmanager
def running(models: list[Served], config: ServeConfig = USUAL, keys: tuple[str, ...] = ()) -> Iterator[Address]:
    listener = listen("127.0.0.1", 0)
    server = server_of(build_app(models, CPU, config, keys))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = listener.getsockname()[1]
    try:
        yield Address(f"http://127.0.0.1:{port}", port)
    finally:
        server.should_exit = True
        thread.join(30)


def picture(seed: int = 0, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def data_url(pixels: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"
