"""The newest rows of a table, read file by file: a bounded look at what came lately, without Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyspark.sql.types import DataType, StringType

from checkpoints.lake import Lake
from schemas.arrow_values import arrow_type
from sinks.table import Table

_PIECE_ROWS = 1_000


def recent_rows(lake: Lake, table: Table, columns: Sequence[str], most: int) -> Iterator[list[dict[str, Any]]]:
    """Up to `most` rows in pieces of some hundreds, from the file that was written last on back.

    Of a file that has more the last are taken. A row is a dict of Python's values, without the columns that its file
    lacks: they came later. Rows that a deletion vector hides are left out, and so is a file that is gone or damaged:
    those are for an audit to name.
    """
    handle = DeltaTable(table.path)
    actions = pa.table(handle.get_add_actions())
    hidden = _hidden(handle)
    filesystem, root = lake.filesystem(table.path)
    kinds = {field.name: field.dataType for field in table.schema().fields if field.name in columns}
    files = actions.sort_by([("modification_time", "descending"), ("path", "descending")]).to_pylist()
    left = most
    for file in files:
        if left <= 0:
            return
        path = unquote(file["path"])
        kept = next((mask for place, mask in hidden.items() if place.endswith(path)), None)
        partition = file.get("partition") or {}
        named = {name: _value(value, kinds[name]) for name, value in partition.items() if name in kinds}
        place = urlsplit(path).path if "://" in path else f"{root}/{path}"
        try:
            with filesystem.open_input_file(place) as source, pq.ParquetFile(source) as parquet:
                for piece in _rows(parquet, list(kinds), kept, left):
                    left -= len(piece)
                    yield [{**row, **named} for row in piece]
        except (FileNotFoundError, pa.ArrowInvalid):
            continue


def _rows(
    parquet: pq.ParquetFile, columns: list[str], kept: pa.BooleanArray | None, most: int
) -> Iterator[list[dict[str, Any]]]:
    """The last rows of a file; those that are passed over are not made into values."""
    present = [name for name in columns if name in parquet.schema_arrow.names]
    total = parquet.metadata.num_rows if kept is None else kept.true_count
    at, passed = 0, 0
    for batch in parquet.iter_batches(_PIECE_ROWS, columns=present, use_threads=False):
        piece = batch if kept is None else batch.filter(kept.slice(at, batch.num_rows))
        at += batch.num_rows
        over = min(max(total - most - passed, 0), piece.num_rows)
        passed += piece.num_rows
        if rows := piece.slice(over).to_pylist():
            yield rows


def _hidden(handle: DeltaTable) -> dict[str, pa.BooleanArray]:
    """File -> which of its rows count, of those with a deletion vector."""
    found = pa.table(handle.deletion_vectors())
    places = [unquote(str(place)) for place in found["filepath"].to_pylist()]
    return dict(zip(places, (pa.array(mask.values) for mask in found["selection_vector"]), strict=True))


def _value(value: Any, kind: DataType) -> Any:
    """A partition's value, which the log may have as text, as the column has it."""
    if not isinstance(value, str) or isinstance(kind, StringType):
        return value
    return pa.scalar(value).cast(arrow_type(kind)).as_py()
