"""The versions of a key from its changes: SCD2 as one window computation, the same for any order of arrival."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas import columns as c
from schemas.spec import Scd2Spec

BEGINNING = "0001-01-01 00:00:00"
"""Where the first version of a key starts, unless its spec says otherwise: earlier than any event."""

_AT, _RANK, _TRACKED, _STARTS, _VERSION = "__at", "__rank", "__tracked", "__starts", "__version"


def tracked_columns(spec: Scd2Spec, columns: list[str]) -> list[str]:
    """The columns whose change makes a new version."""
    own = [name for name in columns if name not in (*spec.keys, *c.INGEST_METADATA, c.SEQUENCE, c.DELETED)]
    if spec.track_history_column_list is not None:
        return list(spec.track_history_column_list)
    return [name for name in own if name not in (spec.track_history_except_column_list or ())]


def versions(changes: DataFrame, truncates: DataFrame, spec: Scd2Spec) -> DataFrame:
    """The versions of every key in `changes`.

    A version starts at a change of a tracked column (NULL-safe), at the first change, and at the first after a
    deletion; it ends where the next one starts, or at a deletion. Columns that are not tracked take their newest
    value within the version. `truncates` are deletions of every key.

    `valid_from` is the declared timestamp, made to grow with the position: a change that claims a time not after its
    predecessor's starts a microsecond after it, so no two versions of a key start together.

    Columns in: a history's. Columns out: the keys, the history's other columns, `valid_from` TIMESTAMP (inclusive),
    `valid_to` TIMESTAMP (exclusive; null while open), `is_current` BOOLEAN.
    """
    own = [name for name in changes.columns if name not in (*spec.keys, *c.INGEST_METADATA, c.SEQUENCE, c.DELETED)]
    tracked = F.struct(*(F.col(name) for name in tracked_columns(spec, changes.columns)))
    per_key = Window.partitionBy(*spec.keys).orderBy(c.SEQUENCE)
    so_far = per_key.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ordered = changes.select(*spec.keys, *own, c.SEQUENCE, c.DELETED).transform(_with_truncates, truncates, spec)
    timed = ordered.withColumn(_RANK, F.row_number().over(per_key)).withColumn(
        _AT, F.max(F.unix_micros(F.col(spec.valid_from)) - F.col(_RANK)).over(so_far) + F.col(_RANK)
    )
    before = F.lag(F.when(~F.col(c.DELETED), F.col(_TRACKED))).over(per_key)
    numbered = (
        timed.withColumn(_TRACKED, tracked)
        .withColumn(_STARTS, F.col(c.DELETED) | ~F.col(_TRACKED).eqNullSafe(before))
        .withColumn(_VERSION, F.count_if(F.col(_STARTS)).over(so_far))
    )
    newest = F.max_by(F.struct(*own), F.col(c.SEQUENCE)).alias("newest")
    spans = numbered.groupBy(*spec.keys, _VERSION).agg(
        F.min(_AT).alias(_AT), F.bool_or(c.DELETED).alias(c.DELETED), newest
    )
    by_version = Window.partitionBy(*spec.keys).orderBy(_VERSION)
    ends = spans.withColumn("valid_to", F.timestamp_micros(F.lead(_AT).over(by_version))).withColumn(
        _RANK, F.row_number().over(by_version)
    )
    return ends.where(~F.col(c.DELETED)).select(
        *spec.keys,
        *(F.col("newest")[name].alias(name) for name in own),
        _valid_from(spec).alias("valid_from"),
        "valid_to",
        F.col("valid_to").isNull().alias("is_current"),
    )


def _valid_from(spec: Scd2Spec) -> Column:
    start = F.timestamp_micros(F.col(_AT))
    if spec.first_version == "valid_from":
        return start
    return F.when(F.col(_RANK) == 1, F.to_timestamp(F.lit(BEGINNING))).otherwise(start)


def _with_truncates(changes: DataFrame, truncates: DataFrame, spec: Scd2Spec) -> DataFrame:
    """Each TRUNCATE as a deletion of each key: truncates are few, and most histories have none."""
    if truncates.isEmpty():
        return changes
    keys = changes.select(*spec.keys).distinct()
    ends = truncates.select(*(name for name in changes.columns if name not in spec.keys))
    return changes.unionByName(keys.crossJoin(F.broadcast(ends)))
