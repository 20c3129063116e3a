"""OPTIMIZE by somebody else, between the look at a table and the commit to it: that is tried again, no row changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from pyspark.sql import SparkSession

from schemas.loader import load
from schemas.settings import Settings
from streams.bronze import BatchOutcome
from streams.graph import Graph
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import rows_of

DAY_MS = 86_400_000
# The second adds files, so that there is something to compact when the third rewrites rows of both.
BATCHES: list[list[dict[str, Any]]] = [
    [change("c", person(n, "ada", "Ulm"), n, n * DAY_MS) for n in range(1, 6)],
    [change("c", person(n, "bob", "Jena"), n, n * DAY_MS) for n in range(6, 9)],
    [
        change("u", person(1, "eve", "Kiel"), 20, 20 * DAY_MS),
        change("d", None, 21, 21 * DAY_MS, {"id": 7}),
        change("c", person(9, "fay"), 22, 22 * DAY_MS),
    ],
    [change("u", person(2, "gus"), 30, 30 * DAY_MS)],
]


class Optimizer:
    """Compacts a table below bronze whenever something is about to be committed to it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.conflicts = 0

    def __call__(self, place: str, table: str = "") -> None:
        if place == "table.before_commit" and table in self.graph.below:
            DeltaTable(self.graph.lake.table(table)).optimize.compact()

    def drive(self, spark: SparkSession, outcome: BatchOutcome) -> None:
        """As the service: what fails is tried again."""
        handover = outcome.handover
        for name, step in self.graph.below.items():
            is_next = handover is not None and name in self.graph.pipeline.downstreams(handover.table)
            for _ in range(5):
                try:
                    step.run(spark.newSession(), handover if is_next else None)
                except CommitFailedError:
                    self.conflicts += 1
                else:
                    break
            else:
                raise AssertionError(f"{name} never came through")
        if handover is not None:
            handover.rows.release()


def test_optimize_in_between_changes_no_row(
    silver_folder: Path, settings: Settings, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def graph_at(name: str) -> Graph:
        given = settings.model_copy(update={"lake": str(tmp_path / name)})
        built = Graph.build(load(silver_folder), given)
        built.prepare(spark)
        return built

    graph, alone = graph_at("lake"), graph_at("alone")
    feeder, optimizer = Feeder(spark, graph), Optimizer(graph)
    with monkeypatch.context() as patched:
        patched.setattr("sinks.table.reach", optimizer)
        for records in BATCHES[:-1]:
            optimizer.drive(spark, feeder.feed("bronze.people", *records))
        # What is above moves on without a row: what is in memory is no longer just what comes next.
        DeltaTable(graph.lake.table("bronze.people")).optimize.compact()
        optimizer.drive(spark, feeder.feed("bronze.people", *BATCHES[-1]))
    quiet = Feeder(spark, alone)
    for records in BATCHES:
        quiet.feed_and_drive("bronze.people", *records)

    for name in graph.tables:
        columns = [field for field in graph.tables[name].schema().names if not field.startswith("_")]
        assert rows_of(graph.lake.table(name), *columns) == rows_of(alone.lake.table(name), *columns), name
    optimized = [
        name
        for name in graph.tables
        if any(one["operation"] == "OPTIMIZE" for one in DeltaTable(graph.lake.table(name)).history())
    ]
    assert set(optimized) == {"bronze.people", "silver.people", "silver.people_history"}
    assert optimizer.conflicts > 0
    graph_at("lake")  # and the next start finds nothing amiss
