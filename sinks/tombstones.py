"""What was deleted from a table of current rows, and where in the source's order: so that nothing late comes back.

Kept in a Delta table of its own beside the lake's layers, `<root>/_tombstones/<layer>/<table>`, which no reader of the
table and no change feed sees. Each deleted key has a row with the `_sequence` of its newest deletion; a row without
a key is a floor, below which every key is gone: a TRUNCATE, or the end of a snapshot.

A tombstone only ever moves forward, so that to write it again is harmless, and it is written before the table's own
commit: a crash between the two leaves a tombstone for a change that is still to come, and that change passes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructField, StructType, TimestampType

from checkpoints.lake import Lake
from schemas import columns as c
from sinks.among import is_among
from sinks.engine import owned
from sinks.table import delta_schema, plain

DELETED_AT = "_deleted_at"
"""The clock of the batch that brought the deletion, TIMESTAMP."""

_MANY_KEYS = 100_000


class Tombstones:
    """The tombstones of one table; for whoever holds that table's lock."""

    def __init__(self, name: str, lake: Lake, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.path = lake.tombstones(name)
        self._table: DeltaTable | None = None

    def ensure(self, changes: StructType) -> None:
        """Create the table where it is missing; `changes` has the types of the keys and of `_sequence`."""
        if DeltaTable.is_deltatable(self.path):
            return
        fields = [StructField(name, changes[name].dataType) for name in (*self.keys, c.SEQUENCE)]
        schema = StructType([*fields, StructField(DELETED_AT, TimestampType())])
        DeltaTable.create(
            self.path, schema=delta_schema(schema), configuration={"delta.enableExpiredLogCleanup": "true"}
        )

    def of(self, rows: pa.Table) -> pa.Table:
        """Those of the keys in `rows`, and no floor."""
        wanted = rows[self.keys[0]].combine_chunks()
        among = pc.field(self.keys[0]).is_valid()
        if len(wanted) <= _MANY_KEYS:
            among &= is_among(self.keys[0], wanted.unique())
        return self._read(among)

    def all(self, spark: SparkSession) -> DataFrame:
        """All of them, and no floor, for Spark."""
        return spark.read.format("delta").load(self.path).where(f"`{self.keys[0]}` IS NOT NULL")

    def floor(self) -> pa.Table:
        """The newest floor, as one row with `_sequence`; no row where there is none."""
        found = self._read(pc.field(self.keys[0]).is_null()).select([c.SEQUENCE])
        if found.num_rows < 2:
            return found
        newest = max(range(found.num_rows), key=lambda row: tuple(found[c.SEQUENCE][row].as_py().values()))
        return found.slice(newest, 1)

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
            write_deltalake(self._handle(), owned(rows), mode="append")
            return
        names = rows.column_names
        (
            self._handle()
            .merge(owned(rows), " AND ".join(f"t.{key} = s.{key}" for key in self.keys), "s", "t")
            .when_matched_update({name: f"s.{name}" for name in names}, f"s.{c.SEQUENCE} > t.{c.SEQUENCE}")
            .when_not_matched_insert({name: f"s.{name}" for name in names})
            .execute()
        )

    def _read(self, condition: pc.Expression) -> pa.Table:
        dataset: ds.Dataset = self._handle().to_pyarrow_dataset()
        found = dataset.to_table(columns=[*self.keys, c.SEQUENCE], filter=condition)
        return plain(found)

    def _handle(self) -> DeltaTable:
        if self._table is None:
            self._table = DeltaTable(self.path)
        else:
            self._table.update_incremental()
        return self._table
