"""One mechanism for every derived table: find what changed upstream, recompute just that, MERGE the difference.

Idempotent and free of order by construction: what is written depends on the upstreams' state alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.types import StructField, StructType

from checkpoints import ledger
from checkpoints.ledger import LedgerEntry
from schemas import columns as c
from schemas.errors import SluiceError
from sinks import engine
from sinks.engine import Merge
from sinks.table import Feed, Table
from streams.affected import KeySet, restricted
from streams.compute import Compute, Dialect, InDriver, InSpark, Rows
from streams.driver_refresh import At, DriverRefresh
from streams.handover import Handover
from streams.recipe import Recipe
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

_NEW, _OLD, _DIFFERENCE = "new_rows", "old_rows", "difference"

_Feeds = Sequence[tuple[Feed, dict[str, str]]]
_Found = tuple[Compute, Rows, Rows]


class DuplicateGrain(SluiceError):
    """A query gives several rows for one value of the grain."""

    def __init__(self, table: str, grain: Sequence[str], example: Mapping[str, object]) -> None:
        self.table, self.grain = table, tuple(grain)
        where = ", ".join(f"{name}={value}" for name, value in example.items())
        super().__init__(
            f"{table}: the query gives more than one row for {where}, but its grain is [{', '.join(grain)}]. "
            "Add columns to `grain`, or make the joins of `query` find one row each."
        )


@dataclass(frozen=True)
class RefreshStep:
    """Keeps a derived table up to its upstreams.

    Few rows are worked out by the driver, where `in_driver` says so and it is known to come to what Spark does.
    """

    recipe: Recipe
    table: Table
    upstreams: tuple[Table, ...]
    small_batch_rows: int
    pushdown_keys: int
    ready: Ready = all_there_is
    in_driver: bool = True

    @property
    def label(self) -> Literal["refresh"]:
        """The step's word in the names of its positions."""
        return "refresh"

    def newest(self, upstream: str) -> int:
        """The newest version of one of the upstreams."""
        return next(one.version() for one in self.upstreams if one.name == upstream)

    def prepare(self, spark: SparkSession) -> None:
        """Create the table, or check that it fits what its query gives."""
        empty = {one.name: one.empty(spark) for one in self.upstreams}
        rows = self.recipe.rows(spark, empty, None)
        metadata = [StructField(name, c.METADATA_TYPES[name]) for name in c.INGEST_METADATA]
        schema = StructType([*rows.schema.fields, *metadata])
        self.table.ensure(schema, self.recipe.spec.partition_by, additive=False)

    def run(self, spark: SparkSession, handover: Handover | None, again: Again | None = None) -> StepOutcome | None:
        """Recompute what the upstreams' changes touch, or those of versions before `again`; harmless to repeat.

        1. Fix the version of every upstream, as far as its gate has let it through: all are read as of that, whatever
           is committed meanwhile.
        2. Take the keys of the rows that changed, old images and new ones; everything where an upstream is new to the
           table, or was made anew: what it held before may be gone; or where VACUUM has taken files of its feed.
        3. Compute their rows anew, and compare with what the table holds for the same keys.
        4. MERGE the difference, deleting what has vanished, with the positions; nothing but the positions where
           there is no difference.
        """
        del handover
        with self.table.lock:
            # 1
            consumed = [
                pending(self.table, one, self.label, self.ready(one.name, spark))
                if again is None
                else once_more(self.table, one, self.label, again)
                for one in self.upstreams
            ]
            moved = [one for one in consumed if not one.is_empty]
            if not moved:
                return None
            clock = max(ledger.clock_at(one.upstream.handle(), one.until) for one in moved)
            changed = [one for one in moved if one.wrote_rows()]
            if not changed:
                return commit_nothing(self.table, clock, moved) if again is None else None
            # 2
            # An upstream without a version beyond its creation has nothing to compare, and no position yet.
            by_feed = not any(one.is_first for one in moved) and all(one.has_feed() for one in changed)
            feeds = [self._feed(spark, one) for one in changed] if by_feed else None
            label: Literal["refresh", "replay"] = self.label if again is None else "replay"
            entry = entry_for(self.table, label, "full" if feeds is None else "feed", clock, moved)
            # 3
            found = self._by_driver(spark, consumed, feeds) if self.in_driver else None
            if found is None:
                found = self._by_spark(spark, consumed, feeds)
            # 4
            return commit_nothing(self.table, clock, moved) if found is None else self._write(*found, moved, entry)

    def _feed(self, spark: SparkSession, one: Pending) -> tuple[Feed, dict[str, str]]:
        """The changes of an upstream, and by which of its columns they find which of this table."""
        feed = one.upstream.changes(spark, one.position + 1, one.until, self.small_batch_rows)
        return feed, self.recipe.mapping(one.upstream.name)

    @cached_property
    def _driver(self) -> DriverRefresh:
        return DriverRefresh(self.recipe, self.table, self.small_batch_rows)

    def _by_driver(self, spark: SparkSession, consumed: Sequence[Pending], feeds: _Feeds | None) -> _Found | None:
        """The rows as they are to be, and as they are; None where that is Spark's to say."""
        keys: list[pa.Table] | None = None
        if feeds is not None:
            few = [(feed.rows, mapping) for feed, mapping in feeds if isinstance(feed.rows, pa.Table)]
            if len(few) < len(feeds):
                return None
            keys = [_distinct(rows, mapping) for rows, mapping in few]
        upstreams = [At(one.upstream, one.to) for one in consumed]
        rows = self._driver.rows(spark, upstreams, keys)
        return None if rows is None else (InDriver(), *rows)

    def _by_spark(self, spark: SparkSession, consumed: Sequence[Pending], feeds: _Feeds | None) -> _Found | None:
        """The same; None where nothing is affected."""
        keys = None
        if feeds is not None:
            sets = [KeySet.of(feed, mapping, self.pushdown_keys) for feed, mapping in feeds]
            keys = [one for one in sets if not one.is_empty]
            if not keys:
                return None
        frames = {one.upstream.name: one.upstream.read(spark, one.to) for one in consumed}
        new = self.recipe.rows(spark, frames, keys)
        old = self.table.read(spark).select(*new.columns)
        return InSpark(spark), new, old if keys is None else restricted(old, keys, self.recipe.grain)

    def _write(
        self, compute: Compute, new: Rows, old: Rows, moved: Sequence[Pending], entry: LedgerEntry
    ) -> StepOutcome:
        difference = compute.sql(self._difference(compute.dialect, _names(new), entry), {_NEW: new, _OLD: old})
        if isinstance(difference, pa.Table):
            return self._merge(compute, difference, moved, entry)
        difference = difference.persist()
        try:
            return self._merge(compute, difference, moved, entry)
        finally:
            difference.unpersist()

    def _difference(self, d: Dialect, columns: Sequence[str], entry: LedgerEntry) -> str:
        """The rows that the table lacks or has otherwise, and those of the table that vanished, as `_deleted`.

        Columns out: these, `_deleted` BOOLEAN, the ingest metadata. Rows whose grain has a null belong to no row of the
        table.
        """
        grain = self.recipe.grain
        named = " AND ".join(f"{d.name(name)} IS NOT NULL" for name in grain)
        same = " AND ".join(f"n.{d.name(name)} = o.{d.name(name)}" for name in grain)
        first = d.name(grain[0])
        differs = [f"n.{d.name(name)} IS DISTINCT FROM o.{d.name(name)}" for name in columns if name not in grain]
        is_other = " OR ".join([f"n.{first} IS NULL", f"o.{first} IS NULL", *differs])
        values = ", ".join(
            f"coalesce(n.{d.name(name)}, o.{d.name(name)}) AS {d.name(name)}" if name in grain else f"n.{d.name(name)}"
            for name in columns
        )
        return (
            f"SELECT {values}, n.{first} IS NULL AS {c.DELETED}, {d.instant(entry.clock)} AS {c.INGEST_TS}, "
            f"'{entry.run_id}' AS {c.BATCH_ID}, 'sluice' AS {c.SOURCE_SYSTEM}, "
            f"DATE '{entry.run_date.isoformat()}' AS {c.RUN_DATE} "
            f"FROM (SELECT * FROM {_NEW} WHERE {named}) n FULL OUTER JOIN {_OLD} o ON {same} WHERE {is_other}"
        )

    def _merge(self, compute: Compute, difference: Rows, moved: Sequence[Pending], entry: LedgerEntry) -> StepOutcome:
        grain = self.recipe.grain
        by = compute.dialect.names(grain)
        counts = compute.row(
            f"SELECT count(CASE WHEN NOT {c.DELETED} THEN 1 END) AS upserts, "
            f"count(CASE WHEN {c.DELETED} THEN 1 END) AS deletes, "
            f"(SELECT count(*) FROM (SELECT DISTINCT {by} FROM {_DIFFERENCE})) AS grains FROM {_DIFFERENCE}",
            {_DIFFERENCE: difference},
        )
        total = int(counts["upserts"] + counts["deletes"])
        if not total:
            return commit_nothing(self.table, entry.clock, moved)
        if counts["grains"] != total:
            one = f"SELECT {by} FROM {_DIFFERENCE} GROUP BY {by} HAVING count(*) > 1 LIMIT 1"
            raise DuplicateGrain(self.table.name, grain, compute.row(one, {_DIFFERENCE: difference}))
        rows = {name: int(counts[name]) for name in ("upserts", "deletes") if counts[name]}
        clauses = Merge(
            keys=grain,
            columns=[name for name in _names(difference) if name != c.DELETED],
            delete_when=f"s.{c.DELETED}",
            update_when=f"NOT s.{c.DELETED}",
            insert_when=f"NOT s.{c.DELETED}",
        )
        if total <= self.small_batch_rows:
            difference = InDriver().of(difference)
        entry = entry.model_copy(update={"rows": rows})
        version = engine.merge(self.table, difference, clauses, commit_for(entry, moved))
        return StepOutcome(entry, version)


def _distinct(rows: pa.Table, mapping: Mapping[str, str]) -> pa.Table:
    """The values of some columns, each combination once, by their names here."""
    columns = list(mapping)
    return rows.select(columns).group_by(columns).aggregate([]).rename_columns(list(mapping.values()))


def _names(rows: Rows) -> list[str]:
    return list(rows.column_names if isinstance(rows, pa.Table) else rows.columns)
