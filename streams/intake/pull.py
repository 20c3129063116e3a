"""Tables that are pulled from a database: asked again and again for the rows that have changed since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession

from checkpoints.commits import CommitLog
from checkpoints.effective import effective, held_offsets, is_batch
from checkpoints.errors import UnreadableOffsets
from checkpoints.failpoints import reach
from checkpoints.lake import Lake
from checkpoints.planned_batches import PlannedBatches
from checkpoints.watermarks import FileWatermarks, SsmWatermarks, Watermarks
from schemas import columns as c
from schemas.settings import Settings
from schemas.spec import JdbcPull
from sinks.lanes import lane
from streams import logs
from streams.bronze import BatchOutcome, BronzeStep
from streams.intake.dialects import dialect_of
from streams.intake.errors import NoBackfill
from streams.intake.jdbc import BEGINNING, JdbcSource
from streams.intake.source import Planned
from streams.intake.whole import whole_batch

log = logs.get(__name__)


def watermarks_of(settings: Settings, lake: Lake) -> Watermarks:
    """The store of watermarks that the settings name."""
    return SsmWatermarks(settings.watermarks.prefix) if settings.watermarks.store == "ssm" else FileWatermarks(lake)


class Puller:
    """Takes what has changed in a table of a database into bronze, one slice after the other."""

    def __init__(self, step: BronzeStep, pull: JdbcPull, spark: SparkSession, settings: Settings) -> None:
        database = settings.sources.get(pull.source)
        if database is None:
            raise NoBackfill(f"The settings know no source `{pull.source}`: add `sources.{pull.source}`.")
        self._step, self._pull, self._spark = step, pull, spark
        self._database, self._dialect = database, dialect_of(pull.source, database)
        self._topic = step.spec.source.topic
        self._planned = PlannedBatches(step.lake, step.checkpoint)
        self.watermarks = watermarks_of(settings, step.lake)

    def slice(self) -> BatchOutcome | None:
        """Take the next slice; None where nothing has changed. Harmless to repeat after a crash, wherever it was.

        1. A slice that was planned and not finished comes first, as it was planned.
        2. Else plan one: what has changed since the watermark, or before it by the lookback. What bronze knows of the
           watermark is never older than what is kept.
        3. Let the bronze step take it.
        4. Note that it is done, and advance the watermark.
        """
        # 1
        batch = self._planned.newest()
        if batch is None or not self._planned.is_open(batch):
            # 2
            if batch is None and (start := self._step.start).kind == "rewind":
                # The watermark goes back with the table, before there is a slice that would go on from it.
                self.watermarks.advance(self._pull.watermark_state_key, start.watermark or BEGINNING, back=True)
            source = self._source(batch)
            following = source.next(None)
            if following is None or self._is_known(source, following):
                if source.taken is not None:  # the store may have failed when the slice was done
                    self.watermarks.advance(self._pull.watermark_state_key, source.taken)
                return None
            batch = 0 if batch is None else batch + 1
            now = datetime.now(UTC)
            clock = now.replace(microsecond=now.microsecond // 1000 * 1000)
            first = {0: source.first_offset}
            self._planned.plan(batch, clock, self._topic, following.end, following.reads, first)
        # 3
        source = self._source(batch - 1 if batch else None)
        with whole_batch(self._step, source, self._spark, self._planned, batch) as records:
            outcome = self._step.run(records, batch)
        # 4
        self._planned.commit(batch)
        reach("pull.before_watermark", self._step.spec.table)
        self.watermarks.advance(self._pull.watermark_state_key, self._until(batch))
        return outcome

    def behind_seconds(self) -> float | None:
        """How much older the watermark is than the newest row of the source; None where there is no row."""
        held = self.watermarks.get(self._pull.watermark_state_key)
        newest = self._source(None).newest()
        if newest is None:
            return None
        return max(0.0, (newest - (held or newest)).total_seconds())

    def _source(self, batch: int | None) -> JdbcSource:
        """The rows after those that this batch took, and those before that a late commit may have brought."""
        step = self._step
        if batch is not None:
            taken: datetime | None = self._until(batch)
            offset = self._planned.offsets(batch).end[self._topic][0]
            kept = self.watermarks.get(self._pull.watermark_state_key)
            taken = max(taken, kept) if kept is not None and taken is not None else taken
        else:
            taken, offset = self._from_bronze()
        lookback = timedelta(seconds=self._pull.lookback_seconds)
        since = taken - lookback if taken is not None and taken - BEGINNING > lookback else BEGINNING
        return JdbcSource(
            self._spark,
            self._database,
            self._dialect,
            self._pull,
            step.spec.keys,
            self._topic,
            since,
            None,
            bronze=step.table,
            lanes=[folder for folder in self._lanes(since) if lane.exists(step.lake, folder)],
            taken=taken,
            first_offset=offset,
        )

    def _until(self, batch: int) -> datetime:
        """Up to where a planned batch reads."""
        return datetime.fromisoformat(self._planned.reads(batch)["until"])

    def _lanes(self, since: datetime) -> Iterator[str]:
        """The folders of rejects that slices after `since` have left, those of generations before among them."""
        step = self._step
        for commit in effective(CommitLog(step.lake, step.spec.table), step.table.version()):
            entry = commit.entry
            if not is_batch(entry) or entry.batch_id is None:
                continue
            planned = PlannedBatches(step.lake, step.lake.checkpoint(step.spec.table, entry.generation))
            try:
                until = datetime.fromisoformat(planned.reads(entry.batch_id)["until"])
            except UnreadableOffsets:  # of an older generation, which somebody has removed
                return
            if until <= since:
                return
            if entry.rejected:
                yield lane.folder(step.lake, step.spec.table, entry.run_date, entry.run_id)

    def _from_bronze(self) -> tuple[datetime | None, int]:
        """Where a generation without a batch begins: the first at what is kept, later ones at what bronze holds."""
        step = self._step
        kept = self.watermarks.get(self._pull.watermark_state_key)
        if step.generation == 0:
            return kept, 0
        held = held_offsets(CommitLog(step.lake, step.spec.table), step.table.version(), self._topic, step.start.epoch)
        offset = held[0].pieces[-1][1] if held.get(0) else 0
        if step.start.kind == "rewind":
            return step.start.watermark, offset
        newest = step.table.greatest(c.KAFKA_TS)
        return (newest if newest is None or kept is None else min(newest, kept)), offset

    def _is_known(self, source: JdbcSource, following: Planned) -> bool:
        """Whether a slice has nothing but what was read before."""
        if source.taken is None or datetime.fromisoformat(following.reads["until"]) > source.taken:
            return False
        rows = source.read(self._spark, following, {0: 0})
        return rows.limit(1).count() == 0
