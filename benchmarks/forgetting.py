"""What does tuning give on one's own images, and what does it take elsewhere? Three ways from the same start.

    python benchmarks/forgetting.py --data OWN --guard GENERAL --out runs/forgetting --threads 1

(a) `beholder tune`: low-rank updates, and the blend of before and after that validation prefers; (b) the same updates
without a blend; (c) all weights, without a blend. Same start, steps, batches, loss and augmentation; every way has the
learning rate that is usual for it (`--lr`, `--full-lr`). Scores are of the test parts: balanced accuracy of naming by
text where a set has classes, mean recall at 1, 5 and 10 where it has texts; changes with 95 % intervals over redrawn
groups. A model without a hub, `embedded`, is tuned unless --model names another.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from torch import nn

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.models.pairs import PairModel
from beholder.recipes.tune import tune
from beholder.recipes.tune.learn import make_objective, make_plan, make_stream
from beholder.recipes.tune.score import ask, compare
from beholder.recipes.tune.session import Session
from beholder.recipes.tune.sets import open_sets, read_sets
from beholder.recipes.tune.settings import LEARNING_RATE, RANK, TuneConfig
from beholder.recipes.tune.ship import open_model
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import derive
from beholder.train.loop import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--data", required=True)
    parser.add_argument("--guard", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=RANK)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lr", type=float, default=LEARNING_RATE)
    parser.add_argument("--full-lr", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip-full", action="store_true")
    options = parser.parse_args()
    results = tune(
        options.model, data=options.data, guard=options.guard, out=options.out, rank=options.rank, steps=options.steps,
        lr=options.lr, seed=options.seed, threads=options.threads, log=Log(),
    )  # fmt: skip
    steps = results["tuning"]["steps"]
    table = {
        f"low-rank + blend ({results['shipped']['share']:.0%} kept)": row(results, "change"),
        "low-rank": row(results, "change_tuned"),
    }
    if not options.skip_full:
        table["full fine-tuning"] = full(options, steps)
    before = {name: results[name]["before"]["value"] for name in ("own", "general")}
    told = {"before": before, "steps": steps, "lr": options.lr, "full_lr": options.full_lr, "seed": options.seed}
    print(json.dumps({**told, "table": table, "machine": results["machine"]}, indent=2))


def row(results: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: results[name][key] for name in ("own", "general")}


def full(options: argparse.Namespace, steps: int) -> dict[str, Any]:
    """All weights but the factor on cosines, by the same loss on the same batches."""
    config = TuneConfig(
        options.model, options.data, options.guard, options.rank, options.steps, options.full_lr, seed=options.seed,
        threads=options.threads,
    )  # fmt: skip
    device = pick_device("auto", options.threads)
    _, space = open_model(options.model, device)
    with tempfile.TemporaryDirectory() as folder, RunFolder.open(Path(folder) / "run", to_json(config)) as run:
        session = Session(config, run, device, Limits(), Log(quiet=True))
        sets = open_sets(session, space, *read_sets(session))
        learned = sets[0].learned
        assert learned is not None
        model = copy.deepcopy(cast(nn.Module, space.model)).requires_grad_(True)
        cast(PairModel, model).logit_scale.requires_grad_(False)
        began = time.perf_counter()
        train(
            model, make_objective(space), make_stream(learned, space, derive(config.seed, "stream")),
            plan=make_plan(steps, options.full_lr, config.seed), device=device, folder=run.scratch("full"),
        )  # fmt: skip
        seconds = time.perf_counter() - began
        told: dict[str, Any] = {"seconds": round(seconds, 1)}
        for name, one in zip(("own", "general"), sets, strict=True):
            before, after = (
                ask(cast(PairModel, one_model), one.test, space.pixels, device) for one_model in (space.model, model)
            )
            told[name] = compare(before, after, config.seed)
    return told


if __name__ == "__main__":
    main()
