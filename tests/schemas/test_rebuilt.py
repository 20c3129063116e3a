"""Records made again from their columns: what was accepted is accepted again, and becomes the same columns."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.contract import Contract
from schemas.contract import load as load_contract
from schemas.decode import Decoder
from schemas.judge import Judge
from schemas.rebuilt import Forms
from schemas.record_bytes import AvroReader, JsonReader
from schemas.spec import BronzeSpec
from tests.support import kinds
from tests.support.connect_avro import TYPES, avro_events, avro_schema

NULLABLE = ["string", "null"]
CONTRACT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "must"],
    "properties": {
        "id": {"type": "integer"},
        "must": {"type": NULLABLE},
        "not_null": {"type": "string"},
        "price": {"type": "string", "x-type": "decimal(38,10)"},
        "amount": {"type": "number", "x-type": "decimal(38,10)"},
        "either": {"x-type": "decimal(20,2)"},
        "ratio": {"type": ["number", "null"]},
        "small": {"type": "number", "x-type": "float"},
        "at": {"type": "string", "format": "date-time", "x-type": "timestamp"},
        "wall": {"type": "string", "x-type": "timestamp_ntz"},
        "day": {"type": ["string", "null"], "format": "date", "x-type": "date"},
        "raw": {"type": "string", "x-type": "binary"},
        "anything": {},
        "text": {"type": NULLABLE},
        "flag": {"type": "boolean"},
        "home": {
            "type": ["object", "null"],
            "required": ["street"],
            "properties": {"city": {"type": NULLABLE}, "street": {"type": NULLABLE}},
        },
        "parts": {
            "type": "array",
            "items": {
                "type": ["object", "null"],
                "properties": {"sku": {"type": "string"}, "cost": {"type": "string", "x-type": "decimal(12,4)"}},
            },
        },
        "labels": {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
    },
}

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DECIMAL = st.decimals(-(10**27), 10**27, places=10, allow_nan=False)
MICROS = st.datetimes(min_value=datetime(1, 1, 2))
JSON_LOOKALIKE = st.sampled_from(["1", "true", "null", '{"a":1}', "[1.5]", '"x"', "-0", "1e3", "", " 1", "NaN"])
ANYTHING = st.recursive(
    st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT | JSON_LOOKALIKE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def optional(**fields: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return fields


RECORD = st.fixed_dictionaries(
    {"id": INT64, "must": st.none() | TEXT},
    optional=optional(
        not_null=TEXT,
        price=DECIMAL.map(lambda number: f"{number:f}"),
        amount=st.decimals(-(10**9), 10**9, places=4, allow_nan=False).map(float),
        either=st.integers(-(10**6), 10**6) | st.sampled_from(["1.50", "-7"]),
        ratio=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        small=st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda number: float(f"{number:.7g}")),
        at=MICROS.map(lambda at: at.isoformat() + "Z"),
        wall=MICROS.map(lambda at: at.isoformat(" ")),
        day=st.none() | st.dates().map(lambda day: day.isoformat()),
        raw=st.binary(max_size=9).map(lambda raw: base64.b64encode(raw).decode()),
        anything=st.none() | ANYTHING,
        text=st.none() | TEXT | JSON_LOOKALIKE,
        flag=st.booleans(),
        home=st.none()
        | st.fixed_dictionaries({"street": st.none() | TEXT}, optional={"city": st.none() | TEXT, "new": ANYTHING}),
        parts=st.lists(
            st.none()
            | st.fixed_dictionaries({}, optional={"sku": JSON_LOOKALIKE, "cost": st.just("1.5"), "zip": ANYTHING}),
            max_size=3,
        ),
        labels=st.dictionaries(TEXT, st.none() | INT64, max_size=3),
        unknown=ANYTHING,
    ),
)


def contract(folder: Path, schema: dict[str, Any]) -> Contract:
    file = folder / "things.schema.json"
    file.write_text(json.dumps(schema))
    return load_contract(file)


def judge(of: Contract, **spec: Any) -> Judge:
    given: dict[str, Any] = {
        "table": "bronze.things",
        "source": {"topic": "things", "format": "json"},
        "contract": "things",
    }
    return Decoder.of(BronzeSpec.model_validate(given | spec), of).judge


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return judge(contract(tmp_path_factory.mktemp("contract"), CONTRACT))


def columns(by: Judge, *records: bytes) -> tuple[list[Any], list[Any], list[Any]]:
    """What the judge makes of records: violations, payload, rescued."""
    verdicts = by(pa.array(records, pa.binary()))
    return tuple(verdicts.field(name).to_pylist() for name in ("violations", "payload", "rescued"))  # type: ignore[return-value]


@settings(max_examples=400)
@given(record=RECORD)
def test_what_was_accepted_is_accepted_again_and_becomes_the_same(things: Judge, record: dict[str, Any]) -> None:
    [violations], [payload], [rescued] = columns(things, json.dumps(record).encode())
    if violations is not None:  # such as a FLOAT's or a DECIMAL's range
        assert {one["rule"] for one in violations} <= {"decode.range", "decode.precision"}
        return
    for second in (False, True):
        again = Forms(things.payload, things).kept(payload, rescued, second=second)
        assert again is not None
        found, values, kept = columns(things, again)
        assert found == [None], again
        assert values == [payload], again
        assert [one and json.loads(one) for one in kept] == [rescued and json.loads(rescued)], again


def forms(by: Judge, record: dict[str, Any]) -> list[Any]:
    """The records that a row may have been made from, the first form and the second."""
    [violations], [payload], [rescued] = columns(by, json.dumps(record).encode())
    assert violations is None
    made = Forms(by.payload, by)
    return [json.loads(made.kept(payload, rescued, second=second) or b"null") for second in (False, True)]


def one(folder: Path, **properties: Any) -> Judge:
    return judge(contract(folder, {"type": "object", "properties": properties}))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        # the contract decides ...
        ({"type": "string", "x-type": "decimal(9,4)"}, "1.5", ["1.5000", "1.5000"]),
        ({"type": "string", "x-type": "decimal(9,4)", "pattern": "^[0-9]+([.][0-9]{1,2})?$"}, "1.5", ["1.5", "1.5"]),
        ({"type": "number", "x-type": "decimal(9,4)"}, 1.5, [1.5, 1.5]),
        ({"type": "string"}, "1", ["1", "1"]),
        ({"type": "object"}, {"a": "1"}, [{"a": 1}, {"a": "1"}]),  # of a map's texts it says nothing
        ({"type": ["integer", "boolean"]}, True, [True, True]),
        # ... or leaves it open
        ({"x-type": "decimal(9,4)"}, 1.5, [1.5, "1.5000"]),
        ({}, "1", [1, "1"]),
        ({}, [1, {"a": None}], [[1, {"a": None}], '[1,{"a":null}]']),
        ({}, "null", ["null", "null"]),
        ({"type": "number", "x-type": "float"}, 0.1, [0.1, 0.1]),
        ({"type": "string", "x-type": "timestamp"}, "0001-01-02T03:00:00+02:00", ["0001-01-02T01:00:00Z"] * 2),
    ],
)
def test_a_value_is_what_the_contract_takes(
    kind: dict[str, Any], value: Any, expected: list[Any], tmp_path: Path
) -> None:
    assert [found["x"] for found in forms(one(tmp_path, x=kind), {"x": value})] == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"properties": {"x": {"type": NULLABLE}}}, [{}, {"x": None}]),
        ({"properties": {"x": {"type": NULLABLE}}, "required": ["x"]}, [{"x": None}, {"x": None}]),
        ({"properties": {"x": {"type": "string"}}}, [{}, {}]),
        ({"properties": {"x": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}}, [{}, {}]),
        ({"properties": {"x": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}, [{}, {}]),
        ({"properties": {"x": {"type": NULLABLE}}, "anyOf": [{"required": ["x"]}]}, [{"x": None}, {"x": None}]),
    ],
)
def test_a_null_is_absent_or_explicit_as_the_contract_has_it(
    schema: dict[str, Any], expected: list[Any], tmp_path: Path
) -> None:
    by = judge(contract(tmp_path, {"type": "object"} | schema))
    record = {"x": None} if expected[0] else {}
    assert forms(by, record) == expected


def test_a_mixture_is_found_that_two_contracts_take(tmp_path: Path) -> None:
    nullable = {"type": NULLABLE}
    old = judge(contract(tmp_path, {"type": "object", "properties": {"a": nullable, "b": nullable}}))
    tighter = {"type": "object", "properties": {"a": nullable, "b": {"type": "string"}}, "required": ["a"]}
    new = judge(contract(tmp_path, tighter))
    payload = {"a": None, "b": None}
    found = Forms(old.payload, old).fitting(payload, None, [old, new], second=False)
    assert found == b'{"a":null}'
    nothing = judge(contract(tmp_path, tighter | {"not": {"required": ["a"]}}))
    assert Forms(old.payload, old).fitting(payload, None, [old, nothing], second=True) is None


@pytest.mark.parametrize("op", ["c", "d", "t"])
def test_a_change_event_is_made_again_with_what_was_rescued(op: str, tmp_path: Path) -> None:
    integer, number = {"type": "integer"}, {"type": "string", "x-type": "decimal(9,2)"}
    row = contract(tmp_path, {"type": "object", "required": ["id"], "properties": {"id": number, "n": integer}})
    by = judge(row, source={"topic": "things", "format": "debezium-json"}, keys=["id"])
    source = {"connector": "postgresql", "lsn": 7, "snapshot": "false"}
    images = {"c": ({"id": "1", "n": "x"}, {"id": "1", "more": [2]}), "d": ({"id": "1"}, None), "t": (None, None)}
    before, after = images[op]
    record = {"op": op, "before": before, "after": after, "source": source, "ts_ms": 5}
    [violations], [payload], [rescued] = columns(by, json.dumps(record).encode())
    assert violations is None
    for second in (False, True):
        again = Forms(by.payload, by).kept(payload, rescued, second=second)
        assert again is not None
        assert columns(by, again) == ([None], [payload], [rescued])


@pytest.mark.parametrize("form", ["debezium-json", "debezium-avro"])
def test_events_of_all_types_are_made_again_and_judged_alike(form: str, tmp_path: Path) -> None:
    """Also those with values that the source did not send: nothing is said of these, whatever their fields' types."""
    file = tmp_path / "kinds.schema.json"
    file.write_text(json.dumps(kinds.CONTRACT))
    given = {
        "table": "bronze.kinds",
        "source": {"topic": "kinds", "format": form},
        "contract": "kinds",
        "keys": ["id"],
    }
    spec, of = BronzeSpec.model_validate(given), load_contract(file)
    reader = AvroReader.of(spec, of, None).knowing({7: json.dumps(avro_schema(TYPES))}) if spec.source.is_avro else None
    came = Decoder.of(spec, of, reader=reader).judge
    again = Decoder.of(spec, of, reader=JsonReader()).judge
    events = [json.dumps(event).encode() for event in TYPES["payloads"]] if reader is None else avro_events(7, TYPES)
    names = ("violations", "dropped", "payload", "rescued", "unavailable")
    partial = 0
    for verdict in came(pa.array(events, pa.binary())).to_pylist():
        if verdict["violations"] is not None or verdict["dropped"] is not None:
            continue
        row = {**verdict["payload"], "_unavailable": verdict["unavailable"]}
        partial += verdict["unavailable"] is not None
        for second in (False, True):
            made = Forms(came.payload, again).kept(row, verdict["rescued"], second=second)
            assert made is not None
            [found] = again(pa.array([made], pa.binary())).to_pylist()
            assert {name: found[name] for name in names} == {name: verdict[name] for name in names}
    assert partial == 4
