"""Kafka to bronze: one micro-batch, judged under its contract, into the table, the error lane or a counted drop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from checkpoints import ledger, offsets
from checkpoints.errors import CheckpointBehind
from checkpoints.lake import Lake
from checkpoints.ledger import ContractUse, LedgerEntry
from checkpoints.positions import app_id
from schemas import columns as c
from schemas.contract import Contract
from schemas.decode import Decoder
from schemas.spec import BronzeSpec
from sinks import engine, lane
from sinks.commit import Commit
from sinks.table import Table
from streams.handover import Handover, SharedRows

_VERDICT, _PARSED, _REASON, _VIOLATIONS, _DROPPED = "__verdict", "__parsed", "__reason", "__violations", "__dropped"
_VALUE, _HEADERS = "__value", "__headers"


@dataclass(frozen=True)
class BatchOutcome:
    """What became of one batch; `handover` is None where it added no rows, or was written by an earlier run."""

    entry: LedgerEntry
    skipped: bool
    reasons: dict[str, int]
    handover: Handover | None


@dataclass(frozen=True)
class BronzeStep:
    """The step that takes one micro-batch of a topic into its bronze table."""

    spec: BronzeSpec
    contract: Contract
    decoder: Decoder
    table: Table
    lake: Lake
    generation: int
    small_batch_rows: int

    @property
    def checkpoint(self) -> str:
        """The folder of the query's checkpoint."""
        return self.lake.checkpoint(self.spec.table, self.generation)

    @property
    def app(self) -> str:
        """The name of the table's position: the batch id of its query."""
        return app_id(self.spec.table, "append", self.generation)

    def run(self, records: DataFrame, batch_id: int) -> BatchOutcome:
        """Write one micro-batch; harmless to repeat.

        1. Look up what Spark planned: offsets and clock. A batch that the table holds already is left as it is, lane
           and all: the tables below read the feed.
        2. Decode and judge every record, once, and keep the result in memory.
        3. Count what was accepted, rejected and dropped.
        4. Replace the batch's lane folder, also with nothing: an earlier attempt may have judged otherwise.
        5. Append the accepted rows with the position and the ledger entry, in one commit.
        6. Hand the accepted rows on.
        """
        # 1
        planned = offsets.read_batch(self.lake, self.checkpoint, batch_id)
        run_id = ledger.run_id(self.spec.table, self.generation, batch_id)
        entry = LedgerEntry(
            table=self.spec.table,
            step="append",
            run_id=run_id,
            clock=planned.clock,
            generation=self.generation,
            engine="none",
            source="kafka",
            batch_id=batch_id,
            offsets=planned.ranges,
            contract=ContractUse(name=self.contract.name, version=self.contract.version, hash=self.contract.hash),
        )
        held = self.table.position(self.app)
        if held is not None and held >= batch_id:
            self._check_same(held, entry)
            return BatchOutcome(entry, skipped=True, reasons={}, handover=None)
        # 2
        judged, handed_on = judge(records, self.decoder).persist(), False
        try:
            # 3
            tally = _tally(judged)
            entry = entry.model_copy(update=tally.counts())
            # 4
            folder = lane.folder(self.lake, self.spec.table, entry.run_date, run_id)
            if tally.rejected:
                lane.replace(folder, rejected_records(judged, self.spec, self.contract, run_id, planned.clock))
            else:
                lane.clear(self.lake, folder)
            # 5
            rows = accepted_rows(judged, self.spec, self.contract, self.decoder, run_id, planned.clock)
            commit = Commit({self.app: batch_id}, entry)
            if not tally.accepted:
                self.table.commit_position(commit)
                return BatchOutcome(entry, skipped=False, reasons=tally.reasons, handover=None)
            chosen = engine.choose(tally.accepted, self.small_batch_rows)
            version = engine.append(self.table, rows, commit, chosen)
            # 6
            handed_on = True
            handover = Handover(self.spec.table, version, planned.clock, SharedRows(rows, judged))
            return BatchOutcome(entry, skipped=False, reasons=tally.reasons, handover=handover)
        finally:
            if not handed_on:
                judged.unpersist()

    def _check_same(self, held: int, planned: LedgerEntry) -> None:
        """See that the batch that the table holds is the one that was planned; raises CheckpointBehind."""
        written = (entry for _, entry in ledger.entries(self.table.handle()) if entry.batch_id == planned.batch_id)
        found = next((entry for entry in written if entry.generation == self.generation), None)
        if found is not None and found.offsets != planned.offsets:
            plan = f"plans batch {planned.batch_id} over {_ranges(planned)} where the ledger has {_ranges(found)}"
            raise CheckpointBehind(self.spec.table, held, self.checkpoint, plan)


def _ranges(entry: LedgerEntry) -> str:
    return ", ".join(
        f"{topic}[{partition}]@{start}-{end}"
        for topic, partitions in entry.offsets.items()
        for partition, (start, end) in partitions.items()
    )


def judge(records: DataFrame, decoder: Decoder) -> DataFrame:
    """Kafka records with their decoded payload (null unless accepted) and their verdict.

    The raw value and headers are kept for rejected records alone: bronze does not hold them, the lane does.
    """
    judged = records.withColumn(_VERDICT, decoder.judge.column(F.col("value")))
    verdict = F.col(_VERDICT)
    is_row = verdict["violations"].isNull() & verdict["dropped"].isNull()
    judged = judged.withColumn(_PARSED, F.when(is_row, decoder.parsed(F.col("value"), verdict["wrapped"])))
    unfit = F.array(
        F.struct(F.lit("decode.type").alias("rule"), F.lit("").alias("pointer"), F.lit("").alias("schema_path"))
    )
    violations = F.when(decoder.undecodable(F.col(_PARSED)), unfit).otherwise(verdict["violations"])
    is_rejected = F.col(_VIOLATIONS).isNotNull()
    return judged.withColumn(_VIOLATIONS, violations).select(
        F.col("topic").alias(c.TOPIC),
        F.col("partition").alias(c.PARTITION),
        F.col("offset").alias(c.OFFSET),
        F.col("timestamp").alias(c.KAFKA_TS),
        F.col("key").alias(c.KEY),
        F.when(is_rejected, F.col("value")).alias(_VALUE),
        F.when(is_rejected, F.col("headers")).alias(_HEADERS),
        _PARSED,
        verdict["rescued"].alias(c.RESCUED_DATA),
        _VIOLATIONS,
        verdict["dropped"].alias(_DROPPED),
    )


def accepted_rows(
    judged: DataFrame, spec: BronzeSpec, contract: Contract, decoder: Decoder, run_id: str, clock: datetime
) -> DataFrame:
    """The accepted records as rows of the bronze table; see table_columns.bronze_type."""
    parsed = F.col(_PARSED)
    return judged.where(F.col(_VIOLATIONS).isNull() & F.col(_DROPPED).isNull()).select(
        *(parsed[name].alias(name) for name in decoder.payload.names),
        c.TOPIC,
        c.PARTITION,
        c.OFFSET,
        c.KAFKA_TS,
        c.KEY,
        decoder.position(parsed, F.col(c.PARTITION), F.col(c.OFFSET)).alias(c.SOURCE_POSITION),
        F.lit(contract.version).alias(c.CONTRACT_VERSION),
        c.RESCUED_DATA,
        F.lit(clock).alias(c.INGEST_TS),
        F.lit(run_id).alias(c.BATCH_ID),
        F.lit(spec.source.source_system).alias(c.SOURCE_SYSTEM),
        F.lit(clock.date()).alias(c.RUN_DATE),
    )


def rejected_records(
    judged: DataFrame, spec: BronzeSpec, contract: Contract, run_id: str, clock: datetime
) -> DataFrame:
    """The rejected records as the lane keeps them: raw bytes, position, what was broken, under which contract."""
    return judged.where(F.col(_VIOLATIONS).isNotNull()).select(
        F.lit(spec.table).alias("table"),
        F.col(c.TOPIC).alias("topic"),
        F.col(c.PARTITION).alias("partition"),
        F.col(c.OFFSET).alias("offset"),
        F.col(c.KAFKA_TS).alias("kafka_ts"),
        F.col(c.KEY).alias("key"),
        F.col(_VALUE).alias("value"),
        F.col(_HEADERS).alias("headers"),
        F.col(_VIOLATIONS).alias("violations"),
        F.lit(contract.name).alias("contract"),
        F.lit(contract.version).alias("contract_version"),
        F.lit(contract.hash).alias("contract_hash"),
        F.lit(spec.source.source_system).alias("source_system"),
        F.lit(run_id).alias("run_id"),
        F.lit(clock).alias("ingest_ts"),
    )


@dataclass(frozen=True)
class _Tally:
    accepted: int
    dropped: dict[str, int]
    reasons: dict[str, int]

    @property
    def rejected(self) -> int:
        return sum(self.reasons.values())

    def counts(self) -> dict[str, object]:
        """The fields of the ledger's entry."""
        return {
            "read": self.accepted + self.rejected + sum(self.dropped.values()),
            "accepted": self.accepted,
            "rejected": self.rejected,
            "dropped": self.dropped,
            "rows": {"inserted": self.accepted} if self.accepted else {},
        }


def _tally(judged: DataFrame) -> _Tally:
    """Count the batch by outcome, a record by its first violation: one row per reason, however large the batch."""
    reason = F.col(_VIOLATIONS)[0]["rule"].alias(_REASON)
    found = judged.groupBy(F.col(_DROPPED), reason).count().collect()
    return _Tally(
        accepted=sum(row["count"] for row in found if row[_DROPPED] is None and row[_REASON] is None),
        dropped={row[_DROPPED]: row["count"] for row in found if row[_DROPPED] is not None},
        reasons={row[_REASON]: row["count"] for row in found if row[_REASON] is not None},
    )
