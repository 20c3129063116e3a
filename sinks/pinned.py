"""A table held at one version: whatever is committed meanwhile, all that is read of it is of that state."""

from __future__ import annotations

from datetime import datetime

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from checkpoints.lake import Lake
from schemas import columns as c
from sinks.table import Table


class PinnedTable(Table):
    """A table as it was at `version`; to read.

    With `until` it has only the rows whose `_ingest_ts` is not after it: of a bronze table, what was known by then.
    """

    def __init__(self, name: str, lake: Lake, version: int, until: datetime | None = None) -> None:
        super().__init__(name, lake)
        self._version = version
        self._until = until
        self._pinned: DeltaTable | None = None

    def handle(self) -> DeltaTable:
        """The table at its version."""
        if self._pinned is None:
            self._pinned = DeltaTable(self.path, version=self._version)
        return self._pinned

    def read(self, spark: SparkSession, version: int | None = None) -> DataFrame:
        """The rows of that version; another can not be asked for."""
        rows = super().read(spark, self._version if version is None else version)
        # Through Spark's parser and not as a Python value, which would pass through the local time zone.
        until = None if self._until is None else F.lit(self._until.isoformat()).cast("timestamp")
        return rows if until is None else rows.where(F.col(c.INGEST_TS) <= until)
