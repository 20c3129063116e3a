"""A contract made from samples or from an Avro schema is one that the service takes, and that the records keep to."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from schemas.avro.resolve import resolve
from schemas.avro.wire import read
from schemas.contract_file import UNSTORABLE, read_contract
from schemas.infer import contract_of, infer
from schemas.infer_avro import infer_avro
from schemas.samples import NotInferable, read_samples
from schemas.schema_set import SchemaSet
from streams.cli import app


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for(schema, validate_formats=True, offline=True)


def row_type(tmp_path: Path, schema: dict[str, Any]) -> str:
    """The columns of a contract, which has to be without a problem."""
    file = tmp_path / "inferred.schema.json"
    file.write_text(json.dumps(contract_of(schema, "inferred")), encoding="utf-8")
    found = read_contract(file, SchemaSet(()))
    assert (found.problems, found.storage_problems) == ((), ())
    assert found.contract is not None
    return found.contract.row_type.simpleString()


SAMPLES: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "a field of some records": (
        [{"a": 1, "b": True}, {"a": 2}],
        {"required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}}},
        "struct<a:bigint,b:boolean>",
    ),
    "a null among values": (
        [{"a": "x"}, {"a": None}],
        {"required": ["a"], "properties": {"a": {"type": ["string", "null"]}}},
        "struct<a:string>",
    ),
    "nothing but null": (
        [{"a": None}],
        {"required": ["a"], "properties": {"a": {}}},
        "struct<a:string>",
    ),
    "a fraction among whole numbers": (
        [{"a": 1}, {"a": 1.5}],
        {"required": ["a"], "properties": {"a": {"type": "number"}}},
        "struct<a:double>",
    ),
    "a whole number beyond 64 bits": (
        [{"a": 2**63}],
        {"required": ["a"], "properties": {"a": {"type": "integer", "x-type": "decimal(38,0)"}}},
        "struct<a:decimal(38,0)>",
    ),
    "formats that all have": (
        [
            {"t": "2024-01-01T00:00:00Z", "d": "2024-01-01", "u": "123e4567-e89b-12d3-a456-426614174000", "n": None},
            {"t": "2024-01-01T00:00:00.123456+05:30", "d": "1999-12-31", "u": None, "n": "2024-01-01"},
        ],
        {
            "required": ["t", "d", "u", "n"],
            "properties": {
                "t": {"type": "string", "format": "date-time"},
                "d": {"type": "string", "format": "date"},
                "u": {"type": ["string", "null"], "format": "uuid"},
                "n": {"type": ["string", "null"], "format": "date"},
            },
        },
        "struct<t:string,d:string,u:string,n:string>",
    ),
    "a format that one has not": (
        [{"t": "2024-01-01T00:00:00Z"}, {"t": "2024-01-01"}],
        {"required": ["t"], "properties": {"t": {"type": "string"}}},
        "struct<t:string>",
    ),
    "kinds that do not go together": (
        [{"a": 1, "b": {"x": 1}}, {"a": "x", "b": [1]}],
        {
            "required": ["a", "b"],
            "properties": {"a": {"type": ["integer", "string"]}, "b": {"type": ["array", "object"]}},
        },
        "struct<a:string,b:string>",
    ),
    "objects in each other": (
        [{"o": {"a": 1, "b": {"c": "x"}}}, {"o": {"a": None, "b": {}}}, {"o": None}],
        {
            "required": ["o"],
            "properties": {
                "o": {
                    "type": ["object", "null"],
                    "required": ["a", "b"],
                    "properties": {
                        "a": {"type": ["integer", "null"]},
                        "b": {"type": "object", "properties": {"c": {"type": "string"}}},
                    },
                }
            },
        },
        "struct<o:struct<a:bigint,b:struct<c:string>>>",
    ),
    "lists": (
        [{"l": [], "m": [{"a": 1}]}, {"l": [[1]], "m": [{"a": 2, "b": 3}, {"a": 4}]}],
        {
            "required": ["l", "m"],
            "properties": {
                "l": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
                "m": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["a"],
                        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                    },
                },
            },
        },
        "struct<l:array<array<bigint>>,m:array<struct<a:bigint,b:bigint>>>",
    ),
    "an empty list and an empty object": (
        [{"l": [], "o": {}}],
        {"required": ["l", "o"], "properties": {"l": {"type": "array", "items": {}}, "o": {"type": "object"}}},
        "struct<l:array<string>,o:map<string,string>>",
    ),
}


@pytest.mark.parametrize(("records", "schema", "columns"), SAMPLES.values(), ids=SAMPLES)
def test_samples_have_their_contract(
    tmp_path: Path, records: list[dict[str, Any]], schema: dict[str, Any], columns: str
) -> None:
    found = infer(records)
    assert found.schema == {"type": "object", **schema}
    assert found.left_out == ()
    assert row_type(tmp_path, found.schema) == columns


def test_fields_that_can_not_be_columns_are_left_out_and_named(tmp_path: Path) -> None:
    found = infer([{"a": 1, "A": 2, "x y": 3, "": 4, "o": {"b(c": 1, "d": 2}}])
    assert found.left_out == ("/A", "/x y", "/", "/o/b(c")
    assert row_type(tmp_path, found.schema) == "struct<a:bigint,o:struct<d:bigint>>"
    assert validator(found.schema).is_valid({"a": 1, "A": "another", "o": {"d": 1, "b(c": []}})


NAMES = st.text(alphabet="abcAB ,;é_-", max_size=3)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.dates().map(str)
    | st.uuids().map(str)
    | st.datetimes().map(lambda at: f"{at.isoformat()}Z")
)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


@settings(max_examples=200)
@given(st.lists(st.dictionaries(NAMES, JSON, max_size=4), min_size=1, max_size=5))
def test_whatever_the_samples_are_they_keep_to_their_contract(records: list[dict[str, Any]]) -> None:
    schema = infer(records).schema
    check = validator(contract_of(schema, "any"))
    assert all(check.is_valid(record) for record in records)


@settings(max_examples=50)
@given(st.lists(st.dictionaries(NAMES, JSON, min_size=1, max_size=4), min_size=1, max_size=4))
def test_whatever_the_samples_are_a_table_can_hold_their_contract(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    schema = infer(records).schema
    if any(name and not UNSTORABLE.intersection(name) for record in records for name in record):
        row_type(tmp_path_factory.mktemp("any"), schema)


def logical(base: str, name: str, /, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "doc": "An order.",
    "fields": [
        {"name": "id", "type": "long", "doc": "Its number."},
        {"name": "qty", "type": "int", "default": 1, "aliases": ["quantity"]},
        {"name": "amount", "type": logical("bytes", "decimal", precision=18, scale=2)},
        {"name": "tax", "type": ["null", logical("bytes", "decimal", precision=4, scale=4)], "default": None},
        {"name": "huge", "type": logical("bytes", "decimal", precision=40), "default": "\u0004\u00e2"},
        {"name": "price", "type": logical("fixed", "decimal", name="P", size=4, precision=6, scale=1)},
        {"name": "day", "type": logical("int", "date"), "default": 0},
        {"name": "at", "type": ["null", logical("long", "timestamp-micros")]},
        {"name": "nanos", "type": logical("long", "timestamp-nanos")},
        {"name": "local", "type": logical("long", "local-timestamp-millis")},
        {"name": "of_day", "type": logical("int", "time-millis")},
        {"name": "ref", "type": logical("string", "uuid")},
        {"name": "raw", "type": ["null", "bytes"], "default": None},
        {"name": "pair", "type": {"type": "fixed", "name": "F", "size": 2}, "default": "\u0000\u00ff"},
        {"name": "kind", "type": ["null", {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}]},
        {"name": "kind2", "type": "Kind", "default": "a"},
        {"name": "ratio", "type": ["float", "int"], "default": 0.5},
        {"name": "either", "type": ["null", "string", "long"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "more", "type": {"type": "map", "values": ["null", "double"]}},
        {
            "name": "lines",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Line",
                    "fields": [{"name": "sku", "type": "string"}, {"name": "parts", "type": ["null", "Line"]}],
                },
            },
        },
        {"name": "ok", "type": "boolean", "default": True},
    ],
}
ORDER_VALUE = {
    "id": 1,
    "qty": 2,
    "amount": b"\x04\xe2",
    "tax": b"\xff",
    "huge": b"\x01",
    "price": b"\x00\x00\x00\x01",
    "day": 19_000,
    "at": 1,
    "nanos": 1,
    "local": 1,
    "of_day": 1,
    "ref": "123e4567-e89b-12d3-a456-426614174000",
    "raw": b"x",
    "pair": b"ab",
    "kind": "a",
    "kind2": "b",
    "ratio": 1.5,
    "either": 5,
    "tags": ["x"],
    "more": {"k": None, "l": 1.0},
    "lines": [{"sku": "s", "parts": {"sku": "t", "parts": None}}],
    "ok": False,
}
NULLABLE = ("tax", "at", "raw", "kind", "either")


def without_logical(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_logical(one) for one in schema]
    if isinstance(schema, dict):
        return {key: without_logical(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def as_read(value: dict[str, Any]) -> Any:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(without_logical(ORDER)), value)
    return read(json.dumps(ORDER), out.getvalue())


def test_an_avro_schema_has_its_contract(tmp_path: Path) -> None:
    found = infer_avro(json.dumps(ORDER)).schema
    assert found["description"] == "An order."
    properties = found["properties"]
    assert properties["id"] == {"type": "integer", "description": "Its number."}
    assert properties["qty"] == {"type": "integer", "default": 1, "x-aliases": ["quantity"]}
    assert properties["amount"] == {
        "type": "string",
        "pattern": r"^-?[0-9]{1,16}(\.[0-9]{1,2})?$",
        "x-type": "decimal(18,2)",
    }
    assert properties["tax"]["type"] == ["string", "null"]
    assert properties["huge"] == {"type": "string", "pattern": "^-?[0-9]{1,40}$", "default": "1250"}
    assert properties["day"] == {"type": "string", "format": "date", "x-type": "date", "default": "1970-01-01"}
    assert properties["at"] == {"type": ["string", "null"], "format": "date-time", "x-type": "timestamp"}
    assert properties["raw"] == {
        "type": ["string", "null"],
        "contentEncoding": "base64",
        "x-type": "binary",
        "default": None,
    }
    assert properties["pair"]["default"] == "AP8="
    assert properties["kind"] == {"type": ["string", "null"], "enum": ["a", "b", None]}
    assert properties["ratio"] == {"type": "number", "default": 0.5}
    assert properties["lines"]["items"]["properties"]["parts"] == {"type": ["object", "null"]}
    assert set(found["required"]) == {field["name"] for field in ORDER["fields"] if "default" not in field}
    assert row_type(tmp_path, found) == (
        "struct<id:bigint,qty:bigint,amount:decimal(18,2),tax:decimal(4,4),huge:string,price:decimal(6,1),day:date,"
        "at:timestamp,nanos:string,local:timestamp_ntz,of_day:string,ref:string,raw:binary,pair:binary,kind:string,"
        "kind2:string,ratio:double,either:string,tags:array<string>,more:map<string,double>,"
        "lines:array<struct<sku:string,parts:map<string,string>>>,ok:boolean>"
    )


@pytest.mark.parametrize("nulls", [(), NULLABLE], ids=["all set", "nulls"])
def test_what_is_read_of_avro_keeps_to_the_contract_of_its_schema(nulls: tuple[str, ...]) -> None:
    check = validator(infer_avro(json.dumps(ORDER)).schema)
    record = as_read(ORDER_VALUE | dict.fromkeys(nulls))
    assert [error.message for error in check.iter_errors(record)] == []


def test_a_record_of_an_older_writer_is_completed_to_the_contract() -> None:
    contract = infer_avro(json.dumps(ORDER)).schema
    record = as_read(ORDER_VALUE)
    older = {key: value for key, value in record.items() if key in contract["required"]} | {"quantity": 7}
    completed = resolve(older, contract)
    assert [error.message for error in validator(contract).iter_errors(completed)] == []
    assert (completed["qty"], completed["huge"], completed["pair"], completed["tags"]) == (7, "1250", "AP8=", [])


@settings(max_examples=100)
@given(
    amount=st.integers(-(10**18) + 1, 10**18 - 1),
    day=st.integers(-719_162, 2_932_896),
    at=st.none() | st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
    of_day=st.integers(0, 86_399_999),
    nanos=st.integers(-(2**63), 2**63 - 1),
)
def test_any_number_of_a_logical_type_keeps_to_the_contract(
    amount: int, day: int, at: int | None, of_day: int, nanos: int
) -> None:
    value = {"amount": amount.to_bytes(9, "big", signed=True), "day": day, "at": at, "of_day": of_day, "nanos": nanos}
    check = validator(infer_avro(json.dumps(ORDER)).schema)
    assert [error.message for error in check.iter_errors(as_read(ORDER_VALUE | value))] == []


def test_a_default_that_is_not_of_its_type_is_left_away() -> None:
    fields = [{"name": "a", "type": "int", "default": "x"}, {"name": "b", "type": ["null", "string"], "default": "y"}]
    found = infer_avro(json.dumps({"type": "record", "name": "R", "fields": fields})).schema
    assert found["properties"] == {"a": {"type": "integer"}, "b": {"type": ["string", "null"], "default": "y"}}


ENVELOPE = {
    "type": "record",
    "name": "Envelope",
    "namespace": "shop.orders",
    "fields": [
        {
            "name": "before",
            "type": ["null", {"type": "record", "name": "Value", "fields": [{"name": "id", "type": "long"}]}],
        },
        {"name": "after", "type": ["null", "Value"]},
        {"name": "op", "type": "string"},
    ],
}


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["contract", "infer", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_takes_the_row_out_of_debezium_envelopes(tmp_path: Path) -> None:
    avsc, lines = tmp_path / "orders.avsc", tmp_path / "orders.jsonl"
    avsc.write_text(json.dumps(ENVELOPE))
    rows: list[Any] = [
        {"op": "c", "before": None, "after": {"id": 1}},
        {"schema": {}, "payload": {"op": "u", "before": None, "after": {"id": 2, "note": "x"}}},
        {"op": "u", "before": None, "after": {"id": 3, "note": "__debezium_unavailable_value"}},
        {"op": "d", "before": {"id": 1}, "after": None},
        {"ts_ms": 7},
        None,
    ]
    lines.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    expected = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "orders", "x-version": "1"}
    expected |= {"type": "object", "required": ["id"]}
    assert run(avsc, "--debezium") == (
        0,
        json.dumps({**expected, "properties": {"id": {"type": "integer"}}}, indent=2) + "\n",
        "",
    )
    code, printed, _ = run(lines, "--debezium")
    assert code == 0
    assert json.loads(printed) == {
        **expected,
        "properties": {"id": {"type": "integer"}, "note": {"type": "string"}},
    }


def test_the_command_takes_lines_an_array_or_one_record_and_writes_a_file(tmp_path: Path) -> None:
    given_forms = {"lines": '{"a": 1}\n{"a": 2}\n', "array": '[{"a": 1},\n{"a": 2}]', "one": '{\n"a": 1\n}'}
    for form, text in given_forms.items():
        file, to = tmp_path / f"{form}.txt", tmp_path / f"{form}.schema.json"
        file.write_text(text)
        assert run(file, "--name", "things", "--out", to) == (0, "", "")
        found = read_contract(to, SchemaSet(()))
        assert (found.problems, found.storage_problems) == ((), ())
        assert found.contract is not None
        assert (found.contract.schema["title"], found.contract.version) == ("things", "1")
        assert found.contract.row_type.simpleString() == "struct<a:bigint>"
        code, _, said = run(file, "--out", to)
        assert code == 2
        assert "There is such a file already. Give another name, or remove it first." in said


def test_the_command_says_what_it_left_out(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": 1, "x y": 2}')
    code, printed, said = run(file)
    assert code == 0
    assert list(json.loads(printed)["properties"]) == ["a"]
    assert "/x y is left out" in said


@pytest.mark.parametrize(
    ("name", "text", "options", "said"),
    [
        ("a.json", '{"a": 1}\n{"a": \n', [], "a.json:2: It is not JSON: unexpected end of data. Correct it: one"),
        ("a.json", '{"a": 1}\n\n5\n', [], "a.json:3: It is not a JSON object. Give one object for each record."),
        ("a.json", '[{"a": 1}, 5]', [], "a.json /1: It is not a JSON object. Give one object for each record."),
        ("a.json", '[{"a": 1},\n{"a"]', [], "a.json:2: It is not JSON: "),
        ("a.json", '{"a": NaN}', [], "a.json:1: It is not JSON: "),
        ("a.json", "", [], "a.json: It holds no record with fields. Give some records"),
        ("a.json", "{}\n{}\n", [], "a.json: It holds no record with fields. Give some records"),
        ("a.json", '{"x y": 1}', [], "a.json: It has no field whose name can be a column. Rename the fields"),
        ("a.json", "null\n", [], "a.json:1: It is not a JSON object."),
        ("a.json", '{"a": 1}', ["--debezium"], "a.json:1: It has no Debezium `op`. Leave `--debezium` away"),
        ("a.json", '{"op": "d", "after": null}', ["--debezium"], "a.json: It holds no record with fields."),
        ("a.avsc", "{", [], "a.avsc: It is not an Avro schema. Give one, or records with `--from json`."),
        ("a.json", '"nothing"', ["--from", "avro"], "a.json: It is not an Avro schema."),
        ("a.avsc", '"string"', [], "a.avsc: No row can be described: it is not of a record. Give a record's."),
        (
            "a.avsc",
            json.dumps(ORDER),
            ["--debezium"],
            "a.avsc: No row can be described: it has no `after` that is a record. Leave `--debezium` away",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(
    tmp_path: Path, name: str, text: str, options: list[str], said: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    code, printed, complaint = run(file, *options)
    assert (code, printed) == (2, "")
    assert said in complaint.replace(f"{tmp_path}/", "")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotInferable) as raised:
        read_samples(tmp_path / "none.json")
    assert "There is no such file. Name one that exists." in str(raised.value)


def test_no_more_problems_are_told_than_a_person_reads(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("5\n" * 1_000)
    with pytest.raises(NotInferable) as raised:
        read_samples(file)
    assert len(raised.value.problems) == 20
