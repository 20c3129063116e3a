"""Bytes to columns: what a bronze spec, its contract and its table compile to."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql.types import StructType

from schemas import debezium
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
            forms=_forms(spec, contract),
        )
        return cls(spec, contract, row, judge)

    @property
    def payload(self) -> StructType:
        """The type of the columns that a record becomes."""
        return self.judge.payload


def _forms(spec: BronzeSpec, contract: Contract) -> dict[str, str]:
    """The forms of the values, by their places in the columns that a record becomes."""
    found = {}
    for at, kind in contract.logical_types.items():
        form = kind.avro_form if spec.source.is_avro else kind.form
        if form is None:
            continue
        if not spec.source.is_debezium:
            found[at] = form
            continue
        image = f"/{debezium.AFTER}"
        if spec.contract_describes == "envelope" and not at.startswith(f"{image}/"):
            continue
        place = at.removeprefix(image) if spec.contract_describes == "envelope" else at
        found |= {f"/{side}{place}": form for side in (debezium.BEFORE, debezium.AFTER)}
    return found
