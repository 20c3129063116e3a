"""What a feed of changes must come to, in plain Python: the truth that silver and the versions are compared with.

An event is one that a source wrote, at a position of its own; any of them may be delivered in any order and many times.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Position = tuple[int, int, int]
"""The order of the source: major, minor, row; as in `_source_position`."""


@dataclass(frozen=True)
class Event:
    """A change of `key`, or of all keys where it is None; `row` lacks the columns that it does not tell."""

    at: Position
    op: str
    key: int | None = None
    row: tuple[tuple[str, Any], ...] = ()
    seconds: int = 0

    @property
    def ends_snapshot(self) -> bool:
        """Whether it is a floor that only ends the keys that the snapshot behind it lacks."""
        return self.key is None and self.at[2] < 0


def states(events: Iterable[Event], key: int, columns: tuple[str, ...]) -> list[tuple[Event, dict[str, Any] | None]]:
    """The row of a key after each event that concerns it, in the source's order; None where it is gone."""
    mine = sorted({one for one in events if one.key in (key, None)}, key=lambda one: one.at)
    mine = list(itertools.dropwhile(lambda one: one.key is None, mine))
    reads = {one.at for one in mine if one.key == key and one.op == "r"}
    found: list[tuple[Event, dict[str, Any] | None]] = []
    row: dict[str, Any] = dict.fromkeys(columns)
    for event in mine:
        if event.ends_snapshot and (*event.at[:2], event.at[2] + 1) in reads:
            continue
        gone = event.op in ("d", "t")
        row = dict.fromkeys(columns) if gone else {**row, **dict(event.row)}
        found.append((event, None if gone else row))
    return found


def current(events: Iterable[Event], columns: tuple[str, ...]) -> dict[int, dict[str, Any]]:
    """The rows that are there in the end."""
    events = list(events)
    last = {key: states(events, key, columns)[-1][1] for key in {one.key for one in events if one.key is not None}}
    return {key: row for key, row in last.items() if row is not None}


def versions(events: Iterable[Event], columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """(key, values, from, to) in microseconds: a version a span in which the row was there and stayed as it was."""
    events = list(events)
    found: list[tuple[Any, ...]] = []
    for key in {one.key for one in events if one.key is not None}:
        spans: list[list[Any]] = []
        clock = None
        for event, row in states(events, key, columns):
            micros = event.seconds * 1_000_000
            clock = micros if clock is None or micros > clock else clock + 1
            before = spans[-1] if spans and spans[-1][2] is None else None
            if row is not None and before is not None and before[0] == row:
                continue
            if before is not None:
                before[2] = clock
            if row is not None:
                spans.append([row, clock, None])
        found += [(key, tuple(row.values()), start, end) for row, start, end in spans]
    return sorted(found, key=repr)
