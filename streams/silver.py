"""Bronze to silver: the newest row of each key, or every change of it, from memory or from bronze's change feed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from checkpoints import ledger
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from schemas import columns as c
from schemas.pii import UNTAGGED, Privacy
from schemas.rules import RowRule
from schemas.spec import CurrentSpec, HistorySpec
from schemas.table_columns import rest_of_row
from sinks import engine
from sinks.commit import Commit
from sinks.engine import Merge
from sinks.lanes import lane
from sinks.table import CHANGE_TYPE, Table
from streams.changes import (
    TRUNCATED,
    VIOLATIONS,
    canonical_changes,
    change_columns,
    is_taken,
    newest_per_key,
    once_per_change,
)
from streams.handover import Handover
from streams.steps import StepOutcome, commit_for, commit_nothing, entry_for, pending

OnRejects = Callable[[DataFrame | None], None]
"""What is done with the changes that the table does not take; called with None where there are none."""


@dataclass(frozen=True)
class ChangeStep:
    """Keeps a `current` or a `history` table up to its bronze table.

    A change that breaks one of the `rules` goes to the table's error lane. Under `schema_change: evolve` the table has
    the fields of bronze's row that its `select` does not read, too, as they appear.
    """

    spec: CurrentSpec | HistorySpec
    table: Table
    upstream: Table
    lake: Lake
    small_batch_rows: int
    rules: tuple[RowRule, ...] = ()
    privacy: Privacy = UNTAGGED

    def newest(self, upstream: str) -> int:
        """The newest version of the bronze table."""
        del upstream
        return self.upstream.version()

    def prepare(self, spark: SparkSession) -> None:
        """Create the table, or check that it fits."""
        schema = change_columns(self.changes(self.upstream.empty(spark)).schema, with_deleted=self.is_history)
        self.table.ensure(schema, self.spec.partition_by, additive=self.evolves)

    @property
    def is_history(self) -> bool:
        """Whether the table keeps every change."""
        return isinstance(self.spec, HistorySpec)

    @property
    def evolves(self) -> bool:
        """Whether columns are added to the table as they appear above it."""
        return self.spec.schema_change == "evolve"

    @property
    def label(self) -> Literal["merge", "history"]:
        """The step's word in the names of its positions."""
        return "history" if self.is_history else "merge"

    def changes(self, bronze: DataFrame) -> DataFrame:
        """Bronze rows as changes of this table."""
        rest = rest_of_row(self.spec, bronze.schema, self.privacy.is_tagged) if self.evolves else {}
        return canonical_changes(bronze, self.spec, self.rules, rest, self.privacy.key)

    def run(self, spark: SparkSession, handover: Handover | None) -> StepOutcome | None:
        """Consume what bronze has beyond the table's position; harmless to repeat.

        1. Choose: the rows in hand where they are just what comes next, else the feed up to bronze's newest version.
        2. Make changes of them, and keep aside those that the table can not take.
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
            # 2, 3
            folder = lane.folder(self.lake, self.table.name, entry.run_date, entry.run_id)

            def keep(rejects: DataFrame | None) -> None:
                if rejects is None:
                    lane.clear(self.lake, folder)
                else:
                    lane.replace(folder, rejects.transform(rejected_changes, self.table.name, entry))

            return self.apply(spark, rows, commit_for(entry, [todo]), keep)

    def apply(self, spark: SparkSession, bronze: DataFrame, commit: Commit, on_rejects: OnRejects) -> StepOutcome:
        """MERGE bronze rows, those that the table can not take left out; for whoever holds the table's lock."""
        changes = self.changes(bronze).persist()
        try:
            if self.evolves:
                wanted = change_columns(changes.schema, with_deleted=self.is_history)
                self.table.add_columns(wanted, commit.entry.clock)
            return self.merge(spark, changes, commit, on_rejects)
        finally:
            changes.unpersist()

    def merge(
        self, spark: SparkSession, changes: DataFrame, commit: Commit, on_rejects: OnRejects = lambda _: None
    ) -> StepOutcome:
        """The same for changes that are in memory."""
        is_rejected = F.col(VIOLATIONS).isNotNull()
        summary = changes.agg(
            F.count_if(is_taken() & ~F.col(c.DELETED)).alias("upserts"),
            F.count_if(is_taken() & F.col(c.DELETED)).alias("deletes"),
            F.count_if(is_rejected).alias("rejected"),
            F.max(F.when(F.col(TRUNCATED), F.col(c.SEQUENCE))).alias("truncated"),
        ).collect()[0]
        on_rejects(changes.where(is_rejected) if summary["rejected"] else None)
        counts = {name: int(summary[name]) for name in ("upserts", "deletes", "rejected") if summary[name]}
        if summary["truncated"] is not None:
            counts["truncates"] = 1
        entry = commit.entry.model_copy(update={"rows": counts, "rejected": int(summary["rejected"])})
        truncated = summary["truncated"].asDict() if summary["truncated"] is not None else None
        source, clauses = self._history(changes) if self.is_history else self._current(changes, truncated)
        rows = counts.get("upserts", 0) + counts.get("deletes", 0)
        chosen = engine.choose(rows, self.small_batch_rows)
        version = engine.merge(spark, self.table, source, clauses, Commit(commit.positions, entry), chosen)
        return StepOutcome(entry, version)

    def _current(self, changes: DataFrame, truncated: dict[str, int] | None) -> tuple[DataFrame, Merge]:
        """The newest change of each key; what is older than a TRUNCATE goes, whether in the batch or in the table."""
        columns = change_columns(changes.schema, with_deleted=False).names
        keyed = changes.where(is_taken())
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
        columns = change_columns(changes.schema, with_deleted=True).names
        kept = changes.where(F.col(VIOLATIONS).isNull())
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


def rejected_changes(changes: DataFrame, table: str, entry: LedgerEntry) -> DataFrame:
    """Changes that a table does not take as its lane keeps them; their bytes are in bronze, at these coordinates."""
    return changes.select(
        F.lit(table).alias("table"),
        F.col(c.TOPIC).alias("topic"),
        F.col(c.PARTITION).alias("partition"),
        F.col(c.OFFSET).alias("offset"),
        F.col(VIOLATIONS).alias("violations"),
        F.lit(entry.run_id).alias("run_id"),
        F.lit(entry.clock).alias("ingest_ts"),
    )
