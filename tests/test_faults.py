"""The list of faults is whole, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (\d+) ([^|]+)\|([^|]+)\|([^|]*)\|$", (ROOT / "runbooks/faults.md").read_text(), re.MULTILINE)


def test_the_list_is_whole() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 45))


def test_every_fault_names_a_test_or_says_why_there_is_none() -> None:
    for number, _, expected, shown in ROWS:
        named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", shown)
        assert named or "not here:" in expected, number
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{number}: {file}::{test}"
