"""Values to columns: exactly, or refused with the reason; never rounded, never null in silence."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from schemas.contract import spark_type
from schemas.field_tree import tree_of
from schemas.judge import Judge
from schemas.record_bytes import JsonReader
from schemas.schema_set import BASE
from schemas.validation import Validation

FITS = [
    # type, JSON text, value of the column
    ("bigint", "9223372036854775807", 9223372036854775807),
    ("bigint", "-9223372036854775808", -9223372036854775808),
    ("bigint", "1.0", 1),
    ("bigint", "1e18", 10**18),
    ("tinyint", "-128", -128),
    ("double", "0.1", 0.1),
    ("double", "1e308", 1e308),
    ("double", "5e-324", 5e-324),
    ("double", "1152921504606846976", 2.0**60),
    ("double", "0.30000000000000004", 0.30000000000000004),
    ("float", "0.1", pytest.approx(0.1, abs=1e-8)),
    ("float", "0.5", 0.5),
    ("decimal(5,2)", "123.45", Decimal("123.45")),
    ("decimal(5,2)", '"123.45"', Decimal("123.45")),
    ("decimal(5,2)", '"-1"', Decimal("-1.00")),
    ("decimal(5,2)", "1e2", Decimal("100.00")),
    ("decimal(5,2)", '"1.500"', Decimal("1.50")),
    ("decimal(38,18)", "12345678901234567890.123456789012345678", Decimal("12345678901234567890.123456789012345678")),
    ("decimal(38,0)", "99999999999999999999999999999999999999", Decimal("9" * 38)),
    ("string", '"text"', "text"),
    ("string", "12345678901234567890123", "12345678901234567890123"),
    ("string", '{"a":1.50}', '{"a":1.5}'),
    ("boolean", "true", True),
    ("binary", '"aGk="', b"hi"),
    ("date", '"0001-01-01"', date(1, 1, 1)),
    ("date", '"9999-12-31"', date(9999, 12, 31)),
    ("date", '"2024-02-29"', date(2024, 2, 29)),
    ("timestamp", '"0001-01-01T00:00:00Z"', datetime(1, 1, 1, tzinfo=UTC)),
    ("timestamp", '"9999-12-31T23:59:59.999999Z"', datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    ("timestamp", '"2026-03-29T02:30:00.123456+02:00"', datetime(2026, 3, 29, 0, 30, 0, 123456, UTC)),
    ("timestamp", '"2026-01-01T00:00:00.123456000Z"', datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)),
    ("timestamp_ntz", '"2026-03-29T02:30:00"', datetime(2026, 3, 29, 2, 30)),
    ("array<decimal(4,1)>", "[1.5, null, 2]", [Decimal("1.5"), None, Decimal("2.0")]),
    ("map<string,date>", '{"a": "2026-01-01"}', [("a", date(2026, 1, 1))]),
    ("struct<a: timestamp_ntz>", '{"a": "2026-01-01T00:00:00"}', {"a": datetime(2026, 1, 1)}),
]

REFUSED = [
    # type, JSON text, rule
    ("bigint", "9223372036854775808", "decode.range"),
    ("bigint", "123456789012345678901234567890", "decode.range"),
    ("bigint", "1.5", "decode.precision"),
    ("bigint", "1000000000000000000.5", "decode.precision"),
    ("bigint", '"1"', "decode.type"),
    ("bigint", "true", "decode.type"),
    ("tinyint", "128", "decode.range"),
    ("int", "2147483648", "decode.range"),
    ("double", "9007199254740993", "decode.precision"),
    ("double", "0.1234567890123456789", "decode.precision"),
    ("double", "1e400", "decode.range"),
    ("double", "1e-400", "decode.range"),
    ("double", '"1.5"', "decode.type"),
    ("float", "0.123456789", "decode.precision"),
    ("float", "1e39", "decode.range"),
    ("decimal(5,2)", "123.456", "decode.precision"),
    ("decimal(5,2)", "1234.5", "decode.range"),
    ("decimal(5,2)", '"1234.5"', "decode.range"),
    ("decimal(5,2)", '"NaN"', "decode.type"),
    ("decimal(5,2)", '" 1"', "decode.type"),
    ("decimal(5,2)", '"1,5"', "decode.type"),
    ("decimal(5,2)", "true", "decode.type"),
    ("decimal(38,18)", "123456789012345678901.5", "decode.range"),
    ("boolean", '"true"', "decode.type"),
    ("boolean", "1", "decode.type"),
    ("binary", '"%%"', "decode.type"),
    ("binary", "1", "decode.type"),
    ("date", '"2026-02-30"', "decode.type"),
    ("date", '"20260101"', "decode.type"),
    ("date", '"10000-01-01"', "decode.type"),
    ("date", "19000", "decode.type"),
    ("timestamp", '"2026-01-01T00:00:00.1234567Z"', "decode.precision"),
    ("timestamp", '"2026-01-01T00:00:00"', "decode.type"),
    ("timestamp", '"2026-01-01T24:00:00Z"', "decode.type"),
    ("timestamp", '"0001-01-01T00:00:00+01:00"', "decode.range"),
    ("timestamp", '"9999-12-31T23:59:59-01:00"', "decode.range"),
    ("timestamp", "0", "decode.type"),
    ("timestamp_ntz", '"2026-01-01T00:00:00Z"', "decode.type"),
    ("array<decimal(4,1)>", "[1.5, 1.55]", "decode.precision"),
    ("array<bigint>", "{}", "decode.type"),
    ("map<string,date>", '{"a": "x"}', "decode.type"),
    ("struct<a: bigint>", "[]", "decode.type"),
]


def judged(kind: str, *texts: str) -> pa.StructArray:
    schema = {"properties": {"v": {"x-type": kind}}}
    row = spark_type(schema)
    judge = Judge.of(JsonReader(), Validation(json.dumps(schema), f"{BASE}v.schema.json"), tree_of(row, row), row)
    return judge(pa.array([f'{{"v": {text}}}'.encode() for text in texts], pa.binary()))


@pytest.mark.parametrize(("kind", "text", "value"), FITS)
def test_what_fits_is_kept_exactly(kind: str, text: str, value: Any) -> None:
    [found] = judged(kind, text).to_pylist()
    assert found["violations"] is None
    assert found["payload"]["v"] == value
    assert found["rescued"] is None


@pytest.mark.parametrize(("kind", "text", "rule"), REFUSED)
def test_what_does_not_fit_is_refused_and_says_why(kind: str, text: str, rule: str) -> None:
    [found] = judged(kind, text).to_pylist()
    assert [one["rule"] for one in found["violations"]] == [rule]
    assert found["violations"][0]["pointer"].startswith("/v")
    assert found["payload"] is None


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in FITS}))
def test_one_bad_value_does_not_touch_its_neighbours(kind: str) -> None:
    good = [text for one, text, _ in FITS if one == kind]
    bad = [text for one, text, _ in REFUSED if one == kind]
    apart = [found["payload"] for text in good for found in judged(kind, text).to_pylist()]
    mixed = judged(kind, *(one for text in good for one in (text, *bad)))
    assert [found["payload"] for found in mixed.to_pylist() if found["violations"] is None] == apart


def test_unknown_fields_are_kept_with_every_digit() -> None:
    [found] = judged("bigint", '1, "pi": 3.14159265358979323846, "n": 123456789012345678901234567890').to_pylist()
    assert found["rescued"] == '{"pi":3.14159265358979323846,"n":123456789012345678901234567890}'
    assert found["payload"] == {"v": 1}
