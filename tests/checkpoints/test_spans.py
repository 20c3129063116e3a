"""Spans of offsets do what sets of offsets do."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.spans import NONE, Spans

OFFSETS = st.lists(st.integers(0, 30))


def spans(offsets: list[int]) -> Spans:
    return Spans.of(pa.array(offsets, pa.int64()))[0]


def members(found: Spans) -> set[int]:
    return {offset for start, end in found.pieces for offset in range(start, end)}


@given(OFFSETS)
def test_a_column_becomes_its_offsets_and_those_that_are_there_again(offsets: list[int]) -> None:
    found, again = Spans.of(pa.array(offsets, pa.int64()))

    assert members(found) == set(offsets)
    assert members(again) == {one for one in offsets if offsets.count(one) > 1}
    assert len(found) == len(set(offsets))
    assert list(found.pieces) == sorted(found.pieces)
    assert all(end < start for (_, end), (start, _) in zip(found.pieces, found.pieces[1:], strict=False))


@given(st.lists(st.integers(0, 5000), min_size=1200, max_size=1500))
def test_many_offsets_become_the_same_as_few(offsets: list[int]) -> None:
    found, again = Spans.of(pa.array(offsets, pa.int64()))

    assert members(found) == set(offsets)
    assert members(again) == {one for one, times in Counter(offsets).items() if times > 1}


@given(OFFSETS, OFFSETS)
def test_union_intersection_and_difference_are_those_of_sets(one: list[int], other: list[int]) -> None:
    assert spans(one) | spans(other) == spans(one + other)
    assert members(spans(one) & spans(other)) == set(one) & set(other)
    assert members(spans(one) - spans(other)) == set(one) - set(other)
    assert bool(spans(one)) == bool(one)


def test_a_range_without_its_end() -> None:
    assert members(Spans.between(3, 6)) == {3, 4, 5}
    assert Spans.between(3, 3) == NONE


@pytest.mark.parametrize(
    ("offsets", "text"),
    [
        ([], ""),
        ([121], "121"),
        ([125, 121, 124], "121, 124-125"),
        (list(range(0, 100, 2)), ", ".join(map(str, range(0, 40, 2))) + ", and 30 more up to 98"),
    ],
)
def test_offsets_are_written_with_both_ends(offsets: list[int], text: str) -> None:
    assert str(spans(offsets)) == text
