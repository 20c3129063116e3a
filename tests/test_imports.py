"""Imports go one way: schemas <- checkpoints <- sinks <- streams."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ("schemas", "checkpoints", "sinks", "streams")
OURS = (*ORDER, "deploy", "tests")


def imported(module: Path) -> set[str]:
    """The top-level packages that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_those_before_it(package: str) -> None:
    allowed = {*ORDER[: ORDER.index(package) + 1], *(["deploy"] if package == "streams" else [])}
    modules = list((ROOT / package).rglob("*.py"))
    assert modules
    for module in modules:
        assert imported(module) & set(OURS) <= allowed, module


def test_of_streams_only_the_command_line_and_the_demo_know_the_embedded_stack() -> None:
    users = {module for module in (ROOT / "streams").rglob("*.py") if "deploy" in imported(module)}
    parts = {module.relative_to(ROOT / "streams").parts[0] for module in users}
    assert parts <= {"cli.py", "commands", "demo"}


def test_deploy_knows_the_service_nowhere() -> None:
    for module in (ROOT / "deploy").rglob("*.py"):
        assert not imported(module) & set(ORDER) - {"schemas"}, module
