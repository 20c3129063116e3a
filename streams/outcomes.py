"""Kafka records to what becomes of them, DataFrame to DataFrame: bronze rows, lane records, counted drops."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas import columns as c
from schemas.decode import Decoder
from schemas.table_columns import with_metadata

VALUE: Final = "__value"
HEADERS: Final = "__headers"
VIOLATIONS: Final = "__violations"
DROPPED: Final = "__dropped"
NEW_FIELDS: Final = "__new_fields"

LaneColumn = tuple[str, str | None, object]

_VERDICT: Final = "__verdict"
_SIZE_RULE: Final = "record.size"


@dataclass(frozen=True)
class Stamp:
    """What every row of one run carries: its uuid, its clock, and the contract's version that it was judged under."""

    run_id: str
    clock: datetime


def outcomes(records: DataFrame, decoder: Decoder, stamp: Stamp, max_record_bytes: int) -> DataFrame:
    """Each record with what becomes of it.

    Columns in: those of Kafka's source. Columns out: those of the bronze table (null but for the coordinates unless the
    record is accepted), and beside them `__violations` (null unless rejected), `__dropped` (why a record without a row
    is only counted), `__value` and `__headers` (for rejected records alone: bronze does not hold them, the lane does),
    and `__new_fields`. A value of more than `max_record_bytes` is rejected unread.
    """
    is_large = F.coalesce(F.octet_length("value") > max_record_bytes, F.lit(False))
    verdict = F.col(_VERDICT)
    payload = verdict["payload"]
    violations = F.when(is_large, _violation(_SIZE_RULE)).otherwise(verdict["violations"])
    is_rejected = F.col(VIOLATIONS).isNotNull()
    judged = records.withColumn(_VERDICT, decoder.judge.column(F.when(~is_large, F.col("value"))))
    return judged.withColumn(VIOLATIONS, violations).select(
        *(payload[name].alias(name) for name in decoder.payload.names),
        F.col("topic").alias(c.TOPIC),
        F.col("partition").alias(c.PARTITION),
        F.col("offset").alias(c.OFFSET),
        F.col("timestamp").alias(c.KAFKA_TS),
        F.col("key").alias(c.KEY),
        F.when(payload.isNotNull(), decoder.position(payload, F.col("partition"), F.col("offset"))).alias(
            c.SOURCE_POSITION
        ),
        F.lit(decoder.contract.version).alias(c.CONTRACT_VERSION),
        verdict["rescued"].alias(c.RESCUED_DATA),
        F.lit(stamp.clock).alias(c.INGEST_TS),
        F.lit(stamp.run_id).alias(c.BATCH_ID),
        F.lit(decoder.spec.source.source_system).alias(c.SOURCE_SYSTEM),
        F.lit(stamp.clock.date()).alias(c.RUN_DATE),
        VIOLATIONS,
        F.when(~is_large, verdict["dropped"]).alias(DROPPED),
        F.when(is_rejected, F.col("value")).alias(VALUE),
        F.when(is_rejected, F.col("headers")).alias(HEADERS),
        verdict["new_fields"].alias(NEW_FIELDS),
    )


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
    return judged.where(F.col(VIOLATIONS).isNotNull()).select(
        *((F.col(column) if column else F.lit(constant)).alias(name) for name, column, constant in columns)
    )


def _violation(rule: str) -> Column:
    nothing = F.lit("")
    return F.array(F.struct(F.lit(rule).alias("rule"), nothing.alias("pointer"), nothing.alias("schema_path")))
