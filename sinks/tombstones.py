"""What was deleted from a table of current rows, and where in the source's order: so that nothing late comes back.

Kept in a Delta table of its own beside the lake's layers, `<root>/_tombstones/<layer>/<table>`, which no reader of the
table and no change feed sees. Each deleted key has a row with the `_sequence` of its newest deletion; a row without
a key is a floor, below which every key is gone: a TRUNCATE, or the end of a snapshot.

A tombstone only ever moves forward, so that to write it again is harmless, and it is written before the table's own
commit: a crash between the two leaves a tombstone for a change that is still to come, and that change passes it.
Each commit says how far the table was then, so that a rewind finds those of an old version without asking the clock.

Old ones are collected. What is left of them is the collected mark, the greatest `_sequence` among all that ever were: a
row without a key and without a time. A change above it needs none of them; one below it may have lost its tombstone.
The mark moves in the commit that removes the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructField, StructType, TimestampType

from checkpoints.lake import Lake
from schemas import columns as c
from sinks import fence, lookup
from sinks.engine import owned
from sinks.table import Table, delta_schema

DELETED_AT = "_deleted_at"
"""The clock of the batch that brought the deletion, TIMESTAMP; null in the collected mark."""

_MOST_KEPT = 1_000_000
_STOOD = "table_version"


@dataclass(frozen=True)
class Bounds:
    """What holds for all keys, as values of `_sequence`: the newest floor and the collected mark, None without one."""

    floor: Mapping[str, Any] | None = None
    collected: Mapping[str, Any] | None = None


@dataclass
class _Sorted:
    """Tombstones that are old enough, told apart: how many go, the newest of them by key, and those that stay."""

    gone: int = 0
    marks: list[pa.Table] = field(default_factory=list)
    kept: list[pa.Table] = field(default_factory=list)

    @property
    def is_too_much(self) -> bool:
        """Whether so many stay that writing them anew costs more than it frees."""
        return sum(len(rows) for rows in self.kept) > _MOST_KEPT


class Tombstones:
    """The tombstones of one table; for whoever holds that table's lock."""

    def __init__(self, of: Table, lake: Lake, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.path = lake.tombstones(of.name)
        self._of, self._lake = of, lake
        self._table: DeltaTable | None = None

    def ensure(self, changes: StructType) -> None:
        """Create the table where it is missing; `changes` has the types of the keys and of `_sequence`."""
        if self.exists:
            return
        fields = [StructField(name, changes[name].dataType) for name in (*self.keys, c.SEQUENCE)]
        schema = StructType([*fields, StructField(DELETED_AT, TimestampType())])
        DeltaTable.create(
            self.path,
            schema=delta_schema(schema),
            configuration={"delta.enableExpiredLogCleanup": "true"},
            commit_properties=fence.created(self._lake),
        )

    @property
    def exists(self) -> bool:
        """Whether the table is there."""
        return self._table is not None or bool(DeltaTable.is_deltatable(self.path))

    def version_at(self, version: int, at: datetime) -> int | None:
        """The version with the tombstones that belong to a version of the table, which was committed `at`.

        None where the log does not reach back to it.
        """
        found = None
        for commit in self._handle().history():
            found = int(commit["version"])
            stood = _stood(commit)
            if stood is not None:
                if stood < version:
                    return found
            elif int(commit["timestamp"]) <= at.timestamp() * 1000:
                return found
        return found if found == 0 else None

    def restore(self, version: int) -> None:
        """Take the tombstones back to what they were at a version."""
        handle = self._handle()
        if version < handle.version():
            handle.restore(version, commit_properties=self._fenced(handle))

    def raise_fence(self) -> None:
        """Keep holders of the lease before this one from writing here."""
        if self._lake.token is not None and self.exists:
            fence.raise_to(self._handle(), self._lake.token, (), self._metadata())

    def of(self, rows: pa.Table) -> pa.Table:
        """Those of the keys in `rows`, and no floor."""
        wanted = rows[self.keys[0]].combine_chunks().drop_null().unique()
        return lookup.of_keys(self._handle(), [*self.keys, c.SEQUENCE], self.keys[0], wanted)

    def all(self, spark: SparkSession) -> DataFrame:
        """All of them, and no floor, for Spark."""
        return spark.read.format("delta").load(self.path).where(f"`{self.keys[0]}` IS NOT NULL")

    def bounds(self) -> Bounds:
        """The newest floor and the collected mark."""
        found = lookup.without_key(self._handle(), [c.SEQUENCE, DELETED_AT], self.keys[0])
        floors = found.filter(pc.is_valid(found[DELETED_AT]))
        return Bounds(_greatest(floors), _greatest(found.filter(pc.is_null(found[DELETED_AT]))))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever deleted."""
        return not self._handle().get_add_actions().num_rows

    def bury(self, deleted: pa.Table, clock: datetime) -> None:
        """Keep the newest deletion of each key; a row without keys is a floor."""
        if not deleted.num_rows:
            return
        rows = deleted.select([*self.keys, c.SEQUENCE]).append_column(
            DELETED_AT, pa.repeat(pa.scalar(clock, pa.timestamp("us", "UTC")), deleted.num_rows)
        )
        if self.is_empty:
            handle = self._handle()
            write_deltalake(handle, owned(rows), mode="append", commit_properties=self._fenced(handle))
            return
        names, handle = rows.column_names, self._handle()
        same = " AND ".join(f"t.{key} = s.{key}" for key in self.keys)
        (
            handle.merge(owned(rows), same, "s", "t", commit_properties=self._fenced(handle))
            .when_matched_update({name: f"s.{name}" for name in names}, f"s.{c.SEQUENCE} > t.{c.SEQUENCE}")
            .when_not_matched_insert({name: f"s.{name}" for name in names})
            .execute()
        )

    def collect(self, before: datetime, below: Mapping[str, Any] | None = None) -> int:
        """Remove tombstones from before this time, and how many; with `below`, only those of a lesser `_sequence`.

        Floors go as well where a newer one stands. One commit removes them and moves the mark; where nothing is old
        enough there is none, and only the log's statistics are read. Where a million old ones had to stay, nothing is
        done: they would be written anew each time.

        1. Sort what is old, file by file: only what stays is held.
        2. Write what stays, and the mark, in the place of all that is old.
        """
        limit = pa.scalar(before.astimezone(UTC), pa.timestamp("us", "UTC"))
        handle = self._handle()
        if self.is_empty or not lookup.may_hold_less(handle, DELETED_AT, limit):
            return 0
        # 1
        bounds = self.bounds()
        found = _Sorted()
        for rows in lookup.each_less(handle, [*self.keys, c.SEQUENCE, DELETED_AT], DELETED_AT, limit):
            self._sort(rows.filter(pc.is_valid(rows[DELETED_AT])), bounds, below, found)
            if found.is_too_much:
                return 0
        if not found.gone:
            return 0
        # 2
        marks = [_greatest(rows) for rows in found.marks] + [bounds.collected]
        newest = max((one for one in marks if one is not None), key=_order, default=None)
        mark = pa.Table.from_pylist([{c.SEQUENCE: newest}] if newest is not None else [], schema=found.kept[0].schema)
        rows = pa.concat_tables([*found.kept, mark])
        old = f"{DELETED_AT} IS NULL OR {DELETED_AT} < '{_literal(before)}'"
        carried = self._fenced(handle)
        write_deltalake(handle, owned(rows), mode="overwrite", predicate=old, commit_properties=carried)
        return found.gone

    def _sort(self, rows: pa.Table, bounds: Bounds, below: Mapping[str, Any] | None, found: _Sorted) -> None:
        """Tell the rows apart: the mark is of those with a key alone, since the newest floor always stays."""
        is_floor = pc.is_null(rows[self.keys[0]])
        goes = _is_less(rows[c.SEQUENCE], below) if below is not None else pa.repeat(pa.scalar(True), rows.num_rows)
        superseded = _is_less(rows[c.SEQUENCE], bounds.floor) if bounds.floor is not None else is_floor
        goes = pc.if_else(is_floor, superseded, goes)
        found.gone += pc.sum(goes).as_py() or 0
        found.marks.append(_newest(rows.filter(pc.and_(goes, pc.invert(is_floor)))))
        found.kept.append(rows.filter(pc.invert(goes)))

    def _fenced(self, handle: DeltaTable) -> CommitProperties:
        return fence.properties(handle, self._lake, {}, self._metadata())

    def _metadata(self) -> str:
        return json.dumps({_STOOD: self._of.version() if self._of.exists else 0})

    def _handle(self) -> DeltaTable:
        if self._table is None:
            self._table = DeltaTable(self.path)
        else:
            self._table.update_incremental()
        return self._table


def _stood(commit: Mapping[str, Any]) -> int | None:
    """The version that the table was at when a commit was made here."""
    try:
        return int(json.loads(commit["userMetadata"])[_STOOD])
    except (KeyError, TypeError, ValueError):
        return None


def _order(sequence: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sequence.values())


def _fields(sequences: pa.ChunkedArray) -> Iterator[tuple[str, pa.ChunkedArray]]:
    for one in sequences.type:
        yield one.name, pc.struct_field(sequences, one.name)


def _is_less(sequences: pa.ChunkedArray, bound: Mapping[str, Any]) -> pa.ChunkedArray:
    """Which of them are less than `bound`, field by field; one that can not be told is not."""
    less: Any = pa.chunked_array([pa.repeat(pa.scalar(False), len(sequences))])
    for name, values in reversed(list(_fields(sequences))):
        limit = pa.scalar(bound[name], values.type)
        less = pc.or_(pc.less(values, limit), pc.and_(pc.equal(values, limit), less))
        less = pc.fill_null(less, fill_value=False)
    return less


def _newest(rows: pa.Table) -> pa.Table:
    """The row with the greatest `_sequence`; none where there are no rows."""
    if rows.num_rows < 2:
        return rows
    fields = pa.table(dict(_fields(rows[c.SEQUENCE])))
    first = pc.select_k_unstable(fields, k=1, sort_keys=[(name, "descending") for name in fields.column_names])
    return rows.take(first)


def _greatest(rows: pa.Table) -> Mapping[str, Any] | None:
    found = _newest(rows)[c.SEQUENCE]
    return found[0].as_py() if len(found) else None


def _literal(at: datetime) -> str:
    """A time as delta-rs reads it in a condition: a constant of the type TIMESTAMP would have no zone there."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
