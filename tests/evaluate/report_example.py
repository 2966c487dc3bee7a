"""A realistic run of solar-cell images, made up and drawn here, for the tests of the report page."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

HOSTILE = "<script>alert('x')</script> \"quoted\"\n&amp;"


def example_results() -> dict[str, Any]:
    """Every key of the schema, with hostile names among the classes and files."""
    return {
        "version": "0.1.0",
        "name": "Solar cells, roof inspection",
        "created": "2026-11-21T10:15:00Z",
        "command": "beholder adapt photos/ --out runs/solar --budget 20min",
        "seed": 0,
        "wall_seconds": 1134.2,
        "machine": {"device": "CPU, 2 cores", "python": "3.12.3", "torch": "2.13.0", "cores": 2},
        "data": _data(),
        "curation": _curation(),
        "verdict": _verdict(),
        "curve": _curve(),
        "labels_saved": _labels_saved(),
        "random_split": {
            "grouped": 0.871,
            "random": 0.904,
            "flatters": 0.033,
            "sentence": "Had images of one module been allowed on both sides, the score would have looked "
            "3.3 points better than it is.",
        },
        "score": {
            "metric": "AUC",
            "value": 0.871,
            "interval": [0.842, 0.897],
            "accuracy": 0.834,
            "balanced_accuracy": 0.791,
            "f1": 0.768,
            "calibration_error": 0.041,
            "confusion": {
                "labels": ["functional", "cracked", HOSTILE],
                "counts": [[402, 31, 4], [58, 141, 9], [3, 6, 22]],
            },
        },
        "embeddings": _embeddings(),
        "gallery": _gallery(),
        "unusual": _unusual(),
        "groups": _groups(),
        "explanation": {
            "sentence": "Covering what the heat map marks costs the model three times as much certainty as "
            "covering as much at random.",
            "deletion": {"important_drop": 0.214, "random_drop": 0.068, "share_better": 0.83, "num": 120},
        },
        "training": _training(),
        "finetuning": _finetuning(),
        "cost": _cost(),
    }


def example_pictures(side: int = 96) -> dict[str, bytes]:
    """JPEG bytes for every id that the example mentions."""
    pictures = {f"cell{index}": _cell(index, side) for index in range(24)}
    pictures.update({f"heat{index}": _cell(index, side, has_heat=True) for index in range(24)})
    return pictures


def _cell(index: int, side: int, has_heat: bool = False) -> bytes:
    generator = np.random.default_rng(index)
    y, x = np.mgrid[0:side, 0:side] / side
    light = 150 + 40 * np.cos(2 * (x - 0.5)) * np.cos(2 * (y - 0.5)) + generator.normal(0, 6, (side, side))
    light -= 60 * (np.abs((x * 4) % 1 - 0.5) < 0.04)
    if index % 3 == 0:
        light -= 70 * ((x + 0.3 * y > 0.7) & (y > generator.uniform(0.2, 0.6)))
    image = Image.fromarray(light.clip(0, 255).astype(np.uint8)).convert("RGB")
    pen = ImageDraw.Draw(image)
    points = [(float(px) * side, float(py) * side) for px, py in generator.uniform(0.1, 0.9, (4, 2))]
    if index % 3 == 1:
        pen.line(points, fill=(40, 40, 46), width=2)
    if has_heat:
        cx, cy = points[0][0] / side, points[0][1] / side
        heat = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.04)[..., None]
        warm = np.array([255, 120, 20]) * heat + np.array([30, 40, 120]) * (1 - heat)
        image = Image.fromarray((0.5 * np.asarray(image) + 0.5 * warm).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _data() -> dict[str, Any]:
    return {
        "folder": "photos",
        "layout": "a folder per class",
        "description": "2,624 grey images of 300 × 300 pixels",
        "num_found": 2624,
        "num_kept": 2561,
        "num_quarantined": 19,
        "num_labelled": 2100,
        "classes": {"functional": 1411, "cracked": 597, HOSTILE: 92},
        "num_groups": 44,
        "group_source": "grouped by the file name",
        "split": {"train": 1884, "test": 677},
        "notes": [
            "461 images have no label; they were used for adapting only.",
            "Three folders hold fewer than 20 images.",
        ],
    }


def _curation() -> dict[str, Any]:
    return {
        "quarantine": [
            {"key": f"module_{index:02d}/cell_{index * 7:04d}.png", "reason": reason}
            for index, reason in enumerate(
                ["not an image"] * 11 + ["cut off in the middle"] * 5 + ["smaller than 16 pixels"] * 3
            )
        ]
        + [{"key": HOSTILE, "reason": "not an image"}],
        "duplicates": [
            {
                "kind": "exact",
                "keys": ["module_03/cell_0012.png", "module_03/copy of cell_0012.png"],
                "pictures": ["cell2", "cell2"],
            },
            {
                "kind": "near",
                "keys": ["module_05/cell_0101.png", "module_05/cell_0102.png"],
                "pictures": ["cell5", "cell8"],
            },
        ],
        "conflicts": [
            {"keys": ["module_07/cell_0003.png", "module_09/cell_0003.png"], "labels": ["functional", "cracked"]}
        ],
        "outliers": [
            {"key": f"module_11/cell_{index:04d}.png", "what": what, "value": value, "picture": f"cell{index}"}
            for index, what, value in ((9, "very dark", 12.4), (10, "blurred", 3.1), (11, "almost empty", 0.02))
        ],
    }


def _verdict() -> dict[str, Any]:
    return {
        "outcome": "helped",
        "sentence": "Helped: adapting raised the AUC by 2.4 points (95 % interval +0.9 to +3.9); "
        "this data could have shown a gain of 2.1 points.",
        "details": [
            "Shipped: generic + adapted, because validation surely prefers it: with all labels of the training part, "
            "left-out groups say +2.60 points, standard error 0.90.",
            "The gain is largest with few labels: 4.8 points at 5 %.",
        ],
        "metric": "AUC",
        "difference": 0.024,
        "interval": [0.009, 0.039],
        "smallest_gain": 0.021,
        "shipped": "generic + adapted",
        "guard": "Shipped only because the interval leaves out a loss of more than one point.",
        "protocol": "5 splits of 44 modules, no module on both sides, 6 shares of labels, 3 draws each.",
    }


def _curve() -> dict[str, Any]:
    fractions = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0]
    arms = (
        ("trivial", "Brightness only", "trivial", False, [0.552, 0.571, 0.580, 0.592, 0.601, 0.604]),
        ("plain", "Last layer", "last layer", False, [0.602, 0.681, 0.716, 0.752, 0.778, 0.797]),
        ("generic", "Generic", "generic", False, [None, 0.744, 0.778, 0.812, 0.833, 0.847]),
        ("generic_picked", "Generic, picked", "generic", True, [None, 0.752, 0.789, 0.818, 0.835, 0.847]),
        ("adapted", "Generic + adapted", "adapted", False, [0.674, 0.792, 0.818, 0.843, 0.859, 0.871]),
        ("adapted_picked", "Generic + adapted, picked", "adapted", True, [0.688, 0.805, 0.827, 0.849, 0.861, 0.871]),
    )
    width = [0.05, 0.034, 0.028, 0.024, 0.021, 0.020]
    return {
        "metric": "AUC",
        "fractions": fractions,
        "counts": [15, 75, 151, 377, 754, 1507],
        "num_seeds": 3,
        "arms": [
            {
                "name": name,
                "title": title,
                "kind": kind,
                "picked": picked,
                "values": values,
                "low": [None if v is None else round(v - w, 4) for v, w in zip(values, width, strict=True)],
                "high": [None if v is None else round(v + w, 4) for v, w in zip(values, width, strict=True)],
            }
            for name, title, kind, picked, values in arms
        ],
        "left_out": [{"fraction": 0.01, "reason": "one fold has fewer labels than classes for the generic arms"}],
    }


def _labels_saved() -> dict[str, Any]:
    rows = (
        ("trivial", "Brightness only", None, None, None, "Never reaches that score."),
        ("generic", "Generic", 6.1, [4.4, 8.0], 247, "A sixth of the labels is enough."),
        ("adapted", "Generic + adapted", 18.2, [11.0, 27.5], 83, "83 labels instead of 1,507."),
        ("adapted_picked", "Generic + adapted, picked", 21.7, [12.1, 33.0], 69, "69 labels instead of 1,507."),
    )
    return {
        "reference": "plain",
        "level": 0.797,
        "rows": [
            {"name": name, "title": title, "ratio": ratio, "interval": ends, "count": count, "sentence": sentence}
            for name, title, ratio, ends, count, sentence in rows
        ],
        "shares": {"readout": 0.59, "adapting": 0.35, "picking": 0.06},
        "sentence": "To be as good as a plain last layer with all 1,507 labels, the shipped model needs 83.",
    }


def _embeddings() -> dict[str, Any]:
    return {
        "arms": [
            {
                "title": "Generic",
                "effective_rank": 212.4,
                "dimensions": 1280,
                "knn_consistency": 0.81,
                "knn_accuracy": 0.74,
            },
            {
                "title": "Adapted",
                "effective_rank": 148.9,
                "dimensions": 1280,
                "knn_consistency": 0.93,
                "knn_accuracy": None,
            },
        ],
        "sentence": "The adapted features are healthy: they use fewer directions and tell the images apart better.",
        "clusters": [
            {
                "size": 180 - 20 * index,
                "pictures": [f"cell{(index + step) % 24}" for step in range(0, 18, 3)],
                "labels": {"functional": 120 - 25 * index, "cracked": 12 + 18 * index, HOSTILE: index},
            }
            for index in range(4)
        ],
    }


def _gallery() -> dict[str, Any]:
    def answers(first: int, label: str, predicted: str) -> list[dict[str, Any]]:
        return [
            {
                "key": f"module_{index:02d}/cell_{index * 13:04d}_a_rather_long_file_name.png",
                "picture": f"cell{index}",
                "heat": f"heat{index}",
                "label": label,
                "predicted": predicted,
                "probability": 0.97 - 0.03 * (index - first),
            }
            for index in range(first, first + 6)
        ]

    wrong = answers(12, "cracked", "functional")
    wrong[1] |= {"key": HOSTILE, "label": HOSTILE, "predicted": HOSTILE}
    return {"right": answers(0, "cracked", "cracked"), "wrong": wrong}


def _unusual() -> dict[str, Any]:
    return {
        "sentence": "Six images look unlike anything else; a person should look at them.",
        "threshold": 2.31,
        "false_alarm_rate": 0.01,
        "auroc": 0.902,
        "num_reference": 1411,
        "items": [
            {
                "key": f"module_{index:02d}/cell_{index:04d}.png",
                "picture": f"cell{index}",
                "heat": f"heat{index}" if index != 20 else None,
                "score": 4.8 - 0.6 * (index - 18),
                "p_value": 0.0007 * (index - 17),
                "label": "cracked" if index % 2 else None,
            }
            for index in range(18, 24)
        ],
    }


def _groups() -> dict[str, Any]:
    generator = np.random.default_rng(4)
    rows = [
        {
            "group": f"module {index:02d}",
            "num": int(generator.integers(14, 120)),
            "score": round(min(float(generator.normal(0.87, 0.05)), 0.99), 3),
            "share_positive": round(float(generator.uniform(0.1, 0.6)), 2),
        }
        for index in range(14)
    ]
    rows.append({"group": "module 99", "num": 9, "score": None, "share_positive": 0.0})
    return {
        "sentence": "Module 06 is served worst; two modules lie more than five points below the rest.",
        "rows": rows,
    }


def _training() -> dict[str, Any]:
    generator = np.random.default_rng(5)
    steps = range(10, 6010, 10)
    return {
        "objective": "own-class",
        "backbone": "conv",
        "steps": 6000,
        "num_images": 1884,
        "seconds": 803.0,
        "stopped": None,
        "losses": [
            [step, round(float(2.1 * np.exp(-step / 1500) + 0.9 + generator.normal(0, 0.05)), 4)] for step in steps
        ],
        "probes": [
            {"name": "Effective rank", "values": [[0, 212], [1500, 171], [3000, 158], [4500, 151], [6000, 149]]},
            {
                "name": "Finds its own other view",
                "values": [[0, 0.81], [1500, 0.88], [3000, 0.91], [4500, 0.93], [6000, 0.93]],
            },
            {"name": "Mean cosine", "values": [[0, 0.44], [1500, 0.31], [3000, 0.29], [4500, 0.28], [6000, 0.28]]},
        ],
    }


def _finetuning() -> dict[str, Any]:
    return {
        "kind": "low-rank",
        "steps": 470,
        "num_images": 1413,
        "num_validation": 471,
        "gain": 0.011,
        "error": 0.004,
        "kept": True,
        "test": {"before": 0.871, "after": 0.884, "interval": [-0.002, 0.028]},
        "sentence": "Low-rank fine-tuning was kept: +1.10 points, standard error 0.40 on images kept from it; on the "
        "test part the change is +1.3 points (95 % interval -0.2 to +2.8).",
        "stopped": None,
    }


def _cost() -> dict[str, Any]:
    rows = (
        ("Reading and curating", 41.0, 38.0, 600.0),
        ("Generic features", 62.5, 70.0, 1200.0),
        ("Adapting", 803.0, 780.0, 17800.0),
        ("Label curve", 171.0, 190.0, 3400.0),
        ("Report", 9.1, None, None),
    )
    return {
        "rows": [
            {
                "stage": stage,
                "seconds": seconds,
                "estimated_seconds": estimated,
                "joules": joules,
                "joules_source": "processor model" if joules else None,
                "peak_memory_bytes": 1.4e9,
            }
            for stage, seconds, estimated, joules in rows
        ],
        "total": {
            "seconds": 1086.6,
            "estimated_seconds": 1078.0,
            "joules": 23000.0,
            "joules_source": "processor model",
            "peak_memory_bytes": 1.9e9,
        },
        "per_thousand": {"seconds": 21.4, "joules": 440.0, "peak_memory_bytes": 0.9e9},
        "disk_bytes": 48_300_000,
    }
