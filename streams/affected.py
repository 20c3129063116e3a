"""Affected rows: from what changed upstream to a restriction that both a query and its table can be read under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DoubleType,
    FloatType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from sinks.table import Feed

# What Spark takes to plan grows with the alternatives; what was measured is in gold-through-the-feed.md.
_MOST_BRANCHES = 32

# Brought through Python's local time, or compared as something else than they are: left to a join.
_NOT_CONSTANT = (TimestampType, TimestampNTZType, FloatType, DoubleType, BinaryType, StructType, ArrayType)


@dataclass(frozen=True)
class KeySet:
    """Values of some columns of a derived table; `frame` has those columns, each combination once.

    `literals` holds the same values where they are few, so that they can be pushed down to files as constants.
    """

    columns: tuple[str, ...]
    frame: DataFrame
    literals: tuple[tuple[object, ...], ...] | None

    @classmethod
    def of(cls, feed: Feed, mapping: Mapping[str, str], pushdown_keys: int) -> KeySet:
        """The keys in a change feed, old images and new ones; `mapping` is upstream column -> column here."""
        names = tuple(mapping.values())
        if isinstance(feed.rows, pa.Table):
            columns = list(mapping)
            distinct = feed.rows.select(columns).group_by(columns).aggregate([]).rename_columns(names)
            frame, count = feed.spark.createDataFrame(distinct), distinct.num_rows
        else:
            frame = feed.rows.select(*(F.col(ours).alias(theirs) for ours, theirs in mapping.items())).distinct()
            # One row more than may be pushed down tells whether there are more; never the whole set.
            distinct = frame.limit(pushdown_keys + 1).toArrow()
            count = distinct.num_rows
        is_constant = not any(isinstance(field.dataType, _NOT_CONSTANT) for field in frame.schema.fields)
        if count > pushdown_keys or not is_constant:
            return cls(names, frame, None)
        found = cls(names, frame, tuple(tuple(row[name] for name in names) for row in distinct.to_pylist()))
        return found if len(found._branches()) <= _MOST_BRANCHES else cls(names, frame, None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is affected by it."""
        return self.literals == ()

    def condition(self) -> Column | None:
        """The restriction as a condition over constants; None where there are too many of them."""
        if self.literals is None:
            return None
        branches = (
            reduce(
                Column.__and__,
                (F.col(name).eqNullSafe(F.lit(value)) for name, value in zip(self._fixed, fixed, strict=True)),
                _is_one_of(self._free, values),
            )
            for fixed, values in self._branches().items()
        )
        return reduce(Column.__or__, branches)

    @property
    def _free(self) -> str:
        """The column with the most values: those are listed, for each combination of the others."""
        rows = self.literals or ()
        counts = [len({row[index] for row in rows}) for index in range(len(self.columns))]
        return self.columns[counts.index(max(counts))]

    @property
    def _fixed(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name != self._free)

    def _branches(self) -> dict[tuple[object, ...], list[object]]:
        """The values of the free column by those of the others."""
        at = self.columns.index(self._free)
        found: dict[tuple[object, ...], list[object]] = {}
        for row in self.literals or ():
            found.setdefault((*row[:at], *row[at + 1 :]), []).append(row[at])
        return found

    def semi_join(self, rows: DataFrame) -> DataFrame:
        """The rows that have one of the keys."""
        keys = self.frame.select(*(F.col(name).alias(f"__key_{name}") for name in self.columns))
        on = [rows[name].eqNullSafe(F.col(f"__key_{name}")) for name in self.columns]
        return rows.join(keys, reduce(Column.__and__, on), "left_semi")


def _is_one_of(column: str, values: Sequence[object]) -> Column:
    known = [value for value in values if value is not None]
    found = F.col(column).isin(known)
    return found | F.col(column).isNull() if len(known) < len(values) else found


def restricted(rows: DataFrame, keys: Sequence[KeySet], grain: Sequence[str]) -> DataFrame:
    """The rows that any of the key sets touches, each once.

    Few keys become one condition over constants, which the optimiser brings down to the files; many become semi-joins.
    """
    conditions = [condition for one in keys if (condition := one.condition()) is not None]
    if len(conditions) == len(keys):
        return rows.where(reduce(Column.__or__, conditions))
    if len(keys) == 1:
        return keys[0].semi_join(rows)
    return reduce(DataFrame.unionByName, (one.semi_join(rows) for one in keys)).dropDuplicates(list(grain))
