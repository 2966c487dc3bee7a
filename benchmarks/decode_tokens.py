"""Writing tokens one by one on a CPU: GPT-2's shape, two small ones and those of visual sentences, ours beside
transformers' generate.

    python benchmarks/decode_tokens.py --rounds 7 > decode_tokens.json

Models of visual sentences have LLaMA's shape and 1,032 tokens; transformers' LlamaForCausalLM reads them from our
export, without the tables of places, for which LLaMA has no words.

Random weights, the same in all; greedy; prompts of 16 tokens and 32 new ones. Contenders take turns. `per_cpu_second`
are tokens of the whole batch on one thread; `per_second` are by the clock on `--threads`: a busy machine disturbs it.
`vs_transformers` is the median over rounds, beside transformers in fp32. `share_of_bandwidth` is how fast weights were
read in single steps (batch 1), beside one pass over a large array in the same rounds. `agrees` is the share of tokens
that are transformers' in fp32; random weights make near-ties, so that rounding changes what is said. `cosine` is the
lowest of a batch, of the scores after the prompts, to transformers' in fp32.

Libraries that are not installed are left out; requirements-peers.txt has the versions that were compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rounds
import torch
import visual_sentences
from torch import nn
from torch.nn import functional as F

from beholder.backends.decode import prepare_decoder
from beholder.backends.outputs import Backend, Precision
from beholder.inference.generate import GenerationConfig, generate
from beholder.models.gpt import GPT
from beholder.pretrained.huggingface.checkpoint import read_checkpoint
from beholder.types import UserError

SHAPES: dict[str, dict[str, int] | str] = {
    "GPT-2 small (12 x 768, 50,257 tokens)": {},
    "6 x 256, 50,257 tokens": {"n_layer": 6, "n_embd": 256, "n_head": 4},
    "6 x 256, 8,192 tokens": {"n_layer": 6, "n_embd": 256, "n_head": 4, "vocab_size": 8192},
    "LVM tiny (4 x 128, 1,032 tokens)": "tiny",
    "LVM small (6 x 256, 1,032 tokens)": "small",
    "LVM base (8 x 512, 1,032 tokens)": "base",
}
"""Settings of GPT-2, or the size of a model of visual sentences."""
WAYS: list[tuple[Backend, Precision, int]] = [
    ("plain", "fp32", 4), ("plain", "bf16", 2), ("packed", "fp32", 4), ("packed", "bf16", 2),
    ("openvino", "fp32", 4), ("openvino", "bf16", 2), ("openvino", "int8", 1),
]  # fmt: skip
"""Ours, with bytes of a weight."""
NUM_PROMPT, NUM_NEW = 16, 32
Run = Callable[[], list[list[int]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="for tokens per second; 1: not measured")
    parser.add_argument("--shapes", nargs="*", type=int, default=list(range(len(SHAPES))), help="numbers, from 0")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--skip", nargs="*", default=[], help="contenders to leave out, by the start of their names")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for name in [list(SHAPES)[number] for number in options.shapes]:
        theirs, ours = build_models(SHAPES[name])
        for batch in options.batches:
            most = min(8192, ours.config.vocabulary_size)
            prompts = torch.randint(most, (batch, NUM_PROMPT), generator=torch.Generator().manual_seed(batch))
            rounds.use_threads(1)
            given = (theirs, ours, prompts.tolist(), options.rounds, options.skip)
            table = compare(*given, time.process_time, "per_cpu_second")
            result[f"{name}, batch {batch}"] = {"1 thread": table}
            if options.threads > 1:
                rounds.use_threads(options.threads)
                clocked = compare(*given, time.perf_counter, "per_second")
                result[f"{name}, batch {batch}"][f"{options.threads} threads"] = clocked
            print(f"{name}, batch {batch}: {json.dumps(result[f'{name}, batch {batch}'])}", file=sys.stderr)
    told = {"versions": rounds.versions("torch", "transformers", "openvino", "nncf"), "rounds": options.rounds}
    print(json.dumps({**rounds.processor(), **told, "results": result}, indent=2))


def build_models(shape: dict[str, int] | str) -> tuple[Any, GPT]:
    """transformers' model with random weights, and ours with the same, read as a user would read them."""
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    if isinstance(shape, str):
        return visual_sentences.build_models(shape)
    model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=None)).eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        ours = read_checkpoint(Path(folder)).model
    assert isinstance(ours, GPT)
    return model, ours


def compare(
    theirs: Any,
    ours: GPT,
    prompts: list[list[int]],
    num_rounds: int,
    skipped: list[str],
    clock: Callable[[], float],
    unit: str,
) -> dict[str, Any]:
    models: dict[str, tuple[Run, int]] = {"transformers fp32": (_theirs(theirs, prompts), 4)}
    narrow = _narrow(theirs)
    models["transformers bf16"] = (_theirs(narrow, prompts), 2)
    tokens = torch.tensor(prompts)
    with torch.inference_mode():
        exact = theirs(tokens).logits[:, -1]
        scores = {"transformers fp32": exact, "transformers bf16": narrow(tokens).logits[:, -1]}
        for backend, precision, size in WAYS:
            name = f"beholder {backend} {precision}"
            if any(name.startswith(one) for one in skipped):
                continue
            try:
                model = prepare_decoder(ours, backend, precision, num_rows=len(prompts))
            except UserError as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            models[name], scores[name] = (_ours(model, prompts), size), model(tokens)[:, -1]
    said = {name: run() for name, (run, _) in models.items()}
    runs = {**{name: run for name, (run, _) in models.items()}, "read": rounds.memory_read()}
    seconds = rounds.take_turns(runs, num_rounds, clock)
    num_read = sum(value.numel() for value in ours.parameters()) - _num_looked_up(ours)
    table = {}
    for name, (_, size) in models.items():
        table[name] = {
            unit: round(len(prompts) * NUM_NEW / rounds.median(seconds[name]), 1),
            "vs_transformers": round(rounds.ratio(seconds[name], seconds["transformers fp32"]), 2),
            "agrees": round(_agreement(said[name], said["transformers fp32"]), 3),
            "cosine": round(float(F.cosine_similarity(scores[name].float(), exact, dim=1).min()), 6),
        }
        if len(prompts) == 1:
            share = rounds.ratio(seconds[name], seconds["read"]) * num_read * size * NUM_NEW / rounds.READ_BYTES
            table[name]["share_of_bandwidth"] = round(share, 2)
    return {"gigabytes_read_per_second": round(rounds.READ_BYTES / rounds.median(seconds["read"]) / 1e9, 1), **table}


def _num_looked_up(model: GPT) -> int:
    """Weights of tables of which a step reads a row only: a table of tokens that is also the head is read whole."""
    tables = [model.embed.positions, None if model.config.is_tied else model.embed.tokens]
    return sum(table.weight.numel() for table in tables if table is not None)


def _theirs(model: Any, prompts: list[list[int]]) -> Run:
    tokens = torch.tensor(prompts)
    mask = torch.ones_like(tokens)

    def run() -> list[list[int]]:
        found = model.generate(
            tokens, attention_mask=mask, max_new_tokens=NUM_NEW, do_sample=False, pad_token_id=0
        )  # fmt: skip
        return found[:, NUM_PROMPT:].tolist()

    return run


def _ours(model: nn.Module, prompts: list[list[int]]) -> Run:
    return lambda: generate(model, prompts, GenerationConfig(NUM_NEW))


def _narrow(model: Any) -> Any:
    import copy

    return copy.deepcopy(model).to(torch.bfloat16)


def _agreement(found: list[list[int]], expected: list[list[int]]) -> float:
    pairs = [
        (one, other) for row, true in zip(found, expected, strict=True) for one, other in zip(row, true, strict=True)
    ]
    return sum(one == other for one, other in pairs) / len(pairs)


if __name__ == "__main__":
    main()
