"""Kafka records to what becomes of them: as columns for Spark, or as Arrow for the driver; see schemas/outcome.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas import columns as c
from schemas.arrow_values import arrow_type
from schemas.decode import Decoder
from schemas.outcome import DROPPED, HEADERS, HEADERS_TYPE, IPC_TYPE, VALUE, VIOLATIONS, Outcomes
from schemas.table_columns import with_metadata

LaneColumn = tuple[str, str | None, object]

_KAFKA_COLUMNS = ("key", "value", "topic", "partition", "offset", "timestamp")


@dataclass(frozen=True)
class Stamp:
    """What every row of one run carries: its uuid, its clock, and the epoch of its source."""

    run_id: str
    clock: datetime
    epoch: int = 0


def outcomes_of(decoder: Decoder, stamp: Stamp, max_record_bytes: int) -> Outcomes:
    """What becomes of the records of one run."""
    source_system, version = decoder.spec.source.source_system, decoder.contract.version
    return Outcomes(
        decoder.judge,
        source_system,
        version,
        stamp.run_id,
        stamp.clock,
        max_record_bytes,
        stamp.epoch,
        is_pulled=decoder.spec.source.jdbc is not None,
    )


def as_frame(records: DataFrame, outcomes: Outcomes) -> DataFrame:
    """Each record with what becomes of it, as columns of Spark."""
    return _for_workers(records).mapInArrow(outcomes.as_columns, outcomes.type)


def in_driver(records: DataFrame, outcomes: Outcomes) -> pa.Table:
    """The same as Arrow in the driver.

    The workers' Arrow comes through Spark untouched: to turn thirty columns into Spark's rows and back into Arrow costs
    as much as to judge them.
    """
    streams = _for_workers(records).mapInArrow(outcomes.as_ipc, IPC_TYPE).toArrow()["rows"]
    tables = [pa.ipc.open_stream(stream.as_buffer()).read_all() for stream in streams]
    return pa.concat_tables(tables) if tables else _schema_of(outcomes).empty_table()


def _for_workers(records: DataFrame) -> DataFrame:
    """What the workers need; headers as JSON, which most records have none of."""
    headers = F.when(F.size("headers") > 0, F.to_json("headers"))
    return records.select(*_KAFKA_COLUMNS, headers.alias("headers"))


def _schema_of(outcomes: Outcomes) -> pa.Schema:
    return pa.schema(list(arrow_type(outcomes.type)))


def bronze_names(decoder: Decoder) -> list[str]:
    """The columns of the bronze table, in their order."""
    return with_metadata(decoder.payload).names


def accepted_rows(judged: DataFrame, decoder: Decoder) -> DataFrame:
    """The accepted records as rows of the bronze table; see table_columns.bronze_type."""
    return judged.where(F.col(VIOLATIONS).isNull() & F.col(DROPPED).isNull()).select(*bronze_names(decoder))


def lane_columns(decoder: Decoder) -> list[LaneColumn]:
    """The lane's fields in order: name, the column of `outcomes` that it is, or else the constant."""
    contract = decoder.contract
    return [
        ("table", None, decoder.spec.table),
        ("topic", c.TOPIC, None),
        ("partition", c.PARTITION, None),
        ("offset", c.OFFSET, None),
        ("kafka_ts", c.KAFKA_TS, None),
        ("key", c.KEY, None),
        ("value", VALUE, None),
        ("headers", HEADERS, None),
        ("violations", VIOLATIONS, None),
        ("contract", None, contract.name),
        ("contract_version", None, contract.version),
        ("contract_hash", None, contract.hash),
        ("source_system", c.SOURCE_SYSTEM, None),
        ("run_id", c.BATCH_ID, None),
        ("ingest_ts", c.INGEST_TS, None),
    ]


def verdict_columns(decoder: Decoder) -> list[LaneColumn]:
    """Of the lane's fields those of a verdict on a record that was judged again."""
    names = {"topic", "partition", "offset", "violations", "contract", "contract_version", "contract_hash", "ingest_ts"}
    return [column for column in lane_columns(decoder) if column[0] in names]


def rejected_records(judged: DataFrame, columns: list[LaneColumn]) -> DataFrame:
    """The rejected records with these fields."""
    judged = judged.withColumn(HEADERS, F.from_json(HEADERS, HEADERS_TYPE))
    return judged.where(F.col(VIOLATIONS).isNotNull()).select(
        *((F.col(column) if column else F.lit(constant)).alias(name) for name, column, constant in columns)
    )
