"""Carrying out what a command asks for: by the service that runs on the lake, or by the command itself where none does.

Whoever does it holds the lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from pyspark.sql import SparkSession

from checkpoints.errors import LeaseHeld
from checkpoints.lake import Lake
from checkpoints.lease import SERVICE, Watch
from checkpoints.requests import Asked, Author, Requests
from schemas.errors import SluiceError
from schemas.loader import load
from schemas.settings import Settings
from streams import logs
from streams.graph import Graph
from streams.handover import Handover
from streams.intake.backfill import HandOn
from streams.tenure import holding

log = logs.get(__name__)

_ASK_SECONDS = 0.2

Work = Callable[[Graph, SparkSession | None], dict[str, Any]]
OnTold = Callable[[dict[str, Any]], None]
"""Told how far the service has come, as often as it says so."""


class RequestFailed(SluiceError):
    """The service tried what it was asked for, and could not do it."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"The service could not do it: {why}")


def carried_out(
    settings: Settings,
    action: Asked,
    author: Author,
    work: Work,
    *,
    is_prepared: bool = True,
    on_told: OnTold = lambda _: None,
    takes_over: bool = True,
) -> dict[str, Any]:
    """The account of an action, by whoever holds the lease, or takes it for this.

    Where no service lives, `work` is done here; with Spark, and the tables checked and made, unless `is_prepared` is
    False. Who waits for a service and interrupts it takes the request back. Where the service ends before it is done,
    this takes it over; without `takes_over` it waits for the next one, which it would keep from starting for long.
    Raises RequestFailed, and LeaseHeld where it is another command that holds the lease.
    """
    lake = Lake.at(settings.lake)
    watch = Watch(lake, settings.lease_seconds)
    holder = watch.holder()
    if holder is not None and holder.purpose == SERVICE:
        answer = _ask(Requests(lake), watch, action, author, on_told, takes_over=takes_over)
        if answer is not None:
            return answer
    elif holder is not None:
        raise LeaseHeld(lake.root, holder)
    return _by_itself(settings, author, work, is_prepared=is_prepared)


def looked_at(settings: Settings, look: Callable[[Graph, SparkSession], dict[str, Any]]) -> dict[str, Any]:
    """What `look` finds in tables that it does not change: without the lease, by this process alone."""
    from streams import session

    spark = session.build(settings)
    try:
        graph = Graph.build(load(settings.pipeline), settings)
        for step in graph.bronze.values():
            if step.table.exists:
                step.learner.look(step.table)
        return look(graph, spark)
    finally:
        spark.stop()


def drive(graph: Graph, spark: SparkSession, names: Iterable[str]) -> None:
    """Bring tables up to their upstreams, in the order of the flow."""
    wanted = set(names)
    for name in (one for one in graph.pipeline.order if one in wanted):
        graph.below[name].run(spark.newSession(), None)


def handing_down(graph: Graph, spark: SparkSession) -> HandOn:
    """What brings the tables below a bronze table up to each of its batches, upstreams first."""

    def hand_on(table: str, handover: Handover | None) -> None:
        for name in graph.pipeline.below(table):
            is_next = name in graph.pipeline.downstreams(table)
            graph.below[name].run(spark.newSession(), handover if is_next else None)

    return hand_on


def service_runs(settings: Settings) -> bool:
    """Whether a service lives on the lake, as far as can be told at once."""
    holder = Watch(Lake.at(settings.lake), settings.lease_seconds).holder()
    return holder is not None and holder.purpose == SERVICE


def _ask(
    requests: Requests, watch: Watch, action: Asked, author: Author, on_told: OnTold, *, takes_over: bool
) -> dict[str, Any] | None:
    """Leave the request to the service, and wait for the answer for as long as it lives; None where it ends first.

    Without `takes_over`, wait also where it has ended: the next one goes on.
    """
    request = requests.submit(action, author)
    told: dict[str, Any] | None = None
    lives = True
    try:
        while (answer := requests.answered(request)) is None:
            lived, lives = lives, watch.holder() is not None
            if not lives and takes_over:
                requests.withdraw(request)
                # It may have answered with its last breath.
                answer = requests.answered(request)
                if answer is None:
                    return None
                break
            if lived and not lives:
                log.warning("the service ended", remedy="The next one goes on. Ctrl-C takes the request back.")
            before, told = told, requests.told(request)
            if told is not None and told != before:
                on_told(told)
            time.sleep(_ASK_SECONDS)
    except KeyboardInterrupt:
        requests.withdraw(request)
        raise
    if answer.error:
        raise RequestFailed(answer.error)
    return dict(answer.result)


def _by_itself(settings: Settings, author: Author, work: Work, *, is_prepared: bool) -> dict[str, Any]:
    from streams import session
    from streams.acts.resume import resume

    pipeline = load(settings.pipeline)
    with holding(settings, author.command) as tenure:
        graph = Graph.build(pipeline, settings, lake=tenure.lake, decodes=is_prepared)
        tenure.raise_fences(graph, is_last=not is_prepared)
        if resume(graph):
            graph = Graph.build(pipeline, settings, lake=tenure.lake, decodes=is_prepared)
        if not is_prepared:
            return work(graph, None)
        spark = session.build(settings)
        try:
            graph.prepare(spark)
            tenure.raise_fences(graph, is_last=True)
            return work(graph, spark)
        finally:
            spark.stop()
