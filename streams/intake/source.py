"""What every source of an intake is: it tells how far there is to go, plans the next batch, and reads a planned one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

KAFKA_COLUMNS = ("key", "value", "topic", "partition", "offset", "timestamp", "headers")


@dataclass(frozen=True)
class Planned:
    """The next batch: what it reads, as its source understands it, and where each partition of the topic ends then."""

    reads: dict[str, Any]
    end: dict[int, int]


class Source(Protocol):
    """Where records come from; what it reads for a planned batch is the same each time."""

    @property
    def topic(self) -> str:
        """The topic that the records bear; of none but Kafka a real one."""

    def describe(self) -> list[str]:
        """What there is to read, for a person."""

    def total(self) -> int | None:
        """How many records there are, None where that is not known."""

    def next(self, before: Planned | None) -> Planned | None:
        """The batch after this one; None where nothing is left."""

    def read(self, spark: SparkSession, planned: Planned, start: dict[int, int]) -> DataFrame:
        """The records of a planned batch as Kafka's source gives them, from these offsets on."""


def as_records(rows: DataFrame, topic: str, key: str, timestamp: str) -> DataFrame:
    """Rows with `value` and `offset` as records of one partition; `key` and `timestamp` are SQL."""
    return rows.select(
        F.expr(f"CAST({key} AS BINARY)").alias("key"),
        F.expr("CAST(value AS BINARY)").alias("value"),
        F.lit(topic).alias("topic"),
        F.lit(0).alias("partition"),
        F.col("offset"),
        F.expr(f"CAST({timestamp} AS TIMESTAMP)").alias("timestamp"),
        F.expr("CAST(NULL AS ARRAY<STRUCT<key: STRING, value: BINARY>>)").alias("headers"),
    )
