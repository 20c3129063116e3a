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
from streams.graph import Graph
from streams.tenure import holding

_ASK_SECONDS = 0.2

Work = Callable[[Graph, SparkSession | None], dict[str, Any]]


class RequestFailed(SluiceError):
    """The service tried what it was asked for, and could not do it."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"The service could not do it: {why}")


def carried_out(
    settings: Settings, action: Asked, author: Author, work: Work, *, is_prepared: bool = True
) -> dict[str, Any]:
    """The account of an action, by whoever holds the lease, or takes it for this.

    Where no service lives, `work` is done here; with Spark, and the tables checked and made, unless `is_prepared` is
    False.
    Raises RequestFailed, and LeaseHeld where it is another command that holds the lease.
    """
    lake = Lake.at(settings.lake)
    watch = Watch(lake, settings.lease_seconds)
    holder = watch.holder()
    if holder is not None and holder.purpose == SERVICE:
        answer = _ask(Requests(lake), watch, action, author)
        if answer is not None:
            return answer
    elif holder is not None:
        raise LeaseHeld(lake.root, holder)
    return _by_itself(settings, author, work, is_prepared=is_prepared)


def drive(graph: Graph, spark: SparkSession, names: Iterable[str]) -> None:
    """Bring tables up to their upstreams, in the order of the flow."""
    wanted = set(names)
    for name in (one for one in graph.pipeline.order if one in wanted):
        graph.below[name].run(spark.newSession(), None)


def service_runs(settings: Settings) -> bool:
    """Whether a service lives on the lake, as far as can be told at once."""
    holder = Watch(Lake.at(settings.lake), settings.lease_seconds).holder()
    return holder is not None and holder.purpose == SERVICE


def _ask(requests: Requests, watch: Watch, action: Asked, author: Author) -> dict[str, Any] | None:
    """Leave the request to the service, and wait for the answer for as long as it lives; None where it ends first."""
    request = requests.submit(action, author)
    while (answer := requests.answered(request)) is None:
        if watch.holder() is None:
            requests.withdraw(request)
            # It may have answered with its last breath.
            answer = requests.answered(request)
            if answer is None:
                return None
            break
        time.sleep(_ASK_SECONDS)
    if answer.error:
        raise RequestFailed(answer.error)
    return dict(answer.result)


def _by_itself(settings: Settings, author: Author, work: Work, *, is_prepared: bool) -> dict[str, Any]:
    from streams import session
    from streams.acts.resume import resume

    pipeline = load(settings.pipeline)
    with holding(settings, author.command) as tenure:
        graph = Graph.build(pipeline, settings, lake=tenure.lake, decodes=is_prepared)
        if not tenure.lease.is_clean:
            graph.raise_fences()
        if resume(graph):
            graph = Graph.build(pipeline, settings, lake=tenure.lake, decodes=is_prepared)
        if not is_prepared:
            return work(graph, None)
        spark = session.build(settings)
        try:
            graph.prepare(spark)
            return work(graph, spark)
        finally:
            spark.stop()
