"""Every change of a key once: what the versions of a key are worked out from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StructType

from schemas import columns as c
from schemas.spec import HistorySpec
from sinks import engine
from sinks.commit import Commit
from sinks.table import Table
from streams.change_sql import TRUNCATED, VIOLATIONS
from streams.changes import change_columns
from streams.compute import Compute, InSpark, Rows
from streams.late_changes import Deletions

_CHANGES, _HELD, _NEW = "changes", "held_changes", "new_changes"
_PLACE = f"{c.SEQUENCE}.major"


@dataclass(frozen=True)
class HistoryRows:
    """A `history` table: it only grows, by the changes that it does not hold yet."""

    spec: HistorySpec
    table: Table

    def prepare(self, changes: StructType) -> None:
        """Nothing stands beside the table."""

    def write(
        self,
        compute: Compute,
        changes: Rows,
        schema: StructType,
        summary: dict[str, Any],
        commit: Commit,
        deletions: Deletions,
    ) -> int:
        """Append what is new; returns the table's version.

        1. Let copies of one change fall together; a floor is a deletion without a key.
        2. Leave out what the table holds, of which only the files with the same places in the source are read.
        3. Append the rest, with the position.
        """
        del summary, deletions
        d = compute.dialect
        columns = change_columns(schema, self.spec).names
        identity = [f"{c.SEQUENCE}.{field}" for field in c.CHANGE_IDENTITY]
        rest = [name for name in columns if name not in self.spec.keys]
        keys = d.names(self.spec.keys)
        values = {name: d.name(name) for name in rest} | {c.DELETED: f"({c.DELETED} OR {TRUNCATED})"}
        # 1
        once = compute.sql(
            f"SELECT {keys}, {d.names(rest, 'earliest')} FROM ("
            f"SELECT {keys}, min_by({d.struct(values)}, {c.SEQUENCE}) AS earliest FROM {_CHANGES} "
            f"WHERE {VIOLATIONS} IS NULL GROUP BY {keys}, {', '.join(identity)})",
            {_CHANGES: changes},
        )
        # 2
        same_change = [f"n.{path} = h.{path}" for path in identity]
        same_key = [f"n.{d.name(key)} IS NOT DISTINCT FROM h.{d.name(key)}" for key in self.spec.keys]
        new = compute.sql(
            f"SELECT {d.names(columns, 'n')} FROM {_NEW} n {d.anti_join} {_HELD} h "
            f"ON {' AND '.join([*same_change, *same_key])}",
            {_NEW: once, _HELD: self._held(compute, once)},
        )
        # 3
        if isinstance(new, pa.Table) and not new.num_rows:
            return self.table.commit_position(commit)
        return engine.append(self.table, new, commit)

    def _held(self, compute: Compute, once: Rows) -> Rows:
        columns = [*self.spec.keys, c.SEQUENCE]
        if isinstance(compute, InSpark):
            return self.table.read(compute.spark).select(*columns)
        span = compute.row(f"SELECT min({_PLACE}) AS least, max({_PLACE}) AS most FROM {_NEW}", {_NEW: once})
        if span["least"] is None:
            return self.table.to_arrow(columns).slice(0, 0)
        return self.table.between(columns, _PLACE, span["least"], span["most"])
