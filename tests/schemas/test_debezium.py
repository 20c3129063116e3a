"""Debezium's events to bronze rows: positions, values that are missing, records without a row, named types.

What a real PostgreSQL connector wrote is in `debezium_types.json`, see record_debezium; `debezium_mysql.json` is
written by hand after the documentation.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

from schemas import columns as c
from schemas import unavailable
from schemas.contract import load as load_contract
from schemas.contract import spark_type
from schemas.decode import Decoder
from schemas.outcome import DROPPED, VIOLATIONS, Outcomes
from schemas.record_bytes import AvroReader
from schemas.spec import BronzeSpec
from tests.support import kinds
from tests.support.bronze import change
from tests.support.connect_avro import TYPES, avro_events, avro_schema, recorded

MYSQL = recorded("debezium_mysql.json")
CUSTOMERS: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "email": {"type": ["string", "null"]},
        "balance": {"type": "string", "x-debezium": kinds.DECIMAL, "x-type": "decimal(10,2)"},
        "born": {"type": "integer", "x-debezium": "io.debezium.time.Date"},
        "seen_at": {"type": "integer", "x-debezium": "io.debezium.time.Timestamp"},
        "changed_at": {"type": "string", "x-debezium": "io.debezium.time.ZonedTimestamp"},
        "closed_on": {"type": "integer", "x-debezium": "io.debezium.time.Year"},
        "mood": {"type": "string", "x-debezium": "io.debezium.data.Enum"},
        "days": {"type": "string", "x-debezium": "io.debezium.data.EnumSet"},
        "opens": {"type": "integer", "x-debezium": "io.debezium.time.MicroTime"},
    },
}
SNAPSHOT_READ, CREATE, UPDATE, LONG_TEXT_CHANGED, INFINITE = 0, 2, 3, 4, (8, 9)


def outcomes(folder: Path, schema: dict[str, Any], **spec: Any) -> Outcomes:
    file = folder / "things.schema.json"
    file.write_text(json.dumps(schema))
    contract = load_contract(file)
    source = {"topic": "things", "format": "debezium-json"} | spec.pop("source", {})
    given = {"table": "bronze.things", "source": source, "contract": "things", "keys": ["id"]} | spec
    parsed = BronzeSpec.model_validate(given)
    reader = None
    if parsed.source.is_avro:
        reader = AvroReader.of(parsed, contract, None).knowing({7: json.dumps(avro_schema(TYPES))})
    judge = Decoder.of(parsed, contract, reader=reader).judge
    return Outcomes(judge, "test", "1", "run", datetime(2026, 1, 1, tzinfo=UTC), 1_000_000)


def judged(by: Outcomes, *records: Any) -> list[dict[str, Any]]:
    """What becomes of records: objects, bytes, or None for a tombstone."""
    values = [
        one if one is None or isinstance(one, bytes) else json.dumps(one, separators=(",", ":")).encode()
        for one in records
    ]
    count = len(values)
    batch = pa.record_batch(
        {
            "key": pa.nulls(count, pa.binary()),
            "value": pa.array(values, pa.binary()),
            "topic": pa.repeat("things", count),
            "partition": pa.repeat(pa.scalar(0, pa.int32()), count),
            "offset": pa.array(range(count), pa.int64()),
            "timestamp": pa.nulls(count, pa.timestamp("us", tz="UTC")),
            "headers": pa.nulls(count, pa.string()),
        }
    )
    rows: list[dict[str, Any]] = by(batch).to_pylist()
    return rows


def place(row: dict[str, Any]) -> tuple[int, int, int]:
    position = row[c.SOURCE_POSITION]
    return position["major"], position["minor"], position["row"]


def rule(row: dict[str, Any]) -> tuple[str, str] | None:
    return (row[VIOLATIONS][0]["rule"], row[VIOLATIONS][0]["pointer"]) if row[VIOLATIONS] else None


SMALL = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}


def postgres(
    op: str, lsn: int | None, commit: int | None = None, snapshot: str | None = "false", sequence: Any = ...
) -> dict[str, Any]:
    event = change(op, {"id": 1}, lsn or 0)
    pair = [None if commit is None else str(commit), None if lsn is None else str(lsn)]
    text = json.dumps(pair, separators=(",", ":")) if sequence is ... else sequence
    event["source"] |= {"snapshot": snapshot, "sequence": text}
    if snapshot == "incremental":
        event["source"]["lsn"] = None  # as Debezium leaves it out
    return event


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        # a change, as the connector streams it
        (postgres("c", 120, 100), (120, 120, 0)),
        (postgres("u", 90, 100), (100, 90, 0)),  # written before another transaction committed, and sent after it
        (postgres("u", 100, 100), (100, 100, 0)),  # the first record after a commit stands at its end
        (postgres("c", 120, None), (120, 120, 0)),  # in the first transaction after the slot was made
        (postgres("c", 120, sequence=None), (120, 120, 0)),  # of a connector that does not tell
        (postgres("c", 120, sequence="nonsense"), (120, 120, 0)),
        # a snapshot, whatever was streamed before it
        (postgres("r", 120, None, "first"), (120, -1, 0)),
        (postgres("r", 120, 100, "true"), (120, -1, 0)),
        (postgres("r", 120, 130, "last"), (120, -1, 0)),
        (postgres("r", 120, 100, None), (120, -1, 0)),
        # an incremental snapshot, between two changes
        (postgres("r", 120, 100, "incremental"), (120, 120, -1)),
        (postgres("r", 90, 100, "incremental"), (100, 90, -1)),
        (postgres("r", 100, 100, "incremental"), (100, -1, -1)),
    ],
)
def test_a_postgresql_event_stands_where_its_commit_is(
    event: dict[str, Any], expected: tuple[int, int, int], tmp_path: Path
) -> None:
    [row] = judged(outcomes(tmp_path, SMALL), event)
    assert (rule(row), place(row)) == (None, expected)


@pytest.mark.parametrize(
    "source",
    [
        {"connector": "postgresql"},
        {"connector": "postgresql", "lsn": None, "sequence": None},
        {"connector": "postgresql", "sequence": '["1",null]'},
        {"connector": "postgresql", "sequence": '["1","1e3"]'},
        {"connector": "postgresql", "sequence": '["1","1234567890123456789"]'},  # more than 64 bits could be
        {"connector": "mysql", "lsn": 3, "pos": 4},
        {"connector": "mysql", "file": "binlog", "pos": 4},
        {"connector": "mariadb", "file": "binlog.000001"},
        None,
    ],
)
def test_an_event_without_a_position_is_refused(source: Any, tmp_path: Path) -> None:
    [row] = judged(outcomes(tmp_path, SMALL), {"op": "c", "after": {"id": 1}, "source": source})
    assert rule(row) == ("debezium.position", "/source")


def test_the_recorded_events_stand_in_the_order_in_which_they_were_sent(tmp_path: Path) -> None:
    rows = [row for row in judged(outcomes(tmp_path, SMALL), *TYPES["payloads"]) if row["op"]]
    ops = [row["op"] for row in rows]
    assert ops == [*"rrcuudcccuurrrrrdt"]
    places = [place(row) for row in rows]
    assert places == sorted(places)
    # The two reads of a snapshot stand at one place, and so do a delete and a create that are one change of a key, and
    # the reads of a chunk; all others have one of their own.
    assert len(set(places)) == len(places) - 1 - 1 - 4
    late = ops.index("t") - 7
    assert rows[late]["source"]["lsn"] < rows[late - 1]["source"]["lsn"]  # the transaction that was open for long
    assert {row["source"]["lsn"] for row in rows if row["source"]["snapshot"] == "incremental"} == {None}


def test_mysql_events_stand_at_their_place_in_the_binlog(tmp_path: Path) -> None:
    rows = judged(outcomes(tmp_path, CUSTOMERS), *MYSQL["payloads"])
    assert [rule(row) for row in rows] == [None] * len(rows)
    changes = [row for row in rows if row[DROPPED] is None]
    assert [(row["op"], *place(row)) for row in changes] == [
        ("r", 9, 157, -1),
        ("r", 9, 157, -1),
        ("c", 9, 364, 0),
        ("c", 9, 364, 1),
        ("u", 9, 688, 0),
        ("d", 9, 1013, 0),
        ("u", 10, 157, 0),
        ("r", 10, 482, -1),
        ("t", 1_000_000, 700, 0),
    ]
    source = changes[2]["source"]
    assert (source["gtid"], source["server_id"]) == ("3e11fa47-71ca-11e1-9e33-c80aa9429562:42", 223344)
    assert changes[2]["after"] == {
        "id": 3,
        "name": "Cy",
        "email": None,
        "balance": Decimal("123.45"),
        "born": date(1996, 1, 1),
        "seen_at": datetime(2026, 11, 23, 5, 12, 57),
        "changed_at": datetime(2026, 11, 23, 5, 12, 57, tzinfo=UTC),
        "closed_on": 2026,
        "mood": "busy",
        "days": "mon,tue",
        "opens": -3_020_399_000_000,  # -838:59:59, the least that MySQL has
    }


def test_a_binlog_of_mariadb_and_an_lsn_in_one_batch(tmp_path: Path) -> None:
    event = copy.deepcopy(MYSQL["payloads"][2])
    event["source"]["connector"] = "mariadb"
    rows = judged(outcomes(tmp_path, SMALL), event, postgres("c", 120, 130), None)
    assert [place(row) for row in rows[:2]] == [(9, 364, 0), (130, 120, 0)]
    assert rows[2][c.SOURCE_POSITION] is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        *((one, "heartbeat") for one in (*TYPES["heartbeats"], *MYSQL["heartbeats"])),
        *((one, "transaction") for one in (*TYPES["transactions"], *MYSQL["transactions"])),
        *((one, "schema_change") for one in MYSQL["schema_changes"]),
        ({"op": "m", "ts_ms": 1, "source": {"lsn": 1}, "message": {"prefix": "p", "content": "aGk="}}, "message"),
        (None, "tombstone"),
    ],
)
def test_what_is_about_no_row_is_counted_by_what_it_is(record: Any, reason: str, tmp_path: Path) -> None:
    by = outcomes(tmp_path, SMALL)
    [row, wrapped] = judged(by, record, {"schema": {"type": "struct"}, "payload": record})
    assert (row[DROPPED], row[VIOLATIONS]) == (reason, None)
    assert (wrapped[DROPPED], wrapped[VIOLATIONS]) == (reason, None)


@pytest.mark.parametrize(
    "record", [{}, {"ts_ms": 1, "id": 2}, {"status": "BEGIN"}, {"source": {}, "ts_ms": 1}, {"op": None, "ts_ms": 1}]
)
def test_what_only_looks_alike_is_not_dropped(record: Any, tmp_path: Path) -> None:
    [row] = judged(outcomes(tmp_path, SMALL), record)
    assert rule(row) == ("debezium.envelope", "/op")


def test_the_transaction_of_a_change_is_kept(tmp_path: Path) -> None:
    created = judged(outcomes(tmp_path, SMALL), TYPES["payloads"][CREATE], postgres("c", 1))
    assert created[0]["transaction"]["total_order"] == created[0]["transaction"]["data_collection_order"] == 1
    assert created[1]["transaction"] is None


Format = Literal["debezium-json", "debezium-avro"]


def recorded_rows(folder: Path, form: Format, **changed: Any) -> list[dict[str, Any]]:
    by = outcomes(folder, kinds.CONTRACT | changed, source={"format": form})
    if form == "debezium-avro":
        return judged(by, *avro_events(7, TYPES))
    return judged(by, *TYPES["payloads"])


@pytest.mark.parametrize("form", ["debezium-json", "debezium-avro"])
def test_every_type_reaches_its_column_exactly(form: Format, tmp_path: Path) -> None:
    rows = recorded_rows(tmp_path, form)
    for at in (SNAPSHOT_READ, CREATE):
        assert rule(rows[at]) is None
        found = rows[at]["after"]
        assert {name: found[name] for name in kinds.FULL} == kinds.FULL | {"id": found["id"]}
        assert len(found["long_text"]) == 64 * 32
        assert rows[at][c.UNAVAILABLE] is None


@pytest.mark.parametrize("form", ["debezium-json", "debezium-avro"])
def test_a_value_that_the_source_did_not_send_is_null_and_named(form: Format, tmp_path: Path) -> None:
    rows = recorded_rows(tmp_path, form)
    assert [rule(rows[at]) for at in (UPDATE, LONG_TEXT_CHANGED)] == [None, None]
    assert rows[UPDATE][c.UNAVAILABLE] == kinds.TOASTED
    assert [name for name in kinds.TOASTED if rows[UPDATE]["after"][name] is not None] == []
    sent = [name for name in kinds.FULL if name not in (*kinds.TOASTED, "id", "note", "amounts", "stamps")]
    assert {name: rows[UPDATE]["after"][name] for name in sent} == {name: kinds.FULL[name] for name in sent}
    assert rows[LONG_TEXT_CHANGED][c.UNAVAILABLE] == [name for name in kinds.TOASTED if name != "long_text"]
    assert rows[LONG_TEXT_CHANGED]["after"]["long_text"].endswith("x")
    for row in rows:
        del row["__value"]
    assert unavailable.PLACEHOLDER not in str(rows)


def test_postgresqls_infinity_is_no_date_and_no_time(tmp_path: Path) -> None:
    rows = recorded_rows(tmp_path, "debezium-json")
    for at in INFINITE:
        found = {(one["rule"], one["pointer"]) for one in rows[at][VIOLATIONS]}
        assert found == {("decode.infinite", f"/after/{name}") for name in ("stamp6", "instant", "day")}


def partial(**row: Any) -> dict[str, Any]:
    return change("u", {"id": 1, "a": unavailable.PLACEHOLDER, **row}, 5)


@pytest.mark.parametrize(
    ("schema", "record", "expected"),
    [
        # whatever is said of the field ...
        ({"properties": {"a": {"type": "integer"}}}, partial(), None),
        ({"properties": {"a": {"const": 3}}, "required": ["a"]}, partial(), None),
        ({"properties": {"a": {"type": "string", "pattern": "^x$"}}, "minProperties": 2}, partial(), None),
        ({"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "number"}}}, partial(), None),
        ({"anyOf": [{"required": ["a"]}, {"required": ["z"]}]}, partial(), None),
        ({"properties": {"a": {}}, "patternProperties": {"^a": False}}, partial(), None),
        ({"properties": {"a": {}}, "if": {"properties": {"a": {"const": 1}}}, "then": False}, partial(), None),
        # ... the others are judged as ever
        ({"properties": {"a": {}, "b": {"type": "integer"}}}, partial(b="x"), ("schema.type", "/after/b")),
        ({"properties": {"a": {}}, "required": ["a", "b"]}, partial(), ("schema.required", "/after")),
        ({"not": {"required": ["b"]}}, partial(b=1), ("schema.not", "/after")),
        # the key has to be there
        ({}, change("u", {"id": unavailable.PLACEHOLDER}, 5), ("key.unavailable", "/after/id")),
        ({}, change("d", None, 5, before={"id": unavailable.PLACEHOLDER}), ("key.unavailable", "/before/id")),
    ],
)
@pytest.mark.parametrize("describes", ["row", "envelope"])
def test_the_contract_does_not_speak_of_what_is_not_there(
    describes: str, schema: dict[str, Any], record: Any, expected: tuple[str, str] | None, tmp_path: Path
) -> None:
    row = {"type": "object", **schema, "properties": {"id": {}, "a": {}, "b": {}} | schema.get("properties", {})}
    definitions = {"$defs": row.pop("$defs")} if describes == "envelope" and "$defs" in row else {}
    envelope = {"type": "object", "properties": {"after": row}, **definitions}
    contract = row if describes == "row" else envelope
    [found] = judged(outcomes(tmp_path, contract, contract_describes=describes), record)
    assert rule(found) == expected
    if expected is None:
        assert (found[c.UNAVAILABLE], found["after"]["a"]) == (["a"], None)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("discard_value", None), ("evolve", None), ("discard_row", ("schema_change.unknown", "/after/more"))],
)
def test_a_field_that_no_column_knows_is_no_placeholder_either(
    policy: str, expected: tuple[str, str] | None, tmp_path: Path
) -> None:
    record = change("u", {"id": 1, "more": [unavailable.PLACEHOLDER]}, 5)
    [row] = judged(outcomes(tmp_path, SMALL, schema_change=policy), record)
    assert rule(row) == expected
    assert row[c.RESCUED_DATA] is None
    if expected is None:
        assert row[c.UNAVAILABLE] == ["more"]


def test_an_image_before_holds_no_placeholder(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}, "a": {"type": "string"}}}
    before = {"id": 1, "a": unavailable.PLACEHOLDER}
    records = [change("u", {"id": 1, "a": "x"}, 5, before=before), change("d", None, 6, before=before)]
    rows = judged(outcomes(tmp_path, schema), *records)
    assert [(row["before"], row[c.UNAVAILABLE], rule(row)) for row in rows] == [({"id": 1, "a": None}, None, None)] * 2


def test_only_records_that_hold_the_placeholder_are_looked_at_again() -> None:
    patterns = unavailable.patterns_of(spark_type(kinds.CONTRACT), is_avro=False)
    text = unavailable.PLACEHOLDER.encode()
    values = [b"", text, None, b"x" * 200_000, text[:-1], b"x" * 131_060 + text + text, b"y", text]
    array = pa.array(values, pa.binary())
    assert unavailable.rows_with(array, patterns) == [1, 5, 7]
    assert unavailable.rows_with(array.slice(2, 4), patterns) == [3]
    assert unavailable.rows_with(array.slice(2, 2), patterns) == []
    assert unavailable.rows_with(pa.array([None, None], pa.binary()), patterns) == []
    # Two values that make one only beside each other cost a second look, and nothing else.
    assert unavailable.rows_with(pa.array([text[:9], text[9:]], pa.binary()), patterns) == [0]
