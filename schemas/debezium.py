"""Debezium's op codes and envelope fields, in one file.

Source: https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events
"""

from __future__ import annotations

from pyspark.sql.types import LongType, StringType, StructField, StructType

CREATE, UPDATE, DELETE, READ, TRUNCATE, MESSAGE = "c", "u", "d", "r", "t", "m"
ROW_OPS = (CREATE, UPDATE, DELETE, READ)
OPS = (*ROW_OPS, TRUNCATE)

BEFORE, AFTER, SOURCE, OP, TS_MS = "before", "after", "source", "op", "ts_ms"

SOURCE_TYPE = StructType(
    [
        StructField("version", StringType()),
        StructField("connector", StringType()),
        StructField("name", StringType()),
        StructField("ts_ms", LongType()),
        StructField("snapshot", StringType()),
        StructField("db", StringType()),
        StructField("schema", StringType()),
        StructField("table", StringType()),
        StructField("txId", LongType()),
        StructField("lsn", LongType()),
        StructField("file", StringType()),
        StructField("pos", LongType()),
        StructField("row", LongType()),
    ]
)
"""The part of `source` that is kept: who produced the event, when (milliseconds), and at which position."""


def envelope_type(row: StructType) -> StructType:
    """The envelope around a row: `before`, `after`, `source`, `op`, `ts_ms` (milliseconds)."""
    return StructType(
        [
            StructField(BEFORE, row),
            StructField(AFTER, row),
            StructField(SOURCE, SOURCE_TYPE),
            StructField(OP, StringType()),
            StructField(TS_MS, LongType()),
        ]
    )
