"""Bronze to silver: the current row of each key, or every change of it, from memory or from bronze's change feed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from checkpoints import ledger
from checkpoints.commits import CommitLog
from checkpoints.effective import counts_at, only_in, taken_back
from checkpoints.failpoints import reach
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from schemas import columns as c
from schemas.pii import UNTAGGED, Privacy
from schemas.quality.rule import RowRule
from schemas.spec import CurrentSpec, HistorySpec
from schemas.table_columns import rest_of_row
from sinks.commit import Commit
from sinks.lanes import lane
from sinks.table import CHANGE_TYPE, Table
from sinks.tombstones import Tombstones
from streams.change_sql import TRUNCATED, VIOLATIONS
from streams.changes import canonical_changes, change_columns
from streams.collection import Collection
from streams.compute import Compute, Dialect, InDriver, InSpark, Rows
from streams.current import CurrentRows
from streams.driver_changes import DriverChanges
from streams.handover import Handover
from streams.history import HistoryRows
from streams.late_changes import Deletions, newest_deletions
from streams.steps import Again, Pending, StepOutcome, commit_for, commit_nothing, entry_for, once_more, pending

OnRejects = Callable[[Rows | None], None]
"""What is done with the changes that the table does not take; called with None where there are none."""

_CHANGES = "changes"


@dataclass(frozen=True)
class ChangeStep:
    """Keeps a `current` or a `history` table up to its bronze table.

    A change that breaks one of the `rules` goes to the table's error lane. Under `schema_change: evolve` the table has
    the fields of bronze's row that its `select` does not read, too, as they appear. Tombstones are collected after
    `tombstone_days`; None keeps them for good.
    """

    spec: CurrentSpec | HistorySpec
    table: Table
    upstream: Table
    lake: Lake
    small_batch_rows: int
    rules: tuple[RowRule, ...] = ()
    privacy: Privacy = UNTAGGED
    tombstone_days: int | None = None

    def newest(self, upstream: str) -> int:
        """The newest version of the bronze table."""
        del upstream
        return self.upstream.version()

    def prepare(self, spark: SparkSession) -> None:
        """Create the table, or check that it fits."""
        changes = self.changes(self.upstream.empty(spark)).schema
        self.table.ensure(change_columns(changes, self.spec), self.spec.partition_by, additive=self.evolves)
        self._rows.prepare(changes)

    @property
    def evolves(self) -> bool:
        """Whether columns are added to the table as they appear above it."""
        return self.spec.schema_change == "evolve"

    @property
    def label(self) -> Literal["merge", "history"]:
        """The step's word in the names of its positions."""
        return "history" if isinstance(self.spec, HistorySpec) else "merge"

    @cached_property
    def _rows(self) -> CurrentRows | HistoryRows:
        if isinstance(self.spec, HistorySpec):
            return HistoryRows(self.spec, self.table)
        return CurrentRows(self.spec, self.table, Tombstones(self.table, self.lake, self.spec.keys))

    @cached_property
    def _collection(self) -> Collection:
        return Collection(self.tombstone_days)

    def deletions(self, spark: SparkSession) -> Deletions:
        """How the newest deletions of keys are found in bronze, all of it: rare, and read no faster than it is long.

        What bronze holds beyond the table's position may be among them: a deletion that is known before it is applied
        changes nothing, since order does not.
        """

        def of(keys: Rows) -> Rows:
            changes = self.changes(self.upstream.read(spark))
            if isinstance(keys, pa.Table):
                return newest_deletions(changes, spark.createDataFrame(keys), self.spec.keys).toArrow()
            # Several queries read it: bronze is read once.
            return newest_deletions(changes, keys, self.spec.keys).localCheckpoint()

        return of

    def following_run(self) -> str:
        """The run id of the step that comes next, be it in hand or still to come."""
        return entry_for(
            self.table,
            self.label,
            "feed",
            datetime.now(UTC),
            [pending(self.table, self.upstream, self.label)],
        ).run_id

    @property
    def tombstones(self) -> Tombstones | None:
        """What was deleted from a table of current rows."""
        return self._rows.tombstones if isinstance(self._rows, CurrentRows) else None

    def raise_fence(self) -> None:
        """Keep holders of the lease before this one from writing tombstones; see sinks/fence.py."""
        if isinstance(self._rows, CurrentRows):
            self._rows.tombstones.raise_fence()

    def look_again(self) -> None:
        """Take nothing for known of the rows: somebody else has written some."""
        if isinstance(self._rows, CurrentRows):
            self._rows.has_partial_rows = None

    def changes(self, bronze: DataFrame) -> DataFrame:
        """Bronze rows as changes of this table."""
        return canonical_changes(bronze, self.spec, self.rules, self._rest(bronze.schema), self.privacy.key)

    def _rest(self, bronze: StructType) -> Mapping[str, str]:
        return rest_of_row(self.spec, bronze, self.privacy.is_tagged) if self.evolves else {}

    @cached_property
    def _in_driver(self) -> DriverChanges:
        return DriverChanges(self.spec, self.rules, self.changes, self._rest)

    def run(self, spark: SparkSession, handover: Handover | None, again: Again | None = None) -> StepOutcome | None:
        """Consume what bronze has beyond the table's position, or versions before it `again`; harmless to repeat.

        1. Choose: the rows in hand where they are just what comes next, else the feed up to bronze's newest version.
           Where bronze was rewound on the way, the feed has rows that are gone again: those are left out. All that
           bronze holds is taken where the table has consumed some of them, or VACUUM has taken files of the feed.
        2. Make changes of them, and keep aside those that the table can not take.
        3. MERGE, with the position, in one commit.
        """
        with self.table.lock:
            # 1
            todo = (
                pending(self.table, self.upstream, self.label)
                if again is None
                else once_more(self.table, self.upstream, self.label, again)
            )
            if todo.is_empty:
                return None
            rows: Rows
            if again is None and handover is not None and handover.version == todo.position + 1:
                todo = replace(todo, to=handover.version)
                rows = handover.rows.rows
                entry = entry_for(self.table, self.label, "memory", handover.clock, [todo])
            else:
                clock = ledger.clock_at(self.upstream.handle(), todo.until)
                if not todo.wrote_rows():
                    return commit_nothing(self.table, clock, [todo]) if again is None else None
                label: Literal["merge", "history", "replay"] = self.label if again is None else "replay"
                spans = self._still_there(todo) if todo.has_feed() else None
                if spans is None:
                    rows = self.upstream.read(spark, todo.until)
                    entry = entry_for(self.table, label, "full", clock, [todo])
                else:
                    rows = self._feed(spark, spans)
                    entry = entry_for(self.table, label, "feed", clock, [todo])
            # 2, 3
            folder = lane.folder(self.lake, self.table.name, entry.run_date, entry.run_id)

            def keep(rejects: Rows | None) -> None:
                self.table.writer()  # who has lost the lease must not replace what the next holder wrote there
                if rejects is None:
                    lane.clear(self.lake, folder)
                elif isinstance(rejects, pa.Table):
                    lane.write(self.lake, folder, rejects)
                else:
                    lane.replace(folder, rejects)

            return self.apply(spark, rows, commit_for(entry, [todo]), keep)

    def _still_there(self, todo: Pending) -> list[tuple[int, int]] | None:
        """The versions of bronze that are to be consumed, first to last, without those that a rewind took back.

        None where the table stands at one that was taken back itself.
        """
        log, first = CommitLog(self.lake, self.upstream.name), todo.position + 1
        if not taken_back(log, first, todo.until):
            return [(first, todo.until)]
        if not counts_at(log, todo.until, todo.position):
            return None
        spans: list[tuple[int, int]] = []
        for commit in only_in(log, todo.until, todo.position):
            last = spans.pop()[1] if spans and spans[-1][0] == commit.version + 1 else commit.version
            spans.append((commit.version, last))
        return spans[::-1]

    def _feed(self, spark: SparkSession, spans: Sequence[tuple[int, int]]) -> Rows:
        """The rows that these versions of bronze have brought."""
        feeds = [self.upstream.changes(spark, first, last, self.small_batch_rows) for first, last in spans]
        few = [feed.rows for feed in feeds if isinstance(feed.rows, pa.Table)]
        if feeds and len(few) == len(feeds):
            return _inserted(pa.concat_tables(few))
        empty = self.upstream.empty(spark).withColumn(CHANGE_TYPE, F.lit("insert"))
        return _inserted(functools.reduce(DataFrame.unionByName, [feed.frame for feed in feeds] or [empty]))

    def apply(self, spark: SparkSession, bronze: Rows, commit: Commit, on_rejects: OnRejects) -> StepOutcome:
        """MERGE bronze rows, those that the table can not take left out; for whoever holds the table's lock.

        Rows that the driver holds stay there; a job of Spark's where only Spark can tell what their expressions give.
        """
        if isinstance(bronze, pa.Table):
            made, schema = self._in_driver.of(spark, bronze)
            return self.merge(InDriver(), made, schema, commit, self.deletions(spark), on_rejects)
        compute = InSpark(spark)
        changes = self.changes(compute.of(bronze)).persist()
        try:
            return self.merge(compute, changes, changes.schema, commit, self.deletions(spark), on_rejects)
        finally:
            changes.unpersist()

    def merge(
        self,
        compute: Compute,
        changes: Rows,
        schema: StructType,
        commit: Commit,
        deletions: Deletions,
        on_rejects: OnRejects = lambda _: None,
    ) -> StepOutcome:
        """The same for changes that are in memory, with the columns of `canonical_changes`.

        `deletions` is asked for keys whose tombstone may have been collected; see streams/late_changes.py.
        """
        if self.evolves:
            self.table.add_columns(change_columns(schema, self.spec), commit.entry.clock)
        summary = compute.row(_SUMMARY, {_CHANGES: changes})
        entry = commit.entry
        reach("silver.before_lane", self.table.name)
        on_rejects(
            compute.sql(_rejects(compute.dialect, self.table.name, entry), {_CHANGES: changes})
            if summary["rejected"]
            else None
        )
        counts = {name: int(summary[name]) for name in ("upserts", "deletes", "rejected", "truncates") if summary[name]}
        entry = entry.model_copy(update={"rows": counts, "rejected": counts.get("rejected", 0)})
        version = self._rows.write(compute, changes, schema, summary, Commit(commit.positions, entry), deletions)
        if isinstance(self._rows, CurrentRows):
            self._collection.after(self.table.name, self._rows.tombstones, summary["least"], entry.clock)
        return StepOutcome(entry, version)


_TAKEN = f"{VIOLATIONS} IS NULL AND NOT {TRUNCATED}"
_SUMMARY = f"""
    SELECT
        count_if({_TAKEN} AND NOT {c.DELETED}) AS upserts,
        count_if({_TAKEN} AND {c.DELETED}) AS deletes,
        count_if({_TAKEN} AND {c.UNKNOWN} IS NOT NULL) AS partial,
        count_if({VIOLATIONS} IS NOT NULL) AS rejected,
        count_if({VIOLATIONS} IS NULL AND {TRUNCATED}) AS truncates,
        max(CASE WHEN {VIOLATIONS} IS NULL AND {TRUNCATED} THEN {c.SEQUENCE} END) AS floor,
        min(CASE WHEN {_TAKEN} THEN {c.SEQUENCE} END) AS least
    FROM {_CHANGES}
"""


def _rejects(d: Dialect, table: str, entry: LedgerEntry) -> str:
    """Changes that a table does not take as its lane keeps them; their bytes are in bronze, at these coordinates."""
    return f"""
        SELECT '{table}' AS {d.name("table")}, {c.TOPIC} AS topic, {c.PARTITION} AS {d.name("partition")},
            {c.OFFSET} AS {d.name("offset")}, {VIOLATIONS} AS violations, '{entry.run_id}' AS run_id,
            {d.instant(entry.clock)} AS ingest_ts
        FROM {_CHANGES} WHERE {VIOLATIONS} IS NOT NULL
    """


def _inserted(feed: Rows) -> Rows:
    """Bronze is append-only: a row that someone took out of it is not a change of its key."""
    if isinstance(feed, pa.Table):
        return feed.filter(pc.equal(feed[CHANGE_TYPE], "insert"))
    return feed.where(F.col(CHANGE_TYPE) == "insert")
