"""A history to the versions of its keys: the step of an `scd2` table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.types import BooleanType, StructField, StructType, TimestampType

from checkpoints import ledger
from checkpoints.ledger import LedgerEntry
from schemas import columns as c
from schemas.errors import SluiceError
from schemas.spec import Scd2Spec
from schemas.table_columns import IS_CURRENT, VALID_FROM, VALID_TO
from sinks import engine
from sinks.engine import Merge
from sinks.table import Table
from streams.compute import Compute, InDriver, InSpark, Rows
from streams.handover import Handover
from streams.scd2 import broken_keys, own_columns, surrogate_key, versions
from streams.steps import (
    Again,
    Pending,
    Ready,
    StepOutcome,
    all_there_is,
    commit_for,
    commit_nothing,
    entry_for,
    once_more,
    pending,
)

_FEED, _KEYS, _HISTORY, _NEW, _OLD, _DIFFERENCE = (
    "feed",
    "touched",
    "history_table",
    "new_rows",
    "old_rows",
    "difference",
)


_VALIDITY = (
    StructField(VALID_FROM, TimestampType()),
    StructField(VALID_TO, TimestampType()),
    StructField(IS_CURRENT, BooleanType()),
)


class BrokenVersions(SluiceError):
    """The versions that were worked out for some keys can not be: nothing was written."""

    def __init__(self, table: str, history: str, spans: int) -> None:
        self.table, self.history, self.spans = table, history, spans
        super().__init__(
            f"{table}: {spans} of the versions that follow from {history} overlap, are empty, or have no start. "
            "Nothing was written. See that `valid_from` names a column that every change has."
        )


@dataclass(frozen=True)
class VersionsStep:
    """Keeps an `scd2` table up to its history."""

    spec: Scd2Spec
    table: Table
    history: Table
    small_batch_rows: int
    ready: Ready = all_there_is

    @property
    def label(self) -> Literal["refresh"]:
        """The step's word in the names of its positions."""
        return "refresh"

    def newest(self, upstream: str) -> int:
        """The newest version of the history."""
        del upstream
        return self.history.version()

    def prepare(self, spark: SparkSession) -> None:
        """Create the table, or check that it fits."""
        del spark
        self.table.ensure(self._columns(), self.spec.partition_by, additive=True)

    def run(self, spark: SparkSession, handover: Handover | None, again: Again | None = None) -> StepOutcome | None:
        """Work out the versions of the keys that changed, or did in versions before `again`; harmless to repeat.

        1. Fix the version of the history that is read, as far as its gate has let it through.
        2. Take the keys of the changes; all keys where the table has consumed nothing yet, a change without a key
           touches all, or VACUUM has taken files of the feed.
        3. Work out their versions from all of their changes, check them, and compare them with what the table holds.
        4. MERGE the difference, deleting what has vanished, with the position.
        """
        del handover
        with self.table.lock:
            # 1
            todo = (
                pending(self.table, self.history, self.label, self.ready(self.history.name, spark))
                if again is None
                else once_more(self.table, self.history, self.label, again)
            )
            if todo.is_empty:
                return None
            clock = ledger.clock_at(self.history.handle(), todo.until)
            if not todo.wrote_rows():
                return commit_nothing(self.table, clock, [todo]) if again is None else None
            # 2
            keys = None
            if not todo.is_first and todo.has_feed():
                feed = self.history.changes(spark, todo.position + 1, todo.until, self.small_batch_rows).rows
                compute = self._place(spark, feed)
                keys = self._keys(compute, feed)
            if keys is None or self._touches_all(compute, keys):
                keys = None
                compute = self._place(spark, None)
            label: Literal["refresh", "replay"] = self.label if again is None else "replay"
            entry = entry_for(self.table, label, "full" if keys is None else "feed", clock, [todo])
            self.table.add_columns(self._columns(), clock)
            # 3
            history = self._history(compute, keys, todo.to)
            new = self._with_key(compute, versions(compute, history, self.history.schema().names, self.spec))
            if broken := broken_keys(compute, new, self.spec):
                raise BrokenVersions(self.table.name, self.history.name, broken)
            difference = self._difference(compute, new, self._held(compute, keys), entry)
            # 4
            return self._merge(compute, difference, todo, entry)

    def _place(self, spark: SparkSession, feed: Rows | None) -> Compute:
        """The driver for what is small: a feed that it holds already, or a whole history that it could."""
        if feed is not None:
            return InDriver() if isinstance(feed, pa.Table) else InSpark(spark)
        rows = self.history.rows
        return InDriver() if rows is not None and rows <= self.small_batch_rows else InSpark(spark)

    def _keys(self, compute: Compute, feed: Rows) -> Rows:
        return compute.sql(f"SELECT DISTINCT {compute.dialect.names(self.spec.keys)} FROM {_FEED}", {_FEED: feed})

    def _touches_all(self, compute: Compute, keys: Rows) -> bool:
        first = compute.dialect.name(self.spec.keys[0])
        return bool(compute.row(f"SELECT count(*) AS found FROM {_KEYS} WHERE {first} IS NULL", {_KEYS: keys})["found"])

    def _history(self, compute: Compute, keys: Rows | None, version: int) -> Rows:
        """The changes of these keys, and those without a key."""
        first = self.spec.keys[0]
        if isinstance(compute, InSpark):
            rows: Rows = self.history.read(compute.spark, version)
        else:
            names = self.history.schema().names
            rows = (
                self.history.to_arrow(names, version)
                if keys is None
                else self.history.of_keys(names, first, _column(keys, first), version, or_null=True)
            )
        return rows if keys is None else self._of_keys(compute, rows, keys, or_keyless=True)

    def _held(self, compute: Compute, keys: Rows | None) -> Rows:
        first = self.spec.keys[0]
        if isinstance(compute, InSpark):
            rows: Rows = self.table.read(compute.spark)
        else:
            names = self.table.schema().names
            rows = (
                self.table.to_arrow(names) if keys is None else self.table.of_keys(names, first, _column(keys, first))
            )
        return rows if keys is None else self._of_keys(compute, rows, keys, or_keyless=False)

    def _of_keys(self, compute: Compute, rows: Rows, keys: Rows, *, or_keyless: bool) -> Rows:
        d = compute.dialect
        same = " AND ".join(f"h.{d.name(key)} = k.{d.name(key)}" for key in self.spec.keys)
        keyless = f" OR h.{d.name(self.spec.keys[0])} IS NULL" if or_keyless else ""
        text = f"SELECT h.* FROM {_HISTORY} h WHERE EXISTS (SELECT 1 FROM {_KEYS} k WHERE {same}){keyless}"
        return compute.sql(text, {_HISTORY: rows, _KEYS: keys})

    def _with_key(self, compute: Compute, rows: Rows) -> Rows:
        d = compute.dialect
        types = self._columns()
        key = surrogate_key(d, {name: types[name].dataType for name in (*self.spec.keys, VALID_FROM)})
        return compute.sql(f"SELECT {key} AS {d.name(self.spec.surrogate_key)}, n.* FROM {_NEW} n", {_NEW: rows})

    def _difference(self, compute: Compute, new: Rows, held: Rows, entry: LedgerEntry) -> Rows:
        """The versions that the table lacks or has otherwise, and those of the table that vanished, as `_deleted`."""
        d = compute.dialect
        grain = [*self.spec.keys, VALID_FROM]
        rest = [name for name in self._own() if name not in grain]
        same = " AND ".join(f"n.{d.name(name)} = o.{d.name(name)}" for name in grain)
        differs = " OR ".join(f"n.{d.name(name)} IS DISTINCT FROM o.{d.name(name)}" for name in rest)
        metadata = (
            f"{d.instant(entry.clock)} AS {c.INGEST_TS}, '{entry.run_id}' AS {c.BATCH_ID}, "
            f"'sluice' AS {c.SOURCE_SYSTEM}, DATE '{entry.run_date.isoformat()}' AS {c.RUN_DATE}"
        )
        columns = ", ".join(
            f"coalesce(n.{d.name(name)}, o.{d.name(name)}) AS {d.name(name)}" if name in grain else f"n.{d.name(name)}"
            for name in self._own()
        )
        first = d.name(self.spec.keys[0])
        text = (
            f"SELECT {columns}, n.{first} IS NULL AS {c.DELETED}, {metadata} "
            f"FROM {_NEW} n FULL OUTER JOIN {_OLD} o ON {same} WHERE {differs} "
            f"OR n.{first} IS NULL OR o.{first} IS NULL"
        )
        return compute.sql(text, {_NEW: new, _OLD: held})

    def _merge(self, compute: Compute, difference: Rows, todo: Pending, entry: LedgerEntry) -> StepOutcome:
        if not isinstance(difference, pa.Table):
            difference = difference.persist()
        try:
            counts = compute.row(
                f"SELECT count_if(NOT {c.DELETED}) AS upserts, count_if({c.DELETED}) AS deletes FROM {_DIFFERENCE}",
                {_DIFFERENCE: difference},
            )
            rows = {name: int(counts[name]) for name in ("upserts", "deletes") if counts[name]}
            if not rows:
                return commit_nothing(self.table, entry.clock, [todo])
            entry = entry.model_copy(update={"rows": rows})
            clauses = Merge(
                keys=(*self.spec.keys, VALID_FROM),
                columns=[*self._own(), *c.INGEST_METADATA],
                delete_when=f"s.{c.DELETED}",
                update_when=f"NOT s.{c.DELETED}",
                insert_when=f"NOT s.{c.DELETED}",
            )
            version = engine.merge(self.table, difference, clauses, commit_for(entry, [todo]))
            return StepOutcome(entry, version)
        finally:
            if not isinstance(difference, pa.Table):
                difference.unpersist()

    def _own(self) -> list[str]:
        return self._columns().names[: -len(c.INGEST_METADATA)]

    def _columns(self) -> StructType:
        """All columns of the table."""
        history = self.history.schema()
        named = [StructField(name, history[name].dataType) for name in self.spec.keys]
        own = [StructField(name, history[name].dataType) for name in own_columns(self.spec, history.names)]
        metadata = [StructField(name, c.METADATA_TYPES[name]) for name in c.INGEST_METADATA]
        key = StructField(self.spec.surrogate_key, c.METADATA_TYPES[c.BATCH_ID])
        return StructType([key, *named, *own, *_VALIDITY, *metadata])


def _column(keys: Rows, name: str) -> pa.Array:
    return keys[name].combine_chunks().drop_null() if isinstance(keys, pa.Table) else pa.nulls(0)
