"""Debezium's op codes and envelope fields, in one file, and which records of its topics are about no row.

Sources: https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events and
https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-events
"""

from __future__ import annotations

import re
from typing import Any, Final

from pyspark.sql.types import LongType, StringType, StructField, StructType

CREATE, UPDATE, DELETE, READ, TRUNCATE, MESSAGE = "c", "u", "d", "r", "t", "m"
ROW_OPS = (CREATE, UPDATE, DELETE, READ)
OPS = (*ROW_OPS, TRUNCATE)

BEFORE, AFTER, SOURCE, OP, TS_MS, TRANSACTION = "before", "after", "source", "op", "ts_ms", "transaction"

BINLOG_CONNECTORS: Final = ("mysql", "mariadb")
INCREMENTAL: Final = "incremental"
"""What `source.snapshot` is for a row of an incremental snapshot."""

LAST_OF_TABLE: Final = ("last", "last_in_data_collection")
"""What it is for the last row of a table that a snapshot reads, `last` being the last of all."""

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
        StructField("sequence", StringType()),
        StructField("server_id", LongType()),
        StructField("gtid", StringType()),
        StructField("file", StringType()),
        StructField("pos", LongType()),
        StructField("row", LongType()),
    ]
)
"""The part of `source` that is kept: who produced the event, when (milliseconds), and at which position."""

TRANSACTION_TYPE = StructType(
    [
        StructField("id", StringType()),
        StructField("total_order", LongType()),
        StructField("data_collection_order", LongType()),
    ]
)
"""Which transaction made the change, and as which of its changes; null without `provide.transaction.metadata`."""


def envelope_type(row: StructType) -> StructType:
    """The envelope around a row: `before`, `after`, `source`, `op`, `ts_ms` (milliseconds), `transaction`."""
    return StructType(
        [
            StructField(BEFORE, row),
            StructField(AFTER, row),
            StructField(SOURCE, SOURCE_TYPE),
            StructField(OP, StringType()),
            StructField(TS_MS, LongType()),
            StructField(TRANSACTION, TRANSACTION_TYPE),
        ]
    )


BINLOG_NUMBER: Final = "[0-9]{1,18}$"
SEQUENCE_LSN: Final = ',"[0-9]{1,18}"]$'
POSITION_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "if": {"properties": {"connector": {"enum": list(BINLOG_CONNECTORS)}}, "required": ["connector"]},
    "then": {
        "properties": {"file": {"type": "string", "pattern": BINLOG_NUMBER}, "pos": {"type": "integer"}},
        "required": ["file", "pos"],
    },
    "else": {
        "anyOf": [
            {"properties": {"lsn": {"type": "integer"}}, "required": ["lsn"]},
            {
                "properties": {"lsn": {"type": "null"}, "sequence": {"type": "string", "pattern": SEQUENCE_LSN}},
                "required": ["sequence"],
            },
        ]
    },
}
"""A `source` that says where its event stands: an LSN, or a binlog's file and position.

Rows of an incremental snapshot have no `lsn`; it is in their `sequence` alone.
"""


def has_position(source: Any) -> bool:
    """Whether a `source` says where its event stands."""
    if not isinstance(source, dict):
        return False
    if source.get("connector") in BINLOG_CONNECTORS:
        file, pos = source.get("file"), source.get("pos")
        return isinstance(file, str) and re.search(BINLOG_NUMBER, file) is not None and isinstance(pos, int)
    lsn, sequence = source.get("lsn"), source.get("sequence")
    if lsn is None and isinstance(sequence, str):
        return re.search(SEQUENCE_LSN, sequence) is not None
    return isinstance(lsn, int)


def without_row(record: dict[str, Any]) -> str | None:
    """What a record is that Debezium writes beside changes; None for one that should be a change.

    | it is           | by                                                                                 |
    |-----------------|------------------------------------------------------------------------------------|
    | `message`       | `op = m`: what an application wrote to the log by `pg_logical_emit_message`        |
    | `heartbeat`     | `ts_ms` alone                                                                      |
    | `transaction`   | `status` BEGIN or END and an `id`: `provide.transaction.metadata`                  |
    | `schema_change` | a `source`, and `ddl` or `tableChanges`: the topic of schema changes               |
    """
    if OP in record:
        return "message" if record[OP] == MESSAGE else None
    if record.keys() == {TS_MS}:
        return "heartbeat"
    if record.get("status") in ("BEGIN", "END") and "id" in record:
        return "transaction"
    if isinstance(record.get(SOURCE), dict) and ("ddl" in record or "tableChanges" in record):
        return "schema_change"
    return None


def completes_snapshot() -> str:
    """SQL over bronze's columns: whether a row is the last that a snapshot read of its table.

    What the table held before, and the snapshot did not contain, is gone: that is all which stands before its own rows
    and has no newer change. An incremental snapshot completes nothing. Nor does the snapshot of an empty table, which
    has no last row.
    """
    values = ", ".join(f"'{value}'" for value in LAST_OF_TABLE)
    return f"{OP} = '{READ}' AND {SOURCE}.snapshot IN ({values})"
