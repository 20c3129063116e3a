"""Avro bytes to values of the JSON model: each type, whole input, and nothing but Unreadable for what is broken."""

from __future__ import annotations

import io
import json
import math
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest

from schemas.avro.wire import MAX_DEPTH, Unreadable, read, read_confluent, schema_id

MICROS_PER_DAY = 86_400_000_000


def record(**fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}


def written(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def zigzag(number: int) -> bytes:
    left = ((number << 1) ^ (number >> 63)) & (2**64 - 1)
    out = b""
    while left > 127:
        out, left = out + bytes([left & 127 | 128]), left >> 7
    return out + bytes([left])


def refusal(schema: Any, body: bytes) -> str:
    with pytest.raises(Unreadable) as raised:
        read(json.dumps(schema), body)
    return raised.value.rule


def logical(base: str, name: str, /, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


NANOS_OF_2024 = 1_704_067_200_123_456_789

VALUES: list[tuple[Any, Any, Any]] = [
    # schema, what is written (without logical types), what is read
    ("null", None, None),
    ("boolean", True, True),
    ("int", -(2**31), -(2**31)),
    ("long", 2**63 - 1, 2**63 - 1),
    ("float", 0.5, 0.5),
    ("double", -1e300, -1e300),
    ("string", "Zürich 🏔", "Zürich 🏔"),
    ("bytes", b"\x00\xff", "AP8="),
    ("bytes", b"", ""),
    ({"type": "fixed", "name": "F", "size": 2}, b"\x00\xff", "AP8="),
    ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, "b", "b"),
    ({"type": "array", "items": ["null", "bytes"]}, [None, b"\x01"], [None, "AQ=="]),
    ({"type": "map", "values": "float"}, {"x": 1.5}, {"x": 1.5}),
    (["null", "string"], None, None),
    (["null", "string"], "a", "a"),
    (logical("bytes", "decimal", precision=4, scale=2), b"\x04\xe2", "12.50"),
    (logical("bytes", "decimal", precision=4, scale=2), b"\xff", "-0.01"),
    (logical("bytes", "decimal", precision=4, scale=2), b"\x00", "0.00"),
    (logical("bytes", "decimal", precision=4), b"\x04\xe2", "1250"),
    (logical("bytes", "decimal", precision=38, scale=38), b"\x01", "0." + "0" * 37 + "1"),
    (logical("fixed", "decimal", name="D", size=3, precision=6, scale=1), b"\xff\xff\xf6", "-1.0"),
    # not a decimal: more digits after the point than in all
    (logical("bytes", "decimal", precision=1, scale=2), b"\x04\xe2", "BOI="),
    (logical("int", "date"), 0, "1970-01-01"),
    (logical("int", "date"), -719162, "0001-01-01"),
    (logical("int", "date"), 2932896, "9999-12-31"),
    (logical("int", "time-millis"), 86_399_999, "23:59:59.999000"),
    (logical("long", "time-micros"), 1, "00:00:00.000001"),
    (logical("long", "timestamp-millis"), -1, "1969-12-31T23:59:59.999000Z"),
    (logical("long", "timestamp-micros"), 1_709_208_000_000_001, "2024-02-29T12:00:00.000001Z"),
    (logical("long", "timestamp-micros"), -62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
    (logical("long", "timestamp-nanos"), NANOS_OF_2024, "2024-01-01T00:00:00.123456789Z"),
    (logical("long", "timestamp-nanos"), -1, "1969-12-31T23:59:59.999999999Z"),
    (logical("long", "timestamp-nanos"), -(2**63), "1677-09-21T00:12:43.145224192Z"),
    (logical("long", "local-timestamp-millis"), 1, "1970-01-01T00:00:00.001000"),
    (logical("long", "local-timestamp-micros"), 1, "1970-01-01T00:00:00.000001"),
    (logical("long", "local-timestamp-nanos"), 1, "1970-01-01T00:00:00.000000001"),
    (logical("string", "uuid"), "a-uuid-as-it-came", "a-uuid-as-it-came"),
    (logical("fixed", "uuid", name="U", size=16), bytes(15) + b"\x01", str(UUID(int=1))),
    (logical("fixed", "uuid", name="U", size=1), b"\x01", "AQ=="),
    (logical("fixed", "duration", name="U", size=12), bytes(12), "AAAAAAAAAAAAAAAA"),
    # a logical type on another type than its own, or of a name that only Connect knows
    (logical("string", "date"), "2024", "2024"),
    (logical("int", "timestamp-micros"), 7, 7),
    ({"type": "long", "connect.name": "io.debezium.time.MicroTimestamp", "connect.version": 1}, 5, 5),
    (["null", logical("int", "date"), logical("long", "timestamp-millis")], 5, "1970-01-06"),
]


def without_logical(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_logical(one) for one in schema]
    if isinstance(schema, dict):
        return {key: without_logical(value) for key, value in schema.items() if key != "logicalType"}
    return schema


@pytest.mark.parametrize(("schema", "value", "expected"), VALUES, ids=lambda one: str(one)[:40])
def test_each_type_has_its_form(schema: Any, value: Any, expected: Any) -> None:
    body = written(record(v=without_logical(schema)), {"v": value})
    assert read(json.dumps(record(v=schema)), body) == {"v": expected}


def test_what_python_means_by_logical_types_is_what_is_read() -> None:
    schema = record(
        d=logical("bytes", "decimal", precision=10, scale=3),
        day=logical("int", "date"),
        at=logical("long", "timestamp-micros"),
        of_day=logical("long", "time-micros"),
        id=logical("string", "uuid"),
    )
    moment = datetime(2024, 3, 10, 2, 30, 0, 123456, UTC)
    row = {"d": Decimal("-1.250"), "day": date(2024, 2, 29), "at": moment, "of_day": time(1, 2, 3), "id": UUID(int=5)}
    assert read(json.dumps(schema), written(schema, row)) == {
        "d": "-1.250",
        "day": "2024-02-29",
        "at": "2024-03-10T02:30:00.123456Z",
        "of_day": "01:02:03.000000",
        "id": "00000000-0000-0000-0000-000000000005",
    }


def test_names_of_types_lead_to_their_forms_and_namespaces_are_kept() -> None:
    money = {"type": "fixed", "name": "Money", "namespace": "shop", "size": 2, "precision": 4, "scale": 2}
    schema = record(
        a={**money, "logicalType": "decimal"},
        b=["null", "shop.Money"],
        c={"type": "record", "name": "shop.Inner", "fields": [{"name": "m", "type": "Money"}]},
    )
    plain = record(a=money, b=["null", "shop.Money"], c=schema["fields"][2]["type"])
    body = written(plain, {"a": b"\x00\x01", "b": b"\x00\x02", "c": {"m": b"\x00\x03"}})
    assert read(json.dumps(schema), body) == {"a": "0.01", "b": "0.02", "c": {"m": "0.03"}}


def test_what_only_writing_asks_for_does_not_bar_reading() -> None:
    schema = {
        "type": "record",
        "name": "R",
        "doc": "x",
        "fields": [{"name": "a", "type": {"type": {"type": "int"}}, "default": "no number", "aliases": ["b"]}],
    }
    assert read(json.dumps(schema), b"\x04") == {"a": 2}


DEBEZIUM = {
    "type": "record",
    "name": "Envelope",
    "namespace": "shop.public.orders",
    "connect.name": "shop.public.orders.Envelope",
    "fields": [
        {
            "name": "before",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "Value",
                    "fields": [
                        {"name": "order_id", "type": "long"},
                        {"name": "amount", "type": logical("bytes", "decimal", precision=18, scale=2)},
                        {
                            "name": "order_ts",
                            "type": {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"},
                        },
                        {"name": "note", "type": ["null", "string"], "default": None},
                    ],
                },
            ],
            "default": None,
        },
        {"name": "after", "type": ["null", "Value"], "default": None},
        {
            "name": "source",
            "type": {
                "type": "record",
                "name": "Source",
                "namespace": "io.debezium.connector.postgresql",
                "fields": [
                    {"name": "connector", "type": "string"},
                    {"name": "ts_ms", "type": "long"},
                    {"name": "lsn", "type": ["null", "long"], "default": None},
                ],
            },
        },
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ],
}


def test_a_debezium_envelope_is_the_dict_that_its_json_gives() -> None:
    row = {"order_id": 7, "amount": Decimal("12.50"), "order_ts": "2024-01-01T00:00:00Z", "note": None}
    source = {"connector": "postgresql", "ts_ms": 1, "lsn": 99}
    body = written(DEBEZIUM, {"before": None, "after": row, "source": source, "op": "u", "ts_ms": 2})
    as_json = json.loads(
        """{"before": null, "after": {"order_id": 7, "amount": "12.50", "order_ts": "2024-01-01T00:00:00Z",
        "note": null}, "source": {"connector": "postgresql", "ts_ms": 1, "lsn": 99}, "op": "u", "ts_ms": 2}"""
    )
    assert read(json.dumps(DEBEZIUM), body) == as_json


ALL = record(
    a="int",
    b=["null", logical("bytes", "decimal", precision=9, scale=2)],
    c={"type": "array", "items": "string"},
    d={"type": "map", "values": logical("long", "timestamp-micros")},
    e="double",
    f={"type": "enum", "name": "E", "symbols": ["x", "y"]},
    g={"type": "fixed", "name": "F", "size": 3},
    h=logical("int", "date"),
    i="boolean",
    j=["null", "float", "string"],
)
ALL_TEXT = json.dumps(ALL)
ALL_BODY = written(
    without_logical(ALL),
    {
        "a": 300,
        "b": b"\x04\xe2",
        "c": ["one", "zwölf"],
        "d": {"k": 1, "l": 2},
        "e": 2.5,
        "f": "y",
        "g": b"abc",
        "h": 19_000,
        "i": True,
        "j": "end",
    },
)


@pytest.mark.parametrize("length", range(len(ALL_BODY)))
def test_a_record_that_ends_anywhere_before_its_end_is_unreadable(length: int) -> None:
    assert refusal(ALL, ALL_BODY[:length]) == "avro.truncated"


def test_a_record_that_goes_on_after_its_end_is_unreadable() -> None:
    assert read(ALL_TEXT, ALL_BODY)["j"] == "end"
    assert refusal(ALL, ALL_BODY + b"\x00") == "avro.trailing"


def test_broken_bytes_are_read_or_unreadable_and_nothing_else() -> None:
    chance = random.Random(20240229)
    outcomes = set()
    for _ in range(20_000):
        body = bytearray(ALL_BODY)
        for _ in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        if chance.random() < 0.5:
            body = bytearray(chance.randbytes(chance.randrange(60)))
        try:
            value = read(ALL_TEXT, bytes(body))
        except Unreadable as error:
            outcomes.add(error.rule)
        else:
            outcomes.add("read")
            json.dumps(value, allow_nan=False)
    assert {"read", "avro.truncated", "avro.trailing", "avro.number"} <= outcomes


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        "bytes",
        {"type": "array", "items": "int"},
        {"type": "map", "values": "int"},
        {"type": "array", "items": "double"},
    ],
    ids=str,
)
@pytest.mark.parametrize("length", [2**40, 2**60, 2**63 - 1, -1, -(2**60), -(2**63)])
def test_a_length_that_the_record_does_not_have_takes_no_memory(schema: Any, length: int) -> None:
    assert refusal(schema, zigzag(length) + b"\x00\x01\x02") == "avro.truncated"


def test_a_fixed_of_enormous_size_takes_no_memory() -> None:
    assert refusal({"type": "fixed", "name": "F", "size": 10**15}, b"abc") == "avro.truncated"


@pytest.mark.parametrize(
    "items",
    ["null", {"type": "fixed", "name": "F", "size": 0}, record(), record(a="null", b=record() | {"name": "S"})],
    ids=["null", "empty fixed", "empty record", "record of nulls"],
)
def test_an_array_whose_length_no_byte_bounds_is_refused(items: Any) -> None:
    schema = {"type": "record", "name": "T", "fields": [{"name": "a", "type": {"type": "array", "items": items}}]}
    assert refusal(schema, zigzag(2**60) + b"\x00") == "avro.schema_invalid"


LIST = {"type": "record", "name": "L", "fields": [{"name": "v", "type": "int"}, {"name": "n", "type": ["null", "L"]}]}
TREE = {
    "type": "record",
    "name": "T",
    "namespace": "x",
    "fields": [{"name": "below", "type": {"type": "array", "items": "T"}}],
}


def chain(length: int) -> bytes:
    return b"\x02\x02" * (length - 1) + b"\x02\x00"


def test_a_schema_that_contains_itself_is_read() -> None:
    assert read(json.dumps(LIST), chain(2)) == {"v": 1, "n": {"v": 1, "n": None}}
    assert read(json.dumps(TREE), b"\x02\x00\x00") == {"below": [{"below": []}]}
    assert read(json.dumps(LIST), chain(MAX_DEPTH))["v"] == 1


@pytest.mark.parametrize("length", [MAX_DEPTH + 1, 1_000, 1_000_000])
def test_records_that_lie_too_deep_in_each_other_are_unreadable_and_end_no_process(length: int) -> None:
    assert refusal(LIST, chain(length)) == "avro.depth"
    assert refusal(TREE, b"\x02" * length + b"\x00" * (length + 1)) == "avro.depth"


def test_a_record_that_is_its_own_field_is_unreadable() -> None:
    endless = {"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}
    assert refusal(endless, b"\x00") == "avro.depth"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("double", math.nan),
        ("double", math.inf),
        ("float", -math.inf),
        (logical("int", "date"), 2_932_897),
        (logical("int", "date"), -719_163),
        (logical("int", "date"), -(2**31)),
        (logical("int", "time-millis"), -1),
        (logical("int", "time-millis"), 86_400_000),
        (logical("long", "time-micros"), MICROS_PER_DAY),
        (logical("long", "timestamp-millis"), 2**63 - 1),
        (logical("long", "timestamp-micros"), 2**63 - 1),
        (logical("long", "timestamp-micros"), -62_135_596_800_000_001),
        (logical("long", "local-timestamp-millis"), -(2**63)),
        (logical("bytes", "decimal", precision=4, scale=2), b"\x7f" * 10_000),
    ],
    ids=lambda one: str(one)[:40],
)
def test_numbers_that_json_has_no_form_of_are_refused(schema: Any, value: Any) -> None:
    assert refusal(record(v=schema), written(record(v=without_logical(schema)), {"v": value})) == "avro.number"


@pytest.mark.parametrize(
    ("schema", "body"),
    [("string", b"\x04\xff\xfe"), ({"type": "enum", "name": "E", "symbols": ["a"]}, b"\x08"), (["null"], b"\x06")],
    ids=["not UTF-8", "no such symbol", "no such branch"],
)
def test_bytes_that_are_not_of_the_schema_are_unreadable(schema: Any, body: bytes) -> None:
    assert refusal(schema, body) == "avro.truncated"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "5",
        "null",
        "{}",
        '"nothing"',
        '{"type": "record", "name": "R"}',
        '{"type": "array"}',
        '{"type": "enum", "name": "E", "symbols": 5}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "Missing"}]}',
        '{"type": "record", "name": "R", "fields": [1]}',
        "[" * 5000 + "]" * 5000,
        '{"type": "array", "items": ' * 5000 + '"int"' + "}" * 5000,
    ],
    ids=lambda text: text[:40],
)
def test_a_schema_that_is_none_is_told_as_such(text: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read(text, b"\x00")
    assert raised.value.rule == "avro.schema_invalid"


def test_the_wire_format_names_the_schema() -> None:
    assert schema_id(b"\x00\x00\x00\x01\x02body") == 258
    body = b"\x00\x00\x00\x00\x07" + ALL_BODY
    assert read_confluent(body, {7: ALL_TEXT}) == read(ALL_TEXT, ALL_BODY)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"", "avro.magic"),
        (b"\x00\x00\x00\x01", "avro.magic"),
        (b"\x01\x00\x00\x00\x01", "avro.magic"),
        (b'{"a": 1}', "avro.magic"),
        (b"\x00\xff\xff\xff\xff", "avro.schema_unknown"),
        (b"\x00\x00\x00\x00\x08", "avro.schema_unknown"),
        (b"\x00\x00\x00\x00\x09", "avro.schema_unknown"),
    ],
)
def test_bytes_that_name_no_schema_have_their_code(value: bytes, rule: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read_confluent(value, {7: ALL_TEXT, 8: None})
    assert raised.value.rule == rule


def test_a_timestamp_is_exact_at_any_microsecond() -> None:
    chance = random.Random(1)
    schema = record(v=logical("long", "timestamp-micros"))
    for _ in range(500):
        micros = chance.randrange(-62_135_596_800_000_000, 253_402_300_800_000_000)
        text = read(json.dumps(schema), zigzag(micros))["v"]
        moment = datetime.fromisoformat(text)
        assert (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == micros
