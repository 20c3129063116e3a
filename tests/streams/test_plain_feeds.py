"""A plain topic of changes in an order of its own columns: whole tables, by both ways of reading and both engines."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.loader import load
from schemas.settings import Settings
from streams.graph import Graph
from tests.support.bronze import Feeder
from tests.support.tables import lane_records, rows_of

CONTRACT = {
    "type": "object",
    "properties": {
        "visit": {"type": ["integer", "null"]},
        "person": {"type": ["string", "null"]},
        "note": {"type": ["string", "null"]},
        "updated_at": {"type": ["string", "null"], "format": "date-time", "x-type": "timestamp"},
        "revision": {"type": ["integer", "null"]},
        "op": {"type": "string"},
    },
}
SHARED = """
from: bronze.visits
keys: [visit]
sequence_by: [updated_at, revision]
apply_as_deletes: "op = 'delete'"
apply_as_truncates: "op = 'truncate'"
"""
SPECS = {
    "bronze.visits": "source: {topic: visits, format: json}\ncontract: visits\n",
    "silver.visits": f"{SHARED}stored_as_scd_type: 1\nexcept_column_list: [op]\n",
    "silver.patched": f"{SHARED}stored_as_scd_type: 1\nignore_null_updates: true\n"
    "column_list: [visit, person, note, updated_at, revision]\n",
    "silver.visits_history": f"{SHARED}stored_as: history\ncolumn_list: [visit, person, updated_at, revision]\n",
}
Batches = list[list[dict[str, Any]]]


def put(
    visit: int | None, person: str | None, second: int | None, revision: int | None = 1, **more: Any
) -> dict[str, Any]:
    at = None if second is None else f"2026-01-01T00:00:{second:02}Z"
    return {"visit": visit, "person": person, "note": None, "updated_at": at, "revision": revision, "op": "put", **more}


def delete(visit: int, second: int, revision: int = 1) -> dict[str, Any]:
    return put(visit, None, second, revision, op="delete")


def truncate(second: int | None, revision: int = 1) -> dict[str, Any]:
    return put(None, None, second, revision, op="truncate")


@pytest.fixture(scope="module")
def visits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("visits")
    for name in ("contracts", "tables"):
        (folder / name).mkdir()
    (folder / "contracts/visits.schema.json").write_text(json.dumps(CONTRACT))
    for name, text in SPECS.items():
        (folder / f"tables/{name}.yml").write_text(f"table: {name}\n{text.lstrip()}")
    return folder


@pytest.fixture(params=["memory", "feed", "spark"])
def fed(request: pytest.FixtureRequest, visits_folder: Path, settings: Settings, spark: SparkSession) -> Fed:
    graph = Graph.build(load(visits_folder), settings)
    graph.prepare(spark)
    if request.param == "spark":
        for step in (*graph.bronze.values(), *graph.below.values()):
            object.__setattr__(step, "small_batch_rows", 0)
    return Fed(graph, Feeder(spark, graph), in_memory=request.param != "feed")


class Fed:
    """A graph whose tables are brought up to date after each batch, from memory or from bronze's feed."""

    def __init__(self, graph: Graph, feeder: Feeder, *, in_memory: bool) -> None:
        self.graph, self.feeder, self.in_memory = graph, feeder, in_memory

    def feed(self, batches: Batches, table: str) -> list[tuple[Any, ...]]:
        for batch in batches:
            outcome = self.feeder.feed("bronze.visits", *batch)
            if self.in_memory:
                self.feeder.drive(outcome, only=table)
            else:
                self.feeder.drive(only=table)
        return rows_of(self.graph.tables[table].path, "visit", "person", "note")


def test_rows_are_in_the_order_of_the_declared_columns(fed: Fed) -> None:
    rows = fed.feed(
        [
            [
                put(1, "second", 5, 2),  # the second column decides
                put(1, "first", 5, 1),
                put(2, "tie, early", 5),
                put(2, "tie, late", 5),  # the topic's position decides
                put(3, "alive", 5),
                put(4, "dead", 5),
                delete(5, 5),
                put(6, "no place", None),
            ],
            [
                put(1, "older, with a greater revision", 4, 9),
                delete(3, 4),  # too late
                delete(4, 6),
            ],
            [put(4, "late", 5, 3), put(5, "late", 4), put(5, "back", 6), put(7, "no place", 1, None)],
        ],
        "silver.visits",
    )

    assert rows == [(1, "second", None), (2, "tie, late", None), (3, "alive", None), (5, "back", None)]
    rejected = lane_records(fed.graph.lake.errors("silver.visits"))
    assert [(one["offset"], [each["rule"] for each in one["violations"]]) for one in rejected] == [
        (7, ["sequence.null"]),
        (14, ["sequence.null"]),
    ]


def test_a_truncate_that_comes_before_what_is_older(fed: Fed) -> None:
    rows = fed.feed(
        [
            [put(1, "older", 1), put(2, "newer", 7)],
            [truncate(5, 2), put(3, "older by its second column", 5, 1), put(4, "newer", 5, 3)],
            [put(5, "older", 4), put(6, "newer", 6), truncate(4), truncate(None)],
        ],
        "silver.visits",
    )

    assert rows == [(2, "newer", None), (4, "newer", None), (6, "newer", None)]
    [rejected] = lane_records(fed.graph.lake.errors("silver.visits"))
    assert rejected["violations"][0]["rule"] == "sequence.null"


def test_nulls_leave_what_is_there_in_any_order_of_arrival(fed: Fed) -> None:
    """Each key has the same events in another order, one a batch; what comes after its deletion begins anew."""
    events = (
        put(0, "ada", 1, note="gone with the deletion"),
        delete(0, 2),
        put(0, "bea", 3),
        put(0, None, 4, note="kept"),
        put(0, None, 5),
    )
    orders = list(itertools.permutations(events))[::7]
    batches = [
        [{**order[number], "visit": visit} for visit, order in enumerate(orders)] for number in range(len(events))
    ]
    batches[1].append(put(100, None, 1))

    rows = fed.feed(batches, "silver.patched")

    assert rows == sorted([*((visit, "bea", "kept") for visit in range(len(orders))), (100, None, None)], key=repr)


def test_a_history_has_truncates_and_deletes_in_their_order(fed: Fed) -> None:
    batches = [[truncate(5), put(1, "late", 4)], [delete(1, 6), put(1, "first", 3)]]
    for batch in batches:
        outcome = fed.feeder.feed("bronze.visits", *batch)
        fed.feeder.drive(outcome if fed.in_memory else None, only="silver.visits_history")

    rows = rows_of(fed.graph.tables["silver.visits_history"].path, "updated_at", "visit", "person", "_deleted")
    assert [(at.second, *rest) for at, *rest in rows] == [
        (3, 1, "first", False),
        (4, 1, "late", False),
        (5, None, None, True),
        (6, 1, None, True),
    ]
