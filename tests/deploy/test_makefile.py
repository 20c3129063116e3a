"""`make` names what is missing in one line, and what it can do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def make(checkout: Path, *args: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("make") or "make", "-s", *args]
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    env |= {"PATH": path} if path else {}
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    for tool in ("sh", "sed", "head", "awk"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("target", "missing", "package"),
    [
        ("check-python", "Python 3.11 or newer", "apt-get install python3 python3-venv"),
        ("check-java", "Java 17 or newer", "apt-get install default-jdk-headless"),
        ("check-maven", "Maven", "apt-get install maven"),
    ],
)
def test_what_is_missing_is_named_in_one_line(
    checkout: Path, bare_path: str, target: str, missing: str, package: str
) -> None:
    ended = make(checkout, target, "JAVA_HOME=", path=bare_path)
    assert ended.returncode != 0
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("make")]
    assert line.startswith(f"Missing: {missing}")
    assert package in line
    assert "brew install" in line


def test_a_java_that_is_too_old_is_missing(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("""#!/bin/sh\necho 'openjdk version "11.0.2" 2019-01-15' >&2\n""")
    old.chmod(0o755)
    ended = make(checkout, "check-java", f"JAVA_HOME={tmp_path}")
    assert ended.returncode != 0
    assert "Missing: Java 17" in ended.stderr


def test_what_is_there_is_not_mentioned(checkout: Path) -> None:
    ended = make(checkout, "check-python", "check-java", "check-maven")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_help_lists_the_targets(checkout: Path) -> None:
    listed = [line.split()[1] for line in make(checkout, "help").stdout.splitlines()]
    assert listed == [
        "help",
        "demo",
        "test",
        "bench",
        "torture",
        "lint",
        "setup",
        "jars",
        "classes",
        "s3-jars",
        "lock",
        "clean",
    ]
