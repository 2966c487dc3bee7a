"""Write the table of the solar-cell images that the package `elpv-dataset` carries: path, label, module, wafer.

    pip install elpv-dataset
    python examples/solar_cells.py solar_cells.csv

2,624 electroluminescence images of solar cells (Deitsch et al. 2019, doi 10.1016/j.solener.2019.02.067), licence
CC BY-NC-SA 4.0: not for commercial use. The label is "defective" where the experts' defect probability is at least 0.5.

The package does not tell which solar module a cell was cut from, and cells of one module look alike. The images come
module by module, so modules are *inferred*: each run of one wafer type is cut into equal parts of about 60 cells,
which gives 44, the number of modules that the authors state.
"""

from __future__ import annotations

import csv
import importlib.util
import itertools
import sys
from pathlib import Path

CELLS_PER_MODULE = 60


def read_cells(folder: Path) -> list[tuple[Path, float, str]]:
    """(image, defect probability, wafer type) of every cell, in the package's order."""
    cells = []
    for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, probability, wafer = line.split()
        cells.append((folder / name, float(probability), wafer))
    return cells


def infer_modules(wafers: list[str]) -> list[str]:
    """A module name for every cell: runs of one wafer type in parts of about 60 cells."""
    modules: list[str] = []
    number = itertools.count(1)
    for wafer, run in itertools.groupby(wafers):
        length = len(list(run))
        parts = max(1, round(length / CELLS_PER_MODULE))
        for part in range(parts):
            name = f"{wafer}-{next(number):02d}"
            modules += [name] * (length * (part + 1) // parts - length * part // parts)
    return modules


def main(table: Path) -> None:
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        sys.exit("The images are missing; install them with: pip install elpv-dataset")
    cells = read_cells(Path(spec.origin).parent / "data")
    modules = infer_modules([wafer for _, _, wafer in cells])
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "label", "module", "wafer"])
        for (path, probability, wafer), module in zip(cells, modules, strict=True):
            writer.writerow([path, "defective" if probability >= 0.5 else "functional", module, wafer])
    print(f"{len(cells):,} solar cells, {len(set(modules))} modules (inferred from the order), {table}")
    print("Images: elpv-dataset, S. Deitsch et al., licence CC BY-NC-SA 4.0 (not for commercial use).")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
