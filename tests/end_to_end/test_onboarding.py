"""The README's section on onboarding, done as it is written: its files, its commands, and what they print.

A line that is just a path in backticks and a colon names the file that the block below it is. A `console` block holds
commands after `$ ` and what each printed; `...` stands for anything, and times, ports and ages may differ.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Self

import pytest

from deploy import build_folder, jars
from deploy.embedded import control
from deploy.embedded.errors import StackNotRunningError
from tests.support.tables import lane_records, rows_of

README = Path(__file__).parents[2] / "README.md"
HEADING = "Onboard a table of your own"
STEP = re.compile(r"(?:^`(?P<file>[\w./-]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "text"
# What differs from run to run, and is no part of what is shown.
VARYING = [
    (re.compile(r"\b\d{4}-\d{2}-\d{2}T[\d:.]+Z"), "<time>"),
    (re.compile(r"^\d{2}:\d{2}:\d{2} ", re.MULTILINE), "<time> "),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\b[\d.]+[smhd]$", re.MULTILINE), "<age>"),
]


class Shell:
    """One shell for all commands, so that what is exported stays."""

    def __init__(self, folder: Path) -> None:
        # No setting of the outside may stand in for one that the README forgot; the port is anyone's.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**kept, "SLUICE_METRICS_PORT": "0", "SLUICE_BUILD_DIR": str(build_folder())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, command: str) -> str:
        """What the command printed; it has to succeed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # In braces and not in a subshell: `export` and `source` are meant to last.
        self._process.stdin.write(f"{{ {command}\n}} < /dev/null; code=$?; echo; echo ended: $code\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith("ended: "):
                printed = "".join(lines)
                assert line == "ended: 0\n", f"$ {command}\n{printed}"
                return printed
            lines.append(line)
        raise AssertionError(f"the shell ended in: {command}")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A checkout as the section finds it, after `make setup jars`; what it starts is stopped in every case."""
    jars.resolve("service")
    jars.resolve("embedded")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "jars").symlink_to(build_folder() / "jars")
    yield tmp_path
    with suppress(StackNotRunningError):
        control.down(tmp_path / "build" / "stack")


def section() -> str:
    found = re.search(rf"^## {HEADING}$\n(.*?)(?=^## )", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what it is shown to print) of a console block."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert parts[0] == ""
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts[1:])]


def settled(text: str) -> str:
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text.strip()


def assert_prints(command: str, printed: str, shown: str) -> None:
    # A line of dots stands for any number of lines, none among them.
    checker, wanted, got = doctest.OutputChecker(), settled(shown).replace("\n...\n", "...\n"), settled(printed)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert checker.check_output(wanted, got, options), f"$ {command}\nREADME:\n{wanted}\n\nprinted:\n{got}"


@pytest.mark.stack
def test_the_readme_brings_in_a_table(folder: Path) -> None:
    with Shell(folder) as shell:
        for step in STEP.finditer(section()):
            if step["file"]:
                file = folder / step["file"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(step["text"])
            elif step["language"] != NOT_RUN:
                assert step["language"] == "console"
                for command, shown in commands(step["text"]):
                    assert_prints(command, shell.run(command), shown)

    lake = folder / "my-lake"
    first_day, next_day = datetime(2026, 2, 1, 10, tzinfo=UTC), datetime(2026, 2, 2, 9, tzinfo=UTC)
    assert rows_of(f"{lake}/bronze/reviews", "_offset", "review_id", "stars", "text", "_contract_version") == [
        (0, 1, 4, " Bright. ", "1"),
        (2, 3, 2, None, "1"),
        (3, 1, 5, "Bright, still.", "1"),
        (4, 4, 5, "Good.", "1"),
    ]
    assert rows_of(f"{lake}/silver/reviews") == [
        (1, 7, 5, "Bright, still.", first_day),
        (3, 8, 2, None, first_day),
        (4, 8, 5, "Good.", next_day),
    ]
    assert rows_of(f"{lake}/gold/reviews_per_product") == [(7, 1, Decimal("5.00")), (8, 2, Decimal("3.50"))]
    lane = lane_records(f"{lake}/_errors/bronze/reviews")
    assert [(one["offset"], one["violations"][0]["rule"]) for one in lane] == [(1, "schema.maximum")]
    assert not (folder / "build" / "stack").exists()


def test_every_block_of_the_section_is_a_step() -> None:
    fences = re.findall(r"^```", section(), re.MULTILINE)
    assert len(fences) == 2 * len(list(STEP.finditer(section())))
