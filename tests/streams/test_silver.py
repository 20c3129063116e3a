"""Bronze to silver: whole tables after each case, by both ways of reading and by both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from checkpoints import ledger
from checkpoints.errors import PositionAhead
from sinks.tombstones import Tombstones
from streams.graph import Graph
from streams.silver import ChangeStep
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import lane_records, rows_of

Batches = list[list[dict[str, Any]]]

CASES: dict[str, tuple[Batches, list[tuple[Any, ...]]]] = {
    "inserts are canonicalised": (
        [[change("c", person(1, "ada", "Oslo"), 1), change("r", person(2), 1)]],
        [(1, "ADA", "Oslo"), (2, None, None)],
    ),
    "the newest of a key wins within a batch, in whatever order it stands": (
        [[change("u", person(1, "new"), 9), change("c", person(1, "old"), 3)]],
        [(1, "NEW", None)],
    ),
    "and across batches": (
        [[change("u", person(1, "new"), 9)], [change("c", person(1, "old"), 3)]],
        [(1, "NEW", None)],
    ),
    "nine comes before ten": (
        [[change("c", person(1, "nine"), 9)], [change("u", person(1, "ten"), 10)]],
        [(1, "TEN", None)],
    ),
    "a column may become null": (
        [[change("c", person(1, "ada"), 1)], [change("u", person(1, None), 2)]],
        [(1, None, None)],
    ),
    "a copy changes nothing": (
        [[change("c", person(1, "ada"), 1)], [change("c", person(1, "ada"), 1)]],
        [(1, "ADA", None)],
    ),
    "a delete by a key image full of zeros": (
        [[change("c", person(1, "ada"), 1), change("c", person(2), 2)], [change("d", None, 3, before=person(1, ""))]],
        [(2, None, None)],
    ),
    "a delete older than the row is too late": (
        [[change("u", person(1, "ada"), 5)], [change("d", None, 4, before=person(1))]],
        [(1, "ADA", None)],
    ),
    "deleted and created again in one batch": (
        [[change("c", person(1, "a"), 1), change("d", None, 2, before=person(1)), change("c", person(1, "b"), 3)]],
        [(1, "B", None)],
    ),
    "a delete of a key never seen": ([[change("d", None, 2, before=person(1))]], []),
    "a snapshot read loses to a change at its position": (
        [[change("u", person(1, "streamed"), 7)], [change("r", person(1, "snapshot"), 7)]],
        [(1, "STREAMED", None)],
    ),
    "and wins over one before it": (
        [[change("u", person(1, "streamed"), 6)], [change("r", person(1, "snapshot"), 7)]],
        [(1, "SNAPSHOT", None)],
    ),
    "a primary key update is a delete and an insert": (
        [
            [change("c", person(1, "ada"), 1)],
            [change("d", None, 2, before=person(1)), change("c", person(9, "ada"), 2)],
        ],
        [(9, "ADA", None)],
    ),
    "a truncate empties the table, but not what comes after it": (
        [
            [change("c", person(1), 1), change("c", person(2), 2)],
            [change("c", person(3), 3), change("t", None, 4), change("c", person(4), 5)],
        ],
        [(4, None, None)],
    ),
    "a key that is truncated away and comes back": (
        [[change("c", person(1, "old"), 1)], [change("t", None, 4), change("c", person(1, "new"), 5)]],
        [(1, "NEW", None)],
    ),
}


@pytest.fixture
def graph(silver_graph: Graph) -> Graph:
    return silver_graph


@pytest.fixture
def feeder(silver_feeder: Feeder) -> Feeder:
    return silver_feeder


def feed_all(feeder: Feeder, batches: Batches, *, in_memory: bool) -> None:
    for batch in batches:
        outcome = feeder.feed("bronze.people", *batch)
        if in_memory:
            feeder.drive(outcome, only="silver.people")
    feeder.drive(only="silver.people")


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "feed"])
@pytest.mark.parametrize("case", CASES)
def test_current_rows(case: str, in_memory: bool, feeder: Feeder, graph: Graph) -> None:
    batches, expected = CASES[case]

    feed_all(feeder, batches, in_memory=in_memory)

    assert rows_of(graph.tables["silver.people"].path) == sorted(expected, key=repr)


@pytest.mark.parametrize(
    "case", ["a key that is truncated away and comes back", "deleted and created again in one batch"]
)
def test_sparks_engine_gives_the_same_rows(case: str, feeder: Feeder, graph: Graph) -> None:
    for step in (*graph.bronze.values(), *graph.below.values()):
        object.__setattr__(step, "small_batch_rows", 0)
    batches, expected = CASES[case]

    feed_all(feeder, batches, in_memory=True)

    assert rows_of(graph.tables["silver.people"].path) == sorted(expected, key=repr)
    newest = [entry for _, entry in ledger.entries(graph.tables["silver.people"].handle())]
    assert {entry.engine for entry in newest if entry.rows} == {"spark"}


@pytest.mark.parametrize("engine", ["driver", "spark"])
def test_what_is_later_than_its_tombstone_is_looked_up_in_bronze(engine: str, feeder: Feeder, graph: Graph) -> None:
    """Older than a deletion that was collected, late by hours: bronze still knows that the row is gone."""
    step = graph.below["silver.people"]
    assert isinstance(step, ChangeStep)
    if engine == "spark":
        for one in (*graph.bronze.values(), *graph.below.values()):
            object.__setattr__(one, "small_batch_rows", 0)
    gone = [change("c", person(1, "ada"), 1), change("d", None, 5, before=person(1)), change("c", person(2), 6)]
    feed_all(feeder, [gone], in_memory=True)
    tombstones = Tombstones(step.table, graph.lake, step.spec.keys)
    assert tombstones.collect(datetime(2030, 1, 1, tzinfo=UTC)) == 1
    late = [change("u", person(1, "late"), 3), change("c", person(3, "never deleted"), 2)]
    late += [change("u", person(2, "older"), 4), change("c", person(4, "new"), 9)]

    feed_all(feeder, [late], in_memory=True)

    expected = [(2, None, None), (3, "NEVER DELETED", None), (4, "NEW", None)]
    assert rows_of(step.table.path) == expected


def test_memory_is_used_only_where_it_equals_the_feed(feeder: Feeder, graph: Graph, spark: SparkSession) -> None:
    """A batch that the table is two versions behind of is read from the feed with all before it."""
    step = graph.below["silver.people"]
    first = feeder.feed("bronze.people", change("c", person(1), 1))
    second = feeder.feed("bronze.people", change("c", person(2), 2))
    third = feeder.feed("bronze.people", change("c", person(3), 3))

    caught_up = step.run(spark, second.handover)
    assert caught_up is not None
    assert (caught_up.entry.source, caught_up.entry.upstreams) == ("feed", {"bronze.people": (0, 3)})
    assert step.run(spark, first.handover) is None
    assert step.run(spark, third.handover) is None
    fourth = feeder.feed("bronze.people", change("c", person(4), 4))
    in_hand = step.run(spark, fourth.handover)
    assert in_hand is not None
    assert (in_hand.entry.source, in_hand.entry.upstreams) == ("memory", {"bronze.people": (3, 4)})
    assert rows_of(step.table.path, "id") == [(1,), (2,), (3,), (4,)]


def test_a_row_says_which_batch_brought_it(feeder: Feeder, graph: Graph) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(1), 1))
    feeder.feed_and_drive("bronze.people", change("c", person(2), 2))

    brought = rows_of(graph.tables["silver.people"].path, "id", "_batch_id", "_source_system")
    assert brought == [(n + 1, ledger.run_id("bronze.people", 0, n), "town") for n in (0, 1)]


def test_versions_without_rows_only_move_the_position(feeder: Feeder, graph: Graph, spark: SparkSession) -> None:
    feeder.feed("bronze.people", b"{")

    outcome = graph.below["silver.people"].run(spark, None)

    assert outcome is not None
    assert (outcome.entry.step, outcome.entry.upstreams) == ("position", {"bronze.people": (0, 1)})
    assert graph.below["silver.people"].run(spark, None) is None


def test_history_keeps_every_change_once(feeder: Feeder, graph: Graph) -> None:
    first = [change("c", person(1, "a"), 1), change("u", person(1, "b"), 2)]
    feeder.feed_and_drive("bronze.people", *first, first[0])
    feeder.feed_and_drive("bronze.people", first[1], change("d", None, 3, before=person(1)), change("t", None, 4))
    feeder.feed_and_drive("bronze.people", change("t", None, 4))

    assert rows_of(graph.tables["silver.people_history"].path, "id", "name", "_deleted") == [
        (1, "A", False),
        (1, "B", False),
        (1, None, True),
        (None, None, True),
    ]


def test_a_change_without_a_key_goes_to_the_lane_of_its_table(
    feeder: Feeder, graph: Graph, spark: SparkSession
) -> None:
    """Bronze's contract knows its own keys; an expression may still give null."""
    step = graph.below["silver.people"]
    assert isinstance(step, ChangeStep)
    spec = step.spec.model_copy(update={"select": {**step.spec.select, "id": "nullif(after.id, 2)"}})
    feeder.feed("bronze.people", change("c", person(1), 1), change("c", person(2), 2))

    ChangeStep(spec, step.table, step.upstream, step.lake, step.small_batch_rows).run(spark, None)

    assert rows_of(step.table.path, "id") == [(1,)]
    [record] = lane_records(graph.lake.errors("silver.people"))
    assert (record["offset"], record["violations"][0]["rule"]) == (1, "key.null")


def test_an_upstream_that_was_rolled_back_is_refused(feeder: Feeder, graph: Graph, spark: SparkSession) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(1), 1))
    step = graph.below["silver.people"]
    assert isinstance(step, ChangeStep)

    class RolledBack:
        name = "bronze.people"
        source_name = step.upstream.source_name

        def version(self) -> int:
            return 0

    with pytest.raises(
        PositionAhead, match=r"silver\.people has consumed bronze\.people up to version 1.* at version 0"
    ):
        ChangeStep(step.spec, step.table, RolledBack(), step.lake, 1).run(spark, None)  # type: ignore[arg-type]
