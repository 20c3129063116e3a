"""The whole demo through the command line: its verdict, and what it leaves behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.stack

CHECKOUT = Path(__file__).resolve().parents[3]
WAIT_SECONDS = 300.0
TALLY = re.compile(r"The tally holds: ([\d,]+) read = ([\d,]+) accepted \+ ([\d,]+) rejected \+ ([\d,]+) dropped\.")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """The demo's temporary folder; PostgreSQL's own account must be able to enter it."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-demo-test-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def start(scratch: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from streams.cli import main; main()", "demo", *arguments],
        cwd=CHECKOUT,
        env=os.environ | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_until(demo: subprocess.Popen[str], phase: str) -> None:
    assert demo.stdout is not None
    for text in demo.stdout:
        if phase in text:
            return
    pytest.fail(f"the demo ended before: {phase}")


def still_alive(processes: list[psutil.Process]) -> list[str]:
    deadline, left = time.monotonic() + WAIT_SECONDS, processes
    while left and time.monotonic() < deadline:
        left = [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        time.sleep(0.1)
    return [str(one) for one in left]


def test_it_accounts_for_every_record_and_leaves_nothing_behind(scratch: Path) -> None:
    with start(scratch, "--seconds", "15", "--rate", "20") as demo:
        output, _ = demo.communicate(timeout=WAIT_SECONDS)
    assert demo.returncode == 0, output
    tally = TALLY.search(output)
    assert tally, output
    read, accepted, rejected, dropped = (int(number.replace(",", "")) for number in tally.groups())
    assert read == accepted + rejected + dropped
    assert rejected > 0
    assert "✗" not in output
    assert output.count("✓") == 10  # five topics, five tables
    assert "first gold rows after" in output
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("phase", "number", "code"),
    [
        ("starting Spark", signal.SIGINT, 130),
        ("Debezium reads", signal.SIGINT, 130),
        ("live traffic", signal.SIGINT, 130),
        ("live traffic", signal.SIGTERM, 143),
    ],
)
def test_it_ends_when_told(scratch: Path, phase: str, number: signal.Signals, code: int) -> None:
    with start(scratch, "--seconds", "120") as demo:
        read_until(demo, phase)
        family = psutil.Process(demo.pid).children(recursive=True)
        # As a terminal does: Ctrl-C goes to the whole group.
        (os.killpg if number == signal.SIGINT else os.kill)(demo.pid, number)
        output, _ = demo.communicate(timeout=WAIT_SECONDS)
    assert demo.returncode == code, output
    assert "everything that the demo started has ended" in output
    assert "Traceback" not in output
    assert still_alive(family) == []
    assert list(scratch.iterdir()) == []


def test_a_killed_demo_leaves_no_process_behind(scratch: Path) -> None:
    with start(scratch, "--seconds", "120") as demo:
        read_until(demo, "the first rows")
        family = psutil.Process(demo.pid).children(recursive=True)
        demo.kill()
        demo.communicate(timeout=WAIT_SECONDS)
    assert still_alive(family) == []
