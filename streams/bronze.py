"""Kafka to bronze: one micro-batch, judged under its contract, into the table, the error lane or a counted drop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from checkpoints import generations, ledger, offsets
from checkpoints.effective import read_by
from checkpoints.errors import CheckpointBehind
from checkpoints.failpoints import reach
from checkpoints.generations import Start
from checkpoints.lake import Lake
from checkpoints.ledger import ContractUse, LedgerEntry
from checkpoints.offsets import BatchOffsets
from checkpoints.positions import app_id
from checkpoints.spans import Spans
from schemas.contract import Contract
from schemas.decode import Decoder
from schemas.spec import BronzeSpec
from schemas.table_columns import with_metadata
from sinks.commit import Commit
from sinks.lanes import lane
from sinks.table import Table
from streams.breaker import Breaker
from streams.handover import Handover
from streams.judged import Judged, hold
from streams.learning import Learner
from streams.outcomes import Stamp, lane_columns, outcomes_of


@dataclass(frozen=True)
class BatchOutcome:
    """What became of one batch; `handover` is None where it added no rows, or was written by an earlier run."""

    entry: LedgerEntry
    skipped: bool
    reasons: Mapping[str, int]
    handover: Handover | None


@dataclass
class BronzeStep:
    """The step that takes one micro-batch of a topic into its bronze table.

    `learner` keeps the decoder, which grows with what is learned from the records; `breaker` holds back a batch of
    which too much is rejected. `confirm_source` is called once a batch is read: it raises where that was of another
    topic.
    """

    spec: BronzeSpec
    learner: Learner
    table: Table
    lake: Lake
    generation: int
    small_batch_rows: int
    max_record_bytes: int
    breaker: Breaker
    confirm_source: Callable[[], None] = lambda: None

    @property
    def contract(self) -> Contract:
        """The contract that records are judged under now."""
        return self.decoder.contract

    @property
    def decoder(self) -> Decoder:
        """How records become columns now."""
        return self.learner.decoder

    @property
    def checkpoint(self) -> str:
        """The folder of the query's checkpoint."""
        return self.lake.checkpoint(self.spec.table, self.generation)

    @property
    def app(self) -> str:
        """The name of the table's position: the batch id of its query."""
        return app_id(self.spec.table, "append", self.generation)

    def following_run(self) -> str:
        """The run id of the batch after the newest that the table holds, be it in hand or still to come."""
        held = self.table.position(self.app) if self.table.exists else None
        return ledger.run_id(self.spec.table, self.generation, 0 if held is None else held + 1)

    @cached_property
    def start(self) -> Start:
        """Where the generation began; raises UnreadableOffsets."""
        first = Start(generation=0, kind="first", at=datetime.now(UTC), topic=self.spec.source.topic)
        return generations.start_of(self.lake, self.spec.table, self.generation) or first

    def begin(self, start: Start) -> None:
        """Keep where the generation begins, or what has been learned of it."""
        generations.keep(self.lake, self.spec.table, start)
        self.__dict__["start"] = start

    def prepare(self) -> None:
        """Create the table, or make it fit the contract; what it has learned before is kept. See Learner.adopt."""
        if self.table.exists:
            self.learner.adopt(self.contract, self.table)
        else:
            self.table.ensure(with_metadata(self.decoder.payload), self.spec.partition_by, additive=True)

    def run(self, records: DataFrame, batch_id: int) -> BatchOutcome:
        """Write one micro-batch; harmless to repeat.

        1. Look up what Spark planned: offsets and clock. A batch that the table holds already is left as it is, lane
           and all: the tables below read the feed. Records that an older generation has accounted for are passed over.
        2. Decode and judge every record, once, and keep the result in memory; again with what the batch itself teaches:
           writer schemas to fetch, columns to add.
        3. Count what was accepted, rejected and dropped; hold the batch back where too much is rejected.
        4. Replace the batch's lane folder, also with nothing: an earlier attempt may have judged otherwise.
        5. Append the accepted rows with the position and the ledger entry, in one commit.
        6. Hand the accepted rows on.
        """
        # 1
        reach("bronze.planned", self.spec.table)
        planned = offsets.read_batch(self.lake, self.checkpoint, batch_id)
        entry = self._entry(planned, batch_id)
        held = self.table.position(self.app)
        if held is not None and held >= batch_id:
            self._check_same(held, entry)
            return BatchOutcome(entry, skipped=True, reasons={}, handover=None)
        if entry.passed_over:
            if not any(spans for partitions in read_by(entry).values() for spans in partitions.values()):
                self.table.commit_position(Commit({self.app: batch_id}, entry))
                return BatchOutcome(entry, skipped=False, reasons={}, handover=None)
            records = _without(records, entry)
        # 2
        self.learner.begin()
        stamp = Stamp(entry.run_id, planned.clock, self.start.epoch)
        small = planned.width <= self.small_batch_rows
        judged, handed_on = self._judge(records, stamp, small=small), False
        try:
            while self.learner.learn(judged, self.table, stamp, describe(entry)):
                judged.release()
                judged = self._judge(records, stamp, small=small)
            self.confirm_source()
            # 3
            tally = judged.tally()
            self.breaker.check(self.spec.table, describe(entry), tally)
            entry = entry.model_copy(update={"contract": self._contract_use(), **tally.entry_fields()})
            # 4
            reach("bronze.before_lane", self.spec.table)
            folder = lane.folder(self.lake, self.spec.table, entry.run_date, entry.run_id)
            if tally.rejected:
                judged.write_rejected(self.lake, folder, lane_columns(self.decoder))
            else:
                lane.clear(self.lake, folder)
            # 5
            reach("bronze.before_append", self.spec.table)
            commit = Commit({self.app: batch_id}, entry)
            if not tally.accepted:
                self.table.commit_position(commit)
                return BatchOutcome(entry, skipped=False, reasons=tally.reasons, handover=None)
            version = judged.append(self.table, commit)
            reach("bronze.after_append", self.spec.table)
            # 6
            handed_on = True
            handover = Handover(self.spec.table, version, planned.clock, judged.shared())
            return BatchOutcome(entry, skipped=False, reasons=tally.reasons, handover=handover)
        finally:
            if not handed_on:
                judged.release()

    def _judge(self, records: DataFrame, stamp: Stamp, *, small: bool) -> Judged:
        outcomes = outcomes_of(self.decoder, stamp, self.max_record_bytes)
        return hold(records, self.decoder, outcomes, small=small)

    def _entry(self, planned: BatchOffsets, batch_id: int) -> LedgerEntry:
        return LedgerEntry(
            table=self.spec.table,
            step="append",
            run_id=ledger.run_id(self.spec.table, self.generation, batch_id),
            clock=planned.clock,
            generation=self.generation,
            engine="none",
            source="kafka",
            batch_id=batch_id,
            offsets=planned.ranges,
            epoch=self.start.epoch,
            passed_over=self._passed_over(planned),
        )

    def _passed_over(self, planned: BatchOffsets) -> dict[str, generations.Pieces]:
        found = {
            topic: generations.pieces(
                {
                    partition: Spans.between(start, end) & self.start.held_of(partition)
                    for partition, (start, end) in partitions.items()
                }
            )
            for topic, partitions in planned.ranges.items()
        }
        return {topic: partitions for topic, partitions in found.items() if partitions}

    def _contract_use(self) -> ContractUse:
        return ContractUse(name=self.contract.name, version=self.contract.version, hash=self.contract.hash)

    def _check_same(self, held: int, planned: LedgerEntry) -> None:
        """See that the batch that the table holds is the one that was planned; raises CheckpointBehind."""
        written = (entry for _, entry in ledger.entries(self.table.handle()) if entry.batch_id == planned.batch_id)
        found = next((entry for entry in written if entry.generation == self.generation), None)
        if found is not None and found.offsets != planned.offsets:
            plan = f"plans batch {planned.batch_id} over {ranges(planned)} where the ledger has {ranges(found)}"
            raise CheckpointBehind(self.spec.table, held, self.checkpoint, plan)


def _without(records: DataFrame, entry: LedgerEntry) -> DataFrame:
    """The records of a batch without those that it passes over."""
    partition, offset = F.col("partition"), F.col("offset")
    again = F.lit(False)
    for partitions in entry.passed_over.values():
        for number, spans in partitions.items():
            for start, end in spans:
                again |= (partition == number) & (offset >= start) & (offset < end)
    return records.where(~again)


def describe(entry: LedgerEntry) -> str:
    """A batch for a sentence: its number and its ranges."""
    return f"batch {entry.batch_id} ({ranges(entry)})"


def ranges(entry: LedgerEntry) -> str:
    """What a batch reads: `topic[partition]@start-end`, the end not included."""
    return ", ".join(
        f"{topic}[{partition}]@{start}-{end}"
        for topic, partitions in entry.offsets.items()
        for partition, (start, end) in partitions.items()
    )
