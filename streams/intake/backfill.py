"""Bringing history into a bronze table, batch by batch, through the step that its query uses.

A backfill is a generation of its own, with a number below 0 that follows from what was asked for: the same command goes
on where an earlier one was cut short, and does nothing where it had come to its end.

What it brings never goes over newer state. Events of Debezium and rows with a watermark bear their place in their
source's order; other records of files or of an archive have none, so they are of epoch -1, before everything that the
topic brings.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from pyspark.sql import SparkSession

from checkpoints import generations
from checkpoints.commits import CommitLog
from checkpoints.effective import held_offsets
from checkpoints.failpoints import reach
from checkpoints.generations import Start, pieces
from checkpoints.planned_batches import PlannedBatches
from checkpoints.requests import Backfill
from checkpoints.watermarks import Watermarks
from streams import logs
from streams.bronze import BronzeStep
from streams.graph import Graph
from streams.intake.files import FileSource
from streams.intake.jdbc import JdbcSource
from streams.intake.kafka import TopicSource
from streams.intake.source import Planned, Source

log = logs.get(__name__)

BEFORE_ALL: Final = -1
"""The epoch of records that have no place in their source's order."""

_ID_BITS: Final = 40


@dataclass(frozen=True)
class Progress:
    """How far a backfill has come: its batches and records, those of this run, and the part that is done (0 to 1)."""

    batches: int
    read: int
    accepted: int
    rejected: int
    share: float | None
    seconds: float
    read_now: int

    @property
    def rate(self) -> float:
        """Records a second, in this run."""
        return self.read_now / self.seconds if self.seconds else 0.0


OnProgress = Callable[[Progress], None]


def number_of(request: Backfill) -> int:
    """The generation of a backfill: below 0, the same for the same arguments, but for how fast it goes."""
    fixed = request.model_dump_json(exclude={"rate", "move_watermark"})
    digest = hashlib.blake2b(fixed.encode(), digest_size=8).digest()
    return -1 - (int.from_bytes(digest) >> (64 - _ID_BITS))


def step_for(step: BronzeStep, request: Backfill, source: Source) -> BronzeStep:
    """The bronze step of a table, as the backfill runs it: another generation, another beginning."""
    number = number_of(request)
    made = replace(step, generation=number)
    start = generations.find(step.lake, step.spec.table, number)
    if start is None:
        epoch = BEFORE_ALL if _is_placeless(step, source) else step.start.epoch
        start = Start(
            generation=number,
            kind="backfill",
            at=datetime.now(UTC).replace(microsecond=0),
            topic=source.topic,
            epoch=epoch,
        )
    if isinstance(source, TopicSource):
        # Anew each time: where this one was cut short, the query or another backfill may have gone on.
        ledger = CommitLog(step.lake, step.spec.table)
        held = held_offsets(ledger, step.table.version(), source.topic, start.epoch)
        start = start.model_copy(update={"held": pieces(held)})
    made.begin(start)
    return made


def _is_placeless(step: BronzeStep, source: Source) -> bool:
    """Whether offsets say nothing of the order beside the table's own topic, and nothing else does."""
    of = step.spec.source
    return source.topic != of.topic and not of.is_debezium and of.jdbc is None


def run_backfill(
    graph: Graph,
    spark: SparkSession,
    request: Backfill,
    source: Source,
    on_progress: OnProgress = lambda _: None,
    watermarks: Watermarks | None = None,
) -> dict[str, Any]:
    """Bring everything in; the account of it, as JSON values. Run again after a crash, it goes on where it was.

    1. Take up the batch that was planned and not finished, else plan the next one: what it reads is written down first.
    2. Let the bronze step take it: one that the table holds already is passed over.
    3. Hand it to the tables below.
    4. Note that it is done, and wait where it goes faster than it may.
    """
    step = step_for(graph.bronze[request.table], request, source)
    planned = PlannedBatches(step.lake, step.checkpoint)
    began, read_now = time.monotonic(), 0
    totals = {"read": 0, "accepted": 0, "rejected": 0}
    before, batch = _stand(planned)
    while True:
        # 1
        if batch is None or not planned.is_open(batch):
            following = source.next(before)
            if following is None:
                break
            batch = 0 if batch is None else batch + 1
            clock = datetime.now(UTC)
            clock = clock.replace(microsecond=clock.microsecond // 1000 * 1000)
            first = dict(source.begin) if isinstance(source, TopicSource) else None
            planned.plan(batch, clock, source.topic, following.end, following.reads, first)
        offsets = planned.offsets(batch)
        before = Planned(planned.reads(batch), offsets.end[source.topic])
        reach("backfill.before_batch", request.table)
        # 2
        outcome = step.run(source.read(spark, before, offsets.start[source.topic]), batch)
        # 3
        try:
            for name in graph.pipeline.below(request.table):
                is_next = name in graph.pipeline.downstreams(request.table)
                graph.below[name].run(spark.newSession(), outcome.handover if is_next else None)
        finally:
            if outcome.handover is not None:
                outcome.handover.rows.release()
        # 4
        planned.commit(batch)
        if not outcome.skipped:
            read_now += outcome.entry.read
            for name in totals:
                totals[name] += getattr(outcome.entry, name)
        if request.rate:
            time.sleep(max(0.0, began + read_now / request.rate - time.monotonic()))
        share = source.share(before) if isinstance(source, FileSource) else _share(source, before)
        on_progress(Progress(batch + 1, **totals, share=share, seconds=time.monotonic() - began, read_now=read_now))
    if watermarks is not None and isinstance(source, JdbcSource) and before is not None and request.move_watermark:
        watermarks.advance(source.pull.watermark_state_key, datetime.fromisoformat(before.reads["until"]), back=True)
    return {"batches": 0 if batch is None else batch + 1, "topic": source.topic, **totals}


def _stand(planned: PlannedBatches) -> tuple[Planned | None, int | None]:
    """The newest batch that was planned, and what the one before it, or it itself where it is done, has read."""
    batch = planned.newest()
    if batch is None:
        return None, None
    return Planned(planned.reads(batch), next(iter(planned.offsets(batch).end.values()))), batch


def _share(source: Source, before: Planned) -> float | None:
    total = source.total()
    if not total:
        return None
    if isinstance(source, TopicSource):
        return sum(end - source.begin.get(one, 0) for one, end in before.end.items()) / total
    return min(1.0, sum(before.end.values()) / total)
