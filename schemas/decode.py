"""Bytes to columns: the Spark expressions that a bronze spec and its contract compile to."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from schemas import debezium
from schemas.contract import Contract, UntypedContract
from schemas.judge import Judge, declared_fields
from schemas.spec import BronzeSpec
from schemas.table_columns import payload_type, row_type

_CORRUPT = "_corrupt_record"


@dataclass(frozen=True)
class Decoder:
    """How the records of one bronze table become columns."""

    judge: Judge
    payload: StructType
    is_debezium: bool

    @classmethod
    def of(cls, spec: BronzeSpec, contract: Contract) -> Decoder:
        """The decoder of a bronze table under its contract."""
        row, payload = row_type(spec, contract), payload_type(spec, contract)
        if row is None or payload is None:
            raise UntypedContract(contract.name, "/properties/after", "it does not say which fields a row has")
        judge = Judge(
            schema=orjson.dumps(contract.schema).decode(),
            format=spec.source.format,
            describes=spec.contract_describes,
            keys=spec.keys,
            declared=declared_fields(row),
        )
        return cls(judge, payload, spec.source.format == "debezium-json")

    def parsed(self, value: Column, wrapped: Column) -> Column:
        """The value as a struct of `payload` and `_corrupt_record`, the latter set where a field did not fit its type.

        `wrapped` tells where the payload lies inside a Kafka Connect envelope.
        """
        text = value.cast("string")
        options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _CORRUPT}
        bare = StructType([*self.payload.fields, StructField(_CORRUPT, StringType())])
        inside = StructType([StructField("payload", self.payload), StructField(_CORRUPT, StringType())])
        in_envelope = F.from_json(text, inside, options)
        plain = F.from_json(text, bare, options)
        return F.when(
            wrapped,
            F.struct(
                *(in_envelope["payload"][name].alias(name) for name in self.payload.names),
                in_envelope[_CORRUPT].alias(_CORRUPT),
            ),
        ).otherwise(plain)

    @staticmethod
    def undecodable(parsed: Column) -> Column:
        """Whether a value that keeps to the contract does not fit its column."""
        return parsed[_CORRUPT].isNotNull()

    def position(self, parsed: Column, partition: Column, offset: Column) -> Column:
        """`_source_position`; see columns.POSITION_TYPE."""
        if not self.is_debezium:
            return _position(offset, partition.cast("bigint"), F.lit(0), partition, offset)
        source, op = parsed[debezium.SOURCE], parsed[debezium.OP]
        is_mysql = source["connector"] == "mysql"
        # A snapshot read shares its position with the change that stands there, and loses to it.
        is_change = F.when(op == debezium.READ, F.lit(0)).otherwise(F.lit(1))
        binlog = F.regexp_extract(source["file"], r"(\d+)$", 1).try_cast("bigint")
        return _position(
            F.when(is_mysql, binlog).otherwise(source["lsn"]),
            F.when(is_mysql, source["pos"]).otherwise(is_change),
            F.when(is_mysql, F.coalesce(source["row"], F.lit(0))).otherwise(F.lit(0)),
            partition,
            offset,
        )


def _position(major: Column, minor: Column, row: Column, partition: Column, offset: Column) -> Column:
    return F.struct(
        F.lit(0).alias("epoch"),
        major.cast("bigint").alias("major"),
        minor.cast("bigint").alias("minor"),
        row.cast("bigint").alias("row"),
        partition.cast("int").alias("partition"),
        offset.cast("bigint").alias("offset"),
    )
