"""Derived tables: only what changed is recomputed, and what stands is what a rebuild would give."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from checkpoints import ledger
from schemas.settings import Settings
from streams.graph import Graph
from streams.refresh import DuplicateGrain, RefreshStep
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import rows_of

DAY_MS = 86_400_000


def visit(number: int, person_: int | None, at: str) -> dict[str, Any]:
    return {"visit": number, "person": person_, "at": at}


def facts(graph: Graph) -> list[tuple[Any, ...]]:
    return rows_of(graph.tables["gold.fact_visits"].path, "visit", "id", "name")


def newest(graph: Graph, table: str) -> ledger.LedgerEntry:
    return next(ledger.entries(graph.tables[table].handle()))[1]


@pytest.mark.parametrize(
    ("in_driver", "pushdown_keys"), [(True, 0), (False, 1000), (False, 0)], ids=["driver", "constants", "semi-joins"]
)
def test_a_star_follows_its_sources(in_driver: bool, pushdown_keys: int, feeder: Feeder, graph: Graph) -> None:
    for name in ("gold.fact_visits", "gold.visits_per_person"):
        step = graph.below[name]
        assert isinstance(step, RefreshStep)
        graph.below[name] = replace(step, in_driver=in_driver, pushdown_keys=pushdown_keys)
    # A fact before its dimension; then the dimension, in two versions; then a correction between them.
    feeder.feed_and_drive("bronze.visits", visit(1, 7, "1970-01-01 12:00:00"), visit(2, 7, "1970-01-03 12:00:00"))
    assert facts(graph) == [(1, 7, None), (2, 7, None)]
    feeder.feed_and_drive(
        "bronze.people", change("c", person(7, "a"), 1, ts_ms=0), change("u", person(7, "c"), 9, ts_ms=4 * DAY_MS)
    )
    assert facts(graph) == [(1, 7, "A"), (2, 7, "A")]
    feeder.feed_and_drive("bronze.people", change("u", person(7, "b"), 5, ts_ms=2 * DAY_MS))
    assert facts(graph) == [(1, 7, "A"), (2, 7, "B")]
    assert newest(graph, "gold.fact_visits").rows == {"upserts": 1}
    versions = rows_of(graph.tables["gold.dim_person"].path, "name", "is_current")
    assert versions == [("A", False), ("B", False), ("C", True)]

    # A fact that moves to another key changes the aggregates of both; one that vanishes leaves none behind.
    assert rows_of(graph.tables["gold.visits_per_person"].path) == [(7, 2)]
    feeder.feed_and_drive("bronze.visits", visit(2, 8, "1970-01-03 12:00:00"))
    assert rows_of(graph.tables["gold.visits_per_person"].path) == [(7, 1), (8, 1)]
    feeder.feed_and_drive("bronze.visits", visit(1, None, "x"))
    assert rows_of(graph.tables["gold.visits_per_person"].path) == [(8, 1)]
    assert facts(graph) == [(2, 8, None)]


def test_a_change_that_makes_no_difference_writes_no_row(feeder: Feeder, graph: Graph) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(7, "a"), 1))
    version = newest(graph, "gold.dim_person")

    feeder.feed_and_drive("bronze.people", change("u", person(7, "a"), 2))

    entry = newest(graph, "gold.dim_person")
    assert version.rows == {"upserts": 1}
    assert (entry.step, entry.rows) == ("position", {})


def test_every_upstream_has_a_position_of_its_own(feeder: Feeder, graph: Graph, spark: SparkSession) -> None:
    feeder.feed_and_drive("bronze.visits", visit(1, 7, "1970-01-01 12:00:00"))
    feeder.feed_and_drive("bronze.people", change("c", person(7, "a"), 1))

    step = graph.below["gold.fact_visits"]
    assert step.run(spark, None) is None
    entry = newest(graph, "gold.fact_visits")
    versions = {name: graph.tables[name].version() for name in ("silver.visits", "gold.dim_person")}
    assert {name: to for name, (_, to) in entry.upstreams.items()}.items() <= versions.items()


def test_an_upstream_made_anew_is_compared_whole(
    feeder: Feeder, graph: Graph, spark: SparkSession, settings: Settings
) -> None:
    """Silver moved aside and rebuilt has versions that count from 0 again: gold must not take its own for them."""
    feeder.feed_and_drive("bronze.visits", visit(1, 7, "1970-01-01 12:00:00"), visit(2, 7, "1970-01-01 12:00:00"))
    feeder.feed_and_drive("bronze.visits", visit(3, 8, "1970-01-01 12:00:00"))
    shutil.rmtree(graph.tables["silver.visits"].path)
    graph.tables["gold.fact_visits"].writer().delete("visit = 2")  # what only a comparison of everything can find

    anew = Graph.build(graph.pipeline, settings)
    anew.prepare(spark)
    Feeder(spark, anew).drive()

    assert facts(anew) == [(1, 7, None), (2, 7, None), (3, 8, None)]
    assert rows_of(anew.tables["gold.visits_per_person"].path) == [(7, 2), (8, 1)]
    assert newest(anew, "gold.fact_visits").source == "full"


def test_an_upstream_that_has_nothing_yet_makes_no_refresh_a_whole_one(feeder: Feeder, graph: Graph) -> None:
    feeder.feed_and_drive("bronze.visits", visit(1, 7, "1970-01-01 12:00:00"))
    feeder.feed_and_drive("bronze.visits", visit(2, 7, "1970-01-01 12:00:00"))

    assert newest(graph, "gold.fact_visits").source == "feed"
    assert facts(graph) == [(1, 7, None), (2, 7, None)]


def test_a_truncate_ends_all_versions(feeder: Feeder, graph: Graph) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(1, "a"), 1), change("c", person(2, "b"), 2))
    feeder.feed_and_drive("bronze.people", change("t", None, 3, ts_ms=5000))

    assert rows_of(graph.tables["gold.dim_person"].path, "name", "is_current") == [("A", False), ("B", False)]


def test_sparks_engine_gives_the_same_star(feeder: Feeder, graph: Graph) -> None:
    for step in (*graph.bronze.values(), *graph.below.values()):
        object.__setattr__(step, "small_batch_rows", 0)
    feeder.feed("bronze.visits", visit(1, 7, "1970-01-01 12:00:00"))
    feeder.feed("bronze.people", change("c", person(7, "a"), 1))
    feeder.drive()
    feeder.feed_and_drive("bronze.people", change("d", None, 2, ts_ms=2 * DAY_MS, before={"id": 7}))

    entries = [entry for name in graph.below for _, entry in ledger.entries(graph.tables[name].handle())]
    assert {entry.engine for entry in entries if entry.rows} == {"spark"}
    assert facts(graph) == [(1, 7, "A")]
    assert rows_of(graph.tables["gold.dim_person"].path, "name", "is_current") == [("A", False)]


def test_two_rows_for_one_grain_are_refused_by_name(feeder: Feeder, graph: Graph, spark: SparkSession) -> None:
    step = graph.below["gold.fact_visits"]
    spec = step.recipe.spec.model_copy(  # type: ignore[attr-defined]
        update={"query": "SELECT visit, person AS id, 'x' AS name, at FROM silver.visits JOIN VALUES (1), (2) ON true"}
    )
    object.__setattr__(step.recipe, "spec", spec)  # type: ignore[attr-defined]
    feeder.feed("bronze.visits", visit(1, 7, "1970-01-01 12:00:00"))
    graph.below["silver.visits"].run(spark, None)

    with pytest.raises(DuplicateGrain, match=r"gold\.fact_visits: the query gives more than one row for visit=1"):
        step.run(spark, None)
