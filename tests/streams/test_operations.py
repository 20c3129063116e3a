"""Requests that the service carries out: cut short before the answer, beside each other, taken back."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import SparkSession

from checkpoints import failpoints
from checkpoints.journal import Journal
from checkpoints.requests import Author, Redrive, Requests, Rewind
from schemas.loader import load
from schemas.settings import Settings
from streams import operations
from streams.flow import Flow
from streams.graph import Graph
from streams.operations import Operations, Turn
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import rows_of

ADA = Author(who="ada", host="here", command="sluice test")
SILVER = ("silver.people", "silver.people_history", "silver.visits")


class Running:
    """A service that runs, in so far as it carries out requests; `turns` are what it comes to rest for."""

    def __init__(self, graph: Graph, spark: SparkSession, settings: Settings) -> None:
        self.graph = Graph.build(load(graph.pipeline.folder), settings)
        self.turns: list[Turn] = []
        self.woken: list[str] = []
        flow = cast(Flow, SimpleNamespace(graph=self.graph, wake_below=self.woken.append))
        self.operations = Operations(graph.lake, lambda: flow, spark, settings, self.turns.append)
        self._spark, self._settings = spark, settings

    def serve(self) -> None:
        self.operations.serve()

    def rest(self) -> None:
        """Come to rest, do what waits for it, and go on."""
        for turn in self.turns:
            turn.carry_out(self.graph, self._spark, self._settings, [])
        self.turns.clear()
        again = Graph.build(self.graph.pipeline, self._settings)
        for step in again.below.values():
            step.run(self._spark, None)


def state(graph: Graph) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows_of(graph.lake.table(name)) for name in graph.below}


def feed(feeder: Feeder, first: int) -> None:
    for number in range(first, first + 2):
        feeder.feed_and_drive("bronze.people", change("u", person(number, f"n{number}"), number + 1), b"{")


def test_what_was_carried_out_and_not_answered_is_harmless_to_carry_out_again(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(feeder, 0)
    at = datetime.now(UTC).isoformat()
    feed(feeder, 2)
    now, requests = state(graph), Requests(graph.lake)
    rewind = requests.submit(Rewind(tables=SILVER, to=at), ADA)
    killed = failpoints.from_environment({failpoints.VARIABLE: "request.before_answer=raise"})
    monkeypatch.setattr(operations, "reach", killed)
    first = Running(graph, spark, settings)
    first.serve()
    with pytest.raises(failpoints.Failpoint):
        first.rest()
    assert requests.answered(rewind) is None
    assert state(graph) != now

    second = Running(graph, spark, settings)
    second.rest()
    second.serve()
    second.rest()

    answer = requests.answered(rewind)
    assert answer is not None
    assert answer.error == ""
    assert requests.waiting() == []
    assert state(graph) == now
    assert {act.state for act in Journal(graph.lake).acts()} == {"done"}


def test_nothing_begins_beside_what_everything_comes_to_rest_for(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings
) -> None:
    feed(feeder, 0)
    running, requests = Running(graph, spark, settings), Requests(graph.lake)
    at = datetime.now(UTC).isoformat()
    rewind = requests.submit(Rewind(tables=SILVER, to=at), ADA)
    redrive = requests.submit(Redrive(table="bronze.people"), ADA)
    for _ in range(2):
        running.serve()
        assert ([turn.request for turn in running.turns], requests.answered(redrive)) == ([rewind], None)

    running.rest()
    running.serve()

    answered = requests.answered(redrive)
    assert answered is not None
    assert (answered.error, answered.result["open"]) == ("", 2)


def test_what_was_taken_back_while_everything_came_to_rest_is_not_done(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings
) -> None:
    feed(feeder, 0)
    at = datetime.now(UTC).isoformat()
    feed(feeder, 2)
    running, requests = Running(graph, spark, settings), Requests(graph.lake)
    rewind = requests.submit(Rewind(tables=SILVER, to=at), ADA)
    running.serve()
    assert requests.withdraw(rewind)

    running.rest()

    assert Journal(graph.lake).acts() == []
    assert requests.answered(rewind) is None
