"""Changes that may be older than a tombstone that was collected: whether they are is told by bronze's history.

A change above the collected mark (sinks/tombstones.py) needs no tombstone that is gone. One below it is late by more
than the horizon, or the first of its key to come. It is looked up only where the table itself does not tell: a
tombstone is the newest deletion of its key, a row at or before the change stands above all of them, and a row after it
that is older in no column takes nothing from it. A row that is older in some columns, or not there, tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas import columns as c
from sinks.table import Table
from streams.change_sql import TRUNCATED, VIOLATIONS
from streams.compute import Compute, InSpark, Rows

Deletions: TypeAlias = Callable[[Rows], Rows]
"""Of keys, the newest deletion of each that bronze has: the keys and `_sequence`, in the place that the keys are in."""

_CHANGES, _TOMBSTONES, _MARK, _FLOOR, _LATE, _TABLE, _RESOLVED = (
    "changes",
    "tombstones",
    "collected_mark",
    "floors",
    "late_changes",
    "existing",
    "resolved",
)


def with_collected(
    compute: Compute,
    changes: Rows,
    tombstones: Rows,
    bounds: tuple[pa.Table, pa.Table],
    table: Table,
    keys: Sequence[str],
    deletions: Deletions,
) -> Rows:
    """The tombstones, and with them those that were collected of keys whose changes need them: keys, `_sequence`.

    `bounds` are the collected mark and the newest floor, a row with `_sequence` each, none where there is no floor.
    """
    d = compute.dialect
    mark, floor = bounds
    names = d.names(keys)
    tombstone, row = (" AND ".join(f"c.{d.name(key)} = {of}.{d.name(key)}" for key in keys) for of in "tr")
    above = f"AND NOT EXISTS (SELECT 1 FROM {_FLOOR} f WHERE c.{c.SEQUENCE} <= f.{c.SEQUENCE})"
    late = compute.sql(
        f"SELECT {d.names([*keys, c.SEQUENCE], 'c')} FROM {_CHANGES} c CROSS JOIN {_MARK} m "
        f"{d.anti_join} {_TOMBSTONES} t ON {tombstone} "
        f"WHERE NOT c.{TRUNCATED} AND c.{VIOLATIONS} IS NULL AND c.{c.SEQUENCE} < m.{c.SEQUENCE} {above}",
        {_CHANGES: changes, _MARK: mark, _FLOOR: floor, _TOMBSTONES: tombstones},
    )
    if isinstance(late, pa.Table) and not late.num_rows:
        return tombstones
    told = f"r.{c.SEQUENCE} <= c.{c.SEQUENCE} OR r.{c.COLUMN_SEQUENCES} IS NULL"
    wanted = compute.sql(
        f"SELECT DISTINCT {d.names(keys, 'c')} FROM {_LATE} c {d.anti_join} {_TABLE} r ON {row} AND ({told})",
        {_LATE: late, _TABLE: _existing(compute, late, table, keys)},
    )
    if isinstance(wanted, pa.Table) and not wanted.num_rows:
        return tombstones
    resolved = deletions(wanted)
    return compute.sql(
        f"SELECT {names}, {c.SEQUENCE} FROM {_TOMBSTONES} UNION ALL SELECT {names}, {c.SEQUENCE} FROM {_RESOLVED}",
        {_TOMBSTONES: tombstones, _RESOLVED: resolved},
    )


def may_be_late(least: Mapping[str, Any] | None, collected: Mapping[str, Any] | None) -> bool:
    """Whether changes of which `least` is the least `_sequence` may be below the collected mark."""
    return least is not None and collected is not None and tuple(least.values()) < tuple(collected.values())


def _existing(compute: Compute, late: Rows, table: Table, keys: Sequence[str]) -> Rows:
    columns = [*keys, c.SEQUENCE, c.COLUMN_SEQUENCES]
    if isinstance(compute, InSpark):
        return table.read(compute.spark).select(*columns)
    return table.of_keys(columns, keys[0], cast(pa.Table, late)[keys[0]].combine_chunks().unique())


def newest_deletions(changes: DataFrame, wanted: DataFrame, keys: Sequence[str]) -> DataFrame:
    """The newest deletion of each key in `wanted` among changes: the keys and `_sequence`."""
    found = changes.where(f"{c.DELETED} AND NOT {TRUNCATED} AND {VIOLATIONS} IS NULL")
    return found.join(wanted, list(keys), "left_semi").groupBy(*keys).agg(F.max(c.SEQUENCE).alias(c.SEQUENCE))
