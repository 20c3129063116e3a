"""The part of a log that says why a process did not start."""

from __future__ import annotations

import re

TAIL_LINES = 30
ERROR_LINES = 10
LONGEST_LINE = 500
_STACK_FRAME = re.compile(r"\s+(at |\.\.\. \d+ more)")
_ERROR = re.compile(r"ERROR|FATAL|PANIC|Caused by:|Exception\b")


def excerpt(log: str) -> str:
    """The last lines of a log without Java's stack frames, after the first errors if those came before.

    A broker that can not bind its port says so once, and then writes a page about its shutdown: the end alone
    would hide the cause.
    """
    lines = [line[:LONGEST_LINE] for line in log.strip().splitlines() if not _STACK_FRAME.match(line)]
    before, tail = lines[:-TAIL_LINES], lines[-TAIL_LINES:]
    errors = [line for line in before if _ERROR.search(line)][:ERROR_LINES]
    return "\n".join([*errors, "...", *tail] if errors else tail)
