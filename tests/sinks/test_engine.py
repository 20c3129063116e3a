"""Two engines, one suite: the same rows, feed, position and ledger entry, whichever commits."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from checkpoints import ledger
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from schemas.table_columns import with_metadata
from sinks import engine
from sinks.commit import Commit
from sinks.engine import Merge
from sinks.errors import IncompatibleTable
from sinks.table import Table
from tests.support.tables import rows_of

COLUMNS = (
    "id bigint, name string, day date, amount decimal(18,2), at timestamp, "
    "place struct<city: string, floors: array<int>>"
)
ENGINES = ("driver", "spark")
CLAUSES = Merge(
    keys=["id"],
    columns=["id", "name", "day", "amount", "at", "place"],
    delete_when="s.gone",
    update_when="NOT s.gone AND s.at > t.at",
    insert_when="NOT s.gone",
)


def entry(**rows: int) -> LedgerEntry:
    clock = datetime(2026, 1, 2, tzinfo=UTC)
    return LedgerEntry(
        table="silver.t", step="merge", run_id="r", clock=clock, generation=0, engine="none", source="feed", rows=rows
    )


def row(id_: int, name: str | None, second: int, gone: bool | None = None) -> tuple[Any, ...]:
    at = datetime(2026, 1, 1, 0, 0, second, 123456, tzinfo=UTC)
    place = ("Oslo", [1, None]) if name else None
    values = (id_, name, at.date(), None, at, place)
    return values if gone is None else (*values, gone)


def frame(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(rows, COLUMNS + (", gone boolean" if rows and len(rows[0]) == 7 else ""))


def taken(rows: DataFrame, engine_name: str) -> DataFrame | pa.Table:
    """The rows as the engine takes them."""
    return rows.toArrow() if engine_name == "driver" else rows


@pytest.fixture(params=ENGINES)
def chosen(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def table(tmp_path: Path, spark: SparkSession) -> Table:
    made = Table("silver.t", Lake.at(str(tmp_path)))
    made.ensure(spark.createDataFrame([], COLUMNS).schema, ["day"], additive=False)
    return made


def test_append(chosen: str, table: Table, spark: SparkSession) -> None:
    rows = frame(spark, row(1, "a", 1), row(2, None, 2))
    version = engine.append(table, rows.toArrow() if chosen == "driver" else rows, Commit({"q": 4}, entry(inserted=2)))

    assert version == 1
    assert rows_of(table.path, "id", "name") == [(1, "a"), (2, None)]
    assert table.position("q") == 4
    assert next(ledger.entries(table.handle())) == (1, entry(inserted=2).model_copy(update={"engine": chosen}))
    [first, _] = table.read(spark).orderBy("id").collect()
    assert first.place == T.Row(city="Oslo", floors=[1, None])
    assert rows_of(table.path, "at")[0][0].microsecond == 123456


def test_what_spark_writes_is_read_by_the_driver_also_where_elements_were_not_to_be_null(
    tmp_path: Path, spark: SparkSession
) -> None:
    columns = spark.range(3).selectExpr(
        "id", "array('a') AS list", "named_struct('list', array(1)) AS deep", "map('k', 1) AS map"
    )
    assert not columns.schema["list"].dataType.containsNull  # type: ignore[attr-defined]
    table = Table("silver.lists", Lake.at(str(tmp_path)))
    table.ensure(columns.schema, [], additive=False)

    for number, rows in enumerate((columns, columns.toArrow())):
        engine.append(table, rows, Commit({"q": number}, entry(inserted=3)))

    wanted = [(id_, ["a"], {"list": [1]}) for id_ in (0, 0, 1, 1, 2, 2)]
    seen = table.to_arrow(["id", "list", "deep"]).sort_by("id").to_pylist()
    assert [tuple(one.values()) for one in seen] == wanted
    found = table.of_keys(["id", "list"], "id", pa.array([1]))
    assert found.num_rows == 2
    for few_rows in (100, 0):
        feed = table.changes(spark, 1, 2, few_rows).frame.orderBy("id").collect()
        assert [(one.id, one.list, {"list": one.deep.list}) for one in feed] == wanted


def test_merge_and_its_feed(chosen: str, table: Table, spark: SparkSession) -> None:
    engine.append(
        table,
        frame(spark, row(1, "a", 5), row(2, "b", 5), row(3, "c", 5)).toArrow(),
        Commit({"q": 0}, entry(inserted=3)),
    )

    source = frame(
        spark,
        row(1, "late", 4, False),  # older: left
        row(2, "newer", 6, False),
        row(3, "c", 6, True),
        row(4, "new", 1, False),
        row(5, "never seen", 1, True),  # no clause takes it
    )
    version = engine.merge(table, taken(source, chosen), CLAUSES, Commit({"up": 9}, entry(upserts=2, deletes=1)))

    assert rows_of(table.path, "id", "name") == [(1, "a"), (2, "newer"), (4, "new")]
    assert (version, table.position("up")) == (2, 9)
    feeds = [table.changes(spark, 2, 2, few_rows).frame for few_rows in (100, 0)]
    changes = [sorted((r._change_type, r.id, r.name) for r in feed.collect()) for feed in feeds]
    assert (
        changes[0]
        == changes[1]
        == [
            ("delete", 3, "c"),
            ("insert", 4, "new"),
            ("update_postimage", 2, "newer"),
            ("update_preimage", 2, "b"),
        ]
    )
    assert feeds[0].columns == feeds[1].columns


def test_a_merge_that_changes_nothing_still_moves_its_positions(chosen: str, table: Table, spark: SparkSession) -> None:
    engine.append(table, frame(spark, row(1, "a", 5)).toArrow(), Commit({"q": 0}, entry(inserted=1)))

    engine.merge(
        table, taken(frame(spark, row(1, "late", 1, False)), chosen), CLAUSES, Commit({"up": 3}, entry(upserts=1))
    )

    assert rows_of(table.path, "id", "name") == [(1, "a")]
    assert table.position("up") == 3


def test_a_merge_moves_several_positions(chosen: str, table: Table, spark: SparkSession) -> None:
    engine.merge(
        table, taken(frame(spark, row(1, "a", 5, False)), chosen), CLAUSES, Commit({"x": 1, "y": 2}, entry(upserts=1))
    )

    assert (table.position("x"), table.position("y")) == (1, 2)
    assert ledger.rows_between(table.handle(), 1, table.version()) == 1  # counted once, however many commits


def test_sparks_settings_for_a_merge_do_not_stay(table: Table, spark: SparkSession) -> None:
    engine.merge(
        table, taken(frame(spark, row(1, "a", 5, False)), "spark"), CLAUSES, Commit({"x": 1}, entry(upserts=1))
    )

    assert spark.conf.get("spark.databricks.delta.write.txnAppId", None) is None
    assert spark.conf.get("spark.databricks.delta.commitInfo.userMetadata", None) is None


def test_reading_files_and_reading_delta_give_the_same(table: Table, spark: SparkSession) -> None:
    engine.append(table, frame(spark, row(1, "a", 5), row(2, None, 6)).toArrow(), Commit({"q": 0}, entry(inserted=2)))
    engine.merge(
        table, taken(frame(spark, row(1, "a", 9, True)), "driver"), CLAUSES, Commit({"up": 1}, entry(deletes=1))
    )

    by_delta = spark.read.format("delta").load(table.path)
    assert table.read(spark).schema == by_delta.schema
    assert table.read(spark).collect() == by_delta.collect()
    assert sorted(table.read(spark, 1).collect()) == sorted(
        spark.read.format("delta").option("versionAsOf", 1).load(table.path).collect()
    )
    assert table.read(spark, 0).collect() == []
    assert table.empty(spark).schema == by_delta.schema


@pytest.mark.parametrize(
    ("columns", "partition_by", "sentence"),
    [
        ("id bigint", ["id"], "column `amount` is no longer asked for"),
        (COLUMNS.replace("id bigint", "id string"), ["day"], "column `id` is"),
        (COLUMNS + ", more int", ["day"], "column `more` is new"),
        (COLUMNS, [], "it is partitioned by"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    columns: str, partition_by: list[str], sentence: str, table: Table, spark: SparkSession
) -> None:
    with pytest.raises(IncompatibleTable) as error:
        table.ensure(spark.createDataFrame([], columns).schema, partition_by, additive=False)

    assert sentence in str(error.value)
    assert table.path in str(error.value)


def test_a_bronze_table_keeps_statistics_of_its_places_however_wide_its_payload_is(
    spark: SparkSession, tmp_path: Path
) -> None:
    payload = T.StructType([T.StructField(f"c{number}", T.LongType()) for number in range(40)])
    schema = with_metadata(payload)
    table = Table("bronze.wide", Lake.at(str(tmp_path)))
    table.ensure(schema, [], additive=True)
    rows = spark.createDataFrame([tuple([1] * 40 + ["t", 0, 7] + [None] * (len(schema) - 43))], schema)
    engine.append(table, rows.toArrow(), Commit({"q": 0}, entry(inserted=1)))
    [action] = pa.table(table.handle().get_add_actions(flatten=True)).to_pylist()
    assert (action["min._offset"], action["max._offset"]) == (7, 7)


def test_new_columns_are_added_where_that_is_harmless(table: Table, spark: SparkSession) -> None:
    engine.append(table, frame(spark, row(1, "a", 5)).toArrow(), Commit({"q": 0}, entry(inserted=1)))

    table.ensure(spark.createDataFrame([], COLUMNS + ", more struct<x: int>").schema, ["day"], additive=True)

    assert [(r.id, r.more) for r in table.read(spark).collect()] == [(1, None)]


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("cleans", [False, True])
def test_a_log_of_years_is_kept_whichever_engine_writes_its_checkpoints(
    engine_name: str, cleans: bool, spark: SparkSession, tmp_path: Path
) -> None:
    table = Table("silver.t", Lake.at(str(tmp_path)))
    table.ensure(frame(spark).schema, [], additive=True)
    properties = {"delta.checkpointInterval": "2"} | ({"delta.enableExpiredLogCleanup": "true"} if cleans else {})
    DeltaTable(table.path).alter.set_table_properties(properties)
    for number in range(6):
        engine.append(table, taken(frame(spark, row(number, "a", 1)), engine_name), Commit({"q": number}, entry()))
        for file in Path(table.path, "_delta_log").iterdir():
            os.utime(file, (0, 0))
    kept = sorted(int(file.stem) for file in Path(table.path, "_delta_log").glob("0*.json"))
    assert (kept == list(range(8))) is not cleans
