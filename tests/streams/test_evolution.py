"""Fields that no contract names, contracts that change: columns appear, or the change is refused; no row is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from checkpoints.requests import Author, Rewind
from schemas.loader import load
from schemas.settings import BreakerSettings, Settings
from sinks.errors import IncompatibleTable
from streams.acts.carry_out import carry_out
from streams.errors import SchemaFrozen, TooManyRejects
from streams.graph import Graph
from tests.support import people
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import lane_records, rows_of


def pipeline(folder: Path, bronze: str = "discard_value", silver: str = "freeze", *, gold: bool = False) -> Path:
    people.write(folder, without_gold=not gold)
    for name, policy in (("bronze.people", bronze), ("silver.people", silver), ("silver.people_history", silver)):
        file = folder / "tables" / f"{name}.yml"
        file.write_text(f"{file.read_text()}schema_change: {policy}\n")
    return folder


def built(folder: Path, settings: Settings, spark: SparkSession) -> Graph:
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    return graph


def afters(graph: Graph, *names: str) -> list[tuple[Any, ...]]:
    rows = graph.tables["bronze.people"].handle().to_pyarrow_table().sort_by("_offset").to_pylist()
    return [
        tuple(row["after"].get(name) if name != "rescued" else row["_rescued_data"] for name in names) for row in rows
    ]


@pytest.mark.parametrize("small_batch_rows", [0, 100_000])
def test_new_fields_become_columns_of_bronze_silver_and_history(
    small_batch_rows: int, tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    settings = settings.model_copy(update={"small_batch_rows": small_batch_rows})
    graph = built(pipeline(tmp_path / "p", "evolve", "evolve", gold=True), settings, spark)
    feeder = Feeder(spark, graph)
    feeder.feed_and_drive("bronze.people", change("c", person(1, "Ada"), 10))
    feeder.feed_and_drive(
        "bronze.people",
        change("u", person(1, "Ada", age=36), 20),
        change("c", person(2, "Bo", vip=True, tags=["a", 1.50]), 21),
    )
    feeder.feed_and_drive("bronze.people", change("u", person(2, "Bo", age="old"), 30))

    assert afters(graph, "id", "age", "vip", "tags", "rescued") == [
        (1, None, None, None, None),
        (1, 36, None, None, None),
        (2, None, True, '["a",1.5]', None),
        (2, None, None, None, '{"age":"old"}'),
    ]
    silver = rows_of(graph.tables["silver.people"].path, "id", "name", "age", "vip", "tags")
    assert silver == [(1, "ADA", 36, None, None), (2, "BO", None, None, None)]
    assert lane_records(graph.lake.errors("bronze.people")) == []
    versions = rows_of(graph.tables["gold.dim_person"].path, "id", "name", "age", "is_current")
    assert versions == [(1, "ADA", 36, True), (1, "ADA", None, False), (2, "BO", None, False), (2, "BO", None, True)]

    again = built(tmp_path / "p", settings, spark)
    feeder = Feeder(spark, again, feeder.next_offset, feeder.next_batch)
    feeder.feed_and_drive("bronze.people", change("u", person(1, "Ada", age=37), 40))
    assert rows_of(again.tables["silver.people"].path, "id", "age") == [(1, 37), (2, None)]


def test_a_table_that_is_behind_reads_over_the_change_of_columns(
    tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    graph = built(pipeline(tmp_path / "p", "evolve", "evolve"), settings, spark)
    feeder = Feeder(spark, graph)
    feeder.feed("bronze.people", change("c", person(1, "Ada"), 10))
    feeder.feed("bronze.people", change("c", person(2, "Bo", age=7), 11))
    feeder.drive()
    assert rows_of(graph.tables["silver.people"].path, "id", "age") == [(1, None), (2, 7)]


@pytest.mark.parametrize("small_batch_rows", [0, 100_000])
def test_a_rewind_goes_back_over_new_columns_and_they_come_again(
    small_batch_rows: int, tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    settings = settings.model_copy(update={"small_batch_rows": small_batch_rows})
    graph = built(pipeline(tmp_path / "p", "evolve", "evolve", gold=True), settings, spark)
    feeder = Feeder(spark, graph)
    feeder.feed_and_drive("bronze.people", change("c", person(1, "Ada"), 10))
    before = {name: rows_of(graph.tables[name].path) for name in graph.below}
    at = datetime.now(UTC).isoformat()
    feeder.feed_and_drive("bronze.people", change("u", person(1, "Ada", age=36), 20))
    now = {name: rows_of(graph.tables[name].path) for name in graph.below}

    ada = Author(who="ada", host="here", command="sluice test")
    tables = ("silver.people", "silver.people_history")
    done = carry_out(graph, spark, settings, Rewind(tables=tables, to=at), ada)
    again = built(tmp_path / "p", settings, spark)
    assert {name: [row[:3] for row in rows_of(again.tables[name].path)] for name in before} == {
        name: [row[:3] for row in rows] for name, rows in before.items()
    }
    Feeder(spark, again).drive()
    assert {name: rows_of(again.tables[name].path) for name in now} == now
    carry_out(again, spark, settings, Rewind(tables=tables, to=done["undo"]), ada)
    once_more = built(tmp_path / "p", settings, spark)
    Feeder(spark, once_more, feeder.next_offset, feeder.next_batch).feed_and_drive(
        "bronze.people", change("u", person(1, "Ada", age=37), 30)
    )
    assert rows_of(once_more.tables["silver.people"].path, "id", "age") == [(1, 37)]


def test_a_nested_field_and_names_that_no_column_can_have(
    tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    graph = built(pipeline(tmp_path / "p", "evolve"), settings, spark)
    feeder = Feeder(spark, graph)
    home = {"city": "Rome", "zip": 7, "a b": 1, "CITY": "x"}
    feeder.feed("bronze.people", change("c", {"id": 1, "home": home}, 10))
    [(after_home, rescued)] = afters(graph, "home", "rescued")
    assert after_home == {"city": "Rome", "zip": 7}
    assert json.loads(rescued) == {"home": {"a b": 1, "CITY": "x"}}


def test_discarded_values_are_kept_aside_and_discarded_rows_go_to_the_lane(
    tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    graph = built(pipeline(tmp_path / "p", "discard_row"), settings, spark)
    Feeder(spark, graph).feed(
        "bronze.people", change("c", person(1, "Ada", age=1), 10), change("c", person(2, "Bo"), 11)
    )
    assert afters(graph, "id") == [(2,)]
    [record] = lane_records(graph.lake.errors("bronze.people"))
    assert record["violations"] == [{"rule": "schema_change.unknown", "pointer": "/after/age", "schema_path": ""}]


def test_a_frozen_table_holds_the_batch_and_says_which_field(
    tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    graph = built(pipeline(tmp_path / "p", "freeze"), settings, spark)
    with pytest.raises(SchemaFrozen, match=r"db\.people has fields .*: `age`, in batch 0 \(db\.people\[0\]@0-1\)"):
        Feeder(spark, graph).feed("bronze.people", change("c", person(1, "Ada", age=1), 10))
    assert graph.tables["bronze.people"].version() == 0


def contract(folder: Path, version: str, **properties: Any) -> None:
    changed = {**people.CONTRACT, "x-version": version, "properties": {**people.CONTRACT["properties"], **properties}}
    (folder / "contracts" / "people.schema.json").write_text(json.dumps(changed))


def test_an_added_field_of_a_contract_is_a_column_and_each_row_says_its_version(
    tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    folder = pipeline(tmp_path / "p")
    feeder = Feeder(spark, built(folder, settings, spark))
    feeder.feed("bronze.people", change("c", person(1, "Ada", age=1), 10))
    contract(folder, "4", age={"type": "integer"})
    graph = built(folder, settings, spark)
    Feeder(spark, graph, feeder.next_offset, feeder.next_batch).feed(
        "bronze.people", change("c", person(2, "Bo", age=2), 11)
    )
    assert afters(graph, "id", "age", "rescued") == [(1, None, '{"age":1}'), (2, 2, None)]
    assert rows_of(graph.tables["bronze.people"].path, "_contract_version") == [("3",), ("4",)]


def test_a_field_that_a_contract_no_longer_names_goes_on_as_a_column(
    tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    folder = pipeline(tmp_path / "p")
    contract(folder, "4", age={"x-type": "decimal(5,2)"})
    feeder = Feeder(spark, built(folder, settings, spark))
    feeder.feed("bronze.people", change("c", person(1, age="1.50"), 10))
    contract(folder, "5")
    graph = built(folder, settings, spark)
    Feeder(spark, graph, feeder.next_offset, feeder.next_batch).feed(
        "bronze.people", change("c", person(2, age="2.5"), 11), change("c", person(3, age="old"), 12)
    )
    assert [(id_, str(age), rescued) for id_, age, rescued in afters(graph, "id", "age", "rescued")] == [
        (1, "1.50", None),
        (2, "2.50", None),
        (3, "None", '{"age":"old"}'),
    ]


def test_a_change_of_type_is_refused_at_the_start(tmp_path: Path, settings: Settings, spark: SparkSession) -> None:
    folder = pipeline(tmp_path / "p")
    built(folder, settings, spark)
    contract(folder, "4", name={"type": "integer"})
    with pytest.raises(IncompatibleTable, match=r"is string and would be bigint\. Take the change back \(runbooks/"):
        built(folder, settings, spark)


def test_too_many_rejects_hold_the_batch_back_until_it_is_admitted(
    tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    limits = BreakerSettings(most_share=0.5, least_records=2)
    graph = built(pipeline(tmp_path / "p"), settings.model_copy(update={"breaker": limits}), spark)
    feeder = Feeder(spark, graph)
    records = [b"{", b"[", change("c", person(1), 10)]
    with pytest.raises(TooManyRejects, match=r"2 of the 3 records of batch 0 .* \(1 x json.object, 1 x json.syntax\)"):
        feeder.feed("bronze.people", b"{", b"[1]", change("c", person(1), 10))
    assert graph.tables["bronze.people"].version() == 0
    assert lane_records(graph.lake.errors("bronze.people")) == []

    graph.bronze["bronze.people"].breaker.admit()
    outcome = feeder.feed("bronze.people", *records)
    assert (outcome.entry.accepted, outcome.entry.rejected) == (1, 2)
    with pytest.raises(TooManyRejects):
        feeder.feed("bronze.people", b"{", b"{")


def test_a_large_value_goes_to_the_lane_unread(tmp_path: Path, settings: Settings, spark: SparkSession) -> None:
    graph = built(pipeline(tmp_path / "p"), settings.model_copy(update={"max_record_bytes": 300}), spark)
    large = json.dumps(change("c", person(1, "x" * 400), 10)).encode()
    Feeder(spark, graph).feed("bronze.people", large, change("c", person(2), 11))
    [record] = lane_records(graph.lake.errors("bronze.people"))
    assert [one["rule"] for one in record["violations"]] == ["record.size"]
    assert afters(graph, "id") == [(2,)]
