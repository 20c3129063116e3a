"""Kafka to bronze: one micro-batch, judged under its contract, into the table, the error lane or a counted drop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame

from checkpoints import ledger, offsets
from checkpoints.errors import CheckpointBehind
from checkpoints.lake import Lake
from checkpoints.ledger import ContractUse, LedgerEntry
from checkpoints.offsets import BatchOffsets
from checkpoints.positions import app_id
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
    which too much is rejected.
    """

    spec: BronzeSpec
    learner: Learner
    table: Table
    lake: Lake
    generation: int
    small_batch_rows: int
    max_record_bytes: int
    breaker: Breaker

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

    def prepare(self) -> None:
        """Create the table, or make it fit the contract; what it has learned before is kept. See Learner.adopt."""
        if self.table.exists:
            self.learner.adopt(self.contract, self.table)
        else:
            self.table.ensure(with_metadata(self.decoder.payload), self.spec.partition_by, additive=True)

    def run(self, records: DataFrame, batch_id: int) -> BatchOutcome:
        """Write one micro-batch; harmless to repeat.

        1. Look up what Spark planned: offsets and clock. A batch that the table holds already is left as it is, lane
           and all: the tables below read the feed.
        2. Decode and judge every record, once, and keep the result in memory; again with what the batch itself teaches:
           writer schemas to fetch, columns to add.
        3. Count what was accepted, rejected and dropped; hold the batch back where too much is rejected.
        4. Replace the batch's lane folder, also with nothing: an earlier attempt may have judged otherwise.
        5. Append the accepted rows with the position and the ledger entry, in one commit.
        6. Hand the accepted rows on.
        """
        # 1
        planned = offsets.read_batch(self.lake, self.checkpoint, batch_id)
        entry = self._entry(planned, batch_id)
        held = self.table.position(self.app)
        if held is not None and held >= batch_id:
            self._check_same(held, entry)
            return BatchOutcome(entry, skipped=True, reasons={}, handover=None)
        # 2
        self.learner.begin()
        stamp = Stamp(entry.run_id, planned.clock)
        small = planned.width <= self.small_batch_rows
        judged, handed_on = self._judge(records, stamp, small=small), False
        try:
            while self.learner.learn(judged, self.table, stamp, describe(entry)):
                judged.release()
                judged = self._judge(records, stamp, small=small)
            # 3
            tally = judged.tally()
            self.breaker.check(self.spec.table, describe(entry), tally)
            entry = entry.model_copy(update={"contract": self._contract_use(), **tally.entry_fields()})
            # 4
            folder = lane.folder(self.lake, self.spec.table, entry.run_date, entry.run_id)
            if tally.rejected:
                judged.write_rejected(self.lake, folder, lane_columns(self.decoder))
            else:
                lane.clear(self.lake, folder)
            # 5
            commit = Commit({self.app: batch_id}, entry)
            if not tally.accepted:
                self.table.commit_position(commit)
                return BatchOutcome(entry, skipped=False, reasons=tally.reasons, handover=None)
            version = judged.append(self.table, commit)
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
        )

    def _contract_use(self) -> ContractUse:
        return ContractUse(name=self.contract.name, version=self.contract.version, hash=self.contract.hash)

    def _check_same(self, held: int, planned: LedgerEntry) -> None:
        """See that the batch that the table holds is the one that was planned; raises CheckpointBehind."""
        written = (entry for _, entry in ledger.entries(self.table.handle()) if entry.batch_id == planned.batch_id)
        found = next((entry for entry in written if entry.generation == self.generation), None)
        if found is not None and found.offsets != planned.offsets:
            plan = f"plans batch {planned.batch_id} over {ranges(planned)} where the ledger has {ranges(found)}"
            raise CheckpointBehind(self.spec.table, held, self.checkpoint, plan)


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
