"""Bytes to columns: what a bronze spec, its contract and its table compile to."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from schemas import debezium
from schemas.columns import POSITION_TYPE
from schemas.contract import Contract, UntypedContract
from schemas.field_tree import tree_of
from schemas.judge import Judge, OnUnknown
from schemas.record_bytes import JsonReader, Reader
from schemas.spec import BronzeSpec
from schemas.table_columns import payload_type, row_type
from schemas.type_changes import with_fields
from schemas.validation import Validation

_ON_UNKNOWN: dict[str, OnUnknown] = {
    "evolve": "learn",
    "freeze": "learn",  # told of, so that the query can say which field it stopped at
    "discard_value": "keep",
    "discard_row": "reject",
}


@dataclass(frozen=True)
class Decoder:
    """How the records of one bronze table become columns.

    `row` is the type of the row that a record is about: the contract's fields, and those learned from the records.
    """

    spec: BronzeSpec
    contract: Contract
    row: StructType
    judge: Judge

    @classmethod
    def of(
        cls, spec: BronzeSpec, contract: Contract, learned: StructType | None = None, reader: Reader | None = None
    ) -> Decoder:
        """The decoder of a bronze table under its contract.

        `learned` is the row's type as the table holds it, `reader` how bytes are read where it is not as plain JSON.
        """
        declared = row_type(spec, contract)
        if declared is None:
            raise UntypedContract(contract.name, "/properties/after", "it does not say which fields a row has")
        row = with_fields(declared, learned) if learned is not None else declared
        judge = Judge.of(
            reader or JsonReader(),
            Validation.of(contract),
            tree_of(row, declared),
            payload_type(spec, row),
            keys=spec.keys,
            is_debezium=spec.source.is_debezium,
            describes=spec.contract_describes,
            on_unknown=_ON_UNKNOWN[spec.schema_change],
        )
        return cls(spec, contract, row, judge)

    @property
    def payload(self) -> StructType:
        """The type of the columns that a record becomes."""
        return self.judge.payload

    def position(self, payload: Column, partition: Column, offset: Column) -> Column:
        """`_source_position`; see columns.POSITION_TYPE."""
        if not self.spec.source.is_debezium:
            return _position(offset, partition.cast("bigint"), F.lit(0), partition, offset)
        source, op = payload[debezium.SOURCE], payload[debezium.OP]
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
    ).cast(POSITION_TYPE)
