"""The rows of a table at a version, a batch at a time, in the driver: without Spark, and never all of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

_TABLE = "scanned"
_PLAIN = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


def scan(table: DeltaTable, columns: Sequence[str], where: str = "TRUE") -> Iterator[pa.RecordBatch]:
    """The columns of the rows for which `where` holds, which is SQL of DataFusion; their order is not told.

    Files are left out by their statistics where `where` lets them; rows behind a deletion vector do not come.
    """
    named = ", ".join(quoted(name) for name in columns)
    query = QueryBuilder().register(_TABLE, table).execute(f"SELECT {named} FROM {_TABLE} WHERE {where}")  # noqa: S608
    for batch in pa.RecordBatchReader.from_stream(query):
        # Arrow can not filter views yet, which is what texts come as.
        arrays = [column.cast(_PLAIN.get(column.type, column.type)) for column in batch.columns]
        yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def quoted(column: str) -> str:
    """A column's name as SQL has it."""
    return '"' + column.replace('"', '""') + '"'
