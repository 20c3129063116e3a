"""The fence: who has lost the lease can not commit, by either engine, before or after its snapshot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import LongType, StructField, StructType

from checkpoints.errors import LeaseLost
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from sinks import engine
from sinks.commit import Commit
from sinks.engine import Merge
from sinks.table import Table
from sinks.tombstones import Tombstones
from streams.quality.results import Results

NOW = datetime(2026, 1, 1, tzinfo=UTC)
APP = "bronze.t/append/g0"
SCHEMA = StructType([StructField("a", LongType())])


def commit(version: int) -> Commit:
    entry = LedgerEntry(
        table="bronze.t", step="append", run_id=f"r{version}", clock=NOW, generation=0, engine="none", source="kafka"
    )
    return Commit({APP: version}, entry)


def append(table: Table, spark: SparkSession, number: int) -> None:
    engine.append(table, pa.table({"a": [number]}), commit(number))


def append_by_spark(table: Table, spark: SparkSession, number: int) -> None:
    engine.append(table, spark.createDataFrame([(number,)], SCHEMA), commit(number))


def merge(table: Table, spark: SparkSession, number: int) -> None:
    engine.merge(table, pa.table({"a": [number]}), Merge(["a"], ["a"], insert_when="TRUE"), commit(number))


def merge_by_spark(table: Table, spark: SparkSession, number: int) -> None:
    rows = spark.newSession().createDataFrame([(number,)], SCHEMA)
    engine.merge(table, rows, Merge(["a"], ["a"], insert_when="TRUE"), commit(number))


def position(table: Table, spark: SparkSession, number: int) -> None:
    table.commit_position(commit(number))


Write = Callable[[Table, SparkSession, int], None]
WRITES = [append, append_by_spark, merge, merge_by_spark, position]


@pytest.fixture
def root(tmp_path: Path) -> str:
    table = Table("bronze.t", Lake(str(tmp_path / "lake")))
    table.ensure(SCHEMA, [], additive=False)
    return str(tmp_path / "lake")


def holder(root: str, token: int) -> Table:
    return Table("bronze.t", Lake(root, token))


@pytest.mark.parametrize("write", WRITES)
def test_a_holder_writes_and_the_next_one_goes_on(write: Write, root: str, spark: SparkSession) -> None:
    write(holder(root, 1), spark, 1)
    second = holder(root, 2)
    assert second.raise_fence([APP], NOW)
    assert second.position(APP) == 1
    write(second, spark, 2)

    assert second.position(APP) == 2
    third = holder(root, 3)
    assert third.raise_fence([APP], NOW)
    assert not third.raise_fence([APP], NOW)
    assert (third.position(APP), Table("bronze.t", Lake(root)).position(APP)) == (2, 2)


@pytest.mark.parametrize("write", WRITES)
def test_who_wakes_up_with_an_old_snapshot_is_refused(
    write: Write, root: str, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = holder(root, 1)
    append(old, spark, 1)
    before = old.version()
    # It is paused after it has looked: the fence is raised before its commit.
    checked = old.writer

    def paused() -> object:
        handle = checked()
        monkeypatch.setattr(old, "writer", checked)
        holder(root, 2).raise_fence([APP], NOW)
        return handle

    monkeypatch.setattr(old, "writer", paused)

    with pytest.raises((LeaseLost, CommitFailedError, PySparkException, Py4JJavaError)):
        write(old, spark, 2)

    table = Table("bronze.t", Lake(root))
    assert (table.version(), table.position(APP)) == (before + 1, 1)  # the fence, and nothing else
    assert sorted(table.to_arrow(["a"])["a"].to_pylist()) == [1]


@pytest.mark.parametrize("write", WRITES)
def test_who_wakes_up_later_sees_the_fence(write: Write, root: str, spark: SparkSession) -> None:
    old = holder(root, 1)
    append(old, spark, 1)
    holder(root, 2).raise_fence([APP], NOW)

    with pytest.raises(LeaseLost):
        write(old, spark, 2)

    assert Table("bronze.t", Lake(root)).to_arrow(["a"])["a"].to_pylist() == [1]


def test_columns_and_tables_of_its_own_are_fenced_too(root: str) -> None:
    old = holder(root, 1)
    old.writer()
    holder(root, 2).raise_fence([], NOW)
    with pytest.raises(LeaseLost):
        old.add_columns(StructType([*SCHEMA.fields, StructField("b", LongType())]), NOW)


def test_a_table_is_fenced_from_its_first_commit(tmp_path: Path) -> None:
    """There was nothing whose fence the second one could have raised: it makes the table, and the first wakes up."""
    lake = str(tmp_path / "fresh")
    holder(lake, 2).ensure(SCHEMA, [], additive=False)
    results = Results(Lake(lake, 2))
    results.ensure()
    changes = StructType([*SCHEMA.fields, StructField("_sequence", LongType())])
    Tombstones(holder(lake, 2), Lake(lake, 2), ["a"]).ensure(changes)

    with pytest.raises(LeaseLost):
        holder(lake, 1).writer()
    with pytest.raises(LeaseLost):
        Results(Lake(lake, 1)).table.writer()
    with pytest.raises(LeaseLost):
        Tombstones(holder(lake, 1), Lake(lake, 1), ["a"]).bury(pa.table({"a": [1], "_sequence": [1]}), NOW)
    assert not holder(lake, 2).raise_fence([APP], NOW)


def test_who_has_no_lease_raises_no_fence(root: str) -> None:
    assert not Table("bronze.t", Lake(root)).raise_fence([APP], NOW)
