"""The page of a tuning run: verdict first, both scores side by side, whatever is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from beholder.evaluate.report_tune import render_tune_report, write_tune_report


def scores(before: float, tuned: float, shipped: float) -> dict[str, Any]:
    told = {
        name: {"value": value, "interval": [value - 0.05, value + 0.05]}
        for name, value in (("before", before), ("tuned", tuned), ("shipped", shipped))
    }
    changes = {
        name: {"difference": value - before, "interval": [value - before - 0.04, value - before + 0.04]}
        for name, value in (("change", shipped), ("change_tuned", tuned))
    }
    return {"metric": "balanced accuracy", **told, **changes}


def results() -> dict[str, Any]:
    return {
        "name": "tiles <b>", "version": "0.1", "created": "2026-11-21T10:15:00+00:00", "seed": 0, "model": "embedded",
        "command": "beholder tune embedded --data tiles --guard general --out runs/x", "wall_seconds": 83.0,
        "data": {"folder": "tiles", "description": "folder per class", "num_train": 60, "num_validation": 20,
                 "num_test": 21},
        "guard": {"folder": "general", "description": "pairs", "num_train": 0, "num_validation": 40, "num_test": 41},
        "tuning": {"steps": 40, "rank": 8, "lr": 5e-4, "stopped": None, "losses": [[0, 2.0], [1, 1.5], [2, 1.0]]},
        "blend": {"shares": [0.0, 0.5, 1.0], "own": [0.4, 0.6, 0.7], "general": [0.9, 0.88, 0.5], "chosen": 0.5,
                  "may_lose": None},
        "own": scores(0.41, 0.7, 0.632), "general": scores(0.9, 0.5, 0.88),
        "shipped": {"share": 0.5, "vetoed": None},
        "verdict": {"outcome": "helped", "sentence": "Your own score rose by 22.2 points.", "aside": "50% is shipped."},
        "cost": {"rows": [{"stage": "tuning", "seconds": 40.0, "joules": 300.0, "peak_memory_bytes": 10**9,
                           "estimated_seconds": 35.0}], "total": {"seconds": 83.0, "joules": 800.0}},
        "machine": {"device": "CPU, 1 thread", "cores": 1},
    }  # fmt: skip


def shown(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</style>")[1])).replace("\N{NO-BREAK SPACE}", " ")


def test_the_verdict_comes_before_the_table_and_the_table_before_the_chart() -> None:
    page = render_tune_report(results())
    order = [page.index(one) for one in ("Your own score rose", "<table", 'class="chart"', "What it cost")]
    assert order == sorted(order)
    told = shown(page)
    for said in ("41.0 %", "63.2 %", "70.0 %", "+22.2", "−2.0", "−40.0", "50 %", "chosen", "Rank 8", "1 min 23 s"):
        assert said in told


def test_it_is_whole_by_itself_and_data_is_no_code(tmp_path: Path) -> None:
    write_tune_report(results(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "tiles &lt;b&gt;" in page and "tiles <b>" not in page

    class Balanced(HTMLParser):
        depth: tuple[str, ...] = ()

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("meta", "link", "br", "hr", "img"):
                self.depth = (*self.depth, tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.depth[-1] == tag
            self.depth = self.depth[:-1]

    parser = Balanced()
    parser.feed(page)
    assert parser.depth == ()


def test_without_a_guard_it_says_so() -> None:
    told = shown(render_tune_report({**results(), "guard": None, "general": None}))
    assert "there was no guard set" in told and "General," not in told


@pytest.mark.parametrize("missing", sorted(results()))
def test_any_value_may_be_missing(missing: str) -> None:
    for value in (None, {}):
        page = render_tune_report({**results(), missing: value})
        assert page.endswith("</html>\n")


def test_a_run_that_broke_down_has_no_chart_of_blends() -> None:
    told = results()
    told["blend"] = {"shares": [0.0], "own": [0.4], "general": [0.9], "chosen": 0.0, "may_lose": None}
    assert "How much of it to keep" not in render_tune_report(told)
