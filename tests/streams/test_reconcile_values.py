"""The texts of values and rows: none the same for two, and read back as they were."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.reconcile.sides import Ranges
from streams.reconcile.values import Kind, in_arrow, joined_in_arrow, kind_of, parted, shown

KINDS: tuple[Kind, ...] = ("text", "number", "text", "binary")
_ROWS = st.tuples(
    st.none() | st.text("n:;~1é\x00"),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text("n:;~1"),
    st.none() | st.binary(max_size=3),
)


def joined(row: tuple[object, ...]) -> str:
    columns = [pa.array([value], type_) for value, type_ in zip(row, _TYPES, strict=True)]
    texts = [(kind, in_arrow(kind, column)) for kind, column in zip(KINDS, columns, strict=True)]
    return str(joined_in_arrow(texts)[0].as_py())


_TYPES = (pa.string(), pa.int64(), pa.string(), pa.binary())


@given(_ROWS)
def test_a_row_is_read_back_from_its_text(row: tuple[str | None, int | None, str | None, bytes | None]) -> None:
    name, number, other, raw = row

    assert list(parted(joined(row), KINDS)) == [
        name,
        None if number is None else str(number),
        other,
        None if raw is None else raw.hex(),
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1.50", "1.5"),
        ("100.00", "100"),
        ("0.00", "0"),
        ("-0.10", "-0.1"),
        ("0.0000000001", "0.0000000001"),
        ("-0.0000000100", "-0.00000001"),
        (None, None),
    ],
)
def test_a_number_has_no_zeros_at_its_end(number: str | None, text: str | None) -> None:
    values = pa.array([None if number is None else Decimal(number)], pa.decimal128(38, 10))

    assert in_arrow("number", values).to_pylist() == [text]


@pytest.mark.parametrize(
    "type_", [pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int64())]
)
def test_what_has_no_text_is_not_compared(type_: pa.DataType) -> None:
    assert kind_of(type_) is None


def test_times_are_shown_as_such() -> None:
    assert shown("timestamp", "-1") == "1969-12-31T23:59:59.999999Z"
    assert shown("date", "20000") == "2024-10-04"
    assert shown("date", "infinity") == "infinity"
    assert shown("text", None) == "NULL"


def test_neighbouring_ranges_are_one_span() -> None:
    ranges = Ranges((10, 20, 30), of_numbers=True)

    assert list(ranges.spans([0, 1, 3])) == [(None, 20), (30, None)]
    assert list(ranges.spans([2])) == [(20, 30)]
    assert ranges.places([9, 10, 29, 30, None]) == [0, 1, 2, 3, 0]
