"""`verify`: a rebuild from bronze equals what was kept up in small steps; and what was spoilt by hand is found."""

from __future__ import annotations

import random
from typing import Any

from pyspark.sql import SparkSession

from schemas.settings import Settings
from streams.graph import Graph
from streams.verify.nodes import all_tables
from streams.verify.report import Verification
from streams.verify.run import Asked, verify_tables
from streams.verify.sample import SampleAsked
from tests.support.bronze import Feeder, change
from tests.support.people import person

DAY_MS = 86_400_000


def visit(number: int, person_: int | None, at: str = "1970-01-02 12:00:00") -> dict[str, Any]:
    return {"visit": number, "person": person_, "at": at}


def verified(graph: Graph, settings: Settings, spark: SparkSession, *tables: str, **asked: Any) -> list[Verification]:
    return list(verify_tables(graph, settings, spark, tables or all_tables(graph.pipeline), Asked(**asked)))


def test_what_was_kept_up_in_small_steps_is_what_a_rebuild_gives(
    feeder: Feeder, graph: Graph, settings: Settings, spark: SparkSession
) -> None:
    chance = random.Random(7)
    changes = [
        change(chance.choice("cu"), person(key, chance.choice("abc"), "x"), lsn, ts_ms=chance.randrange(4) * DAY_MS)
        for lsn, key in enumerate((chance.randrange(1, 5) for _ in range(24)), start=10)
    ]
    changes += [change("d", None, 30, before={"id": 2}), change("t", None, 18), changes[3]]
    visits = [visit(chance.randrange(1, 9), chance.choice([None, 1, 2, 3]), f"1970-01-0{one}") for one in range(1, 9)]
    chance.shuffle(changes)
    for at in range(0, len(changes), 7):
        feeder.feed_and_drive("bronze.people", *changes[at : at + 7])
        if visits:
            feeder.feed_and_drive("bronze.visits", visits.pop(), visits.pop())

    found = verified(graph, settings, spark)

    assert [(one.table, one.problem, one.differences, one.notes) for one in found] == [
        (name, None, (), ()) for name in all_tables(graph.pipeline)
    ]
    assert all(one.rows == one.rebuilt_rows == one.equal > 0 for one in found), found
