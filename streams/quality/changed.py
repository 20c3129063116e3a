"""What changed in a table between two versions: the rows as they stand now, each once."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import SparkSession

from schemas import columns as c
from schemas.spec import DerivedSpec, HistorySpec, Scd2Spec, TableSpec
from schemas.table_columns import VALID_FROM
from sinks.table import CHANGE_TYPE, COMMIT_VERSION, Table
from streams.compute import Compute, InDriver, InSpark, Rows
from streams.steps import CREATED

_FEED = "feed_rows"


def grain_of(spec: TableSpec) -> tuple[str, ...]:
    """The columns that tell the rows of a table apart."""
    match spec:
        case DerivedSpec():
            return spec.grain
        case HistorySpec():
            return (*spec.keys, c.SEQUENCE)
        case Scd2Spec():
            return (*spec.keys, VALID_FROM)
    return spec.keys


def changed_rows(
    spark: SparkSession, table: Table, spec: TableSpec, columns: Sequence[str], after: int, to: int, few_rows: int
) -> tuple[Compute, Rows]:
    """These columns of the rows that changed after one version, as they stand at another; and where to judge them.

    All rows of a table that was never judged. Of a history not the deletions, and not the changes that tell only a part
    of their row: what they do not tell is null there.
    """
    compute: Compute
    is_history = isinstance(spec, HistorySpec)
    told = f"NOT {c.DELETED} AND {c.UNKNOWN} IS NULL" if is_history else "TRUE"
    if after == CREATED:
        count = table.rows_at(to)
        read = [*dict.fromkeys([*columns, *((c.DELETED, c.UNKNOWN) if is_history else ())])]
        rows: Rows
        if count is not None and count <= few_rows:
            compute, rows = InDriver(), table.to_arrow(read, to)
        else:
            compute, rows = InSpark(spark), table.read(spark, to)
        return compute, compute.sql(f"SELECT {compute.dialect.names(columns)} FROM {_FEED} WHERE {told}", {_FEED: rows})
    feed = table.changes(spark, after + 1, to, few_rows, versions=True).rows
    compute = InDriver() if isinstance(feed, pa.Table) else InSpark(spark)
    grain, newest = compute.dialect.names(grain_of(spec)), f"{COMMIT_VERSION} DESC, {CHANGE_TYPE} = 'delete'"
    text = (
        f"SELECT {compute.dialect.names(columns)} FROM ("
        f"SELECT *, row_number() OVER (PARTITION BY {grain} ORDER BY {newest}) AS __place FROM {_FEED} "
        f"WHERE {CHANGE_TYPE} <> 'update_preimage') WHERE __place = 1 AND {CHANGE_TYPE} <> 'delete' AND {told}"
    )
    return compute, compute.sql(text, {_FEED: feed})
