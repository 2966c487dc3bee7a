"""The last stage: results, the model folder with its card, and the report."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

import numpy as np

from beholder.evaluate.report_reconstruction import headline, write_reconstruction_report
from beholder.pretrained.part_folder import CODEC, save_part
from beholder.recipes.results import begin_results, end_run
from beholder.recipes.rows_of_pictures import as_png
from beholder.recipes.spoken import spoken
from beholder.recipes.tokenizer.judge import Judged
from beholder.recipes.tokenizer.learn import BATCH_SIZE, Learned, num_watched
from beholder.recipes.tokenizer.pictures import NUM_FOLDS, Pictures
from beholder.recipes.tokenizer.settings import TokenizerConfig
from beholder.recipes.tokenizer.sitting import Sitting
from beholder.runtime.energy import Cost
from beholder.runtime.files import told_kindly
from beholder.runtime.log import energy
from beholder.tasks.provenance import describe_origin, encode_picture
from beholder.train.pace import Timed
from beholder.version import VERSION

_NUM_SHOWN = 12
_MOST_LISTED = 200
_SPOKEN = (
    "size",
    "stride",
    "kind",
    "codes",
    "levels",
    "num_codes",
    "also",
    "group",
    "budget",
    "adversary",
    "seed",
    "device",
    "threads",
    "max_pixels",
)
_NETWORKS = {"conv": "A convolutional codec", "vit": "A transformer codec"}


def tell(sitting: Sitting, pictures: Pictures, learned: Learned, judged: Judged, timed: Timed) -> dict[str, Any]:
    """Everything that is written at the end; `results.json` comes last and marks the run as finished."""
    run, log = sitting.run, sitting.log
    log.stage("Judge", headline(judged.figures))
    shown, album = _gallery(pictures, judged, sitting.config.seed)
    results: dict[str, Any] = {
        **begin_results(run, sitting.device, command(sitting), sitting.config.seed),
        "data": _data(sitting, pictures),
        "curation": {
            "num_duplicates": len(pictures.curation.duplicates),
            "quarantine": [asdict(refused) for refused in pictures.curation.quarantine[:_MOST_LISTED]],
        },
        "reconstruction": judged.figures,
        "training": _training(sitting, learned, pictures),
        "gallery": shown,
    }
    results["cost"] = _cost(sitting, timed)
    results["wall_seconds"] = results["cost"]["total"]["seconds"]
    with told_kindly(run.path):
        save_part(
            run.path / "model", CODEC, learned.codec.cpu(), sitting.codec,
            facts=_facts(sitting, pictures, results), card=_card(sitting, results),
        )  # fmt: skip
        write_reconstruction_report(results, album, run.path / "report.html")
    end_run(run, log, results)
    return results


def command(sitting: Sitting) -> str:
    """The command line that repeats this run: what was asked for beside the defaults."""
    asked, usual = sitting.config, TokenizerConfig(sitting.config.data)
    words = ["beholder", "train", "tokenizer", "--data", asked.data, "--out", str(sitting.run.path)]
    words += spoken(asked, usual, _SPOKEN, always=("budget",))
    return shlex.join(words)


def _data(sitting: Sitting, pictures: Pictures) -> dict[str, Any]:
    curation = pictures.curation
    return {
        "folder": sitting.config.data,
        "layout": pictures.source.layout,
        "description": pictures.source.description,
        "num_found": len(curation.samples) + len(curation.quarantine),
        "num_kept": len(curation.samples),
        "num_quarantined": len(curation.quarantine),
        "num_groups": len(np.unique(pictures.groups)),
        "split": {"train": len(pictures.learned), "test": len(pictures.judged)},
        "notes": [note for note in pictures.source.notes if "--labels" not in note],  # this verb has no such option
    }


def _training(sitting: Sitting, learned: Learned, pictures: Pictures) -> dict[str, Any]:
    by_step = {entry["step"]: entry["total"] for entry in sitting.run.records("step")}  # once, though repeated
    stride = max(1, len(by_step) // 200)
    cost = sitting.run.costs().get("training")
    probes = learned.story["probes"]
    seen = [f"pixels and features of EfficientNet-Lite0, {BATCH_SIZE} pictures a step"]
    seen += ["an adversary after a third of the steps"] * sitting.config.adversary
    count = num_watched(len(pictures.held_out))
    return {
        "backbone": _NETWORKS[sitting.codec.kind],
        "objective": f"painting pictures from their codes ({', '.join(seen)})",
        "steps": learned.story["steps"],
        "batch_size": learned.story["batch_size"],
        "num_images": len(pictures.learned),
        "seconds": cost.seconds if cost else None,
        "losses": [[step, by_step[step]] for step in sorted(by_step)[::stride]],
        "probes": [
            {"name": title, "values": [[one["step"], one[name]] for one in probes]}
            for name, title in (
                ("psnr", f"PSNR on {count} held-out pictures, dB"),
                ("share_used", "Codes used by these"),
            )
        ],
    }


def _gallery(pictures: Pictures, judged: Judged, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The worst, and those around the middle; and their files."""
    origin = describe_origin("train tokenizer", "of this run", seed, "")
    order, keys = np.argsort(judged.psnr, kind="stable"), pictures.keys
    worst = order[:_NUM_SHOWN]
    rest = order[_NUM_SHOWN:]
    start = max(0, (len(rest) - _NUM_SHOWN) // 2)
    album: dict[str, bytes] = {}

    def show(rows: np.ndarray) -> list[dict[str, Any]]:
        shown = []
        for row in rows.tolist():
            names = {"picture": f"original-{row}", "painted": f"painted-{row}"}
            album[names["picture"]] = as_png(pictures.held_out[row].transpose(1, 2, 0))
            album[names["painted"]] = encode_picture(judged.painted[row].transpose(1, 2, 0), origin)
            shown.append({"key": keys[row], "psnr": float(judged.psnr[row]), "pictures": list(names.values())})
        return shown

    return {"typical": show(rest[start : start + _NUM_SHOWN]), "worst": show(worst)}, album


def _cost(sitting: Sitting, timed: Timed) -> dict[str, Any]:
    costs = sitting.run.costs()
    total = Cost()
    for cost in costs.values():
        total = total + cost
    estimated = {"training": timed.seconds}
    return {
        "rows": [
            {"stage": name, **asdict(cost), "estimated_seconds": estimated.get(name)} for name, cost in costs.items()
        ],
        "total": asdict(total),
        "disk_bytes": sum(path.stat().st_size for path in sitting.run.path.rglob("*") if path.is_file()),
    }


def _facts(sitting: Sitting, pictures: Pictures, results: dict[str, Any]) -> dict[str, Any]:
    """What a model that reads these codes has to know, beside the figures."""
    return {
        "made_by": f"beholder {VERSION} train tokenizer",
        "data": sitting.config.data,
        "image_size": sitting.codec.image_size,
        "fit": "shorter side to image_size, middle cut out",
        "pixels": "-1 to 1",
        "split": {"seed": sitting.config.seed, "num_folds": NUM_FOLDS, "held_out_fold": 0},
        "pictures": {"learned": [pictures.hashes[row] for row in np.flatnonzero(~pictures.is_held_out)]},
        "steps": results["training"]["steps"],
        "held_out": results["reconstruction"],
    }


def _card(sitting: Sitting, results: dict[str, Any]) -> str:
    figures = results["reconstruction"]
    codes, ends = figures["codes"], figures["ssim"]["interval"]
    around = f" (95 % interval {ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    return (
        "# Image tokenizer\n\n"
        f"{headline(figures)}\n\n"
        f"- SSIM {figures['ssim']['value']:.3f}{around}, "
        f"{figures['num_judged']:,} pictures held out.\n"
        f"- Fréchet distance {figures['frechet']['painted']:.2f}, where other originals have "
        f"{figures['frechet']['other_originals']:.2f}; features: {figures['frechet']['features']}. "
        "Not comparable with distances of other features.\n"
        f"- {codes['share_used']:.1%} of the codes come up in {codes['num_pictures']:,} pictures; perplexity "
        f"{codes['perplexity']:,.0f}.\n"
        f"- {figures['num_parameters']:,} weights; {results['training']['steps']:,} steps; "
        f"{energy(results['cost']['total']['joules'])}.\n\n"
        f"Trained on {sitting.config.data} by beholder {VERSION}: `{results['command']}`.\n\n"
        "```python\nimport beholder\n\n"
        f'tokenizer = beholder.load("{sitting.run.path / "model"}").model\n'
        "codes = tokenizer.encode(pixels)  # B 3 H W in -1 to 1, to B h w\n"
        "pixels = tokenizer.decode(codes)\n```\n"
    )
