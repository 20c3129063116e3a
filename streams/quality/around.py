"""What rules ask beside the rows that changed, read from the lake: of other rows only those with the same values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import pyarrow as pa
from pyspark.sql import functions as F

from schemas.quality.stream_rules import BatchDrift, ReferentialIntegrity
from sinks.table import Table
from streams.compute import Compute, InDriver, InSpark, Rows


@dataclass(frozen=True)
class TableAt:
    """A table as of a version; `others` are those that it refers to, as of their newest.

    `is_whole` says that the rows that are judged are all of the table's.
    """

    table: Table
    version: int
    clock: datetime
    others: Mapping[str, Table]
    is_whole: bool
    observed_before: Callable[[BatchDrift], list[float]]

    def like(self, compute: Compute, rows: Rows, columns: Sequence[str], read: Sequence[str]) -> Rows:
        """Columns `read` of the table's rows with the values of `rows` in the first of `columns`."""
        if self.is_whole:
            return rows.select(list(read)) if isinstance(rows, pa.Table) else rows.select(*read)
        return _with_values(compute, self.table, self.version, read, columns[0], rows, columns[0])

    def referenced(self, compute: Compute, rows: Rows, rule: ReferentialIntegrity) -> Rows:
        """The columns that a rule refers to, of the other table's rows with the values of the first column."""
        other = self.others[rule.to_table]
        return _with_values(compute, other, None, rule.to_columns, rule.to_columns[0], rows, rule.columns[0])

    def all_rows(self, compute: Compute, columns: Sequence[str]) -> Rows:
        """These columns of all rows of the table."""
        if isinstance(compute, InSpark):
            return self.table.read(compute.spark, self.version).select(*columns)
        return self.table.to_arrow(columns, self.version)

    def row_count(self) -> int | None:
        """How many rows the table has, as its log says."""
        return self.table.rows_at(self.version)

    def newest(self, column: str) -> datetime | None:
        """The greatest value of a timestamp or a date in the table, as its log says."""
        found = self.table.greatest(column, self.version)
        if isinstance(found, datetime):
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        return datetime.combine(found, time(), UTC) if isinstance(found, date) else None

    def before(self, rule: BatchDrift) -> list[float]:
        """What was observed of the batches before, newest first."""
        return self.observed_before(rule)


def _with_values(
    compute: Compute,
    table: Table,
    version: int | None,
    read: Sequence[str],
    column: str,
    rows: Rows,
    of: str,
) -> Rows:
    """Columns `read` of the rows of `table` whose `column` has one of the values of `rows` in `of`."""
    names = list(dict.fromkeys([column, *read]))
    if isinstance(compute, InSpark):
        values = compute.of(rows).select(F.col(of).alias("__value")).distinct()
        target = table.read(compute.spark, version).select(*names)
        return target.join(values, target[column].eqNullSafe(values["__value"]), "left_semi")
    found = InDriver().of(rows)[of].combine_chunks()
    values_in_driver = found.drop_null().unique()
    return table.of_keys(names, column, values_in_driver, version, or_null=bool(found.null_count))
