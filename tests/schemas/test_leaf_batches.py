"""Texts by the batch and texts one by one come to the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql.types import DataType, DateType, DecimalType, TimestampNTZType, TimestampType

from schemas.arrow_values import arrow_type
from schemas.leaf_batches import from_texts
from schemas.leaf_values import Unfit, leaf_converter

KINDS = [DecimalType(5, 2), DecimalType(38, 18), DateType(), TimestampType(), TimestampNTZType()]

digits = st.integers(0, 99).map(lambda number: f"{number:02d}")
dates = st.tuples(
    st.sampled_from(["0000", "0001", "0999", "1000", "1969", "2024", "9899", "9999", "10000"]), digits, digits
).map("-".join)
times = st.tuples(digits, digits, st.sampled_from(["00", "59", "60"])).map(":".join)
fractions = st.sampled_from(["", ".", ".1", ".123456", ".1234560", ".1234567", ",5"])
zones = st.sampled_from(["", "Z", "z", "+00:00", "-00:00", "+14:00", "+15:00", "-23:59", "+0100", "+01", " Z"])
stamps = st.tuples(dates, st.sampled_from(["T", " ", "t", ""]), times, fractions, zones).map("".join)
numbers = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.from_regex(r"\A-?[0-9]{1,6}(\.[0-9]{0,4})?\Z"),
    st.sampled_from(["", "-", "+1", "1.", ".5", "00", "-0", "1e2", " 1", "1_0", "\u0661"]),
)
texts = st.one_of(dates, stamps, numbers, st.text(max_size=5))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.simpleString())
@settings(max_examples=400)
@given(values=st.lists(st.one_of(texts, st.none()), min_size=1, max_size=3))
def test_what_a_batch_takes_is_what_each_text_gives(kind: DataType, values: list[str | None]) -> None:
    at_once = from_texts(values, kind, arrow_type(kind))
    if at_once is None:
        return
    convert = leaf_converter(kind)
    for value, found in zip(values, at_once.to_pylist(), strict=True):
        try:
            expected = None if value is None else convert(value)
        except Unfit as unfit:
            raise AssertionError(f"{value!r} is {unfit.rule} by itself, and {found!r} in the batch") from None
        assert found == expected


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (DecimalType(5, 2), ["1.25", "-0.5", None, "999.99"]),
        (DateType(), ["2024-02-29", None, "1000-01-01"]),
        (TimestampType(), ["2026-01-01T00:00:00Z", "1969-12-31 23:59:59.999999+14:00"]),
        (TimestampNTZType(), ["2026-01-01T00:00:00", "2026-03-29 02:30:00.5"]),
    ],
    ids=lambda one: one.simpleString() if isinstance(one, DataType) else "",
)
def test_the_common_forms_are_taken_at_once(kind: DataType, values: list[str | None]) -> None:
    assert from_texts(values, kind, arrow_type(kind)) is not None
