"""The house: imports point down, no package imports another of its line, files and functions stay on a page."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent / "src" / "beholder"
LINES = (
    {"types", "version"},
    {"config"},
    {"runtime"},
    {"data", "checkpoint", "metrics", "trunk", "index"},
    {"tokenizers", "models", "objectives"},
    {"train", "inference", "backends", "pretrained"},
    {"tasks"},
    {"evaluate", "serve", "portable"},
    {"recipes"},
    {"api", "cli"},
)
LEVEL = {name: level for level, names in enumerate(LINES) for name in names}
SEES_EVERYTHING = {"__init__"}
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 80
TOO_LONG_STILL: set[str] = set()
"""Files and functions that are longer: the list may only shrink."""
BUILDS_ON = {("scale_law", "lvm"), ("describe", "language"), ("lvm", "tokenizer"), ("text_to_image", "tokenizer")}
"""Recipes whose stages another recipe takes; what more of them need lies beside their folders."""
BANNED_NAMES = {"utils.py", "common.py", "helpers.py", "misc.py"}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def unit_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_units(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """(unit, whether at the top level) of every import of our own."""
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "beholder" else [base]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("beholder."):
                yield name.split(".")[1], id(node) in top


def test_every_file_has_a_place_in_the_house() -> None:
    unknown = {unit_of(path) for path, _ in modules()} - LEVEL.keys() - SEES_EVERYTHING
    assert not unknown


def test_imports_point_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {unit}"
        for path, tree in modules()
        if unit_of(path) not in SEES_EVERYTHING
        for unit, _ in imported_units(tree)
        if unit != unit_of(path) and LEVEL[unit] >= LEVEL[unit_of(path)]
    ]
    assert not wrong


def test_files_of_a_package_import_each_other_without_circles() -> None:
    imports: dict[str, set[str]] = {}
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path, _ in modules()}
    for path, tree in modules():
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("beholder."):
                base = (node.module or "").removeprefix("beholder.")
                for candidate in (base, *(f"{base}.{alias.name}" for alias in node.names)):
                    if candidate in names:
                        imports.setdefault(own, set()).add(candidate)

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        for step in imports.get(start, set()) - seen:
            seen.add(step)
            if step == goal or reaches(step, goal, seen):
                return True
        return False

    assert not [name for name in imports if reaches(name, name, set())]


def test_recipes_leave_each_others_stages_alone() -> None:
    folders = {path.parent.name for path, _ in modules() if path.parent.parent.name == "recipes"}
    taken = {
        (path.parent.name, parts[2])
        for path, tree in modules()
        if path.parent.name in folders
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and len(parts := (node.module or "").split(".")) > 2
        and parts[:2] == ["beholder", "recipes"]
        and parts[2] in folders - {path.parent.name}
    }
    assert taken == BUILDS_ON


def test_lazy_imports_live_in_the_command_line_and_for_extras_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {unit} inside a function"
        for path, tree in modules()
        if unit_of(path) not in {"cli", *SEES_EVERYTHING}
        for unit, is_top in imported_units(tree)
        if not is_top and not _is_for_types(tree, unit)
    ]
    assert not wrong


def _is_for_types(tree: ast.Module, unit: str) -> bool:
    """Whether the import stands under `if TYPE_CHECKING:`."""
    for node in tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return any(unit in ast.unparse(line) for line in node.body)
    return False


def test_files_and_functions_stay_on_a_page() -> None:
    long = set()
    for path, tree in modules():
        name = str(path.relative_to(ROOT))
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES_OF_A_FILE:
            long.add(name)
        for node in ast.walk(tree):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION:
                long.add(f"{name}:{node.name}")
    assert long == TOO_LONG_STILL


def test_files_say_what_they_are() -> None:
    silent = [str(path.relative_to(ROOT)) for path, tree in modules() if not ast.get_docstring(tree)]
    assert not silent
    assert not [path for path in ROOT.rglob("*.py") if path.name in BANNED_NAMES]


def test_no_pickle_is_read_but_the_named_one() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "pickle.load", "pickle.loads"}
    }
    assert readers == {"pretrained/catalogue.py"}
