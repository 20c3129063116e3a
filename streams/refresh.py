"""One mechanism for every derived table: find what changed upstream, recompute just that, MERGE the difference.

Idempotent and free of order by construction: what is written depends on the upstreams' state alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, Protocol

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from checkpoints import ledger
from checkpoints.ledger import LedgerEntry
from schemas import columns as c
from schemas.errors import SluiceError
from schemas.spec import DerivedSpec
from sinks import engine
from sinks.engine import Merge
from sinks.table import Table
from streams.affected import KeySet, restricted
from streams.handover import Handover
from streams.steps import Pending, Ready, StepOutcome, all_there_is, commit_for, commit_nothing, entry_for, pending

_NEW, _OLD = "__new", "__old"


class DuplicateGrain(SluiceError):
    """A query gives several rows for one value of the grain."""

    def __init__(self, table: str, grain: Sequence[str], example: Mapping[str, object]) -> None:
        self.table, self.grain = table, tuple(grain)
        where = ", ".join(f"{name}={value}" for name, value in example.items())
        super().__init__(
            f"{table}: the query gives more than one row for {where}, but its grain is [{', '.join(grain)}]. "
            "Add columns to `grain`, or make the joins of `query` find one row each."
        )


class Recipe(Protocol):
    """How a derived table's rows are worked out."""

    @property
    def spec(self) -> DerivedSpec:
        """The table's spec."""

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that tell its rows apart."""

    def mapping(self, upstream: str) -> dict[str, str]:
        """Column of the upstream -> column of the table, by which a change there finds the rows here."""

    def rows(self, spark: SparkSession, upstreams: Mapping[str, DataFrame], keys: Sequence[KeySet] | None) -> DataFrame:
        """The table's rows without metadata; only those that `keys` touch, or all of them."""


@dataclass(frozen=True)
class RefreshStep:
    """Keeps a derived table up to its upstreams."""

    recipe: Recipe
    table: Table
    upstreams: tuple[Table, ...]
    small_batch_rows: int
    pushdown_keys: int
    ready: Ready = all_there_is

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

    def run(self, spark: SparkSession, handover: Handover | None) -> StepOutcome | None:
        """Recompute what the upstreams' changes touch; harmless to repeat.

        1. Fix the version of every upstream, as far as its gate has let it through: all are read as of that, whatever
           is committed meanwhile.
        2. Take the keys of the rows that changed, old images and new ones; everything where an upstream is new to the
           table, or was made anew: what it held before may be gone.
        3. Compute their rows anew, and compare with what the table holds for the same keys.
        4. MERGE the difference, deleting what has vanished, with the positions; nothing but the positions where
           there is no difference.
        """
        del handover
        with self.table.lock:
            # 1
            consumed = [pending(self.table, one, self.label, self.ready(one.name, spark)) for one in self.upstreams]
            moved = [one for one in consumed if not one.is_empty]
            if not moved:
                return None
            clock = max(ledger.clock_at(one.upstream.handle(), one.to) for one in moved)
            changed = [one for one in moved if one.wrote_rows()]
            if not changed:
                return commit_nothing(self.table, clock, moved)
            # 2
            # An upstream without a version beyond its creation has nothing to compare, and no position yet.
            keys = None if any(one.is_first for one in moved) else self._keys(spark, changed)
            if keys is not None and not keys:
                return commit_nothing(self.table, clock, moved)
            entry = entry_for(self.table, self.label, "full" if keys is None else "feed", clock, moved)
            # 3
            frames = {one.upstream.name: one.upstream.read(spark, one.to) for one in consumed}
            new = self.recipe.rows(spark, frames, keys)
            old = self.table.read(spark).select(*new.columns)
            if keys is not None:
                old = restricted(old, keys, self.recipe.grain)
            difference = _difference(new, old, self.recipe.grain).persist()
            try:
                # 4
                return self._merge(difference, moved, entry)
            finally:
                difference.unpersist()

    def _keys(self, spark: SparkSession, changed: Sequence[Pending]) -> list[KeySet]:
        keys = []
        for one in changed:
            feed = one.upstream.changes(spark, one.position + 1, one.to, self.small_batch_rows)
            found = KeySet.of(feed, self.recipe.mapping(one.upstream.name), self.pushdown_keys)
            if not found.is_empty:
                keys.append(found)
        return keys

    def _merge(self, difference: DataFrame, moved: Sequence[Pending], entry: LedgerEntry) -> StepOutcome:
        grain = self.recipe.grain
        counts = difference.agg(
            F.count_if(~F.col(c.DELETED)).alias("upserts"),
            F.count_if(F.col(c.DELETED)).alias("deletes"),
            F.count_distinct(F.struct(*grain)).alias("grains"),
        ).collect()[0]
        total = counts["upserts"] + counts["deletes"]
        if not total:
            return commit_nothing(self.table, entry.clock, moved)
        if counts["grains"] != total:
            twice = difference.groupBy(*grain).count().where("count > 1").first()
            raise DuplicateGrain(self.table.name, grain, {} if twice is None else {k: twice[k] for k in grain})
        entry = entry.model_copy(
            update={"rows": {name: int(counts[name]) for name in ("upserts", "deletes") if counts[name]}}
        )
        source = difference.select(
            "*",
            F.lit(entry.clock).alias(c.INGEST_TS),
            F.lit(entry.run_id).alias(c.BATCH_ID),
            F.lit("sluice").alias(c.SOURCE_SYSTEM),
            F.lit(entry.run_date).alias(c.RUN_DATE),
        )
        clauses = Merge(
            keys=grain,
            columns=[name for name in source.columns if name != c.DELETED],
            delete_when=f"s.{c.DELETED}",
            update_when=f"NOT s.{c.DELETED}",
            insert_when=f"NOT s.{c.DELETED}",
        )
        is_small = total <= self.small_batch_rows
        version = engine.merge(self.table, source.toArrow() if is_small else source, clauses, commit_for(entry, moved))
        return StepOutcome(entry, version)


def _difference(new: DataFrame, old: DataFrame, grain: Sequence[str]) -> DataFrame:
    """The rows of `new` that `old` lacks or has otherwise, and those of `old` that vanished, as `_deleted`.

    Columns out: those of `new`, `_deleted` BOOLEAN. Rows whose grain has a null belong to no row of the table.
    """
    named = reduce(Column.__and__, (F.col(name).isNotNull() for name in grain))
    rest = F.struct(*(F.col(name) for name in new.columns))
    left = new.where(named).select(*grain, rest.alias(_NEW))
    right = old.select(*grain, rest.alias(_OLD))
    joined = left.join(right, list(grain), "full_outer").where(~F.col(_NEW).eqNullSafe(F.col(_OLD)))
    row = F.coalesce(F.col(_NEW), F.col(_OLD))
    return joined.select(*(row[name].alias(name) for name in new.columns), F.col(_NEW).isNull().alias(c.DELETED))
