"""A Delta table as Sluice keeps it: made, read, asked for version and position, and locked while it is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from checkpoints import ledger, positions
from checkpoints.failpoints import reach
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from schemas import columns as c
from schemas.type_changes import additions, conflicts
from sinks import fence, lookup
from sinks.commit import Commit
from sinks.errors import IncompatibleTable
from sinks.plain import plain

PROPERTIES = {
    # Every table is read by its change feed.
    "delta.enableChangeDataFeed": "true",
    # The log is the ledger: it is cleaned once its entries are archived, not by whichever commit writes a checkpoint.
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "100",
    # A MERGE rewrites each file that has one of its keys: neighbouring keys cost a file of this many bytes.
    "delta.targetFileSize": "33554432",
}

CHANGE_TYPE = "_change_type"
COMMIT_VERSION = "_commit_version"

_BRONZE_STATISTICS = (c.TOPIC, c.PARTITION, c.OFFSET, c.KAFKA_TS, c.INGEST_TS, c.BATCH_ID)

_FEW_FILES = 100


@dataclass(frozen=True)
class Feed:
    """A part of a table's change feed: few rows as Arrow in the driver, or many as a frame."""

    spark: SparkSession
    rows: pa.Table | DataFrame

    @property
    def frame(self) -> DataFrame:
        """The rows as a frame."""
        return self.rows if isinstance(self.rows, DataFrame) else self.spark.createDataFrame(self.rows)


class Table:
    """One table of the lake.

    Its writers hold `lock` from reading positions to committing, which may take long. Readers never wait for them:
    they have a handle of their own.
    """

    def __init__(self, name: str, lake: Lake) -> None:
        self.name = name
        self.path = lake.table(name)
        self._lake = lake
        self.lock = threading.RLock()
        self._reading = threading.Lock()
        self._reader: DeltaTable | None = None
        self._writer: DeltaTable | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a Delta table at its place."""
        return self._reader is not None or bool(DeltaTable.is_deltatable(self.path))

    def handle(self) -> DeltaTable:
        """The table at its newest version, to read."""
        with self._reading:
            if self._reader is None:
                self._reader = DeltaTable(self.path)
            else:
                self._reader.update_incremental()
            return self._reader

    def writer(self) -> DeltaTable:
        """The table at its newest version, to write; for whoever holds the lock. Raises LeaseLost."""
        if self._writer is None:
            self._writer = DeltaTable(self.path)
        else:
            self._writer.update_incremental()
        fence.check(self._writer, self._lake)
        return self._writer

    def to_commit(self, commit: Commit, engine: str) -> tuple[DeltaTable, CommitProperties]:
        """The table as the driver commits on top of it, and what the commit carries: entry, positions and fence."""
        handle = self.writer()
        reach("table.before_commit", self.name)
        return handle, fence.properties(handle, self._lake, commit.positions, commit.metadata(engine))

    def sparks_name(self, app: str) -> str:
        """The name of a position in a commit of Spark's; raises LeaseLost."""
        handle = self.writer()
        reach("table.before_commit", self.name)
        return fence.sparks_name(handle, app)

    def created_properties(self) -> CommitProperties | None:
        """What the commit that creates the table carries: the fence."""
        return fence.created(self._lake)

    def raise_fence(self, apps: Sequence[str], clock: datetime) -> bool:
        """Keep every holder of the lease before this one from committing; whether it was needed. See sinks/fence.py."""
        if self._lake.token is None:
            return False
        with self.lock:
            entry = LedgerEntry(
                table=self.name,
                step="fence",
                run_id=ledger.run_id(self.name, "fence", self._lake.token),
                clock=clock,
                generation=self.generation(),
                engine="none",
                source="full",
            )
            return fence.raise_to(self.writer(), self._lake.token, apps, entry.to_metadata())

    def version(self) -> int:
        """The newest version."""
        return int(self.handle().version())

    def source_name(self) -> str:
        """The table as a source of positions."""
        return positions.source_name(self.name, str(self.handle().metadata().id))

    def position(self, app: str) -> int | None:
        """How far the table has come under `app`; None where it has not begun."""
        return fence.position(self.handle(), app)

    def generation(self) -> int:
        """The generation of the table's positions."""
        return positions.generation(self.handle())

    def ensure(self, schema: StructType, partition_by: Sequence[str], *, additive: bool) -> None:
        """Create the table where it is missing; else see that it has these columns, adding new ones if `additive`.

        Where it is, columns that are no longer asked for stay as well. All columns may be null: a MERGE row that no
        clause takes is all null to delta-rs, which would refuse it. Raises IncompatibleTable.
        """
        wanted = StructType([StructField(field.name, field.dataType) for field in schema.fields])
        with self.lock:
            if not self.exists:
                DeltaTable.create(
                    self.path,
                    schema=delta_schema(wanted),
                    partition_by=list(partition_by) or None,
                    configuration=_properties(wanted),
                    commit_properties=fence.created(self._lake),
                )
                return
            if found := self.differences(wanted, partition_by, additive=additive):
                raise IncompatibleTable(self.name, self.path, found)
            self.add_columns(wanted, datetime.now(UTC))

    def add_columns(self, wanted: StructType, clock: datetime) -> bool:
        """Add the columns and struct fields that the table lacks, in one commit without rows; whether any was."""
        with self.lock:
            present = self.schema()
            if not any(additions(present, wanted)):
                return False
            lacking = {path[0] for path, _ in additions(present, wanted)}
            fields = [field for field in wanted.fields if field.name in lacking]
            entry = LedgerEntry(
                table=self.name,
                step="columns",
                run_id=ledger.run_id(self.name, "columns", self.version()),
                clock=clock,
                generation=self.generation(),
                engine="none",
                source="full",
            )
            handle, carried = self.to_commit(Commit({}, entry), "none")
            handle.alter.add_columns(list(delta_schema(StructType(fields)).fields), commit_properties=carried)
            return True

    def differences(self, wanted: StructType, partition_by: Sequence[str], *, additive: bool) -> list[str]:
        """What keeps the table from having these columns, as clauses of a sentence; nothing where it can."""
        present = self.schema()
        differences = [
            f"column `{'.'.join(path)}` is {there.simpleString()} and would be {asked.simpleString()}"
            for path, there, asked in conflicts(present, wanted)
        ]
        if not additive:
            differences += [f"column `{'.'.join(path)}` is new" for path, _ in additions(present, wanted)]
            differences += [
                f"column `{'.'.join(path)}` is no longer asked for" for path, _ in additions(wanted, present)
            ]
        partitions = self.handle().metadata().partition_columns
        if tuple(partitions) != tuple(partition_by):
            differences.append(f"it is partitioned by {partitions} and would be by {list(partition_by)}")
        return sorted(differences)

    def schema(self) -> StructType:
        """The table's columns as Spark types; Spark's JSON of a type is the format that Delta's protocol names."""
        return StructType.fromJson(json.loads(self.handle().schema().to_json()))

    def empty(self, spark: SparkSession) -> DataFrame:
        """No rows, of the table's columns: what a query gives can be asked of it without reading any."""
        return spark.createDataFrame([], self.schema())

    def read(self, spark: SparkSession, version: int | None = None) -> DataFrame:
        """The table's rows, as of `version` where one is given.

        A table of few files is given to Spark as just these files: the driver has its log in memory already, and
        Spark's own reading of it costs several jobs per table and version, more than the rows themselves.
        """
        if version is None:
            version = self.version()
        # The shared handle moves on with the table: only one of its own stays at a version.
        at = DeltaTable(self.path, version=version)
        files = at.file_uris()
        schema = StructType.fromJson(json.loads(at.schema().to_json()))
        if not files:
            return spark.createDataFrame([], schema)
        if len(files) <= _FEW_FILES and not at.protocol().reader_features:
            # Spark takes the partition columns from the paths, and puts them last.
            rows = spark.read.schema(schema).option("basePath", self.path).parquet(*files)
            return rows.select(*schema.names)
        return spark.read.format("delta").option("versionAsOf", at.version()).load(self.path)

    @property
    def rows(self) -> int | None:
        """How many rows the table has, as its log says; None where it does not."""
        return self.rows_at(None)

    def rows_at(self, version: int | None) -> int | None:
        """The same as of a version."""
        counts = pa.table(self._at(version).get_add_actions(flatten=True)).column("num_records")
        return None if counts.null_count else int(pc.sum(counts).as_py() or 0)

    def greatest(self, column: str, version: int | None = None) -> Any:
        """The greatest value of a column by the log's statistics; None where they do not tell.

        Rows that were deleted from a file that is still there may count.
        """
        files = pa.table(self._at(version).get_add_actions(flatten=True))
        name = f"max.{column}"
        return pc.max(plain(files.select([name]))[0]).as_py() if name in files.column_names else None

    def holds(self, column: str) -> bool:
        """Whether any row has a value in this column."""
        held = lookup.read(self.handle(), [column])[column]
        return bool(held.null_count < len(held))

    def to_arrow(self, columns: Sequence[str], version: int | None = None) -> pa.Table:
        """These columns of all rows, as of `version` where one is given; read by the driver."""
        return lookup.read(self._at(version), columns)

    def of_keys(
        self,
        columns: Sequence[str],
        key: str,
        keys: pa.Array,
        version: int | None = None,
        *,
        or_null: bool = False,
        most: int | None = None,
    ) -> pa.Table:
        """The same of the rows whose `key` is one of these; or null, where asked for. Raises MoreRows beyond `most`."""
        return lookup.of_keys(self._at(version), columns, key, keys, or_null=or_null, most=most)

    def between(self, columns: Sequence[str], field: str, least: int, most: int) -> pa.Table:
        """These columns of the files that may hold a value of a number `field`, a path, from `least` to `most`."""
        return lookup.between(self.handle(), columns, field, least, most)

    def _at(self, version: int | None) -> DeltaTable:
        return self.handle() if version in (None, self.version()) else DeltaTable(self.path, version=version)

    def changes(self, spark: SparkSession, first: int, last: int, few_rows: int, *, versions: bool = False) -> Feed:
        """The change feed from version `first` to `last`, both included, with Delta's `_change_type` column.

        With `versions` each row also says by which version it changed, in `_commit_version`.
        Up to `few_rows` rows, as the ledger counts them, are read by the driver; more, or a number that is not known,
        by Spark. https://docs.delta.io/latest/delta-change-data-feed.html
        """
        handle = self.handle()
        columns = [*self.schema().names, CHANGE_TYPE, *([COMMIT_VERSION] if versions else [])]
        rows = ledger.rows_between(handle, first, last)
        if rows is not None and rows <= few_rows:
            return Feed(spark, plain(pa.table(handle.load_cdf(first, last)).select(columns)))
        feed = spark.read.format("delta").option("readChangeFeed", "true")
        feed = feed.option("startingVersion", first).option("endingVersion", last)
        return Feed(spark, feed.load(self.path).select(*columns))

    def commit_position(self, commit: Commit) -> int:
        """Move positions and write the ledger without any rows; one small file."""
        with self.lock:
            handle, carried = self.to_commit(commit, "none")
            handle.create_write_transaction([], "append", handle.schema(), commit_properties=carried)
            reach("table.after_commit", self.name)
            return self.version()


class Tables(Mapping[str, Table]):
    """The tables of one lake, each with the one lock that all its writers share."""

    def __init__(self, lake: Lake, names: Sequence[str]) -> None:
        self._tables = {name: Table(name, lake) for name in names}

    def __getitem__(self, name: str) -> Table:
        """The table of that name; KeyError where the pipeline has none."""
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in the order they were given."""
        return iter(self._tables)

    def __len__(self) -> int:
        """How many tables there are."""
        return len(self._tables)


def _properties(schema: StructType) -> dict[str, str]:
    """Delta's properties of a new table; bronze is looked up by place, batch and time, whatever its payload is.

    Delta keeps statistics of the first 32 columns unless told which, and bronze's metadata stands behind the payload.
    """
    places = [name for name in _BRONZE_STATISTICS if name in schema.names]
    is_bronze = len(places) == len(_BRONZE_STATISTICS)
    return {**PROPERTIES, **({"delta.dataSkippingStatsColumns": ",".join(places)} if is_bronze else {})}


def delta_schema(schema: StructType) -> Schema:
    """Columns of Spark as Delta's; whatever is in them may be null.

    Spark writes each element as one that may be null, also where the table says that none is: DataFusion, which reads
    for the driver, then refuses the file.
    """
    return Schema.from_json(_nullable(schema).json())


def _nullable(kind: DataType) -> DataType:
    match kind:
        case ArrayType():
            return ArrayType(_nullable(kind.elementType))
        case MapType():
            return MapType(kind.keyType, _nullable(kind.valueType))
        case StructType():
            return StructType([StructField(one.name, _nullable(one.dataType)) for one in kind.fields])
    return kind
