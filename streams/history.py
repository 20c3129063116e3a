"""Every change of a key once: what the versions of a key are worked out from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql.types import StructType

from schemas import columns as c
from schemas.spec import HistorySpec
from sinks.engine import Merge
from streams.changes import TRUNCATED, VIOLATIONS, change_columns
from streams.compute import Compute, Rows

_CHANGES = "changes"


@dataclass(frozen=True)
class HistoryRows:
    """A `history` table: it only grows, by the changes that it does not hold yet."""

    spec: HistorySpec

    def prepare(self, changes: StructType) -> None:
        """Nothing stands beside the table."""

    def source(
        self, compute: Compute, changes: Rows, schema: StructType, summary: Mapping[str, Any], clock: datetime
    ) -> tuple[Rows, Merge]:
        """What to MERGE: copies of one change fall together, and a floor is a deletion without a key."""
        del summary, clock
        d = compute.dialect
        columns = change_columns(schema, self.spec).names
        identity = [f"{c.SEQUENCE}.{field}" for field in c.CHANGE_IDENTITY]
        rest = [name for name in columns if name not in self.spec.keys]
        keys = d.names(self.spec.keys)
        values = {name: d.name(name) for name in rest} | {c.DELETED: f"({c.DELETED} OR {TRUNCATED})"}
        source = compute.sql(
            f"SELECT {keys}, {d.names(rest, 'earliest')} FROM ("
            f"SELECT {keys}, min_by({d.struct(values)}, {c.SEQUENCE}) AS earliest FROM {_CHANGES} "
            f"WHERE {VIOLATIONS} IS NULL GROUP BY {keys}, {', '.join(identity)})",
            {_CHANGES: changes},
        )
        same_change = [f"t.{c.SEQUENCE}['{field}'] = s.{c.SEQUENCE}['{field}']" for field in c.CHANGE_IDENTITY]
        same_key = [f"(t.{key} = s.{key} OR (t.{key} IS NULL AND s.{key} IS NULL))" for key in self.spec.keys]
        return source, Merge(on=" AND ".join([*same_change, *same_key]), columns=columns, insert_when="TRUE")
