"""What both sides are asked: totals of key ranges, the rows of some ranges, the rows of some keys."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Row = tuple[str, ...]
"""A short hash of each column's text, in the order of the columns."""


@dataclass(frozen=True)
class Total:
    """How many rows a range has, and the sum of the rows' hashes (64 bits of each, signed): in no order."""

    rows: int = 0
    hashes: int = 0


@dataclass(frozen=True)
class Ranges:
    """Where the ranges of the keys begin: range 0 lies before the first bound, range i from bound i on.

    Where the only key is a whole number bounds are such numbers, else texts of keys, ordered by code point.
    """

    bounds: tuple[int, ...] | tuple[str, ...] = ()
    of_numbers: bool = False

    @property
    def count(self) -> int:
        """How many ranges there are."""
        return len(self.bounds) + 1

    def places(self, values: Sequence[int | str | None]) -> list[int]:
        """The range of each value."""
        # UTF-8 keeps the order of code points, and so does Python.
        return [0 if value is None else bisect.bisect_right(self.bounds, value) for value in values]

    def spans(self, only: Collection[int]) -> Iterator[tuple[int | str | None, int | str | None]]:
        """The ranges as from (included) and up to (not included), neighbours together; None is without an end."""
        numbers = sorted(only)
        start = 0
        for at, number in enumerate(numbers):
            if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
                first = numbers[start]
                yield (
                    self.bounds[first - 1] if first else None,
                    self.bounds[number] if number < len(self.bounds) else None,
                )
                start = at + 1


class Side(Protocol):
    """One of the two sides, at one moment."""

    def totals(self, ranges: Ranges, only: Collection[int] | None) -> Mapping[int, Total]:
        """The total of each range that has rows, of those that are asked for."""

    def digests(self, ranges: Ranges, only: Collection[int]) -> Iterator[tuple[str, bytes]]:
        """The key and the hash of each row of some ranges, as a stream."""

    def rows(self, keys: Collection[str]) -> Mapping[str, Sequence[Row]]:
        """The rows of some keys; a key that is not there is left out."""
