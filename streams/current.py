"""What changes make of a table of current rows, the same for any order, any copies and any split into batches.

A row is a set of registers, each of which keeps the value with the greatest position in the source's order: one says
whether the key is there, and each column is one. A whole image writes all of them, a partial one (an unchanged value
that the source did not send, a null under `ignore_null_updates`) those that it tells, and a deletion empties all. That
a register only moves forward is all there is to it: the greatest of a set does not depend on the order of the set.

Most rows have all their columns from one change. Then one position is enough, and the newest change of a key is its
row. `_column_sequences` lists the columns that are older than their row, null for most rows; only a batch with partial
changes, or a table with such rows, is folded column by column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pyarrow as pa
from pyspark.sql.types import StructType

from checkpoints.failpoints import reach
from schemas import columns as c
from schemas.arrow_values import arrow_type
from schemas.spec import CurrentSpec
from sinks import engine
from sinks.commit import Commit
from sinks.engine import Merge
from sinks.table import Table
from sinks.tombstones import Tombstones
from streams.change_sql import TRUNCATED, VIOLATIONS
from streams.compute import Compute, Dialect, InSpark, Rows
from streams.late_changes import Deletions, may_be_late, with_collected

_CHANGES, _TOMBSTONES, _FLOOR, _LIVE, _TABLE, _SOURCE = (
    "changes",
    "tombstones",
    "floors",
    "live_changes",
    "existing",
    "source_rows",
)


@dataclass
class CurrentRows:
    """A `current` table with its tombstones; `has_partial_rows` is None until it was looked up."""

    spec: CurrentSpec
    table: Table
    tombstones: Tombstones
    has_partial_rows: bool | None = None

    def prepare(self, changes: StructType) -> None:
        """Create the table of tombstones where it is missing."""
        self.tombstones.ensure(changes)

    def write(
        self,
        compute: Compute,
        changes: Rows,
        schema: StructType,
        summary: Mapping[str, Any],
        commit: Commit,
        deletions: Deletions,
    ) -> int:
        """Bring the table up to these changes; returns its version.

        `summary` says whether there are `partial` changes, `deletes`, and a `floor` (a `_sequence`), and which is the
        `least` of the sequences; `deletions` looks up what a tombstone said that was collected.

        1. Leave out what is older than a deletion of its key, or than the floor.
        2. Bury what these changes delete, before the table's own commit: see sinks/tombstones.py.
        3. Take the newest change of each key; or fold, where a column may be older than its row.
        4. Add a deletion of every row that the floor ends.
        5. MERGE, with the position.
        """
        sequence = arrow_type(schema[c.SEQUENCE].dataType)
        bounds = self.tombstones.bounds()
        floor = _one_row([bounds.floor, summary["floor"]], sequence)
        # 1
        tombstones = self._tombstones_of(compute, changes)
        if tombstones is not None and may_be_late(summary["least"], bounds.collected):
            mark = _one_row([bounds.collected], sequence)
            tombstones = with_collected(
                compute, changes, tombstones, (mark, floor), self.table, self.spec.keys, deletions
            )
        live = self._live(compute, changes, tombstones, floor)
        # 2
        reach("silver.before_tombstones", self.table.name)
        self._bury(compute, live, summary, floor, commit.entry.clock)
        # 3
        columns = [name for name in schema.names[: schema.names.index(c.SEQUENCE)] if name not in self.spec.keys]
        is_partial = bool(summary["partial"]) or self._has_partial_rows()
        if is_partial:
            self.has_partial_rows = True
            source = self._folded(compute, live, columns, floor if summary["floor"] else None)
            is_newer = ""
        else:
            source = self._newest(compute, live, columns)
            # Taken up once more, a change may say something else than before: its spec is another one.
            newer = ">=" if commit.entry.step == "replay" else ">"
            is_newer = f" AND s.{c.SEQUENCE} {newer} t.{c.SEQUENCE}"
        # 4
        if summary["floor"]:
            source = self._with_ended(compute, source, floor)
        # Where no row is partial, the column is null already.
        kept = [
            *self.spec.keys,
            *columns,
            c.SEQUENCE,
            *([c.COLUMN_SEQUENCES] if is_partial else []),
            *c.INGEST_METADATA,
        ]
        # 5
        clauses = Merge(
            keys=self.spec.keys,
            columns=kept,
            delete_when=f"s.{c.DELETED}{is_newer}",
            update_when=f"NOT s.{c.DELETED}{is_newer}",
            insert_when=f"NOT s.{c.DELETED}",
        )
        return engine.merge(self.table, source, clauses, commit)

    def _live(self, compute: Compute, changes: Rows, tombstones: Rows | None, floor: pa.Table) -> Rows:
        """The changes of keys that no deletion and no floor is newer than."""
        d = compute.dialect
        tables: dict[str, Rows] = {_CHANGES: changes}
        joined, still = "", f"NOT {TRUNCATED} AND {VIOLATIONS} IS NULL"
        if floor.num_rows:
            tables[_FLOOR] = floor
            joined += f" CROSS JOIN {_FLOOR} f"
            still += f" AND c.{c.SEQUENCE} > f.{c.SEQUENCE}"
        if tombstones is not None:
            tables[_TOMBSTONES] = tombstones
            on = " AND ".join(f"c.{d.name(key)} = t.{d.name(key)}" for key in self.spec.keys)
            joined += f" LEFT JOIN {_TOMBSTONES} t ON {on}"
            # The deletion that is buried there may be among these changes.
            still += f" AND (t.{c.SEQUENCE} IS NULL OR c.{c.SEQUENCE} >= t.{c.SEQUENCE})"
        return compute.sql(f"SELECT c.* FROM {_CHANGES} c{joined} WHERE {still}", tables)

    def _tombstones_of(self, compute: Compute, changes: Rows) -> Rows | None:
        """Those of the keys in `changes`, or more; None where nothing was ever deleted."""
        if self.tombstones.is_empty:
            return None
        if isinstance(compute, InSpark):
            return self.tombstones.all(compute.spark)
        return self.tombstones.of(cast(pa.Table, changes))

    def _bury(self, compute: Compute, live: Rows, summary: Mapping[str, Any], floor: pa.Table, clock: datetime) -> None:
        if summary["deletes"]:
            keys = compute.dialect.names(self.spec.keys)
            newest = f"SELECT {keys}, max({c.SEQUENCE}) AS {c.SEQUENCE} FROM {_LIVE} WHERE {c.DELETED} GROUP BY {keys}"
            deleted = compute.sql(newest, {_LIVE: live})
            self.tombstones.bury(deleted if isinstance(deleted, pa.Table) else deleted.toArrow(), clock)
        if summary["floor"]:
            keyless = {key: pa.nulls(1, field.type) for key, field in self._key_fields().items()}
            self.tombstones.bury(pa.table({**keyless, c.SEQUENCE: floor[c.SEQUENCE]}), clock)

    def _key_fields(self) -> dict[str, pa.Field]:
        fields = {field.name: field for field in arrow_type(self.table.schema())}
        return {key: fields[key] for key in self.spec.keys}

    def _has_partial_rows(self) -> bool:
        if self.has_partial_rows is None:
            self.has_partial_rows = self.table.holds(c.COLUMN_SEQUENCES)
        return self.has_partial_rows

    def _newest(self, compute: Compute, live: Rows, columns: list[str]) -> Rows:
        """The change of each key with the greatest `_sequence`."""
        d = compute.dialect
        keys = d.names(self.spec.keys)
        rest = [*columns, c.SEQUENCE, c.DELETED, *c.INGEST_METADATA]
        newest = d.newest_row(rest, c.SEQUENCE)
        per_key = f"SELECT {keys}, {newest} AS __newest FROM {_LIVE} GROUP BY {keys}"
        return compute.sql(f"SELECT {keys}, {d.names(rest, '__newest')} FROM ({per_key})", {_LIVE: live})

    def _folded(self, compute: Compute, live: Rows, columns: list[str], floor: pa.Table | None) -> Rows:
        """The rows that these changes and the table's rows of the same keys make, column by column.

        `floor` is given where it is new: what the table holds from before it is gone, of partial rows of any key.
        """
        d = compute.dialect
        tables: dict[str, Rows] = {_LIVE: live, _TABLE: self._existing(compute, live, ends=floor is not None)}
        if floor is not None:
            tables[_FLOOR] = floor
        at = {column: d.name(f"__at_{index}") for index, column in enumerate(columns)}
        own = [*self.spec.keys, *c.INGEST_METADATA, c.SEQUENCE]

        # A deletion tells that every column is empty; an expression over nothing might give something.
        told = ", ".join(
            f"CASE WHEN NOT {c.DELETED} THEN {d.name(column)} END AS {d.name(column)}, "
            f"CASE WHEN {c.DELETED} OR {c.UNKNOWN} IS NULL OR NOT array_contains({c.UNKNOWN}, '{column}') "
            f"THEN {c.SEQUENCE} END AS {at[column]}"
            for column in columns
        )
        held = ", ".join(_held(d, column, at[column], ends=floor is not None) for column in columns)
        above = f" CROSS JOIN {_FLOOR} f WHERE t.{c.SEQUENCE} > f.{c.SEQUENCE}" if floor is not None else ""
        # A floor that is new changes the rows whose columns it ends, also where no change of theirs came.
        ends = [f"{_own(d, column)} < f.{c.SEQUENCE}" for column in columns] if floor is not None else []
        evidence = (
            f"SELECT {d.names(own)}, {c.DELETED}, TRUE AS __is_new, FALSE AS __ends, {told} FROM {_LIVE} UNION ALL "
            f"SELECT {d.names(own, 't')}, FALSE, FALSE, {' OR '.join(ends) or 'FALSE'}, {held} FROM {_TABLE} t{above}"
        )
        keys = d.names(self.spec.keys)
        registers = ", ".join(
            f"{d.newest(d.name(column), at[column])} AS {d.name(column)}, max({at[column]}) AS {at[column]}, "
            f"coalesce({d.newest('__is_new', at[column])}, FALSE) AS __new_{index}"
            for index, column in enumerate(columns)
        )
        of_row = ", ".join(
            f"{d.newest(d.name(name), c.SEQUENCE)} AS {d.name(name)}" for name in (c.DELETED, *c.INGEST_METADATA)
        )
        folded = (
            f"SELECT {keys}, max({c.SEQUENCE}) AS {c.SEQUENCE}, {of_row}, "
            f"{d.newest('__is_new', c.SEQUENCE)} AS __is_new, max(__ends) AS __ends, {registers} "
            f"FROM ({evidence}) GROUP BY {keys}"
        )
        ages = d.array([d.struct({"name": f"'{column}'", "sequence": at[column]}) for column in columns])
        older = d.filtered(ages, f"x.sequence IS DISTINCT FROM {c.SEQUENCE}")
        has_older = " OR ".join(f"{at[column]} IS DISTINCT FROM {c.SEQUENCE}" for column in columns) or "FALSE"
        is_new = " OR ".join(["__is_new", "__ends", *(f"__new_{index}" for index in range(len(columns)))])
        return compute.sql(
            f"SELECT {d.names([*self.spec.keys, *columns, c.SEQUENCE, c.DELETED, *c.INGEST_METADATA])}, "
            f"CASE WHEN {has_older} THEN {older} END AS {c.COLUMN_SEQUENCES} FROM ({folded}) WHERE {is_new}",
            tables,
        )

    def _existing(self, compute: Compute, live: Rows, *, ends: bool) -> Rows:
        """The table's rows of the keys in `live`; where a floor `ends` older columns, all partial rows as well."""
        d = compute.dialect
        on = " AND ".join(f"t.{d.name(key)} = l.{d.name(key)}" for key in self.spec.keys)
        partial = f" OR t.{c.COLUMN_SEQUENCES} IS NOT NULL" if ends else ""
        text = f"SELECT * FROM {_TABLE} t WHERE EXISTS (SELECT 1 FROM {_LIVE} l WHERE {on}){partial}"
        if isinstance(compute, InSpark):
            return compute.sql(text, {_TABLE: self.table.read(compute.spark), _LIVE: live})
        names = self.table.schema().names
        if ends:  # partial rows of any key
            return compute.sql(text, {_TABLE: self.table.to_arrow(names), _LIVE: live})
        wanted = cast(pa.Table, live)[self.spec.keys[0]].combine_chunks().unique()
        return compute.sql(text, {_TABLE: self.table.of_keys(names, self.spec.keys[0], wanted), _LIVE: live})

    def _with_ended(self, compute: Compute, source: Rows, floor: pa.Table) -> Rows:
        """Beside the source, a deletion of each row of the table that stands before the floor."""
        d = compute.dialect
        names = [*self.spec.keys, c.SEQUENCE]
        held = self.table.read(compute.spark) if isinstance(compute, InSpark) else self.table.to_arrow(names)
        on = " AND ".join(f"t.{d.name(key)} = s.{d.name(key)}" for key in self.spec.keys)
        filled = {
            **{key: f"t.{d.name(key)}" for key in self.spec.keys},
            c.SEQUENCE: f"f.{c.SEQUENCE}",
            c.DELETED: "TRUE",
        }
        columns = source.column_names if isinstance(source, pa.Table) else source.columns
        return compute.sql(
            f"SELECT {d.names(columns)} FROM {_SOURCE} UNION ALL "
            f"SELECT {', '.join(filled.get(name, 'NULL') for name in columns)} "
            f"FROM {_TABLE} t CROSS JOIN {_FLOOR} f WHERE t.{c.SEQUENCE} < f.{c.SEQUENCE} "
            f"AND NOT EXISTS (SELECT 1 FROM {_SOURCE} s WHERE {on})",
            {_SOURCE: source, _TABLE: held, _FLOOR: floor},
        )


def _one_row(sequences: Sequence[Mapping[str, Any] | None], kind: pa.DataType) -> pa.Table:
    """The greatest of these as one row with `_sequence`; no row where all are None."""
    known = [dict(one) for one in sequences if one is not None]
    newest = [max(known, key=lambda one: tuple(one.values()))] if known else []
    return pa.table({c.SEQUENCE: pa.array(newest, kind)})


def _held(d: Dialect, column: str, at: str, *, ends: bool) -> str:
    """A column of a row in the table as a register: its value, and the position that it is from."""
    name, own = f"t.{d.name(column)}", _own(d, column)
    if ends:
        name = f"CASE WHEN {own} > f.{c.SEQUENCE} THEN {name} END"
        own = f"CASE WHEN {own} > f.{c.SEQUENCE} THEN {own} ELSE f.{c.SEQUENCE} END"
    return f"{name} AS {d.name(column)}, {own} AS {at}"


def _own(d: Dialect, column: str) -> str:
    """The position that a column of a row in the table is from."""
    listed = d.filtered(f"t.{c.COLUMN_SEQUENCES}", f"x.name = '{column}'")
    return f"CASE WHEN {d.length(listed)} > 0 THEN {d.first(listed)}.sequence ELSE t.{c.SEQUENCE} END"
