"""Rows of a table by key or by a range, read by the driver: of each file only what may be asked for.

Files are told apart by the statistics in the log, and rows by the key's column alone before the others are read. Arrow
could do both from delta-rs's dataset, but that is made anew for each version of a table, of all files with all of their
statistics (0.1 s for 365 files), and after a MERGE it compares statistics held as string views with columns that are
strings, which Arrow refuses.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaProtocolError
from pyspark.sql.types import StructType

from checkpoints.lake import filesystem_of
from schemas.arrow_values import arrow_type
from schemas.errors import SluiceError
from sinks.plain import plain

_NOT_READ = frozenset({"deletionVectors", "columnMapping", "variantType", "typeWidening"})


class MoreRows(SluiceError):
    """More rows have the keys than were asked for."""

    def __init__(self, most: int) -> None:
        super().__init__(f"More than {most} rows have the keys.")


def read(table: DeltaTable, columns: Sequence[str]) -> pa.Table:
    """These columns of all rows."""
    files = _Files(table)
    return _read(files, columns, files.all())


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
    files = _Files(table)
    wanted = keys.cast(files.schema.field(key).type)
    kept = files.having(key, wanted, or_null=or_null)
    return _read(files, columns, kept, key, wanted, or_null=or_null, most=most)


def without_key(table: DeltaTable, columns: Sequence[str], key: str) -> pa.Table:
    """These columns of the rows whose `key` is null."""
    return of_keys(table, columns, key, pa.array([], _Files(table).schema.field(key).type), or_null=True)


def between(table: DeltaTable, columns: Sequence[str], field: str, least: int, most: int) -> pa.Table:
    """These columns of the files that may hold a value of a number `field`, a path, from `least` to `most`."""
    files = _Files(table)
    return _read(files, columns, files.between(field, least, most))


def may_hold_less(table: DeltaTable, field: str, limit: pa.Scalar) -> bool:
    """Whether a file may have a value of `field` up to `limit`; only the log's statistics are read."""
    return bool(_Files(table).up_to(field, limit, or_null=False))


def each_less(table: DeltaTable, columns: Sequence[str], field: str, limit: pa.Scalar) -> Iterator[pa.Table]:
    """These columns of the rows whose `field` is less than `limit` or null, file by file."""
    files = _Files(table)
    for number in files.up_to(field, limit, or_null=True):
        rows = plain(files.read(number, columns))
        yield rows.filter(pc.fill_null(pc.less(rows[field], limit), fill_value=True))


@dataclass(frozen=True)
class _Files:
    """The data files of a table at its version, by their numbers; raises DeltaProtocolError where rows of them are not.

    A file that the log tells nothing of is always among those that may have something.
    """

    table: DeltaTable

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns of the table."""
        return pa.schema(list(arrow_type(StructType.fromJson(json.loads(self.table.schema().to_json())))))

    @cached_property
    def log(self) -> pa.Table:
        """What the log has of each: its path, its number of rows, and statistics, a column each."""
        if not_read := _NOT_READ.intersection(self.table.protocol().reader_features or ()):
            raise DeltaProtocolError(f"The table has {', '.join(sorted(not_read))}: the driver can not read it.")
        return plain(pa.table(self.table.get_add_actions(flatten=True)))

    @cached_property
    def paths(self) -> list[str]:
        """Where they lie, below the table's folder."""
        return [unquote(path) for path in self.log["path"].to_pylist()]

    def all(self) -> list[int]:
        """All of them."""
        return list(range(self.log.num_rows))

    def having(self, field: str, keys: pa.Array, *, or_null: bool) -> list[int]:
        """Those that may have one of the keys, or null where `or_null` says so."""
        bounds = self._bounds(field)
        if bounds is None or pa.types.is_floating(keys.type):  # no order has a place for NaN
            return self.all()
        values = sorted(_comparable(keys.drop_null()))
        low, high, nulls = (_comparable(one) for one in bounds)
        kept = []
        for number, (least, most, without) in enumerate(zip(low, high, nulls, strict=True)):
            may_lack = without is None or without > 0
            if least is None or most is None:
                # Without a value at all, or without a word of the log about them.
                has = bool(values) and without != self.log["num_records"][number].as_py()
            else:
                place = bisect_left(values, least)
                has = place < len(values) and values[place] <= most
            if has or (or_null and may_lack):
                kept.append(number)
        return kept

    def between(self, field: str, least: int, most: int) -> list[int]:
        """Those that may have a value from `least` to `most`."""
        if (bounds := self._bounds(field)) is None:
            return self.all()
        low, high = (one.to_pylist() for one in bounds[:2])
        apart = [end is not None and (end < least or start > most) for start, end in zip(low, high, strict=True)]
        return [number for number in self.all() if not apart[number]]

    def up_to(self, field: str, limit: pa.Scalar, *, or_null: bool) -> list[int]:
        """Those that may have a value up to `limit`, or null where `or_null` says so."""
        if (bounds := self._bounds(field)) is None:
            return self.all()
        low, _, nulls = bounds
        less = pc.fill_null(pc.less_equal(low, limit.cast(low.type)), fill_value=True)
        kept = pc.and_(less, pc.fill_null(pc.less(nulls, self.log["num_records"]), fill_value=True))
        if or_null:
            kept = pc.or_(kept, pc.fill_null(pc.greater(nulls, 0), fill_value=True))
        return [number for number, is_kept in enumerate(kept.to_pylist()) if is_kept]

    def _bounds(self, field: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.ChunkedArray] | None:
        """The least and the greatest value of a path in each file, and the number of nulls; None where none is told."""
        if (value := self._partitions.get(field)) is not None:
            nulls = pc.if_else(pc.is_null(value), self.log["num_records"], pa.scalar(0, pa.int64()))
            return value, value, nulls
        names = [f"{what}.{field}" for what in ("min", "max", "null_count")]
        if not set(names) <= set(self.log.column_names):
            return None
        low, high, nulls = (self.log[name] for name in names)
        return low, high, nulls

    @cached_property
    def _partitions(self) -> dict[str, pa.ChunkedArray]:
        """The values of the partition columns, which are not in the files."""
        names = self.table.metadata().partition_columns
        return {name: self.log[f"partition.{name}"] for name in names}

    @cached_property
    def _place(self) -> tuple[Any, str]:
        filesystem, root = filesystem_of(self.table.table_uri)
        return filesystem, root.rstrip("/")

    def read(self, number: int, columns: Sequence[str]) -> pa.Table:
        """Columns of one file, those that it lacks as nulls."""
        filesystem, root = self._place
        values = {name: self._partitions[name][number] for name in columns if name in self._partitions}
        # delta-rs's own file system is made of Python: a thread of Arrow that is in it when the process ends aborts it.
        fragment = ds.ParquetFileFormat().make_fragment(f"{root}/{self.paths[number]}", filesystem)
        rows = fragment.to_table(schema=self.schema, columns=list(columns))
        for name, value in values.items():
            at, field = rows.schema.get_field_index(name), self.schema.field(name)
            rows = rows.set_column(at, field, pa.repeat(value.cast(field.type), rows.num_rows))
        return rows


def _comparable(values: pa.Array | pa.ChunkedArray) -> list[Any]:
    """As values of Python's, times and dates as counts: its own end with the year 9999."""
    if pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    elif pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64())
    return list(values.to_pylist())


def _read(
    files: _Files,
    columns: Sequence[str],
    kept: Sequence[int],
    key: str = "",
    keys: pa.Array | None = None,
    *,
    or_null: bool = False,
    most: int | None = None,
) -> pa.Table:
    found = [pa.schema([files.schema.field(name) for name in columns]).empty_table()]
    count = 0
    for number in kept:
        if keys is None:
            found.append(files.read(number, columns))
            continue
        column = files.read(number, [key])[key]
        mask = pc.is_in(column, value_set=keys)
        if or_null:
            mask = pc.or_(mask, pc.is_null(column))
        if pc.any(mask).as_py():
            found.append(files.read(number, columns).filter(mask))
            count += found[-1].num_rows
            if most is not None and count > most:
                raise MoreRows(most)
    return plain(pa.concat_tables(found))
