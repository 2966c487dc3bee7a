"""What `beholder adapt` says and ships on the sets of research/PROTOCOL.md, as a user would run it.

    python benchmarks/domain_shipped.py run --data DATA --out shipped [--set elpv --seeds 0]
    python benchmarks/domain_shipped.py table

Defaults, labels of the set, one thread: about a quarter of an hour a set. A run leaves
research/runs/shipped-SET-SEED.json and is not made again; a killed one goes on. `table` tells the verdict on its own
test part and what is shipped; as far as the verdict can see, a set is worse off where something else than the generic
features is shipped and the interval lies below zero.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domain_sets import SETS, describe_set
from ledger import RUNS, write_run

import beholder
from beholder.runtime.files import read_json
from beholder.runtime.log import Log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--set", choices=SETS, nargs="+", default=SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--budget", default="5m", help="of pretraining")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="a folder for the runs")
    asked = parser.parse_args()
    if asked.what == "run":
        if asked.out is None:
            sys.exit("run needs --out")
        for which in asked.set:
            for seed in asked.seeds:
                run(which, seed, asked)
    for line in table(asked.set, asked.seeds):
        print(line)


def run(which: str, seed: int, asked: argparse.Namespace) -> None:
    name, folder = f"shipped-{which}-{seed}", asked.out / which
    if (RUNS / f"{name}.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config, out = describe_set(which, asked.data, folder, None), folder / f"run-{seed}"
    if (out / "results.json").exists():
        results = read_json(out / "results.json")
    else:
        results = beholder.adapt(
            config.photos, out=out, labels=config.labels, group=config.group, budget=asked.budget, seed=seed,
            threads=config.threads, log=Log(),
        )  # fmt: skip
    write_run(name, {"set": which, "seed": seed, "budget": asked.budget, **told(results)})


def told(results: dict[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of `results.json`."""
    verdict, curve = results["verdict"], results["curve"]
    kept = ("outcome", "difference", "interval", "smallest_gain", "num_groups", "per_fraction", "shipped", "guard")
    return {
        "split": results["data"]["split"],
        "verdict": {key: verdict.get(key) for key in kept},
        "counts": curve["counts"],
        "scores": {arm["title"]: arm["values"] for arm in curve["arms"]},
        "saved": results["labels_saved"]["sentence"],
        "pretraining": {key: results["training"][key] for key in ("objective", "steps", "num_images", "seconds")},
        "cost": results["cost"]["total"],
        "machine": results["machine"],
    }


def table(sets: list[str], seeds: list[int]) -> Iterator[str]:
    for which in sets:
        for seed in seeds:
            path = RUNS / f"shipped-{which}-{seed}.json"
            if not path.exists():
                yield f"{which:20} seed {seed}: not run"
                continue
            found = read_json(path)
            verdict, pretraining = found["verdict"], found["pretraining"]
            low, high = (100 * one for one in verdict["interval"])
            worse = verdict["shipped"] != "generic" and high < 0
            yield (
                f"{which:20} seed {seed}: {verdict['outcome']}, {100 * verdict['difference']:+.2f} points "
                f"({low:+.2f} to {high:+.2f}), {verdict['num_groups']} test groups, {pretraining['steps']} steps; "
                f"shipped: {verdict['shipped']}{', WORSE' if worse else ''}; {found['cost']['cpu_seconds']:.0f} CPU s"
            )
            yield f"{'':20} {found['saved']}"


if __name__ == "__main__":
    main()
