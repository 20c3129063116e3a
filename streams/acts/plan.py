"""What an act would do, before it is done: lines for a person, and what it moves from where to where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plan:
    """`lines` are shown to whoever asks for it; `before` and `after` go into the journal.

    `is_empty` says that there is nothing to do.
    """

    lines: Sequence[str]
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    is_empty: bool = False


def counted(number: int, noun: str) -> str:
    """`1 record`, `1,200 records`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
