"""A backfill as an act: planned, written down, and carried out by whoever holds the lease."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pyspark.sql import SparkSession

from checkpoints.journal import Act, Journal
from checkpoints.requests import Backfill
from schemas.errors import SluiceError
from schemas.settings import Settings
from streams import logs
from streams.bronze import BatchOutcome
from streams.explain import explain
from streams.graph import Graph
from streams.intake.backfill import CutShort, HandOn, Progress, move_watermark, number_of, run_backfill
from streams.intake.jdbc import JdbcSource
from streams.intake.make import batch_rows, source_of
from streams.intake.pull import watermarks_of
from streams.intake.source import Source

log = logs.get(__name__)

OnBatch = Callable[[dict[str, Any], BatchOutcome], None]
"""Told of each batch: how far the backfill has come, as JSON values, and what became of the batch."""


def plan_backfill(source: Source, request: Backfill) -> list[str]:
    """What a backfill would do, for a person."""
    total = source.total()
    rate = f", at most {request.rate:,.0f} a second" if request.rate else ""
    return [
        f"Backfill {-number_of(request)} of {request.table}:",
        *(f"  reads {line}" for line in source.describe()),
        f"  {'records' if total is None else f'{total:,} records'} in batches of {batch_rows(request):,}{rate}",
        "  as records of its contract; what breaks it goes to the error lane. Newer state is not changed.",
    ]


def log_progress(told: dict[str, Any]) -> None:
    """A line of the log that says how far a backfill has come."""
    log.info(
        "backfill goes on",
        batches=told["batches"],
        read=told["read"],
        rejected=told["rejected"],
        percent=None if told["share"] is None else round(told["share"] * 100, 1),
        records_per_second=round(told["rate"]),
    )


def carry_out_backfill(
    graph: Graph,
    spark: SparkSession,
    settings: Settings,
    act: Act,
    request: Backfill,
    hand_on: HandOn,
    on_batch: OnBatch,
    stopping: threading.Event | None = None,
) -> dict[str, Any]:
    """Do it, and write it down; the account of it, as JSON values. For the holder of the lease.

    Raises SluiceError where it can not be done, and CutShort once `stopping` is set: the same request goes on then.
    """

    def show(progress: Progress, outcome: BatchOutcome) -> None:
        on_batch({**asdict(progress), "rate": progress.rate}, outcome)

    source, step, journal = source_of(graph, spark, settings, request), graph.bronze[request.table], Journal(graph.lake)
    before = {"table": request.table, "version": step.table.version() if step.table.exists else None}
    act = journal.write(act.model_copy(update={"plan": tuple(plan_backfill(source, request)), "before": before}))
    try:
        done = run_backfill(step, spark, request, source, hand_on, show, stopping)
        if request.move_watermark and isinstance(source, JdbcSource):
            move_watermark(step, source, request, watermarks_of(settings, graph.lake))
    except CutShort:
        raise
    except Exception as error:
        if stopping is None or not stopping.is_set():
            journal.failed(act, str(error) if isinstance(error, SluiceError) else explain(error))
        raise
    journal.done(act, after=done)
    return done
