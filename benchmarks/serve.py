"""Embeddings of images over HTTP on a CPU: our server beside a plain loop over the same model, and beside a plain
FastAPI server around transformers' model.

    python benchmarks/serve.py --requests 320 --clients 32 --infinity PEER/bin/infinity_emb > serve.json

The model is CLIP ViT-B/32's shape with random weights; every server has `--threads` threads and gets the same JPEG
pictures (224 x 224, base64), one a request, from so many clients that each wait for their answer. Told are images a
second by the clock and a CPU second of the server's process, and the median and 99th percentile of an answer. `loop`
decodes the same pictures and embeds them without a server, at its best batch size: the ceiling. The peer needs
transformers beside beholder[serve,fast]. `--infinity` is the program of infinity-emb (`[torch,server,vision]`, aiohttp)
in an environment of its own, run with its torch engine. Servers take turns over `--rounds`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

_INFINITY = "infinity-emb"
_PLAIN = """
import base64, io, sys, threading
import torch, uvicorn
from fastapi import FastAPI
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
torch.set_num_threads(int(sys.argv[3]))
model = CLIPVisionModelWithProjection.from_pretrained(sys.argv[1]).eval()
prepare, lock, app = CLIPImageProcessor(), threading.Lock(), FastAPI()

@app.get("/health")
def ready():
    return {}

@app.post("/v1/embeddings")
def embed(body: dict):
    image = Image.open(io.BytesIO(base64.b64decode(body["input"][0].split(",")[1]))).convert("RGB")
    with lock, torch.inference_mode():
        found = model(**prepare(images=[image], return_tensors="pt")).image_embeds
    return {"data": [{"embedding": torch.nn.functional.normalize(found, dim=1)[0].tolist()}]}

uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=320)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--infinity", type=Path, help="infinity_emb of another environment")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_clip(Path(scratch) / "clip")
        pictures = [jpeg(seed) for seed in range(32)]
        ways: dict[str, list[str]] = {
            "beholder": [sys.executable, "-m", "beholder.cli.main", "serve", str(folder), "--device", "cpu"],
            "beholder, one at a time": [
                sys.executable, "-m", "beholder.cli.main", "serve", str(folder), "--device", "cpu", "--batch-size", "1"
            ],
            "beholder, int8": [
                sys.executable, "-m", "beholder.cli.main", "serve", str(folder), "--device", "cpu", "--backend",
                "openvino", "--precision", "int8", "--examples", str(save_pictures(pictures, Path(scratch) / "like")),
            ],
            "FastAPI and transformers": [sys.executable, "-c", _PLAIN, str(folder)],
        }  # fmt: skip
        if asked.infinity is not None:
            peer = as_older_transformers_read_it(folder, Path(scratch) / "peer")
            ways[_INFINITY] = [
                str(asked.infinity), "v2", "--model-id", str(peer), "--served-model-name", "clip", "--engine", "torch",
                "--device", "cpu", "--batch-size", "32", "--url-prefix", "/v1", "--no-model-warmup",
                "--no-bettertransformer",
            ]  # fmt: skip
        told: dict[str, Any] = {"threads": asked.threads, "clients": asked.clients, "loop": [], "servers": {}}
        for _ in range(asked.rounds):
            told["loop"].append(loop(folder, pictures))
            for name, command in ways.items():
                also = {"modality": "image"} if name == _INFINITY else {}
                with serving(command, name, asked.threads) as (port, process):
                    told["servers"].setdefault(name, []).append(ask(port, process, pictures, asked, also))
    json.dump(summary(told), sys.stdout, indent=1)


def save_clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, PreTrainedTokenizerFast

    from beholder.tokenizers.captions import as_words, learn_captions

    words = as_words(learn_captions(["a photo of a dog", "a photo of a cat"]))
    torch.manual_seed(0)
    text = CLIPTextConfig(vocab_size=words.size, hidden_size=64, intermediate_size=128, num_hidden_layers=1,
                          num_attention_heads=2, eos_token_id=words.special.end)  # fmt: skip
    vision = CLIPVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                              patch_size=32, image_size=224)  # fmt: skip
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=512)
    CLIPModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=words.table, bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    ).save_pretrained(folder)
    from transformers import CLIPImageProcessor

    CLIPImageProcessor().save_pretrained(folder)
    return folder


def save_pictures(pictures: list[str], folder: Path) -> Path:
    folder.mkdir()
    for number, one in enumerate(pictures):
        (folder / f"{number}.jpg").write_bytes(base64.b64decode(one.split(",")[1]))
    return folder


def as_older_transformers_read_it(folder: Path, out: Path) -> Path:
    """The same weights, with words in the files that CLIP's tokenizer once had; no text is asked about."""
    out.mkdir()
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (out / name).symlink_to(folder / name)
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (out / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (out / "merges.txt").write_text("#version: 0.2\n")
    (out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}))
    return out


def jpeg(seed: int) -> str:
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (14, 14, 3), np.uint8))
    stream = io.BytesIO()
    small.resize((224, 224), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def loop(folder: Path, pictures: list[str]) -> dict[str, float]:
    """Images a second and a CPU second at the best of several batch sizes, decoding included."""
    import beholder
    from beholder.data.decode import decode
    from beholder.runtime.device import pick_device
    from beholder.tasks.shared_space import open_space
    from beholder.types import Sample

    space = open_space(beholder.load(folder), pick_device("cpu", torch.get_num_threads()))  # type: ignore[arg-type]
    best: dict[str, float] = {}
    for size in (1, 4, 8, 16, 32):
        for is_timed in (False, True):
            begun, busy = time.perf_counter(), time.process_time()
            for first in range(0, len(pictures), size):
                some = [base64.b64decode(one.split(",")[1]) for one in pictures[first : first + size]]
                space.place_arrays([decode(Sample("x", data=one)) for one in some])
            seconds, busy = time.perf_counter() - begun, time.process_time() - busy
            if is_timed and len(pictures) / busy > best.get("per_cpu_second", 0):
                best = {"per_second": len(pictures) / seconds, "per_cpu_second": len(pictures) / busy, "batch": size}
    return best


@contextmanager
def serving(command: list[str], name: str, threads: int) -> Iterator[tuple[int, int]]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    told = [str(port), str(threads)] if "-c" in command else ["--port", str(port)]
    if "serve" in command:
        told += ["--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen([*command, *told], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(1200):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
            if process.poll() is not None:
                raise SystemExit(f"{name} did not start")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(60)


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(
    port: int, process: int, pictures: list[str], asked: argparse.Namespace, also: dict[str, str]
) -> dict[str, float]:
    async def run(count: int) -> list[float]:
        latencies: list[float] = []
        todo = iter(range(count))

        async def client(session: httpx.AsyncClient) -> None:
            for number in todo:
                begun = time.perf_counter()
                body = {
                    "model": "clip",
                    "input": [pictures[number % len(pictures)]],
                    "encoding_format": "float",
                    **also,
                }
                answer = await session.post(f"http://127.0.0.1:{port}/v1/embeddings", json=body)
                assert answer.status_code == 200, answer.text
                latencies.append(time.perf_counter() - begun)

        async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=asked.clients)) as session:
            await asyncio.gather(*(client(session) for _ in range(asked.clients)))
        return latencies

    asyncio.run(run(asked.clients))  # warms up
    begun, busy = time.perf_counter(), cpu_seconds(process)
    latencies = asyncio.run(run(asked.requests))
    seconds, busy = time.perf_counter() - begun, cpu_seconds(process) - busy
    return {
        "per_second": asked.requests / seconds, "per_cpu_second": asked.requests / busy,
        "median_seconds": float(np.median(latencies)), "p99_seconds": float(np.quantile(latencies, 0.99)),
    }  # fmt: skip


def summary(told: dict[str, Any]) -> dict[str, Any]:
    """Medians over rounds, and the ratios."""

    def median(rows: list[dict[str, float]]) -> dict[str, float]:
        return {name: statistics.median(row[name] for row in rows) for name in rows[0]}

    ceiling = median(told["loop"])
    servers = {name: median(rows) for name, rows in told["servers"].items()}
    for row in servers.values():
        row["of_the_loop"] = row["per_second"] / ceiling["per_second"]
        row["of_the_loop_a_cpu_second"] = row["per_cpu_second"] / ceiling["per_cpu_second"]
    for name in ("FastAPI and transformers", _INFINITY):
        for row in servers.values() if name in servers else ():
            row[f"times {name} a CPU second"] = row["per_cpu_second"] / servers[name]["per_cpu_second"]
    return {**told, "loop": ceiling, "servers": servers}


if __name__ == "__main__":
    main()
