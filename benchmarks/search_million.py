"""A million vectors on two cores: how long, in how much memory, and how well the ten nearest are found.

    python benchmarks/search_million.py --out DIR

Contenders, one after the other, each in a process of its own over the same mapped file of half-precision rows: an exact
product by numpy in single precision; ours exact (the mapped rows, block by block); ours approximate (faiss: lists of
rows near a centre, a byte a value, the best compared again with the true rows); usearch (a graph, a byte a value, the
best compared again likewise). numpy's product is timed in each of those processes too, so that a busy machine shows.

The vectors are clustered, as embeddings are: centres in 64 of the dimensions, cluster sizes by a power law (exponent
1.2), a spread within clusters in the same 64 dimensions and a little in all. Half of the queries are drawn alike
("image"), half are shifted by a constant and noisier ("text": what texts are in a space such as CLIP's, Liang et al.
2022, arXiv 2203.02053). Truth is the exact ten nearest of the half-precision rows.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beholder.index.exact import best_rows
from beholder.index.neighbours import Neighbours
from beholder.runtime.device import pick_device
from beholder.runtime.machine import machine

NEAREST = 10
NUM_INNER, CLUSTER_ROWS = 64, 100
NUM_TIMED = 5
Search = Callable[[np.ndarray], np.ndarray]
"""One query to the numbers of its nearest rows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--queries", type=int, default=500, help="of each kind")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--contenders", nargs="+", choices=tuple(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    where = {**machine(pick_device("cpu", asked.threads)), **{n: metadata.version(n) for n in ("faiss-cpu", "usearch")}}
    tasks = {}
    for width in asked.widths:
        path = asked.out / f"rows-{asked.count}x{width}.f16"
        table, queries = draw(path, asked.count, width, asked.queries)
        truth = {kind: exact_numbers(table, rows) for kind, rows in queries.items()}
        tasks[width] = path, asked.count, width, queries, truth, asked.threads, asked.out
    lines: list[dict[str, Any]] = []
    for name in asked.contenders:
        for width in asked.widths:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                lines.append({"width": width, "contender": name, **pool.apply(measure, ((name, *tasks[width]),))})
            tell(lines[-1])
            result = {"count": asked.count, "machine": where, "seed": 0, "lines": lines}
            (asked.out / "search_million.json").write_text(json.dumps(result, indent=2) + "\n")


def draw(path: Path, count: int, width: int, num_queries: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Clustered unit vectors in a file, and queries of both kinds in single precision. The same for the same sizes."""
    generator = np.random.default_rng(0)
    num_clusters = max(2, count // CLUSTER_ROWS)
    shares = generator.pareto(1.2, num_clusters) + 1
    edges = np.cumsum(shares / shares.sum())
    inner = np.linalg.qr(generator.standard_normal((width, NUM_INNER)))[0].T.astype(np.float32)
    centres = generator.standard_normal((num_clusters, NUM_INNER), np.float32)
    shift = unit(generator.standard_normal((1, width), np.float32))

    def noise(num_rows: int, size: float) -> np.ndarray:
        return generator.standard_normal((num_rows, width), np.float32) * (size / math.sqrt(width))

    def rows(num_rows: int) -> np.ndarray:
        cluster = np.minimum(np.searchsorted(edges, generator.random(num_rows)), num_clusters - 1)
        spread = generator.standard_normal((num_rows, NUM_INNER), np.float32) * 0.6
        return unit((centres[cluster] + spread) / math.sqrt(NUM_INNER) @ inner + noise(num_rows, 0.3))

    queries = {"image": rows(num_queries)}
    queries["text"] = unit(0.6 * rows(num_queries) + 0.8 * shift + noise(num_queries, 0.3))
    table = np.memmap(path, np.float16, "w+", shape=(count, width))
    for first in range(0, count, 50_000):
        table[first : first + 50_000] = rows(min(50_000, count - first))
    table.flush()
    return np.memmap(path, np.float16, "c", shape=(count, width)), queries


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact_numbers(table: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return best_rows(table, torch.from_numpy(queries), NEAREST)[1].numpy()


def measure(task: tuple[Any, ...]) -> dict[str, Any]:
    """In a process of its own: build, then the first setting that finds 95 in 100 of both kinds."""
    name, path, count, width, queries, truth, threads, out = task
    torch.set_num_threads(threads)
    table = np.memmap(path, np.float16, "c", shape=(count, width))
    memory, begun = Memory(), time.perf_counter()
    cpu = time.process_time()
    settings, num_bytes = CONTENDERS[name](table, threads, out)
    line: dict[str, Any] = {
        "build_seconds": time.perf_counter() - begun,
        "build_cpu_seconds": time.process_time() - cpu,
        "index_bytes": num_bytes,
        "peak_bytes": memory.stop(),
    }
    for setting, search in settings:
        line["setting"] = setting
        for kind, rows in queries.items():
            timed = rows if num_bytes else rows[:NUM_TIMED]  # exact ones take a while
            seconds, cpu_seconds, found = [], [], []
            for query in timed:
                began, cpu = time.perf_counter(), time.process_time()
                found.append(search(query))
                seconds.append(time.perf_counter() - began)
                cpu_seconds.append(time.process_time() - cpu)
            hits = [len(set(one) & set(two)) for one, two in zip(found, truth[kind].tolist(), strict=False)]
            line[f"{kind}_recall"] = float(np.mean(hits)) / NEAREST
            line[f"{kind}_ms"] = 1000 * float(np.median(seconds))
            line[f"{kind}_cpu_ms"] = 1000 * float(np.median(cpu_seconds))
            line[f"{kind}_ms_95"] = 1000 * float(np.quantile(seconds, 0.95))
        if min(line["image_recall"], line["text_recall"]) >= 0.95:
            break
    if name != "numpy":
        line["numpy_ms"] = numpy_milliseconds(table, queries["image"][:5])
    return line


class Memory:
    """The largest private memory of this process (mapped files are the system's), sampled."""

    def __init__(self) -> None:
        self.largest, self._is_over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._is_over.set()
        self._thread.join()
        return self.largest

    def _watch(self) -> None:
        while True:
            lines = dict(one.split(":", 1) for one in Path("/proc/self/status").read_text().splitlines())
            self.largest = max(self.largest, 1024 * int(lines["RssAnon"].split()[0]))
            if self._is_over.wait(0.1):
                return


def numpy_milliseconds(table: np.ndarray, queries: np.ndarray) -> float:
    ((_, search),), _ = build_numpy(table, 0, Path())
    seconds = []
    for query in queries:
        began = time.perf_counter()
        search(query)
        seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds))


def build_numpy(table: np.ndarray, threads: int, out: Path) -> tuple[list[tuple[str, Search]], int]:
    rows = table.astype(np.float32)

    def search(query: np.ndarray) -> np.ndarray:
        scores = rows @ query
        return np.argpartition(-scores, NEAREST)[:NEAREST]

    return [("float32 in memory", search)], 0


def build_exact(table: np.ndarray, threads: int, out: Path) -> tuple[list[tuple[str, Search]], int]:
    return [("float16, mapped", lambda query: exact_numbers(table, query[None])[0])], 0


def build_lists(table: np.ndarray, threads: int, out: Path) -> tuple[list[tuple[str, Search]], int]:
    built = Neighbours.build(table)
    path = out / "lists.faiss"
    built.save(path)
    lists = Neighbours.open(path)
    assert lists is not None
    setting = f"{lists.config.num_probes} lists, measured recall {lists.config.recall:.3f}"
    search = lambda query: compare_again(table, lists.candidates(torch.from_numpy(query), 4 * NEAREST), query)  # noqa: E731
    return [(setting, search)], path.stat().st_size


def build_graph(table: np.ndarray, threads: int, out: Path) -> tuple[list[tuple[str, Search]], int]:
    from usearch.index import Index

    graph = Index(ndim=table.shape[1], metric="ip", dtype="i8", connectivity=16, expansion_add=64)
    for first in range(0, len(table), 20_000):
        rows = table[first : first + 20_000].astype(np.float32)
        graph.add(np.arange(first, first + len(rows)), rows, threads=threads)
    graph.save(out / "graph.usearch")

    def setting(expansion: int) -> Search:
        def search(query: np.ndarray) -> np.ndarray:
            graph.expansion_search = expansion
            found = graph.search(query, 4 * NEAREST, threads=1).keys
            return compare_again(table, np.asarray(found, np.int64), query)

        return search

    settings = [(f"expansion {size}", setting(size)) for size in (64, 128, 256, 512, 1024, 2048)]
    return settings, (out / "graph.usearch").stat().st_size


def compare_again(table: np.ndarray, numbers: np.ndarray, query: np.ndarray) -> np.ndarray:
    scores = np.asarray(table[numbers], np.float32) @ query
    return numbers[np.argsort(-scores)[:NEAREST]]


CONTENDERS = {"numpy": build_numpy, "lists (faiss)": build_lists, "graph (usearch)": build_graph, "exact": build_exact}


def tell(line: dict[str, Any]) -> None:
    kinds = "  ".join(
        f"{kind} {line[f'{kind}_recall']:.3f} at {line[f'{kind}_ms']:.2f} ms (cpu {line[f'{kind}_cpu_ms']:.2f})"
        for kind in ("image", "text")
    )
    print(
        f"{line['width']:>4}  {line['contender']:<16} {kinds}  build {line['build_seconds']:.0f} s "
        f"(cpu {line['build_cpu_seconds']:.0f}), index {line['index_bytes'] / 1e6:.0f} MB, peak "
        f"{line['peak_bytes'] / 1e6:.0f} MB, numpy {line.get('numpy_ms', line['image_ms']):.0f} ms, {line['setting']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
