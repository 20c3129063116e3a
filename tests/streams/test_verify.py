"""`verify`: a rebuild from bronze equals what was kept up in small steps; and what was spoilt by hand is found."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from checkpoints.lake import Lake
from checkpoints.requests import Redrive
from schemas.columns import INGEST_METADATA
from schemas.loader import load
from schemas.settings import Settings
from sinks.pinned import PinnedTable
from sinks.table import Table
from streams.graph import Graph
from streams.redrive import redrive
from streams.verify.as_of import LocationTaken, rebuild_as_of
from streams.verify.nodes import all_tables
from streams.verify.report import Verification
from streams.verify.run import Asked, verify_tables
from streams.verify.sample import SampleAsked
from tests.support import people
from tests.support.bronze import CLOCK_MS, Feeder, change
from tests.support.people import person
from tests.support.tables import rows_of

DAY_MS = 86_400_000
UNAVAILABLE = "__debezium_unavailable_value"


def visit(number: int, person_: int | None, at: str = "1970-01-02 12:00:00") -> dict[str, Any]:
    return {"visit": number, "person": person_, "at": at}


def verified(graph: Graph, settings: Settings, spark: SparkSession, *tables: str, **asked: Any) -> list[Verification]:
    return list(verify_tables(graph, settings, spark, tables or all_tables(graph.pipeline), Asked(**asked)))


def is_clean(found: list[Verification]) -> bool:
    for one in found:
        assert (one.problem, one.differences, one.notes) == (None, (), ()), one
        assert one.rows == one.rebuilt_rows == one.equal, one
    return True


def differences(one: Verification) -> list[str]:
    assert one.problem is None
    return [difference.text for difference in one.differences]


def test_what_was_kept_up_in_small_steps_is_what_a_rebuild_gives(
    feeder: Feeder, graph: Graph, settings: Settings, spark: SparkSession
) -> None:
    chance = random.Random(7)
    changes = [
        change(chance.choice("cu"), person(key, chance.choice("abc"), "x"), lsn, ts_ms=chance.randrange(4) * DAY_MS)
        for lsn, key in enumerate((chance.randrange(1, 5) for _ in range(24)), start=10)
    ]
    changes += [change("u", person(key, UNAVAILABLE, "y"), 40 + key) for key in (1, 3)]
    changes += [change("d", None, 30, before={"id": 2}), change("t", None, 18), changes[3]]
    visits = [visit(chance.randrange(1, 9), chance.choice([None, 1, 2, 3]), f"1970-01-0{one}") for one in range(1, 9)]
    chance.shuffle(changes)
    for at in range(0, len(changes), 7):
        feeder.feed_and_drive("bronze.people", *changes[at : at + 7])
        if visits:
            feeder.feed_and_drive("bronze.visits", visits.pop(), visits.pop())
    # Gold stands further back than what it is made from.
    feeder.feed("bronze.people", change("u", person(1, "late"), 90))
    feeder.drive(only="silver.people_history")
    assert any(row[0] for row in rows_of(graph.tables["silver.people"].path, "_column_sequences"))

    # Small steps were the driver's; the rebuild is Spark's.
    by_spark = Graph.build(graph.pipeline, settings.model_copy(update={"small_batch_rows": 0}))
    found = verified(by_spark, settings, spark)

    assert is_clean(found)
    assert {one.table: one.rows for one in found}.keys() == set(all_tables(graph.pipeline))
    assert all(one.rows > 0 for one in found)
    assert not list(Path(settings.lake, "_verify").iterdir())


def test_what_was_spoilt_by_hand_is_named_by_key_and_column(
    feeder: Feeder, graph: Graph, settings: Settings, spark: SparkSession
) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(7, "a"), 1), change("c", person(8, "b"), 2))
    feeder.feed_and_drive("bronze.visits", visit(1, 7), visit(2, 8), visit(3, 7))
    graph.tables["gold.fact_visits"].writer().update(updates={"name": "'Z'", "id": "9"}, predicate="visit = 1")
    graph.tables["silver.visits"].writer().delete("visit = 2")
    per_person = graph.tables["gold.visits_per_person"].path
    held = DeltaTable(per_person).to_pyarrow_table()
    other = held.slice(0, 1).set_column(0, held.field(0), pa.array([99], held.field(0).type))
    spoilt = pa.concat_tables([held.filter(pc.equal(held["person"], 7)), other])
    write_deltalake(per_person, spoilt, mode="append")

    found = {one.table: one for one in verified(graph, settings, spark)}

    assert {name for name, one in found.items() if one.count} == {
        "silver.visits",
        "gold.fact_visits",
        "gold.visits_per_person",
    }
    assert differences(found["gold.fact_visits"]) == ["visit=1 differs in id, name"]
    assert differences(found["silver.visits"]) == ["visit=2 is missing: a rebuild has it"]
    assert differences(found["gold.visits_per_person"]) == [
        "person=7 is there more than once",
        "person=99 is there, and a rebuild does not have it",
    ]
    one = found["gold.fact_visits"]
    assert (one.rows, one.rebuilt_rows, one.equal, one.found) == (3, 3, 2, {"different": 1})
    [few] = verified(graph, settings, spark, "gold.visits_per_person", shown=1)
    assert (few.count, len(few.differences)) == (2, 1)


def test_what_is_committed_meanwhile_is_not_read(
    feeder: Feeder, graph: Graph, settings: Settings, spark: SparkSession
) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(7, "a"), 1))
    feeder.feed_and_drive("bronze.visits", visit(1, 7), visit(2, 8))
    versions = {name: table.version() for name, table in graph.tables.items()}

    running = verify_tables(graph, settings, spark, all_tables(graph.pipeline), Asked())
    found = [next(running)]
    feeder.feed_and_drive("bronze.people", change("d", None, 9, before={"id": 7}), change("c", person(8, "b"), 10))
    feeder.feed_and_drive("bronze.visits", visit(1, None), visit(3, 8))
    found += running

    assert is_clean(found)
    assert {one.table: one.version for one in found} == {name: versions[name] for name in graph.below}
    assert is_clean(verified(graph, settings, spark, "gold.fact_visits"))


RULES = """
silver.people:
  - type: expect_column_values_to_be_in_set
    column: city
    value_set: [Oslo, Rome]
    severity: critical
"""


def test_what_the_error_lane_holds_is_left_out_until_it_has_gone_through(
    settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    folder = people.write(tmp_path / "pipeline", without_gold=True)

    def with_rules(text: str) -> Graph:
        (folder / "dq.yml").write_text(text)
        graph = Graph.build(load(folder), settings)
        graph.prepare(spark)
        return graph

    graph = with_rules(RULES)
    Feeder(spark, graph).feed_and_drive(
        "bronze.people", change("c", person(1, "Ada", "Oslo"), 10), change("c", person(2, "Bo", "Paris"), 11)
    )
    assert is_clean(verified(graph, settings, spark, "silver.people"))

    # A rule that has changed judges no row again, neither way.
    loose, tight = with_rules(RULES.replace("Rome", "Paris")), RULES.replace("Oslo", "Paris")
    assert is_clean(verified(loose, settings, spark, "silver.people"))
    assert redrive(loose, spark, Redrive(table="silver.people")).accepted == 1
    for graph in (loose, with_rules(tight)):
        [one] = verified(graph, settings, spark, "silver.people")
        assert is_clean([one])
        assert one.rows == 2


def test_a_sample_rebuilds_only_what_its_keys_lead_to(
    feeder: Feeder, graph: Graph, settings: Settings, spark: SparkSession
) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(7, "a"), 1))
    feeder.feed_and_drive("bronze.visits", *(visit(number, 7) for number in range(1, 41)))
    graph.tables["gold.fact_visits"].writer().update(updates={"name": "'Z'"}, predicate="visit in (5, 30)")

    one_to_nine = SampleAsked.parse("visit=..9")
    [found] = verified(graph, settings, spark, "gold.fact_visits", sample=one_to_nine, keep=True)

    assert differences(found) == ["visit=5 differs in name"]
    assert (found.rows, found.rebuilt_rows) == (9, 9)
    assert found.kept is not None
    shadow = Path(found.kept).parents[1]
    assert rows_of(str(shadow / "silver/visits"), "visit") == [(number,) for number in range(1, 10)]
    assert len(rows_of(str(shadow / "gold/dim_person"))) == 1

    [found] = verified(graph, settings, spark, "silver.visits", sample=SampleAsked.parse("0.5"))
    assert is_clean([found])
    assert 5 < found.rows < 35


def test_a_rebuild_as_of_a_time_is_what_the_tables_were_then(
    feeder: Feeder, graph: Graph, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    for number, name in enumerate("abcd"):
        feeder.feed("bronze.people", change("u", person(7, name), 10 + number, ts_ms=number * DAY_MS))
        feeder.feed("bronze.visits", visit(number, 7, f"1970-01-0{number + 1} 12:00:00"), visit(9, number))
        feeder.drive()
        if number == 1:
            feeder.feed("bronze.people", change("d", None, 5, before={"id": 8}))
            then = {one: graph.tables[one].version() for one in graph.below}
            as_of = datetime.fromtimestamp(CLOCK_MS / 1000 + 1, UTC)  # of the second batch

    location = Lake.at(str(tmp_path / "then"))
    made = {one.table: one for one in rebuild_as_of(graph, settings, spark, as_of, location)}

    for name, version in then.items():
        live, rebuilt = PinnedTable(name, graph.lake, version), Table(name, location)
        columns = [one for one in live.schema().names if one not in INGEST_METADATA]
        rows = [sorted(map(repr, table.to_arrow(columns).to_pylist())) for table in (live, rebuilt)]
        assert rows[0] == rows[1], name
        assert (made[name].rows, made[name].path) == (len(rows[0]), rebuilt.path)
    assert rows_of(location.table("gold.fact_visits"), "visit", "id", "name") == [
        (0, 7, "A"),
        (1, 7, "B"),
        (9, 1, None),
    ]
    with pytest.raises(LocationTaken, match="there is something already"):
        rebuild_as_of(graph, settings, spark, as_of, location)
