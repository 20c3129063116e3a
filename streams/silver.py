"""Bronze to silver: the newest row of each key, or every change of it, from memory or from bronze's change feed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from checkpoints import ledger
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from schemas import columns as c
from schemas.spec import CurrentSpec, HistorySpec
from sinks import engine, lane
from sinks.engine import Merge
from sinks.table import CHANGE_TYPE, Table
from streams.changes import (
    TRUNCATED,
    canonical_changes,
    change_columns,
    has_all_keys,
    newest_per_key,
    once_per_change,
)
from streams.handover import Handover
from streams.steps import Pending, StepOutcome, commit_for, commit_nothing, entry_for, pending


@dataclass(frozen=True)
class ChangeStep:
    """Keeps a `current` or a `history` table up to its bronze table."""

    spec: CurrentSpec | HistorySpec
    table: Table
    upstream: Table
    lake: Lake
    small_batch_rows: int

    def newest(self, upstream: str) -> int:
        """The newest version of the bronze table."""
        del upstream
        return self.upstream.version()

    def prepare(self, spark: SparkSession) -> None:
        """Create the table, or check that it fits."""
        changes = canonical_changes(self.upstream.empty(spark), self.spec)
        is_history = isinstance(self.spec, HistorySpec)
        schema = change_columns(self.spec, changes.schema, with_deleted=is_history)
        self.table.ensure(schema, self.spec.partition_by, additive=False)

    def run(self, spark: SparkSession, handover: Handover | None) -> StepOutcome | None:
        """Consume what bronze has beyond the table's position; harmless to repeat.

        1. Choose: the rows in hand where they are just what comes next, else the feed up to bronze's newest version.
        2. Make changes of them, and keep aside those without a key.
        3. MERGE, with the position, in one commit.
        """
        with self.table.lock:
            # 1
            todo = pending(self.table, self.upstream, self.label)
            if todo.is_empty:
                return None
            if handover is not None and handover.version == todo.position + 1:
                todo = replace(todo, to=handover.version)
                rows = handover.rows.frame
                entry = entry_for(self.table, self.label, "memory", handover.clock, [todo])
            else:
                clock = ledger.clock_at(self.upstream.handle(), todo.to)
                if not todo.wrote_rows():
                    return commit_nothing(self.table, clock, [todo])
                feed = self.upstream.changes(spark, todo.position + 1, todo.to, self.small_batch_rows)
                # Bronze is append-only: a row that someone took out of it is not a change of its key.
                rows = feed.frame.where(F.col(CHANGE_TYPE) == "insert")
                entry = entry_for(self.table, self.label, "feed", clock, [todo])
            # 2
            changes = canonical_changes(rows, self.spec).persist()
            try:
                return self._apply(spark, changes, todo, entry)
            finally:
                changes.unpersist()

    @property
    def label(self) -> Literal["merge", "history"]:
        """The step's word in the names of its positions."""
        return "history" if isinstance(self.spec, HistorySpec) else "merge"

    def _apply(self, spark: SparkSession, changes: DataFrame, todo: Pending, entry: LedgerEntry) -> StepOutcome:
        keyed = has_all_keys(self.spec)
        summary = changes.agg(
            F.count_if(keyed & ~F.col(c.DELETED) & ~F.col(TRUNCATED)).alias("upserts"),
            F.count_if(keyed & F.col(c.DELETED)).alias("deletes"),
            F.count_if(~keyed & ~F.col(TRUNCATED)).alias("keyless"),
            F.max(F.when(F.col(TRUNCATED), F.col(c.SEQUENCE))).alias("truncated"),
        ).collect()[0]
        # 2
        folder = lane.folder(self.lake, self.table.name, entry.run_date, entry.run_id)
        if summary["keyless"]:
            lane.replace(folder, changes.where(~keyed & ~F.col(TRUNCATED)).transform(_keyless, self.table.name, entry))
        else:
            lane.clear(self.lake, folder)
        counts = {name: int(summary[name]) for name in ("upserts", "deletes", "keyless") if summary[name]}
        if summary["truncated"] is not None:
            counts["truncates"] = 1
        entry = entry.model_copy(update={"rows": counts, "rejected": int(summary["keyless"])})
        # 3
        truncated = summary["truncated"].asDict() if summary["truncated"] is not None else None
        source, clauses = self._history(changes) if self.label == "history" else self._current(changes, truncated)
        rows = counts.get("upserts", 0) + counts.get("deletes", 0)
        chosen = engine.choose(rows, self.small_batch_rows)
        version = engine.merge(spark, self.table, source, clauses, commit_for(entry, [todo]), chosen)
        return StepOutcome(entry, version)

    def _current(self, changes: DataFrame, truncated: dict[str, int] | None) -> tuple[DataFrame, Merge]:
        """The newest change of each key; what is older than a TRUNCATE goes, whether in the batch or in the table."""
        columns = [*self.spec.select, c.SEQUENCE, *c.INGEST_METADATA]
        keyed = changes.where(has_all_keys(self.spec) & ~F.col(TRUNCATED))
        older: str | None = None
        if truncated is not None:
            keyed = keyed.where(~F.expr(_older_than(c.SEQUENCE, truncated)))
            older = _older_than(f"t.{c.SEQUENCE}", truncated)
        source = newest_per_key(keyed, self.spec).select(*columns, c.DELETED)
        is_newer = f"s.{c.SEQUENCE} > t.{c.SEQUENCE}"
        return source, Merge(
            on=" AND ".join(f"t.{key} = s.{key}" for key in self.spec.keys),
            columns=columns,
            delete_when=f"s.{c.DELETED} AND {is_newer}",
            update_when=f"NOT s.{c.DELETED} AND {is_newer}",
            insert_when=f"NOT s.{c.DELETED}",
            delete_unmatched_when=older,
        )

    def _history(self, changes: DataFrame) -> tuple[DataFrame, Merge]:
        """Every change that the table does not hold yet; a TRUNCATE is a deletion without a key."""
        columns = [*self.spec.select, c.SEQUENCE, c.DELETED, *c.INGEST_METADATA]
        kept = changes.where(has_all_keys(self.spec) | F.col(TRUNCATED))
        kept = kept.withColumn(c.DELETED, F.col(c.DELETED) | F.col(TRUNCATED))
        source = once_per_change(kept, self.spec).select(*columns)
        same_change = [f"t.{c.SEQUENCE}['{field}'] = s.{c.SEQUENCE}['{field}']" for field in c.CHANGE_IDENTITY]
        same_key = [f"(t.{key} = s.{key} OR (t.{key} IS NULL AND s.{key} IS NULL))" for key in self.spec.keys]
        return source, Merge(on=" AND ".join([*same_change, *same_key]), columns=columns, insert_when="TRUE")


def _older_than(sequence: str, floor: dict[str, int]) -> str:
    """SQL, for both engines: whether a `_sequence` of whole numbers stands before `floor`, field by field."""
    condition = ""
    for field, value in reversed(floor.items()):
        column = f"{sequence}['{field}']"
        tie = f" OR ({column} = {value} AND ({condition}))" if condition else ""
        condition = f"{column} < {value}{tie}"
    return f"({condition})"


def _keyless(changes: DataFrame, table: str, entry: LedgerEntry) -> DataFrame:
    """Changes without a key as the lane keeps them; their bytes are in bronze, at the coordinates given."""
    violation = F.struct(F.lit("key.null").alias("rule"), F.lit("").alias("pointer"), F.lit("").alias("schema_path"))
    coordinates = [
        F.col(c.TOPIC).alias("topic"),
        F.col(c.PARTITION).alias("partition"),
        F.col(c.OFFSET).alias("offset"),
    ]
    return changes.select(
        F.lit(table).alias("table"),
        *coordinates,
        F.array(violation).alias("violations"),
        F.lit(entry.run_id).alias("run_id"),
        F.lit(entry.clock).alias("ingest_ts"),
    )
