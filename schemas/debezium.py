"""Debezium's op codes and envelope fields, in one file.

Source: https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events
"""

from __future__ import annotations

from typing import Any, Final

from pyspark.sql.types import LongType, StringType, StructField, StructType

CREATE, UPDATE, DELETE, READ, TRUNCATE, MESSAGE = "c", "u", "d", "r", "t", "m"
ROW_OPS = (CREATE, UPDATE, DELETE, READ)
OPS = (*ROW_OPS, TRUNCATE)

BEFORE, AFTER, SOURCE, OP, TS_MS = "before", "after", "source", "op", "ts_ms"

COMPLETES_SNAPSHOT: Final = f"{OP} = '{READ}' AND {SOURCE}.snapshot IN ('last', 'last_in_data_collection')"
"""SQL over bronze: whether a record is the last of a snapshot of its table. An incremental snapshot has no such end."""

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


POSITION_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "if": {"properties": {"connector": {"const": "mysql"}}, "required": ["connector"]},
    "then": {"properties": {"file": {"type": "string"}, "pos": {"type": "integer"}}, "required": ["file", "pos"]},
    "else": {"properties": {"lsn": {"type": "integer"}}, "required": ["lsn"]},
}
"""A `source` that says where its event stands: an LSN, or a binlog's file and position."""


def has_position(source: Any) -> bool:
    """Whether a `source` says where its event stands."""
    if not isinstance(source, dict):
        return False
    if source.get("connector") == "mysql":
        return isinstance(source.get("file"), str) and isinstance(source.get("pos"), int)
    return isinstance(source.get("lsn"), int)
