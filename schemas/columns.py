"""The names and types of the columns that Sluice adds to tables, in one place."""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DateType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

INGEST_TS = "_ingest_ts"
BATCH_ID = "_batch_id"
SOURCE_SYSTEM = "_source_system"
RUN_DATE = "_run_date"
TOPIC = "_topic"
PARTITION = "_partition"
OFFSET = "_offset"
KAFKA_TS = "_kafka_ts"
KEY = "_key"
SOURCE_POSITION = "_source_position"
CONTRACT_VERSION = "_contract_version"
RESCUED_DATA = "_rescued_data"
UNAVAILABLE = "_unavailable"
SEQUENCE = "_sequence"
COLUMN_SEQUENCES = "_column_sequences"
UNKNOWN = "_unknown"
DELETED = "_deleted"

INGEST_METADATA = (INGEST_TS, BATCH_ID, SOURCE_SYSTEM, RUN_DATE)
"""On every table: when (TIMESTAMP) and by which run (uuid) a row came, from where, and the day of that run."""

BRONZE_METADATA = (
    TOPIC,
    PARTITION,
    OFFSET,
    KAFKA_TS,
    KEY,
    SOURCE_POSITION,
    CONTRACT_VERSION,
    RESCUED_DATA,
    UNAVAILABLE,
)
"""On bronze alone: where the record stood, its key, its place in its source's order, what judged it, what no column
knows of it, and the fields of `after` that the source did not send (see unavailable.py); null where it sent all."""

POSITION_TYPE = StructType(
    [
        StructField("epoch", IntegerType()),
        StructField("major", LongType()),
        StructField("minor", LongType()),
        StructField("row", LongType()),
        StructField("partition", IntegerType()),
        StructField("offset", LongType()),
    ]
)
"""Where a change stands in its source's order; structs compare field by field, so `>` is that order.

| source                                  | major                       | minor      | row              |
|-----------------------------------------|-----------------------------|------------|------------------|
| PostgreSQL: change                      | greater of last commit, LSN | LSN        | 0                |
| PostgreSQL: snapshot                    | LSN of the snapshot         | -1         | 0                |
| PostgreSQL: incremental snapshot        | greater of last commit, LSN | LSN, or -1 | -1               |
| MySQL, MariaDB: change                  | binlog number               | position   | row in the event |
| MySQL, MariaDB: snapshots               | binlog number               | position   | -1               |
| a plain topic                           | Kafka offset                | partition  | 0                |
| rows that are pulled                    | watermark in microseconds   | offset     | 0                |

A snapshot's row wins over each change before the snapshot, and loses to those at its place or after. See
debezium_position for the reasons, and debezium.completes_snapshot for what a completed one says of other rows.

`epoch` is -1 for history from files of a plain feed, which comes before all that its topic brings. It grows when an
operator accepts a recreated topic, a restored source, or another server in the place of a MySQL server: the numbers of
its binlogs have no order with the old ones. `partition` and `offset` break ties between copies of one change. The first
four fields name the change itself: two records that agree in them and in the key are one change, delivered twice.
"""

CHANGE_IDENTITY = ("epoch", "major", "minor", "row")

METADATA_TYPES = {
    INGEST_TS: TimestampType(),
    BATCH_ID: StringType(),
    SOURCE_SYSTEM: StringType(),
    RUN_DATE: DateType(),
    TOPIC: StringType(),
    PARTITION: IntegerType(),
    OFFSET: LongType(),
    KAFKA_TS: TimestampType(),
    KEY: BinaryType(),
    SOURCE_POSITION: POSITION_TYPE,
    CONTRACT_VERSION: StringType(),
    RESCUED_DATA: StringType(),
    UNAVAILABLE: ArrayType(StringType()),
    DELETED: BooleanType(),
}
