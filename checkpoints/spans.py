"""Sets of offsets as spans: a batch of a hundred thousand records without a hole is one pair of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

_MOST_SHOWN = 20
_FEW = 1_000
"""Up to so many offsets Python is faster than Arrow."""


@dataclass(frozen=True)
class Spans:
    """A set of offsets: (start, end) pairs, the end not included, ascending, with a hole between any two."""

    pieces: tuple[tuple[int, int], ...] = ()

    @classmethod
    def between(cls, start: int, end: int) -> Spans:
        """All from `start` up to `end`, which is not included."""
        return cls(((start, end),)) if end > start else NONE

    @classmethod
    def of(cls, offsets: pa.Array) -> tuple[Spans, Spans]:
        """The offsets of a column in any order, and those of them that are there more than once."""
        ordered, again = _sorted(offsets) if len(offsets) <= _FEW else _sorted_by_arrow(offsets)
        return cls(tuple(_joined(ordered))), cls(tuple(_joined(again)))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.pieces)

    def __len__(self) -> int:
        """How many offsets there are."""
        return sum(end - start for start, end in self.pieces)

    def __or__(self, other: Spans) -> Spans:
        """Those in either."""
        if not (self.pieces and other.pieces):
            return self if self.pieces else other
        return Spans(tuple(_joined(sorted((*self.pieces, *other.pieces)))))

    def __and__(self, other: Spans) -> Spans:
        """Those in both."""
        return Spans(tuple(_common(self.pieces, other.pieces)))

    def __sub__(self, other: Spans) -> Spans:
        """Those that the other does not have."""
        if not (self.pieces and other.pieces):
            return self
        first, last = self.pieces[0][0], self.pieces[-1][1]
        edges = [first, *(edge for piece in other.pieces for edge in piece), last]
        holes = [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]
        return self & Spans(tuple(holes))

    def __str__(self) -> str:
        """`121, 124-125`, both ends included; what is more than 20 pieces is counted."""
        shown = [f"{start}" if end - start == 1 else f"{start}-{end - 1}" for start, end in self.pieces[:_MOST_SHOWN]]
        if len(self.pieces) > _MOST_SHOWN:
            left = Spans(self.pieces[_MOST_SHOWN:])
            shown.append(f"and {len(left)} more up to {left.pieces[-1][1] - 1}")
        return ", ".join(shown)


NONE = Spans()

Pieces = Iterable[tuple[int, int]]


def _sorted(offsets: pa.Array) -> tuple[Pieces, Pieces]:
    ordered = sorted(offsets.to_pylist())
    again = (one for one, after in itertools.pairwise(ordered) if one == after)
    return ((one, one + 1) for one in ordered), ((one, one + 1) for one in again)


def _sorted_by_arrow(offsets: pa.Array) -> tuple[Pieces, Pieces]:
    ordered = offsets.cast(pa.int64()).sort()
    steps = pc.fill_null(pc.pairwise_diff(ordered, 1), 1)
    breaks = pc.indices_nonzero(pc.greater(steps, 1))
    starts = [ordered[0].as_py(), *ordered.take(breaks).to_pylist()]
    lasts = [*ordered.take(pc.subtract(breaks, pa.scalar(1, pa.uint64()))).to_pylist(), ordered[-1].as_py()]
    again = ordered.filter(pc.equal(steps, 0)).to_pylist()
    return ((start, last + 1) for start, last in zip(starts, lasts, strict=True)), ((one, one + 1) for one in again)


def _joined(pieces: Pieces) -> Iterator[tuple[int, int]]:
    held: tuple[int, int] | None = None
    for start, end in pieces:
        if held is None:
            held = (start, end)
        elif start <= held[1]:
            held = (held[0], max(held[1], end))
        else:
            yield held
            held = (start, end)
    if held is not None:
        yield held


def _common(one: tuple[tuple[int, int], ...], other: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            yield start, end
        if one[i][1] <= other[j][1]:
            i += 1
        else:
            j += 1
