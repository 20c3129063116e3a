"""One micro-batch: every record ends in bronze, in the lane, or in a counted drop, whatever is repeated."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from checkpoints import ledger
from checkpoints.errors import CheckpointBehind, CheckpointLost, LeaseLost
from checkpoints.lake import Lake
from schemas import columns as c
from schemas import debezium
from schemas.settings import Settings
from schemas.unavailable import PLACEHOLDER
from streams.change_sql import snapshot_floor
from streams.compute import SPARK
from streams.graph import Graph
from tests.support.bronze import Feeder, change, plan_batch
from tests.support.people import person
from tests.support.tables import lane_records, rows_of

RECORDS = [
    # record, what becomes of it
    (change("c", person(1, "Ada", "Oslo"), 10), "accepted"),
    (change("r", person(2), 11), "accepted"),
    (change("d", None, 12, before={"id": 1, "name": ""}), "accepted"),
    (change("t", None, 13), "accepted"),
    ({"schema": {"type": "struct"}, "payload": change("u", person(3, "Eve"), 14)}, "accepted"),
    (change("u", person(4, "Kay", hobby={"chess": 1}), 15), "accepted"),
    (change("u", {"id": 4, "name": PLACEHOLDER}, 15), "accepted"),
    (None, "tombstone"),
    ({"schema": {}, "payload": None}, "tombstone"),
    (change("m", None, 16), "message"),
    ({"ts_ms": 5}, "heartbeat"),
    ({"status": "BEGIN", "id": "7:8", "ts_ms": 5, "event_count": None, "data_collections": None}, "transaction"),
    ({"source": {"lsn": 1}, "databaseName": "db", "ddl": "DROP TABLE x", "tableChanges": []}, "schema_change"),
    (b"{", "json.syntax"),
    (b"", "json.syntax"),
    (b'{"op": NaN}', "json.syntax"),
    (b"[" * 5000 + b"]" * 5000, "json.syntax"),
    (b'{"op": "\xff"}', "json.utf8"),
    ([1], "json.object"),
    ("text", "json.object"),
    ({"schema": {}, "payload": 1}, "json.object"),
    ({"id": 1}, "debezium.envelope"),
    (change("x", person(1), 17), "debezium.envelope"),
    (change("c", None, 18), "debezium.image"),
    (change("d", None, 19), "debezium.image"),
    (change("c", person(1), None), "debezium.position"),  # type: ignore[arg-type]
    (change("d", None, 20, before={"id": None}), "key.null"),
    (change("u", {"id": PLACEHOLDER}, 20), "key.unavailable"),
    (change("d", None, 20, before={"id": "1"}), "schema.type"),
    (change("c", person(None), 21), "schema.type"),
    (change("c", person("1"), 22), "schema.type"),  # type: ignore[arg-type]
    (change("c", person(1, "x" * 21), 23), "schema.maxLength"),
    (change("c", {"name": "no id"}, 24), "schema.required"),
    (change("c", person(2**63), 25), "decode.range"),
]


@pytest.fixture
def graph(silver_graph: Graph) -> Graph:
    return silver_graph


@pytest.fixture
def feeder(silver_feeder: Feeder) -> Feeder:
    return silver_feeder


def test_every_record_is_in_bronze_or_the_lane_or_counted(feeder: Feeder, graph: Graph) -> None:
    outcome = feeder.feed("bronze.people", *(record for record, _ in RECORDS))

    accepted = [offset for offset, (_, fate) in enumerate(RECORDS) if fate == "accepted"]
    dropped = [fate for _, fate in RECORDS if fate != "accepted" and "." not in fate]
    rejected = {offset: fate for offset, (_, fate) in enumerate(RECORDS) if "." in fate}
    assert [row[0] for row in rows_of(graph.tables["bronze.people"].path, "_offset")] == sorted(accepted, key=repr)
    lane = lane_records(graph.lake.errors("bronze.people"))
    assert {record["offset"]: record["violations"][0]["rule"] for record in lane} == rejected
    entry = outcome.entry
    assert (entry.read, entry.accepted, entry.rejected) == (len(RECORDS), len(accepted), len(rejected))
    assert entry.dropped == {reason: dropped.count(reason) for reason in set(dropped)}


def test_bronze_keeps_the_payload_and_where_it_came_from(feeder: Feeder, graph: Graph) -> None:
    feeder.feed("bronze.people", change("u", person(4, "Kay", "Rome", hobby={"chess": 1}), 15, ts_ms=7))

    [row] = graph.tables["bronze.people"].handle().to_pyarrow_table().to_pylist()
    assert row["after"] == {"id": 4, "name": "Kay", "home": {"city": "Rome"}}
    assert (row["op"], row["source"]["lsn"], row["source"]["ts_ms"]) == ("u", 15, 7)
    assert (row["_topic"], row["_partition"], row["_offset"], row["_key"]) == ("db.people", 0, 0, b"k")
    assert row["_source_position"] == {"epoch": 0, "major": 15, "minor": 15, "row": 0, "partition": 0, "offset": 0}
    assert json.loads(row["_rescued_data"]) == {"hobby": {"chess": 1}}
    assert (row["_contract_version"], row["_source_system"]) == ("3", "town")
    assert (row["_ingest_ts"], row["_run_date"]) == (datetime(2026, 1, 2, tzinfo=UTC), date(2026, 1, 2))
    assert row["_batch_id"] == ledger.run_id("bronze.people", 0, 0)


def test_a_rejected_record_keeps_its_bytes_and_says_what_it_broke(feeder: Feeder, graph: Graph) -> None:
    raw = b'{"op": "\xff\x00"}'
    feeder.feed("bronze.people", raw, change("c", person(1, "x" * 21), 3))

    first, second = lane_records(graph.lake.errors("bronze.people"))
    assert base64.b64decode(first["value"]) == raw
    assert base64.b64decode(first["key"]) == b"k"
    assert (first["topic"], first["partition"], first["offset"]) == ("db.people", 0, 0)
    assert (first["contract"], first["contract_version"]) == ("people", "3")
    assert second["violations"] == [
        {"rule": "schema.maxLength", "pointer": "/after/name", "schema_path": "/properties/name/maxLength"}
    ]
    assert "xxxx" not in json.dumps(second["violations"])


@pytest.mark.parametrize("small_batch_rows", [0, 100])
def test_a_rejected_record_keeps_its_headers(small_batch_rows: int, feeder: Feeder, graph: Graph) -> None:
    graph.bronze["bronze.people"].small_batch_rows = small_batch_rows
    feeder.headers = [("trace", b"\xff\x00"), ("trace", b""), ("empty", None)]
    feeder.feed("bronze.people", b"{", change("c", person(1), 1))
    [record] = lane_records(graph.lake.errors("bronze.people"))
    assert record["headers"] == [{"key": "trace", "value": "/wA="}, {"key": "trace", "value": ""}, {"key": "empty"}]


def test_a_batch_that_bronze_holds_is_left_as_it_is(feeder: Feeder, graph: Graph, spark: SparkSession) -> None:
    feeder.feed("bronze.people", change("c", person(1), 1), b"{")
    step = graph.bronze["bronze.people"]
    before = (step.table.version(), lane_records(graph.lake.errors("bronze.people")))

    again = step.run(feeder.records("bronze.people", [b"{", b"{"], 0), 0)

    assert again.skipped
    assert again.handover is None
    assert (step.table.version(), lane_records(graph.lake.errors("bronze.people"))) == before


def test_a_batch_planned_over_other_offsets_is_not_taken_for_the_one_written(feeder: Feeder, graph: Graph) -> None:
    """An older checkpoint that was put back plans its next batch anew, over more records: they must not be skipped."""
    feeder.feed("bronze.people", change("c", person(1), 1))
    step = graph.bronze["bronze.people"]
    plan_batch(step, 0, 3)

    with pytest.raises(CheckpointBehind, match=r"plans batch 0 over db\.people\[0\]@0-3 where the ledger has .*@0-1"):
        step.run(feeder.records("bronze.people", [b"{", b"{", b"{"], 0), 0)


def test_an_older_checkpoint_is_refused_at_the_start(feeder: Feeder, graph: Graph, spark: SparkSession) -> None:
    feeder.feed("bronze.people", change("c", person(1), 1))
    feeder.feed("bronze.people", change("c", person(2), 2))
    offsets = Path(graph.bronze["bronze.people"].checkpoint, "offsets")
    (offsets / "1").unlink()
    with pytest.raises(CheckpointBehind, match=r"bronze\.people holds batch 1, but .*/g0 ends with batch 0"):
        graph.prepare(spark)
    (offsets / "0").unlink()
    with pytest.raises(CheckpointLost, match=r"bronze\.people holds batches up to 1, but .*/g0 has no offsets"):
        graph.prepare(spark)


def test_a_run_again_replaces_what_a_crashed_attempt_left_in_the_lane(feeder: Feeder, graph: Graph) -> None:
    """Killed between lane and bronze, then judged under a contract that accepts: the record is in bronze alone."""
    step = graph.bronze["bronze.people"]
    folder = Path(graph.lake.errors("bronze.people"), "dt=2026-01-02", f"run_id={ledger.run_id('bronze.people', 0, 0)}")
    folder.mkdir(parents=True)
    (folder / "part-0.json").write_text('{"topic": "db.people", "partition": 0, "offset": 0}\n')

    feeder.feed("bronze.people", change("c", person(1), 1))

    assert lane_records(graph.lake.errors("bronze.people")) == []
    assert rows_of(step.table.path, "_offset") == [(0,)]


@pytest.mark.parametrize("small_batch_rows", [0, 100])
def test_a_lane_is_not_replaced_by_who_has_lost_the_lease(
    small_batch_rows: int, graph: Graph, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused before its lane: meanwhile another took the lease, and wrote the batch by a newer contract."""
    old, new = (Graph.build(graph.pipeline, settings, lake=Lake(graph.lake.root, token)) for token in (1, 2))
    for one in (old, new):
        one.bronze["bronze.people"].small_batch_rows = small_batch_rows
    records = [change("c", person(1), 1), b"{"]
    lane = Path(graph.lake.errors("bronze.people"))

    def takes_over(place: str, table: str) -> None:
        if place == "bronze.before_lane":
            monkeypatch.undo()
            new.raise_fences()
            Feeder(spark, new).feed("bronze.people", *records)
            for file in lane.glob("dt=*/run_id=*/*.json"):
                file.write_text(file.read_text().replace("json.syntax", "json.other"))

    monkeypatch.setattr("streams.bronze.reach", takes_over)
    with pytest.raises(LeaseLost):
        Feeder(spark, old).feed("bronze.people", *records)
    assert [one["violations"][0]["rule"] for one in lane_records(str(lane))] == ["json.other"]
    assert rows_of(graph.tables["bronze.people"].path, "_offset") == [(0,)]


def test_a_batch_with_nothing_accepted_still_moves_the_position_and_leaves_its_entry(
    feeder: Feeder, graph: Graph
) -> None:
    outcome = feeder.feed("bronze.people", b"{", None)

    step = graph.bronze["bronze.people"]
    assert outcome.handover is None
    assert step.table.position(step.app) == 0
    [(_, entry)] = list(ledger.entries(step.table.handle()))
    assert (entry.read, entry.accepted, entry.rejected, entry.dropped) == (2, 0, 1, {"tombstone": 1})
    assert entry.offsets == {"db.people": {0: (0, 2)}}
    assert entry.contract is not None
    assert entry.contract.name == "people"


def test_a_batch_is_filed_by_its_own_clock_however_late_it_runs(feeder: Feeder, graph: Graph) -> None:
    step = graph.bronze["bronze.people"]
    plan_batch(step, 0, 1, clock_ms=1_767_225_599_999)  # a millisecond before 2026

    step.run(feeder.records("bronze.people", [b"{"], 0), 0)

    assert [folder.name for folder in Path(graph.lake.errors("bronze.people")).iterdir()] == ["dt=2025-12-31"]


@pytest.mark.parametrize("small_batch_rows", [0, 100])
def test_both_engines_leave_the_same_behind(small_batch_rows: int, feeder: Feeder, graph: Graph) -> None:
    object.__setattr__(graph.bronze["bronze.people"], "small_batch_rows", small_batch_rows)
    toasted = {**person(2), "home": PLACEHOLDER}
    feeder.feed("bronze.people", change("c", person(1, "Ada", "Oslo"), 10), change("u", toasted, 11))
    feeder.feed("bronze.people", change("d", None, 12, before={"id": 1}))

    step = graph.bronze["bronze.people"]
    assert step.table.position(step.app) == 1
    assert rows_of(step.table.path, "op", "_offset", "_unavailable") == [
        ("c", 0, None), ("d", 2, None), ("u", 1, ["home"])
    ]  # fmt: skip
    engines = {entry.engine for _, entry in ledger.entries(step.table.handle())}
    assert engines == {"spark" if small_batch_rows == 0 else "driver"}


def test_the_last_row_of_a_table_completes_its_snapshot(spark: SparkSession) -> None:
    values = ["first", "true", "first_in_data_collection", "last_in_data_collection", "last", "incremental", "false"]
    rows = [(op, (value,), (0, 7, -1, 0, 2, 9)) for op in "ru" for value in values]
    position = "struct<epoch: int, major: bigint, minor: bigint, row: bigint, partition: int, offset: bigint>"
    frame = spark.createDataFrame(rows, f"op string, source struct<snapshot: string>, _source_position {position}")
    found = frame.where(debezium.completes_snapshot()).selectExpr("op", "source.snapshot").collect()
    assert [tuple(row) for row in found] == [("r", "last_in_data_collection"), ("r", "last")]
    floors = frame.selectExpr(f"{snapshot_floor(SPARK)} AS floor", "_source_position AS position")
    assert floors.where("floor < position").count() == len(rows)
    assert floors.collect()[0].floor.asDict() == {
        "epoch": 0, "major": 7, "minor": -1, "row": -1, "partition": 2, "offset": 9
    }  # fmt: skip
    assert floors.schema["floor"].dataType.simpleString() == c.POSITION_TYPE.simpleString()
