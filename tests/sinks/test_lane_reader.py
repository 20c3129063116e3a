"""What is read of a lane: every record once, under its newest verdict, and whether it has gone through since."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from checkpoints.lake import Lake
from sinks.errors import UnreadableLaneFile
from sinks.lanes import lines as lane_lines
from sinks.lanes.positions import Positions, held_in
from sinks.lanes.reader import Cohort, LaneReader, lanes, rules_of
from tests.support.lanes import DAY, TABLE, at, put, put_bronze, put_verdicts, record, verdict


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


def rows(batches: Iterable[pa.RecordBatch], *columns: str) -> list[tuple[Any, ...]]:
    found = [tuple(row[name] for name in columns) for batch in batches for row in batch.to_pylist()]
    return sorted(found)


def offsets(batches: Iterable[pa.RecordBatch]) -> list[int]:
    return sorted(offset for batch in batches for offset in batch["offset"].to_pylist())


def test_every_record_is_read_once_with_its_fields(lake: Lake) -> None:
    headers = [{"key": "trace", "value": "AA=="}]
    put(lake, "a", [record(1, "schema.type", headers=headers, kafka_ts="2026-01-01T23:59:59.999Z"), record(2)])
    put(lake, "b", [record(3)], date(2026, 1, 3))

    reader = LaneReader(lake, TABLE)

    assert reader.days() == [DAY, date(2026, 1, 3)]
    assert [(folder.day, folder.run_id) for folder in reader.folders()] == [(DAY, "a"), (date(2026, 1, 3), "b")]
    assert rows(reader.records(), "offset", "run_id", "redriven") == [(1, "a", False), (2, "a", False), (3, "b", False)]
    [first] = [row for batch in reader.records() for row in batch.to_pylist() if row["offset"] == 1]
    assert first["headers"] == headers
    assert first["violations"] == [{"rule": "schema.type", "pointer": "", "schema_path": ""}]
    assert first["kafka_ts"] == datetime(2026, 1, 1, 23, 59, 59, 999000, UTC)
    assert (first["key"], first["value"], first["contract_version"]) == ("aw==", "ew==", "3")


def test_a_table_without_a_lane_has_no_records(lake: Lake) -> None:
    reader = LaneReader(lake, TABLE)
    assert (reader.days(), list(reader.folders()), list(reader.records()), reader.cohorts()) == ([], [], [], [])
    assert reader.newest(3).num_rows == 0
    assert lanes(lake) == []


def test_what_else_lies_in_a_lane_is_no_record(lake: Lake) -> None:
    folder = put(lake, "a", [record(1)])
    lane = Path(lake.errors(TABLE))
    (folder / "_temporary" / "0").mkdir(parents=True)
    (folder / "_temporary" / "0" / "part-0.json").write_text("{")
    (folder / ".hidden.json").write_text("{")
    (folder / "readme.txt").write_text("hello")
    (lane / "dt=yesterday" / "run_id=z").mkdir(parents=True)
    (lane / "dt=yesterday" / "run_id=z" / "part-0.json").write_text("{")
    (lane / "_expired").mkdir()
    (lane / "_expired" / "dt=2025-12-31.json").write_text('{"z": 4}')
    put_verdicts(lake, "v", [])

    assert offsets(LaneReader(lake, TABLE).records()) == [1]
    assert lanes(lake) == [TABLE]


BROKEN = [
    # text, what is said of it
    ('{"topic": "db.people", "partition": 0, "off', "it is not JSON lines of a lane's fields"),
    ("[1, 2]\n", "it is not JSON lines of a lane's fields"),
    ("not a secret\n", "it is not JSON lines of a lane's fields"),
    (json.dumps(record(1) | {"offset": "one"}), "it is not JSON lines of a lane's fields"),
    (json.dumps(record(1) | {"ingest_ts": "yesterday"}), "it is not JSON lines of a lane's fields"),
    ('{"id": 1, "name": "Ada"}\n', "a line has no `topic`"),
    (json.dumps(record(1)) + "\n" + json.dumps(record(2) | {"violations": None}) + "\n", "a line has no `violations`"),
]


@pytest.mark.parametrize(("text", "why"), BROKEN)
def test_a_torn_or_foreign_file_is_named_and_nothing_of_it_quoted(lake: Lake, text: str, why: str) -> None:
    folder = put(lake, "a", [record(1)])
    (folder / "part-00002-x.json").write_text(text)
    put(lake, "b", [record(9)])

    with pytest.raises(UnreadableLaneFile) as raised:
        list(LaneReader(lake, TABLE).records())

    assert f"{folder}/part-00002-x.json can not be read: {why}. Restore it" in str(raised.value)
    assert raised.value.__cause__ is None
    told: list[UnreadableLaneFile] = []
    assert offsets(LaneReader(lake, TABLE, told.append).records()) == [1, 9]
    assert [one.why for one in told] == [why]


def test_bytes_that_are_not_utf8_are_a_problem_of_their_file(lake: Lake) -> None:
    folder = put(lake, "a", [record(1)])
    (folder / "part-00002-x.json").write_bytes(json.dumps(record(2)).encode().replace(b"people", b"peo\xffle"))
    with pytest.raises(UnreadableLaneFile, match="part-00002"):
        list(LaneReader(lake, TABLE).records())


@pytest.mark.parametrize("piece", [1, 7, 100, 1000])
def test_lines_longer_than_a_piece_are_read_whole(lake: Lake, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_lines, "_PIECE_BYTES", piece)
    folder = put(lake, "a", [record(offset, value=b"x" * 97 * offset) for offset in range(1, 12)])
    file = folder / "part-00000-x.json"
    file.write_text(file.read_text().rstrip("\n"))

    found = rows(LaneReader(lake, TABLE).records(), "offset", "value")

    assert [(offset, len(value)) for offset, value in found] == [
        (offset, 4 * -(-97 * offset // 3)) for offset in range(1, 12)
    ]


def test_a_record_of_tens_of_megabytes_is_read(lake: Lake) -> None:
    put(lake, "a", [record(1, value=b"x" * (20 << 20)), record(2)])
    assert offsets(LaneReader(lake, TABLE).records()) == [1, 2]


def test_a_file_that_goes_while_the_lane_is_read_is_passed_over(lake: Lake) -> None:
    first = put(lake, "a", [record(1)])
    gone = put(lake, "b", [record(2)])
    batches = LaneReader(lake, TABLE).records()
    assert next(batches)["run_id"].to_pylist() == ["a"]
    for file in (*first.iterdir(), *gone.iterdir()):
        file.unlink()
    assert list(batches) == []


def test_since_is_held_against_the_clock_of_the_batch(lake: Lake) -> None:
    put(lake, "a", [record(1, clock=at(minutes=10))])
    put(lake, "b", [record(2, clock=at(minutes=20))])
    put(lake, "c", [record(3, clock=at(date(2026, 1, 3)))], date(2026, 1, 3))
    reader = LaneReader(lake, TABLE)

    assert offsets(reader.records(at(minutes=20))) == [2, 3]
    assert offsets(reader.records(at(minutes=20) + timedelta(milliseconds=1))) == [3]
    assert offsets(reader.records(at(date(2026, 1, 4)))) == []
    assert [folder.run_id for folder in reader.folders(date(2026, 1, 3))] == ["c"]


def test_a_rule_is_that_of_the_first_violation(lake: Lake) -> None:
    two = [{"rule": "key.null", "pointer": "", "schema_path": ""}, {"rule": "b", "pointer": "", "schema_path": ""}]
    put(lake, "a", [record(1, "b"), record(2, violations=two), record(3, violations=[]), record(4, "c")])
    reader = LaneReader(lake, TABLE)

    assert offsets(reader.records(rule="b")) == [1]
    assert offsets(reader.records(rule="key.null")) == [2]
    assert offsets(reader.records(rule="unknown")) == [3]
    [batch] = reader.records()
    assert rules_of(batch.slice(1)).to_pylist() == ["key.null", "unknown", "c"]


def test_the_newest_verdict_counts_and_the_record_stays_as_it_is(lake: Lake) -> None:
    folder = put(lake, "a", [record(offset, "json.syntax") for offset in range(1, 6)])
    before = (folder / "part-00000-x.json").read_bytes()
    later, latest = at(minutes=5), at(minutes=6)
    # by time first, then by run
    put_verdicts(lake, "z", [verdict(1, "schema.old", clock=later), verdict(2, "schema.old", clock=later)])
    put_verdicts(lake, "b", [verdict(1, "schema.new", clock=latest, version="5"), verdict(3, "schema.b", clock=latest)])
    put_verdicts(lake, "c", [verdict(3, "schema.c", clock=latest), verdict(4, clock=latest)])
    put_verdicts(lake, "d", [verdict(5, "schema.x", clock=latest, partition=1), verdict(9, "schema.x", clock=latest)])
    reader = LaneReader(lake, TABLE)

    found = {
        row["offset"]: (row["violations"][0]["rule"], row["contract_version"], row["redriven"])
        for batch in reader.records()
        for row in batch.to_pylist()
    }

    assert found == {
        1: ("schema.new", "5", False),
        2: ("schema.old", "4", False),
        3: ("schema.c", "4", False),
        4: ("json.syntax", "3", True),  # nothing is left against it; what it was rejected for is still told
        5: ("json.syntax", "3", False),
    }
    assert offsets(reader.records(rule="schema.new")) == [1]
    assert (folder / "part-00000-x.json").read_bytes() == before


def test_many_verdicts_come_down_to_the_newest(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.lanes.verdicts._FOLD_ROWS", 3)
    put(lake, "a", [record(offset) for offset in range(5)])
    for turn in (3, 1, 2):
        verdicts = [verdict(offset, f"turn.{turn}", clock=at(minutes=turn)) for offset in range(5)]
        put_verdicts(lake, f"v{turn}", verdicts)
    assert {rule for batch in LaneReader(lake, TABLE).records() for rule in rules_of(batch).to_pylist()} == {"turn.3"}


def test_redriven_is_what_bronze_holds_at_the_same_place(lake: Lake) -> None:
    records = [record(1), record(2), record(1, partition=1), record(1, topic="other's"), record(7)]
    put(lake, "a", records)
    put_bronze(lake, 0, 2, 3)
    put_bronze(lake, 5, 6, 7, partition=2)
    put_bronze(lake, 1, 8, partition=1)
    put_bronze(lake, 1, topic="other's")
    reader = LaneReader(lake, TABLE)

    held = held_in(lake.table(TABLE), reader.positions())

    assert len(held) == 3
    assert rows(reader.records(held=held, with_bytes=False), "topic", "partition", "offset", "redriven") == [
        ("db.people", 0, 1, False),
        ("db.people", 0, 2, True),
        ("db.people", 0, 7, False),
        ("db.people", 1, 1, True),
        ("other's", 0, 1, True),
    ]


def test_rows_that_were_deleted_from_bronze_are_not_held(lake: Lake) -> None:
    put_bronze(lake, 1, 2, 3)
    DeltaTable(lake.table(TABLE)).delete("_offset = 2")
    positions = Positions.of([pa.record_batch({"topic": ["db.people"] * 2, "partition": [0, 0], "offset": [2, 3]})])
    assert len(held_in(lake.table(TABLE), positions)) == 1


def test_files_of_bronze_that_can_not_hold_a_record_are_not_opened(lake: Lake) -> None:
    put_bronze(lake, 1, 2, 3)
    [file] = Path(lake.table(TABLE)).glob("*.parquet")
    put_bronze(lake, 100, 101)
    put(lake, "a", [record(100), record(102)])
    file.write_bytes(b"no parquet")

    assert len(held_in(lake.table(TABLE), LaneReader(lake, TABLE).positions())) == 1


def test_without_bronze_nothing_is_held(lake: Lake) -> None:
    put(lake, "a", [record(1)])
    assert len(held_in(lake.table(TABLE), LaneReader(lake, TABLE).positions())) == 0


def test_more_partitions_than_can_be_listed_are_asked_for_together(lake: Lake) -> None:
    put(lake, "a", [record(partition, partition=partition) for partition in range(80)])
    put_bronze(lake, 5, partition=5)
    put_bronze(lake, 6, partition=5)
    positions = LaneReader(lake, TABLE).positions()
    assert positions.predicate() == "_offset BETWEEN 0 AND 79"
    assert len(held_in(lake.table(TABLE), positions)) == 1


def test_cohorts_are_by_rule_and_contract_version(lake: Lake) -> None:
    put(lake, "a", [record(1, "b", at()), record(2, "b", at()), record(3, "c", at())])
    put(lake, "b", [record(4, "b", at(minutes=9)), record(5, "b", at(minutes=9), contract_version="4")])
    put_bronze(lake, 2, 4)
    reader = LaneReader(lake, TABLE)
    held = held_in(lake.table(TABLE), reader.positions())

    assert reader.cohorts(held=held) == [
        Cohort(TABLE, "b", "3", at(), at(minutes=9), open=1, redriven=2),
        Cohort(TABLE, "c", "3", at(), at(), open=1, redriven=0),
        Cohort(TABLE, "b", "4", at(minutes=9), at(minutes=9), open=1, redriven=0),
    ]
    assert [cohort.count for cohort in reader.cohorts(at(minutes=1), rule="b")] == [1, 1]


def test_records_of_silver_have_no_bytes_and_no_contract(lake: Lake) -> None:
    fields = ("table", "topic", "partition", "offset", "violations", "ingest_ts")
    lines = [{name: record(1, "key.null")[name] for name in fields}]
    put(lake, "a", lines, table="silver.people")
    reader = LaneReader(lake, "silver.people")

    [row] = [row for batch in reader.records() for row in batch.to_pylist()]

    assert (row["value"], row["contract_version"], row["run_id"]) == (None, None, "a")
    assert [(one.rule, one.contract_version, one.open) for one in reader.cohorts()] == [("key.null", None, 1)]


def test_the_newest_records_come_first_whatever_their_runs_are_called(lake: Lake) -> None:
    put(lake, "z", [record(1, clock=at(minutes=1))])
    put(lake, "a", [record(3, clock=at(minutes=2)), record(2, clock=at(minutes=2))])
    put(lake, "m", [record(4, clock=at(date(2026, 1, 1)))], date(2026, 1, 1))
    reader = LaneReader(lake, TABLE)

    assert reader.newest(10)["offset"].to_pylist() == [2, 3, 1, 4]
    assert reader.newest(2)["offset"].to_pylist() == [2, 3]
    assert reader.newest(3, at(minutes=1))["offset"].to_pylist() == [2, 3, 1]
