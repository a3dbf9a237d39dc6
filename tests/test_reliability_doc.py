"""Every promise of docs/reliability.md has a test, and every torture test keeps one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
FOLDERS = {"P": HERE / "process", "U": HERE / "unit", "V": HERE / "vendor"}
NAMED = [
    (FOLDERS[folder] / module, test)
    for folder, module, test in re.findall(r"`([PUV])/(test_\w+\.py)::(test_\w+)`", TEXT)
]


def defined_in(module: Path) -> set[str]:
    """The names of a module's tests."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name for name in names if name.startswith("test_")}


def test_every_test_that_is_named_exists() -> None:
    """No promise is kept by a test that was renamed or deleted."""
    missing = [
        f"{module.name}::{test}"
        for module, test in NAMED
        if not module.is_file() or test not in defined_in(module)
    ]
    assert NAMED and missing == []


def test_every_promise_names_a_test() -> None:
    """A row of a table is a promise."""
    rows = re.findall(r"^\| (?!promise|---)(.+) \|$", TEXT, re.M)
    assert rows and [row for row in rows if "::test_" not in row] == []


def test_every_torture_test_keeps_a_promise() -> None:
    """What is not worth a sentence is not worth its seconds."""
    modules = [*FOLDERS["P"].glob("test_torture_*.py"), FOLDERS["V"] / "test_lifetime.py"]
    unnamed = [
        f"{module.name}::{test}"
        for module in modules
        for test in defined_in(module)
        if (module, test) not in NAMED
    ]
    assert unnamed == []
