"""Debezium's named types: what each value becomes, one by one and as a batch, and back."""

from __future__ import annotations

import base64
import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.arrow_values import arrow_type, to_arrow
from schemas.contract import Untypable, spark_type
from schemas.contract_file import read_contract
from schemas.infer_avro import infer_avro
from schemas.leaf_values import Unfit
from schemas.logical_types import LOGICAL_TYPES
from schemas.logical_values import FORMS, convert_all
from schemas.schema_set import SchemaSet
from schemas.spark_types import parse_type
from tests.support.connect_avro import TYPES, avro_schema

DAY_MS = 86_400_000


def unscaled(number: int) -> str:
    length = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return base64.b64encode(number.to_bytes(length, "big", signed=True)).decode()


def scaled(number: int, scale: int) -> dict[str, Any]:
    return {"scale": scale, "value": unscaled(number)}


@pytest.mark.parametrize(
    ("form", "kind", "value", "expected"),
    [
        ("days", "date", 0, date(1970, 1, 1)),
        ("days", "date", -719_162, date(1, 1, 1)),
        ("days", "date", 2_932_896, date(9999, 12, 31)),
        ("days", "date", 2_932_897, "decode.range"),
        ("days", "date", -719_163, "decode.range"),  # 1 BC
        ("days", "date", -2_147_472_692, "decode.infinite"),
        ("days", "date", -2_147_472_691, "decode.infinite"),
        ("days", "date", 1.0, date(1970, 1, 2)),
        ("days", "date", 1.5, "decode.precision"),
        ("days", "date", "2024-02-29", "decode.type"),
        ("days", "date", True, "decode.type"),
        ("millis", "timestamp_ntz", -1, datetime(1969, 12, 31, 23, 59, 59, 999_000)),
        ("millis", "timestamp_ntz", 253_402_300_799_999, datetime(9999, 12, 31, 23, 59, 59, 999_000)),
        ("millis", "timestamp_ntz", 253_402_300_800_000, "decode.range"),
        ("millis", "timestamp_ntz", 2**63, "decode.range"),
        ("millis", "timestamp_ntz", 9_223_372_036_825_200, "decode.infinite"),
        ("millis", "timestamp_ntz", -9_223_372_036_832_400, "decode.infinite"),
        ("micros", "timestamp_ntz", 1, datetime(1970, 1, 1, 0, 0, 0, 1)),
        ("micros", "timestamp_ntz", -62_135_596_800_000_000, datetime(1, 1, 1)),
        ("micros", "timestamp_ntz", -62_135_596_800_000_001, "decode.range"),
        ("micros", "timestamp_ntz", 9_223_372_036_825_200_000, "decode.infinite"),
        ("micros", "timestamp_ntz", -9_223_372_036_832_400_000, "decode.infinite"),
        ("nanos", "timestamp_ntz", -1_000, datetime(1969, 12, 31, 23, 59, 59, 999_999)),
        ("nanos", "timestamp_ntz", 1_001, "decode.precision"),
        ("nanos", "timestamp_ntz", -1, "decode.precision"),
        ("time-millis", "bigint", DAY_MS, DAY_MS * 1000),
        ("time-millis", "bigint", -1, -1000),
        ("time-millis", "bigint", 2**62, "decode.range"),
        ("time-nanos", "bigint", -2_000, -2),
        ("time-nanos", "bigint", 1_500, "decode.precision"),
        ("time-text", "bigint", "23:59:59.000001", 86_399_000_001),
        ("time-text", "bigint", "23:59", "decode.type"),
        ("iso-date", "date", "2024-02-29Z", date(2024, 2, 29)),
        ("iso-date", "date", "2023-02-29Z", "decode.type"),
        ("iso-date", "date", "+12345-01-01Z", "decode.range"),
        ("iso-timestamp", "timestamp_ntz", "2024-02-29T12:00:00.5Z", datetime(2024, 2, 29, 12, 0, 0, 500_000)),
        ("iso-timestamp", "timestamp_ntz", "2024-02-29T12:00:00.0000001Z", "decode.precision"),
        ("iso-timestamp", "timestamp_ntz", "infinity", "decode.infinite"),
        ("iso-timestamp", "timestamp_ntz", "-0044-03-15T12:00:00Z", "decode.range"),
        ("unscaled", "decimal(5,2)", unscaled(12345), Decimal("123.45")),
        ("unscaled", "decimal(5,2)", unscaled(-1), Decimal("-0.01")),
        ("unscaled", "decimal(5,2)", unscaled(99999), Decimal("999.99")),
        ("unscaled", "decimal(5,2)", unscaled(100000), "decode.range"),
        ("unscaled", "decimal(5,2)", unscaled(-100000), "decode.range"),
        ("unscaled", "decimal(38,38)", unscaled(10**38 - 1), Decimal(f"0.{'9' * 38}")),
        ("unscaled", "decimal(38,38)", unscaled(10**38), "decode.range"),
        ("unscaled", "decimal(5,2)", base64.b64encode(b"\x7f" * 5_000).decode(), "decode.range"),
        ("unscaled", "decimal(5,2)", base64.b64encode(b"\x00" * 20 + b"\x07").decode(), Decimal("0.07")),
        ("unscaled", "decimal(5,2)", "1.50", "decode.type"),
        ("unscaled", "decimal(5,2)", "", "decode.type"),
        ("unscaled", "decimal(5,2)", 150, "decode.type"),
        ("scaled", "decimal(9,3)", scaled(15, 1), Decimal("1.500")),
        ("scaled", "decimal(9,3)", scaled(15, -2), Decimal("1500.000")),
        ("scaled", "decimal(9,3)", scaled(15_000, 4), Decimal("1.500")),
        ("scaled", "decimal(9,3)", scaled(15_001, 4), "decode.precision"),
        ("scaled", "decimal(9,3)", scaled(10**6, 0), "decode.range"),
        ("scaled", "decimal(9,3)", scaled(1, -1_000_000_000), "decode.range"),
        ("scaled", "decimal(38,0)", scaled(10**37 + 1, 0), Decimal(10**37 + 1)),
        ("scaled", "decimal(9,3)", {"value": unscaled(1)}, "decode.type"),
        ("scaled", "decimal(9,3)", {"scale": True, "value": unscaled(1)}, "decode.type"),
        ("scaled", "decimal(9,3)", "1.5", "decode.type"),
    ],
)
def test_a_value_becomes_the_column_or_is_refused(form: str, kind: str, value: Any, expected: Any) -> None:
    column = parse_type(f"struct<v: {kind}>")
    for unsure in ([], [0, 1]):
        # Beside a null, and where Arrow may take the whole batch at once.
        if not unsure and isinstance(value, float | bool):
            continue  # sure_schema keeps these apart
        built, faults = to_arrow([{"v": value}, {"v": None}], column, unsure, {"/v": form})
        if isinstance(expected, str):
            assert faults == {0: [(expected, "/v")]}
        else:
            assert (faults, built.to_pylist()) == ({}, [{"v": expected}, {"v": None}])


INTS = st.integers(-(2**63), 2**63 - 1) | st.integers(-10_000_000, 10_000_000)


@pytest.mark.parametrize("name", ["days", "millis", "micros", "nanos", "time-millis", "time-nanos", "unscaled"])
@given(values=st.lists(st.none() | INTS, max_size=4))
@example(values=[-(2**63), 2**63 - 1])
@example(values=[])
def test_a_batch_becomes_what_its_values_become_one_by_one(name: str, values: list[int | None]) -> None:
    kinds = {"days": "date", "unscaled": "decimal(12,2)", "time-millis": "bigint", "time-nanos": "bigint"}
    kind = parse_type(kinds.get(name, "timestamp_ntz"))
    form = FORMS[name]
    sent: list[Any] = [None if value is None or name != "unscaled" else unscaled(value) for value in values]
    sent = sent if name == "unscaled" else values
    try:
        one_by_one = [None if value is None else form.convert(value, kind) for value in sent]
    except Unfit:
        assert convert_all(form, sent, arrow_type(kind)) is None
        return
    expected = pa.array(one_by_one, arrow_type(kind))
    at_once = convert_all(form, sent, arrow_type(kind))
    assert at_once is None or at_once.equals(expected)
    assert at_once is not None or name in ("nanos", "time-nanos", "days")
    assert [None if value is None else form.restore(value, kind) for value in one_by_one] == sent


@given(number=st.integers(-(10**37), 10**37), scale=st.integers(-3, 6))
def test_a_decimal_with_its_own_scale_is_made_again_with_the_columns(number: int, scale: int) -> None:
    kind, form = parse_type("decimal(38,6)"), FORMS["scaled"]
    try:
        value = form.convert(scaled(number, scale), kind)
    except Unfit:
        return
    assert value == Decimal((number < 0, tuple(map(int, str(abs(number)))), -scale))
    assert form.convert(form.restore(value, kind), kind) == value


def test_every_form_of_every_type_is_known() -> None:
    forms = {form for kind in LOGICAL_TYPES.values() for form in (kind.form, kind.avro_form) if form is not None}
    assert forms == set(FORMS)
    for name, kind in LOGICAL_TYPES.items():
        schema: dict[str, Any] = {"properties": {"v": {"type": kind.json[0], "x-debezium": name}}}
        if kind.column is None:
            schema["properties"]["v"]["x-type"] = "decimal(9,2)"
        assert spark_type(schema) == parse_type(f"struct<v: {kind.column or 'decimal(9,2)'}>")


def problems(folder: Path, field: dict[str, Any]) -> list[str]:
    file = folder / "things.schema.json"
    file.write_text(json.dumps({"type": "object", "properties": {"v": field}}))
    read = read_contract(file, SchemaSet.of({}))
    return [f"{problem.field}: {problem.what} {problem.remedy}" for problem in (*read.problems, *read.storage_problems)]


MICRO, DECIMAL = "io.debezium.time.MicroTimestamp", "org.apache.kafka.connect.data.Decimal"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (
            {"x-debezium": "io.debezium.time.MicroTimestmp"},
            f"`io.debezium.time.MicroTimestmp` is no type of Debezium's that is known. Did you mean `{MICRO}`?",
        ),
        (
            {"x-debezium": "MicroTimestamp"},
            f"`MicroTimestamp` is no type of Debezium's that is known. Did you mean `{MICRO}`?",
        ),
        (
            {"x-debezium": 3},
            "`3` is no type of Debezium's that is known. Write the name as the connector's documentation does, as "
            f"`{MICRO}`.",
        ),
        (
            {"x-debezium": "io.debezium.data.geometry.Geometry"},
            "`io.debezium.data.geometry.Geometry` has no type of a column that holds it. Leave the field out of "
            "`properties`, so that it is kept in `_rescued_data`; or describe the object that it is (`wkb`, `srid`) "
            "without this word.",
        ),
        (
            {"type": "array", "items": {"type": "object", "x-debezium": "io.debezium.time.StructuredTimestamp"}},
            "`io.debezium.time.StructuredTimestamp` has no type of a column that holds it. Set the connector's "
            "`time.precision.mode` to `adaptive`, `adaptive_time_microseconds`, `connect`, `microseconds` or "
            "`isostring`.",
        ),
        (
            {"type": "string", "x-debezium": MICRO},
            f"`{MICRO}` is sent as integer, and `type` says otherwise. Write `integer` in `type`, and `null` beside it "
            "where it may be missing.",
        ),
        (
            {"type": "integer", "x-debezium": MICRO, "x-type": "timestamp"},
            f"`{MICRO}` becomes `timestamp_ntz`, and `x-type` says otherwise. Leave out `x-type`.",
        ),
        (
            {"type": "string", "x-debezium": DECIMAL},
            f"`{DECIMAL}` does not say how many digits there are before and after the point. Write them as the "
            "source's column has them: `x-type: decimal(12,2)`.",
        ),
        (
            {"type": "string", "x-debezium": DECIMAL, "x-type": "double"},
            f"`{DECIMAL}` does not say how many digits there are before and after the point. Write them as the "
            "source's column has them: `x-type: decimal(12,2)`.",
        ),
    ],
)
def test_a_wrong_name_is_told_when_the_contract_is_loaded(field: dict[str, Any], expected: str, tmp_path: Path) -> None:
    [problem] = problems(tmp_path, field)
    at, _, sentences = problem.partition(": ")
    assert at.endswith("/x-debezium")
    assert sentences.startswith(expected)


def test_a_decimal_may_have_its_digits_beside_a_reference(tmp_path: Path) -> None:
    schema = {"$defs": {"money": {"type": "string", "x-debezium": DECIMAL}}}
    field = {"$ref": "#/$defs/money", "x-type": "decimal(9,2)"}
    assert spark_type({**schema, "properties": {"v": field}}) == parse_type("struct<v: decimal(9,2)>")
    with pytest.raises(Untypable, match="does not say how many digits"):
        spark_type({**schema, "properties": {"v": {"$ref": "#/$defs/money"}}})


def test_a_contract_made_of_connects_avro_names_the_types() -> None:
    found = infer_avro(json.dumps(avro_schema(TYPES)), is_debezium=True).schema["properties"]
    assert found["stamp6"] == {"type": ["integer", "null"], "x-debezium": MICRO, "default": None}
    assert found["instant"]["x-debezium"] == "io.debezium.time.ZonedTimestamp"
    assert found["days"]["items"]["x-debezium"] == "io.debezium.time.Date"
    assert found["exact"]["x-type"] == "decimal(12,2)"
    assert "x-debezium" not in found["exact"]  # Avro's own decimal comes as text
    assert "x-debezium" not in found["loose"]  # its digits are for a person to tell
    assert spark_type({"properties": found})["days"].dataType == parse_type("array<date>")
