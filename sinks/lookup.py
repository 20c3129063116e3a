"""Rows of a table by key or by a range, read by the driver: of each file only what may be asked for.

Files are told apart by the statistics in the log, and rows by the key's column alone before the others are read. Arrow
could do both from delta-rs's dataset, but after a MERGE that compares statistics held as string views with columns
that are strings, which Arrow refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable
from pyarrow import fs
from pyspark.sql.types import StructType

from checkpoints.lake import filesystem_of
from schemas.arrow_values import arrow_type
from schemas.errors import SluiceError
from sinks.plain import plain


def read(table: DeltaTable, columns: Sequence[str]) -> pa.Table:
    """These columns of all rows."""
    return _read(table, columns, _fragments(table, None))


class MoreRows(SluiceError):
    """More rows have the keys than were asked for."""

    def __init__(self, most: int) -> None:
        super().__init__(f"More than {most} rows have the keys.")


def of_keys(
    table: DeltaTable,
    columns: Sequence[str],
    key: str,
    keys: pa.Array,
    *,
    or_null: bool = False,
    most: int | None = None,
) -> pa.Table:
    """These columns of the rows whose `key` is one of `keys`, or null where `or_null` says so.

    Raises MoreRows where there are more than `most`, of which no more are read then.
    """
    found = pc.min_max(keys)
    files = _overlapping(table, key, found["min"], found["max"], or_null=or_null)
    wanted = keys.cast(arrow_type(_columns(table)[key].dataType))
    return _read(table, columns, _fragments(table, files), key, wanted, or_null=or_null, most=most)


def without_key(table: DeltaTable, columns: Sequence[str], key: str) -> pa.Table:
    """These columns of the rows whose `key` is null."""
    kind = arrow_type(_columns(table)[key].dataType)
    return of_keys(table, columns, key, pa.array([], kind), or_null=True)


def between(table: DeltaTable, columns: Sequence[str], field: str, least: int, most: int) -> pa.Table:
    """These columns of the files that may hold a value of a number `field`, a path, from `least` to `most`."""
    files = _overlapping(table, field, pa.scalar(least), pa.scalar(most), or_null=False)
    return _read(table, columns, _fragments(table, files))


def may_hold_less(table: DeltaTable, field: str, limit: pa.Scalar) -> bool:
    """Whether a file may have a value of `field` up to `limit`; only the log's statistics are read."""
    files = _up_to(table, field, limit, or_null=False)
    return files is None or bool(files)


def each_less(table: DeltaTable, columns: Sequence[str], field: str, limit: pa.Scalar) -> Iterator[pa.Table]:
    """These columns of the rows whose `field` is less than `limit` or null, file by file."""
    for fragment in _fragments(table, _up_to(table, field, limit, or_null=True)):
        schema = pa.schema(list(arrow_type(_columns(table))))
        rows = plain(fragment.to_table(schema=schema, columns=list(columns)))
        yield rows.filter(pc.fill_null(pc.less(rows[field], limit), fill_value=True))


def _up_to(table: DeltaTable, field: str, limit: pa.Scalar, *, or_null: bool) -> set[str] | None:
    files = pa.table(table.get_add_actions(flatten=True))
    lowest = f"min.{field}"
    if lowest not in files.column_names:
        return None
    low, nulls = plain(files.select([lowest]))[0], files[f"null_count.{field}"]
    less = pc.fill_null(pc.less_equal(low, limit.cast(low.type)), fill_value=True)
    kept = pc.and_(less, pc.fill_null(pc.less(nulls, files["num_records"]), fill_value=True))
    if or_null:
        kept = pc.or_(kept, pc.fill_null(pc.greater(nulls, 0), fill_value=True))
    return {unquote(path) for path in files.filter(kept)["path"].cast(pa.string()).to_pylist()}


def _columns(table: DeltaTable) -> StructType:
    return StructType.fromJson(json.loads(table.schema().to_json()))


def _overlapping(table: DeltaTable, field: str, least: pa.Scalar, most: pa.Scalar, *, or_null: bool) -> set[str] | None:
    """The files that may have such a value; None where the log does not say."""
    files = pa.table(table.get_add_actions(flatten=True))
    if not {f"min.{field}", f"max.{field}", f"null_count.{field}"} <= set(files.column_names):
        return None
    if least.is_valid:
        low, high = (plain(files.select([f"{end}.{field}"]))[0] for end in ("min", "max"))
        apart = pc.or_(pc.less(high, least.cast(high.type)), pc.greater(low, most.cast(low.type)))
    else:
        apart = pa.chunked_array([pa.repeat(pa.scalar(True), files.num_rows)])
    if or_null:
        apart = pc.and_(apart, pc.equal(files[f"null_count.{field}"], 0))
    kept = files.filter(pc.invert(pc.fill_null(apart, fill_value=False)))
    return {unquote(path) for path in kept["path"].cast(pa.string()).to_pylist()}


def _fragments(table: DeltaTable, files: set[str] | None) -> Iterator[ds.Fragment]:
    filesystem, root = filesystem_of(table.table_uri)
    # delta-rs's own file system is made of Python: a thread of Arrow that is in it when the process ends aborts that.
    dataset = table.to_pyarrow_dataset(filesystem=fs.SubTreeFileSystem(root, filesystem))
    for fragment in dataset.get_fragments():
        if files is None or unquote(fragment.path) in files:
            yield fragment


def _read(
    table: DeltaTable,
    columns: Sequence[str],
    fragments: Iterator[ds.Fragment],
    key: str = "",
    keys: pa.Array | None = None,
    *,
    or_null: bool = False,
    most: int | None = None,
) -> pa.Table:
    schema = pa.schema(list(arrow_type(_columns(table))))
    found = [pa.schema([schema.field(name) for name in columns]).empty_table()]
    for fragment in fragments:
        if keys is None:
            found.append(fragment.to_table(schema=schema, columns=list(columns)))
            continue
        column = fragment.to_table(schema=schema, columns=[key])[key]
        mask = pc.is_in(column, value_set=keys)
        if or_null:
            mask = pc.or_(mask, pc.is_null(column))
        if pc.any(mask).as_py():
            found.append(fragment.to_table(schema=schema, columns=list(columns)).filter(mask))
            if most is not None and sum(one.num_rows for one in found) > most:
                raise MoreRows(most)
    return plain(pa.concat_tables(found))
