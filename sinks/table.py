"""A Delta table as Sluice keeps it: made, opened, asked for its version and position, and locked while it is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence

from deltalake import DeltaTable, Schema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructField, StructType

from checkpoints import positions
from checkpoints.lake import Lake
from sinks.commit import Commit
from sinks.errors import IncompatibleTable

PROPERTIES = {
    # Every table is read by its change feed.
    "delta.enableChangeDataFeed": "true",
    # The log is the ledger: it is cleaned once its entries are archived, not by whichever commit writes a checkpoint.
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "100",
}


class Table:
    """One table of the lake; its writers hold `lock` from reading positions to committing."""

    def __init__(self, name: str, lake: Lake) -> None:
        self.name = name
        self.path = lake.table(name)
        self.lock = threading.RLock()
        self._handle: DeltaTable | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a Delta table at its place."""
        return self._handle is not None or bool(DeltaTable.is_deltatable(self.path))

    def handle(self) -> DeltaTable:
        """The table at its newest version."""
        with self.lock:
            if self._handle is None:
                self._handle = DeltaTable(self.path)
            else:
                self._handle.update_incremental()
            return self._handle

    def version(self) -> int:
        """The newest version."""
        return int(self.handle().version())

    def position(self, app: str) -> int | None:
        """How far the table has come under `app`; None where it has not begun."""
        return positions.position(self.handle(), app)

    def generation(self) -> int:
        """The generation of the table's positions."""
        return positions.generation(self.handle())

    def ensure(self, schema: StructType, partition_by: Sequence[str], *, additive: bool) -> None:
        """Create the table where it is missing; else see that it has these columns, adding new ones if `additive`.

        All columns may be null: a MERGE row that no clause takes is all null to delta-rs, which would refuse it.
        """
        wanted = StructType([StructField(field.name, field.dataType) for field in schema.fields])
        with self.lock:
            if not self.exists:
                self._handle = DeltaTable.create(
                    self.path,
                    schema=_delta_schema(wanted),
                    partition_by=list(partition_by) or None,
                    configuration=PROPERTIES,
                )
                return
            missing = self._check(wanted, partition_by, additive=additive)
            if missing:
                self.handle().alter.add_columns(list(_delta_schema(StructType(missing)).fields))

    def _check(self, wanted: StructType, partition_by: Sequence[str], *, additive: bool) -> list[StructField]:
        handle = self.handle()
        present = {field.name: field for field in handle.schema().fields}
        asked = {field.name: field for field in _delta_schema(wanted).fields}
        differences = [
            f"column `{name}` is {present[name].type} and would be {asked[name].type}"
            for name in asked.keys() & present.keys()
            if present[name].type != asked[name].type
        ]
        differences += [f"column `{name}` is no longer asked for" for name in present.keys() - asked.keys()]
        missing = [wanted[name] for name in wanted.names if name not in present]
        if not additive:
            differences += [f"column `{field.name}` is new" for field in missing]
        if tuple(handle.metadata().partition_columns) != tuple(partition_by):
            differences.append(
                f"it is partitioned by {handle.metadata().partition_columns} and would be by {list(partition_by)}"
            )
        if differences:
            raise IncompatibleTable(self.name, self.path, sorted(differences))
        return missing

    def schema(self) -> StructType:
        """The table's columns as Spark types; Spark's JSON of a type is the format that Delta's protocol names."""
        return StructType.fromJson(json.loads(self.handle().schema().to_json()))

    def empty(self, spark: SparkSession) -> DataFrame:
        """No rows, of the table's columns: what a query gives can be asked of it without reading any."""
        return spark.createDataFrame([], self.schema())

    def read(self, spark: SparkSession, version: int | None = None) -> DataFrame:
        """The table's rows, as of `version` where one is given."""
        reader = spark.read.format("delta")
        return (reader if version is None else reader.option("versionAsOf", version)).load(self.path)

    def changes(self, spark: SparkSession, first: int, last: int) -> DataFrame:
        """The change feed from version `first` to `last`, both included, with Delta's `_change_type` column.

        https://docs.delta.io/latest/delta-change-data-feed.html
        """
        return (
            spark.read.format("delta")
            .option("readChangeFeed", "true")
            .option("startingVersion", first)
            .option("endingVersion", last)
            .load(self.path)
        )

    def commit_position(self, commit: Commit) -> int:
        """Move positions and write the ledger without any rows; one small file."""
        with self.lock:
            handle = self.handle()
            handle.create_write_transaction([], "append", handle.schema(), commit_properties=commit.properties("none"))
            return self.version()


class Tables(Mapping[str, Table]):
    """The tables of one lake, each with the one lock that all its writers share."""

    def __init__(self, lake: Lake, names: Sequence[str]) -> None:
        self._tables = {name: Table(name, lake) for name in names}

    def __getitem__(self, name: str) -> Table:
        """The table of that name; KeyError where the pipeline has none."""
        return self._tables[name]

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204
        """The names, in the order they were given."""
        return iter(self._tables)

    def __len__(self) -> int:
        """How many tables there are."""
        return len(self._tables)


def _delta_schema(schema: StructType) -> Schema:
    return Schema.from_json(schema.json())
