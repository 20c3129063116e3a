"""Bringing history into a bronze table, batch by batch, through the step that its query uses.

A backfill is a generation of its own, with a number below 0 that follows from what was asked for: the same command goes
on where an earlier one was cut short, and does nothing where it had come to its end.

What it brings never goes over newer state. Events of Debezium and rows with a watermark bear their place in their
source's order; other records of files or of an archive have none, so they are of epoch -1, before everything that the
topic brings. Where the topic was made anew since, events that come from elsewhere are of its first epoch: nothing tells
that they are of a later one, and their positions would go over all that was there before.
"""

from __future__ import annotations

import copy
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from pyspark.sql import SparkSession

from checkpoints import generations, ledger
from checkpoints.commits import CommitLog
from checkpoints.effective import held_offsets, taken_back
from checkpoints.errors import CheckpointBehind
from checkpoints.failpoints import reach
from checkpoints.generations import Start, pieces
from checkpoints.planned_batches import PlannedBatches
from checkpoints.requests import Backfill
from checkpoints.watermarks import Watermarks
from streams.bronze import BatchOutcome, BronzeStep
from streams.handover import Handover
from streams.intake.errors import BackfillLost, BackfillUndone, NotYetPassed
from streams.intake.files import FileSource
from streams.intake.jdbc import JdbcSource
from streams.intake.kafka import TopicSource
from streams.intake.source import Planned, Source
from streams.intake.whole import whole_batch

BEFORE_ALL: Final = -1
"""The epoch of records that have no place in their source's order."""

FIRST: Final = 0
"""The epoch of events and rows that come from elsewhere than the table's own topic, and have a place."""

_ID_BITS: Final = 40


@dataclass(frozen=True)
class Progress:
    """How far a backfill has come: its batches, the records of this run, and the part that is done (0 to 1).

    `seconds` are those of this run, `batch_seconds` those that the newest batch took.
    """

    batches: int
    read: int
    accepted: int
    rejected: int
    share: float | None
    seconds: float
    batch_seconds: float

    @property
    def rate(self) -> float:
        """Records a second, in this run."""
        return self.read / self.seconds if self.seconds else 0.0


OnProgress = Callable[[Progress, BatchOutcome], None]
HandOn = Callable[[str, Handover | None], None]


class CutShort(Exception):
    """The backfill was asked to stop, and has, between two batches."""


def number_of(request: Backfill) -> int:
    """The generation of a backfill: below 0, the same for the same arguments, but for those of how it goes."""
    fixed = request.model_dump_json(exclude={"rate", "batch_rows", "move_watermark", "admit"})
    digest = hashlib.blake2b(fixed.encode(), digest_size=8).digest()
    return -1 - (int.from_bytes(digest) >> (64 - _ID_BITS))


def step_for(step: BronzeStep, request: Backfill, source: Source) -> BronzeStep:
    """The bronze step of a table, as the backfill runs it: another generation, another beginning.

    It learns by itself: beside the query, each may be in the midst of a batch. The table is the same, with its lock.
    """
    number = number_of(request)
    made = replace(
        step,
        generation=number,
        learner=copy.copy(step.learner),
        breaker=step.breaker.for_backfill(admits=request.admit),
        confirm_source=step.confirm_source if source.topic == step.spec.source.topic else lambda: None,
    )
    start = generations.find(step.lake, step.spec.table, number)
    if start is None:
        epoch = BEFORE_ALL if _is_placeless(step, source) else FIRST
        if source.topic == step.spec.source.topic:
            epoch = step.start.epoch
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
    live: BronzeStep,
    spark: SparkSession,
    request: Backfill,
    source: Source,
    hand_on: HandOn,
    on_progress: OnProgress = lambda *_: None,
    stopping: threading.Event | None = None,
) -> dict[str, Any]:
    """Bring everything in; the account of it, as JSON values. Run again after a crash, it goes on where it was.

    1. Take up the batch that was planned and not finished, else plan the next one: what it reads is written down first.
    2. Let the bronze step take it, by the contract and the columns that the query, `live`, has by now. A batch that the
       table holds already is passed over.
    3. Hand it to the tables below.
    4. Note that it is done, and wait where it goes faster than it may.

    Raises CutShort once `stopping` is set, BackfillUndone, BackfillLost, NotYetPassed.
    """
    stopping = stopping or threading.Event()
    step = step_for(live, request, source)
    _require_kept(step)
    known = live.decoder
    planned = PlannedBatches(step.lake, step.checkpoint)
    began = time.monotonic()
    totals = {"read": 0, "accepted": 0, "rejected": 0}
    before, batch = _stand(planned)
    while not stopping.is_set():
        # 1
        if batch is None or not planned.is_open(batch):
            following = source.next(before)
            if following is None:
                return {"batches": 0 if batch is None else batch + 1, "topic": source.topic, **totals}
            batch = 0 if batch is None else batch + 1
            clock = datetime.now(UTC)
            clock = clock.replace(microsecond=clock.microsecond // 1000 * 1000)
            first = dict(source.begin) if isinstance(source, TopicSource) else None
            planned.plan(batch, clock, source.topic, following.end, following.reads, first)
        before = Planned(planned.reads(batch), planned.offsets(batch).end[source.topic])
        _require_passed(step, source, before)
        reach("backfill.before_batch", request.table)
        batch_began = time.monotonic()
        # 2
        if live.decoder is not known:
            known = live.decoder
            step.learner.adopt(known.contract, step.table)
        with whole_batch(step, source, spark, planned, batch) as records:
            try:
                outcome = step.run(records, batch)
            except CheckpointBehind as behind:
                raise BackfillLost(behind) from behind
        before = Planned(before.reads, planned.offsets(batch).end[source.topic])
        # 3
        try:
            hand_on(request.table, outcome.handover)
        finally:
            if outcome.handover is not None:
                outcome.handover.rows.release()
        # 4
        planned.commit(batch)
        if not outcome.skipped:
            for name in totals:
                totals[name] += getattr(outcome.entry, name)
        share = source.share(before) if isinstance(source, FileSource) else _share(source, before)
        now = time.monotonic()
        on_progress(
            Progress(batch + 1, **totals, share=share, seconds=now - began, batch_seconds=now - batch_began), outcome
        )
        if request.rate:
            stopping.wait(max(0.0, began + totals["read"] / request.rate - time.monotonic()))
    raise CutShort


def move_watermark(step: BronzeStep, source: JdbcSource, request: Backfill, watermarks: Watermarks) -> None:
    """Let the pulls of a table go on from where its backfill ended; if that is earlier, in a new generation.

    A generation goes on from what it has read itself, so that it is made before the watermark moves: cut short in
    between, the same again does both. For whoever holds the lease while no pull runs.
    """
    before, _ = _stand(PlannedBatches(step.lake, step.lake.checkpoint(step.spec.table, number_of(request))))
    if before is None:
        return
    key, until = source.pull.watermark_state_key, datetime.fromisoformat(before.reads["until"])
    held = watermarks.get(key)
    if held is not None and until < held:
        at = datetime.now(UTC).replace(microsecond=0)
        start = Start(
            generation=step.next_generation, kind="reset", at=at, topic=step.spec.source.topic, epoch=step.start.epoch
        )
        generations.keep(step.lake, step.spec.table, start)
    watermarks.advance(key, until, back=True)


def _require_kept(step: BronzeStep) -> None:
    """See that the table still has what the backfill has brought; raises BackfillUndone."""
    held = step.table.position(step.app)
    if held is None:
        return
    log, version = CommitLog(step.lake, step.spec.table), step.table.version()
    run_id = ledger.run_id(step.spec.table, step.generation, held)
    for commit in log.down_from(version):
        if commit.entry is not None and commit.entry.run_id == run_id:
            if commit.version in taken_back(log, commit.version, version):
                raise BackfillUndone(step.spec.table, held + 1)
            return


def _require_passed(step: BronzeStep, source: Source, planned: Planned) -> None:
    """See that nothing is taken that is the query's to read, as after a reset; raises NotYetPassed."""
    if isinstance(source, TopicSource):
        for partition, end in planned.end.items():
            if end > source.end.get(partition, end):
                raise NotYetPassed(step.spec.table, f"{source.topic}[{partition}]@{end}")


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
