"""What is collected of a table's tombstones, and what stays of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

from checkpoints.lake import Lake
from sinks.table import Table
from sinks.tombstones import Bounds, Tombstones
from streams.collection import Collection

SEQUENCE = StructType([StructField("lsn", LongType()), StructField("part", IntegerType())])
CHANGES = StructType([StructField("id", StringType()), StructField("_sequence", SEQUENCE)])
ARROW = pa.schema([("id", pa.string()), ("_sequence", pa.struct([("lsn", pa.int64()), ("part", pa.int32())]))])
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def at(lsn: int, part: int = 0) -> dict[str, Any]:
    return {"lsn": lsn, "part": part}


def deleted(*rows: tuple[str | None, int]) -> pa.Table:
    return pa.Table.from_pylist([{"id": key, "_sequence": at(lsn)} for key, lsn in rows], schema=ARROW)


@pytest.fixture
def tombstones(tmp_path: Path) -> Tombstones:
    lake = Lake.at(str(tmp_path))
    made = Tombstones(Table("silver.people", lake), lake, ["id"])
    made.ensure(CHANGES)
    return made


def kept(tombstones: Tombstones) -> list[tuple[str, int]]:
    rows = tombstones.of(deleted(*((key, 0) for key in "abcde"))).to_pylist()
    return sorted((row["id"], row["_sequence"]["lsn"]) for row in rows)


def test_old_ones_go_and_leave_their_mark(tombstones: Tombstones) -> None:
    tombstones.bury(deleted(("a", 1), ("b", 7)), DAY)
    tombstones.bury(deleted(("c", 3)), DAY + timedelta(days=2))

    assert tombstones.collect(DAY + timedelta(days=1)) == 2
    assert kept(tombstones) == [("c", 3)]
    assert tombstones.bounds() == Bounds(None, at(7))

    assert tombstones.collect(DAY + timedelta(days=1)) == 0
    assert tombstones.collect(DAY + timedelta(days=3)) == 1
    assert tombstones.bounds() == Bounds(None, at(7)), "the mark never moves back"
    assert not tombstones.is_empty, "a table without tombstones would be taken for one that nothing was deleted from"


def test_what_is_newer_than_the_bound_stays(tombstones: Tombstones) -> None:
    tombstones.bury(deleted(("a", 1), ("b", 7), ("c", 5)), DAY)

    assert tombstones.collect(DAY + timedelta(days=1), at(5)) == 1
    assert kept(tombstones) == [("b", 7), ("c", 5)]
    assert tombstones.bounds().collected == at(1)


def test_of_floors_the_newest_stays(tombstones: Tombstones) -> None:
    for lsn in (4, 9, 6):
        tombstones.bury(deleted((None, lsn)), DAY)

    assert tombstones.collect(DAY + timedelta(days=1), at(0)) == 2
    assert tombstones.bounds() == Bounds(at(9), None)
    assert tombstones.collect(DAY + timedelta(days=1), at(0)) == 0


def test_a_key_deleted_again_is_as_young_as_its_newest_deletion(tombstones: Tombstones) -> None:
    tombstones.bury(deleted(("a", 1), ("b", 2)), DAY)
    tombstones.bury(deleted(("a", 5)), DAY + timedelta(days=9))

    assert tombstones.collect(DAY + timedelta(days=1)) == 1
    assert kept(tombstones) == [("a", 5)]


def test_where_nothing_is_old_nothing_is_written(tombstones: Tombstones) -> None:
    tombstones.bury(deleted(("a", 1)), DAY)
    version = tombstones._handle().version()

    assert tombstones.collect(DAY) == 0
    assert tombstones._handle().version() == version


def test_what_came_lately_is_not_below_the_mark(tombstones: Tombstones) -> None:
    """Of the deletions old enough, only those go that all changes of the last hour stand above."""
    collection = Collection(days=1)
    tombstones.bury(deleted(("a", 10), ("b", 30)), DAY)
    later = DAY + timedelta(days=2)

    # The first look knows one batch; the hour's least is what the next one goes by.
    assert collection.after("silver.people", tombstones, at(5), later) == 0
    assert collection.after("silver.people", tombstones, at(20), later + timedelta(minutes=20)) == 0
    assert collection.after("silver.people", tombstones, at(40), later + timedelta(minutes=61)) == 1
    assert kept(tombstones) == [("b", 30)]
    assert collection.after("silver.people", tombstones, None, later + timedelta(hours=3)) == 0
    assert collection.after("silver.people", tombstones, at(50), later + timedelta(hours=5)) == 1
    assert tombstones.bounds().collected == at(30)


def test_without_a_horizon_all_are_kept(tombstones: Tombstones) -> None:
    tombstones.bury(deleted(("a", 10)), DAY)

    assert Collection(None).after("silver.people", tombstones, at(90), DAY + timedelta(days=900)) == 0
    assert kept(tombstones) == [("a", 10)]
