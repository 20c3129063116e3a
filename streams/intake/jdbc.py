"""Rows of a database by a column that grows with every change: read in slices, as records of the table's contract.

A batch is a range of the watermark: after `from`, up to and with `until`, where the slice has about `batch_rows` rows;
those with one and the same watermark are never parted. Spark reads it, in `partitions` connections where a number is
named to part it by. https://spark.apache.org/docs/4.1.1/sql-data-sources-jdbc.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, NumericType, StructType, TimestampNTZType, TimestampType
from pyspark.sql.window import Window

from schemas.settings import SourceSettings
from schemas.spec import JdbcPull
from sinks.table import Table
from streams.intake.dialects import Dialect
from streams.intake.errors import DriverMissing, SourceUnreachable, UnfitColumn
from streams.intake.row_json import column, instant, row_json, wants_text
from streams.intake.source import Planned, as_records

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
FIRST = BEGINNING + timedelta(microseconds=1)
"""The first watermark that is known as one: what is before it counts as it."""
_COMPLAINT: Final = re.compile(r"SQL\w*Exception: (.+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MICROS = (FIRST - _EPOCH) // timedelta(microseconds=1)


@dataclass
class JdbcSource:
    """A table or query of a database, from one watermark to another; `keys` name a row.

    Of the rows up to `taken`, which have been read before, those are left out that `bronze` holds, or one of the lane's
    folders `lanes`.
    """

    spark: SparkSession
    settings: SourceSettings
    dialect: Dialect
    pull: JdbcPull
    keys: tuple[str, ...]
    topic: str
    since: datetime
    until: datetime | None
    bronze: Table | None = None
    lanes: Sequence[str] = ()
    taken: datetime | None = None
    first_offset: int = 0

    def describe(self) -> list[str]:
        """Where from, and from when to when."""
        since = "the beginning" if self.since == BEGINNING else f"{self.since:%Y-%m-%d %H:%M:%S.%f}"
        until = "now" if self.until is None else f"{self.until:%Y-%m-%d %H:%M:%S.%f}"
        return [f"{self.pull.relation} of {self.pull.source}, {self.pull.watermark_column} after {since} up to {until}"]

    def total(self) -> int | None:
        """How many rows there are."""
        within = self._within(self.since, self._last())
        return int(self._one(f"SELECT count(*) AS found FROM {self._relation} WHERE {within}") or 0)

    def newest(self) -> datetime | None:
        """The greatest watermark that there is now, be it of the future; None where there is no row in the range."""
        within = self._within(self.since)
        return self._instant(f"SELECT max({self._mark}) AS found FROM {self._relation} WHERE {within}")

    def next(self, before: Planned | None) -> Planned | None:
        """The batch after this one: to the watermark of the row that makes it full.

        Rows that are looked back to come beside those, however many they are. Rows of the future wait until their time
        has come: the watermark would leave out whatever is changed before it.
        """
        self._require_columns()
        begins = self.since if before is None else datetime.fromisoformat(before.reads["until"])
        end = self.first_offset if before is None else before.end[0]
        after = max(begins, self.taken) if self.taken is not None else begins
        until = self._instant(
            f"SELECT max(w) AS found FROM (SELECT {self._mark} AS w FROM {self._relation} "
            f"WHERE {self._within(after, self._last())} ORDER BY 1 LIMIT {self.pull.batch_rows}) x"
        )
        if until is None:
            if self.taken is None or before is not None:
                return None
            until = self.taken
        rows = self._one(f"SELECT count(*) AS found FROM {self._relation} WHERE {self._within(begins, until)}")
        reads = {"from": begins.isoformat(), "until": until.isoformat()}
        return Planned(reads, {0: end + int(rows or 0)})

    def read(self, spark: SparkSession, planned: Planned, start: dict[int, int]) -> DataFrame:
        """The records of a planned batch: the row as JSON, its keys as JSON, its watermark as the time.

        Rows that bronze holds already, by keys and watermark, are left out. There may be more than were planned: those
        of transactions that were committed since.
        """
        begins, until = (datetime.fromisoformat(planned.reads[word]) for word in ("from", "until"))
        texts = self._texts()
        written = "".join(
            f", CAST(s.{self.dialect.quoted(name)} AS text) AS {self.dialect.quoted(text)}"
            for name, text in texts.items()
        )
        within = f"SELECT * FROM {self._relation} WHERE {self._within(begins, until)}"
        rows = self._load(spark, f"SELECT s.*{written} FROM ({within}) s" if texts else within)
        rows = rows.toDF(*(name.lower() for name in rows.columns)) if self.dialect.name == "snowflake" else rows
        value = row_json(StructType([one for one in rows.schema if one.name not in texts.values()]), texts).alias(
            "value"
        )
        keys = [F.col(texts[one]).alias(one) if one in texts else column(one) for one in self.keys]
        key = F.to_json(F.struct(*keys)).alias("key")
        watermark = self.pull.watermark_column
        is_day = isinstance(rows.schema[watermark].dataType, DateType)
        is_text = watermark in texts and not is_day
        mark = instant(F.col(texts[watermark])) if is_text else column(watermark).cast("timestamp")
        # What is before the beginning, as -infinity, comes first.
        mark = F.coalesce(mark, F.lit(FIRST.isoformat()).cast("timestamp")).alias("mark")
        records = rows.select(value, key, mark)
        if self.bronze is not None:
            known = self.bronze.read(spark).where(F.col("_kafka_ts") > F.lit(begins.isoformat()).cast("timestamp"))
            known = known.where(F.col("_topic") == self.topic)
            same = (F.col("key").cast("binary") == F.col("_key")) & (F.col("mark") == F.col("_kafka_ts"))
            records = records.join(known.select("_key", "_kafka_ts"), same, "left_anti")
        if self.lanes:
            # A lane keeps times to the millisecond.
            rejected = spark.read.schema("key STRING, kafka_ts TIMESTAMP").json(list(self.lanes))
            was = F.date_trunc("millisecond", F.col("mark")) == F.col("kafka_ts")
            same = (F.base64(F.col("key").cast("binary")) == F.col("lane_key")) & was
            records = records.join(rejected.withColumnRenamed("key", "lane_key"), same, "left_anti")
        order = Window.orderBy("mark", "key", "value")
        numbered = records.withColumn("offset", F.row_number().over(order).cast("bigint") + F.lit(start[0] - 1))
        return as_records(numbered, self.topic, "key", "mark")

    @property
    def _relation(self) -> str:
        return f"({self.pull.query}) q" if self.pull.query else str(self.pull.table)

    @property
    def _mark(self) -> str:
        return self.dialect.name_of(self.pull.watermark_column)

    @cached_property
    def _schema(self) -> StructType:
        """The columns of the relation, as Spark understands them."""
        return self._load(self.spark, f"SELECT * FROM {self._relation} WHERE 1 = 0", parted=False).schema

    def _texts(self) -> dict[str, str]:
        """The columns that the database writes out, each with the name of its text."""
        if self.dialect.name == "snowflake":
            return {}
        named = [field.name for field in self._schema if wants_text(field.dataType)]
        return {name: f"__text_{number}" for number, name in enumerate(named)}

    def _require_columns(self) -> None:
        """See that the columns that the spec names are there, and of a kind to go by; raises UnfitColumn."""
        kinds = {field.name: field.dataType for field in self._schema}
        if self.dialect.name == "snowflake":
            kinds = {name.lower(): kind for name, kind in kinds.items()}
        pull = self.pull
        wanted: list[tuple[str, str, tuple[type[DataType], ...], str]] = [
            ("watermark_column", pull.watermark_column, (TimestampType, TimestampNTZType, DateType), "a time"),
            *(("keys", key, (DataType,), "") for key in self.keys),
        ]
        if pull.partition_column and pull.partitions > 1:
            wanted.append(("partition_column", pull.partition_column, (NumericType,), "a number"))
        for word, name, fit, what in wanted:
            kind = kinds.get(name)
            if kind is None or not isinstance(kind, fit):
                raise UnfitColumn(
                    pull.source, pull.relation, word, name, None if kind is None else kind.simpleString(), what
                )

    def _last(self) -> datetime:
        """Up to where it may be read now, by the database's clock."""
        now = self._instant("SELECT CURRENT_TIMESTAMP AS found")
        return min(one for one in (now, self.until) if one is not None)

    def _within(self, after: datetime, last: datetime | None = None) -> str:
        clauses = [] if after == BEGINNING else [f"{self._mark} > {self.dialect.instant(after)}"]
        clauses += [] if last is None else [f"{self._mark} <= {self.dialect.instant(last)}"]
        return " AND ".join([f"{self._mark} IS NOT NULL", *clauses])

    def _one(self, sql: str) -> Any:
        frame = self._load(self.spark, sql, parted=False)
        with self._told():
            return frame.collect()[0][0]

    def _instant(self, sql: str) -> datetime | None:
        """A time to the microsecond; what `collect` gives is in this process's zone, and does not say so."""
        found = self._load(self.spark, sql, parted=False).select(F.expr("unix_micros(CAST(found AS TIMESTAMP))"))
        with self._told():
            micros = found.collect()[0][0]
        return None if micros is None else _EPOCH + timedelta(microseconds=max(micros, _FIRST_MICROS))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What a driver complains of, in a sentence; raises DriverMissing, SourceUnreachable."""
        try:
            yield
        except (Py4JJavaError, PySparkException) as error:
            text, driver = str(error), self.dialect.drivers_name(self.settings)
            if "ClassNotFoundException" in text or "No suitable driver" in text:
                raise DriverMissing(self.dialect.name, driver, self.dialect.jar) from None
            raise SourceUnreachable(self.pull.source, _sentence(error)) from None

    def _load(self, spark: SparkSession, sql: str, *, parted: bool = True) -> DataFrame:
        options = {
            "url": self.dialect.url(self.settings),
            "driver": self.dialect.drivers_name(self.settings),
            "user": self.settings.user or "",
            "password": self.settings.secret() or "",
            "fetchsize": "10000",
            "sessionInitStatement": self.dialect.begin_session,
            "preferTimestampNTZ": "false",
            **self.dialect.connection(self.settings),
        }
        if parted and self.pull.partition_column and self.pull.partitions > 1:
            column = self.dialect.name_of(self.pull.partition_column)
            bounds = self._load(spark, f"SELECT min({column}) AS a, max({column}) AS b FROM ({sql}) p", parted=False)
            least, most = bounds.collect()[0]
            if least is not None:
                options |= {
                    "dbtable": f"({sql}) AS slice",
                    "partitionColumn": self.pull.partition_column,
                    "lowerBound": str(least),
                    "upperBound": str(int(most) + 1),
                    "numPartitions": str(self.pull.partitions),
                }
        options.setdefault("dbtable", f"({sql}) AS slice")
        with self._told():
            return spark.read.format("jdbc").options(**{name: one for name, one in options.items() if one}).load()


def _sentence(error: Exception) -> str:
    """The first line of what the driver says, which has no row in it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [found[1] for line in lines if (found := _COMPLAINT.search(line))]
    return next(iter([*named, *lines]), "")[:300].rstrip(".")
