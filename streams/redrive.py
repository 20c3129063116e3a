"""The way back: rejected records judged again under today's contract, and those that pass appended to their table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from checkpoints import ledger
from checkpoints.ledger import ContractUse, LedgerEntry
from checkpoints.positions import app_id
from checkpoints.requests import Redrive
from schemas import columns as c
from sinks.commit import Commit
from sinks.lanes import lane
from sinks.lanes.positions import NOWHERE, Positions, held_in
from sinks.lanes.reader import REDRIVEN, LaneReader
from streams.bronze import BronzeStep
from streams.change_sql import TRUNCATED, VIOLATIONS
from streams.compute import InDriver
from streams.errors import NoLane
from streams.graph import Graph
from streams.judged import Judged, hold
from streams.outcomes import Stamp, outcomes_of, verdict_columns
from streams.silver import ChangeStep
from streams.steps import REDRIVE, entry_for

_CHUNK_BYTES: Final = 64 << 20
_RECORDS_AT_ONCE: Final = 50_000
_PLACE: Final = [c.TOPIC, c.PARTITION, c.OFFSET]


@dataclass(frozen=True)
class Redriven:
    """What became of a cohort: `open` records were looked at, the others had gone through before.

    `failing` are those that still break something, by their first rule; `version` is the table's version of the last
    commit, None where nothing was appended.
    """

    table: str
    dry_run: bool
    already: int = 0
    accepted: int = 0
    failing: dict[str, int] = field(default_factory=dict)
    version: int | None = None

    @property
    def open(self) -> int:
        """The records that were looked at."""
        return self.accepted + sum(self.failing.values())

    def plus(
        self,
        *,
        already: int = 0,
        accepted: int = 0,
        failing: Mapping[str, int] | None = None,
        version: int | None = None,
    ) -> Redriven:
        """The same with more."""
        return replace(
            self,
            already=self.already + already,
            accepted=self.accepted + accepted,
            failing=dict(Counter(self.failing) + Counter(failing or {})),
            version=self.version if version is None else version,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "table": self.table,
            "dry_run": self.dry_run,
            "open": self.open,
            "already_redriven": self.already,
            "accepted": self.accepted,
            "failing": self.failing,
            "version": self.version,
        }


@dataclass(frozen=True)
class BronzeRedrive:
    """Re-drives the lane of a bronze table, some thousands of records at a time.

    The records take the way that a batch takes: the same judge, the same columns, their own coordinates and so their
    own position in the source; the tables below consume them from the change feed, and what is older than what they
    hold changes nothing.
    """

    step: BronzeStep
    records_at_once: int

    def run(self, spark: SparkSession, request: Redrive, now: datetime) -> Redriven:
        """Carry a request out; harmless to repeat, since what the table holds is passed over.

        1. Choose: of the cohort's records those that the table does not hold.
        2. Judge them as a batch, under today's contract.
        3. Write the new reasons of those that still fail beside the lane's records, which stay as they are.
        4. Append the others, with the entry that says so.

        A dry run ends after 2, and adds no column.
        """
        found = Redriven(self.step.spec.table, request.dry_run)
        with self.step.table.lock:
            reader = LaneReader(self.step.lake, self.step.spec.table)
            for chunk in chunks(reader.records(request.since, rule=request.rule), self.records_at_once):
                # 1
                left = _without(chunk, held_in(self.step.table.path, Positions.of(chunk.to_batches())))
                found = found.plus(already=chunk.num_rows - left.num_rows)
                if left.num_rows:
                    found = self._redrive(spark, left, found, now)
        return found

    def _redrive(self, spark: SparkSession, chunk: pa.Table, found: Redriven, now: datetime) -> Redriven:
        step = self.step
        app = app_id(step.spec.table, REDRIVE, step.generation)
        number = (step.table.position(app) or 0) + 1
        stamp = Stamp(ledger.run_id(step.spec.table, REDRIVE, step.generation, number), now, step.start.epoch)
        records = as_kafka(spark, chunk)
        # 2
        step.learner.begin()
        judged = self._judge(records, stamp)
        try:
            while self._learn(judged, stamp, dry_run=found.dry_run):
                judged.release()
                judged = self._judge(records, stamp)
            tally = judged.tally()
            version = None
            if not found.dry_run:
                # 3
                if tally.rejected:
                    folder = lane.verdicts_folder(step.lake, step.spec.table, stamp.run_id)
                    judged.write_rejected(step.lake, folder, verdict_columns(step.decoder))
                # 4
                if tally.accepted:
                    version = judged.append(step.table, Commit({app: number}, self._entry(stamp, tally.accepted)))
            return found.plus(accepted=tally.accepted, failing=tally.reasons, version=version)
        finally:
            judged.release()

    def _learn(self, judged: Judged, stamp: Stamp, *, dry_run: bool) -> bool:
        learner = self.step.learner
        return learner.fetch(judged) if dry_run else learner.learn(judged, self.step.table, stamp, "a re-drive")

    def _judge(self, records: DataFrame, stamp: Stamp) -> Judged:
        step = self.step
        outcomes = outcomes_of(step.decoder, stamp, step.max_record_bytes)
        return hold(records, step.decoder, outcomes, small=True)

    def _entry(self, stamp: Stamp, accepted: int) -> LedgerEntry:
        step = self.step
        return LedgerEntry(
            table=step.spec.table,
            step="redrive",
            run_id=stamp.run_id,
            clock=stamp.clock,
            generation=step.generation,
            engine="none",
            source="lane",
            rows={"inserted": accepted},
            accepted=accepted,
            epoch=step.start.epoch,
            contract=ContractUse(name=step.contract.name, version=step.contract.version, hash=step.contract.hash),
        )


@dataclass(frozen=True)
class ChangeRedrive:
    """Re-drives the lane of a silver table: its records are rows of bronze, read there and merged anew.

    What bronze's row says is compared with what the table holds by its place in the source, so that an old change never
    goes over a newer one. That a change has been taken is said by a verdict that finds nothing.
    """

    step: ChangeStep
    records_at_once: int

    def run(self, spark: SparkSession, request: Redrive, now: datetime) -> Redriven:
        """Carry a request out; harmless to repeat."""
        found = Redriven(self.step.spec.table, request.dry_run)
        with self.step.table.lock:
            reader = LaneReader(self.step.lake, self.step.spec.table)
            for chunk in chunks(
                reader.records(request.since, rule=request.rule, with_bytes=False), self.records_at_once
            ):
                left = _without(chunk, NOWHERE)
                found = found.plus(already=chunk.num_rows - left.num_rows)
                if left.num_rows:
                    found = self._redrive(spark, left, found, now)
        return found

    def _redrive(self, spark: SparkSession, chunk: pa.Table, found: Redriven, now: datetime) -> Redriven:
        step, table = self.step, self.step.table
        app = app_id(step.upstream.source_name(), REDRIVE, table.generation())
        number = (table.position(app) or 0) + 1
        run_id = ledger.run_id(step.spec.table, REDRIVE, table.generation(), number)
        places = spark.createDataFrame(chunk.select(["topic", "partition", "offset"])).toDF(*_PLACE)
        rows = step.upstream.read(spark).where(Positions.of(chunk.to_batches()).predicate())
        changes = step.changes(rows.join(F.broadcast(places), _PLACE, "left_semi")).where(~F.col(TRUNCATED))
        schema, held = changes.schema, changes.toArrow()
        first = pc.struct_field(pc.list_element(held[VIOLATIONS].drop_null(), 0), "rule")
        failing = Counter(first.to_pylist())
        version = None
        if not found.dry_run:
            entry = entry_for(table, "redrive", "lane", now, []).model_copy(update={"run_id": run_id})
            version = step.merge(InDriver(), held, schema, Commit({app: number}, entry), step.deletions(spark)).version
            lane.write(step.lake, lane.verdicts_folder(step.lake, step.spec.table, run_id), _verdicts(held, now))
        return found.plus(accepted=held[VIOLATIONS].null_count, failing=failing, version=version)


def redrive(graph: Graph, spark: SparkSession, request: Redrive) -> Redriven:
    """Carry a request out on a pipeline's tables; raises NoLane for a table that keeps none."""
    if request.table in graph.bronze:
        step = graph.bronze[request.table]
        return BronzeRedrive(step, _RECORDS_AT_ONCE).run(spark, request, now_to_the_millisecond())
    below = graph.below.get(request.table)
    if not isinstance(below, ChangeStep):
        raise NoLane(
            request.table, [*graph.bronze, *(name for name, one in graph.below.items() if isinstance(one, ChangeStep))]
        )
    return ChangeRedrive(below, _RECORDS_AT_ONCE).run(spark, request, now_to_the_millisecond())


def as_kafka(spark: SparkSession, chunk: pa.Table) -> DataFrame:
    """A lane's records as Kafka's source gave them."""
    fields = ("topic", "partition", "offset", "kafka_ts", "key", "value", "headers")
    lane_records = spark.createDataFrame(chunk.select(fields))
    return lane_records.select(
        F.unbase64("key").alias("key"),
        F.unbase64("value").alias("value"),
        "topic",
        "partition",
        "offset",
        F.col("kafka_ts").alias("timestamp"),
        F.transform(
            "headers", lambda header: F.struct(header["key"].alias("key"), F.unbase64(header["value"]).alias("value"))
        ).alias("headers"),
    )


def now_to_the_millisecond() -> datetime:
    """The clock of a re-drive, as exact as those of batches."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def chunks(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The records in tables of about so many rows, or of some megabytes; a place in the topic comes once in each."""
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        pending.append(batch)
        if sum(one.num_rows for one in pending) >= rows or sum(one.nbytes for one in pending) >= _CHUNK_BYTES:
            yield _once_per_place(pa.Table.from_batches(pending))
            pending = []
    if pending:
        yield _once_per_place(pa.Table.from_batches(pending))


def _once_per_place(records: pa.Table) -> pa.Table:
    numbered = records.append_column("row", pa.array(range(records.num_rows), pa.int64()))
    last = numbered.group_by(["topic", "partition", "offset"]).aggregate([("row", "max")])["row_max"]
    return records.take(last)


def _without(records: pa.Table, held: Positions) -> pa.Table:
    left = [batch.filter(pc.invert(pc.or_(batch[REDRIVEN], held.mask(batch)))) for batch in records.to_batches()]
    return pa.Table.from_batches(left, records.schema)


def _verdicts(changes: pa.Table, now: datetime) -> pa.Table:
    """A verdict on each change: what it still breaks, nothing where it was taken."""
    violations = changes[VIOLATIONS].combine_chunks()
    nothing = pa.array([[]], violations.type).take(pa.repeat(pa.scalar(0), len(violations)))
    return pa.table(
        {
            **{column.removeprefix("_"): changes[column] for column in _PLACE},
            "violations": pc.if_else(pc.is_valid(violations), violations, nothing),
            "ingest_ts": pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), len(violations)),
        }
    )
