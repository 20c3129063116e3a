"""The columns that each table has, worked out from its spec, its contract and the tables above it.

| kind | columns |
|------|---------|
| `bronze` | the payload's (see `payload_type`), the bronze metadata |
| `current` | those of `select` that `pii` does not drop, `_sequence`, `_column_sequences` |
| `history` | the same of `select`, `_sequence`, `_deleted`, `_unknown` |
| `scd2` | `surrogate_key`, the history's columns of `select`, `valid_from`, `valid_to`, `is_current` |
| `derived` | those of the query, `surrogate_key` where it is given |

and the ingest metadata on all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pyspark.sql.types import StructField, StructType

from schemas import columns as c
from schemas import debezium
from schemas.contract import Contract
from schemas.spec import BronzeSpec, ChangeSpec, CurrentSpec, DerivedSpec, HistorySpec, Scd2Spec, TableSpec
from schemas.sql import NotSql, Reference, parse_expression, references
from schemas.sql_query import parse_query

Names = tuple[str, ...]

VALID_FROM: Final = "valid_from"
VALID_TO: Final = "valid_to"
IS_CURRENT: Final = "is_current"
VALIDITY: Final = (VALID_FROM, VALID_TO, IS_CURRENT)
"""What an `scd2` table says of each version."""


def row_type(spec: BronzeSpec, contract: Contract) -> StructType | None:
    """The type of the row that a record is about; None where an envelope's contract names no `after`."""
    described = contract.row_type
    if spec.contract_describes == "row":
        return described
    after = described[debezium.AFTER].dataType if debezium.AFTER in described.names else None
    return after if isinstance(after, StructType) else None


def payload_type(spec: BronzeSpec, row: StructType) -> StructType:
    """The columns that a record of this row gives a bronze table: the envelope's for Debezium, else the row's."""
    return debezium.envelope_type(row) if spec.source.is_debezium else row


def bronze_type(spec: BronzeSpec, contract: Contract) -> StructType | None:
    """All columns of a bronze table; None where an envelope's contract names no `after`."""
    row = row_type(spec, contract)
    return None if row is None else with_metadata(payload_type(spec, row))


def row_in(spec: BronzeSpec, bronze: StructType) -> StructType:
    """The type of the row as a bronze table holds it, which may have learned fields that no contract names."""
    if spec.source.is_debezium:
        after = bronze[debezium.AFTER].dataType
        return after if isinstance(after, StructType) else StructType()
    metadata = {*c.BRONZE_METADATA, *c.INGEST_METADATA}
    return StructType([field for field in bronze.fields if field.name not in metadata])


def with_metadata(payload: StructType) -> StructType:
    """A payload's columns and the metadata of bronze behind them."""
    metadata = (*c.BRONZE_METADATA, *c.INGEST_METADATA)
    return StructType([*payload.fields, *(StructField(name, c.METADATA_TYPES[name]) for name in metadata)])


def column_names(tables: Mapping[str, TableSpec], contracts: Mapping[str, Contract]) -> Callable[[str], Names | None]:
    """A function from a table's name to the names of its columns, None where only Spark can tell them.

    Tables that are missing, stand in a circle or have a query that does not parse are among those.
    """
    told: dict[str, Names | None] = {}

    def names(table: str) -> Names | None:
        if table not in told:
            told[table] = None  # for a table that leads back to itself
            spec = tables.get(table)
            own = _own_names(spec, contracts, names) if spec is not None else None
            told[table] = (*own, *c.INGEST_METADATA) if own is not None else None
        return told[table]

    return names


def _own_names(
    spec: TableSpec, contracts: Mapping[str, Contract], names: Callable[[str], Names | None]
) -> Names | None:
    match spec:
        case BronzeSpec():
            row = row_type(spec, contracts[spec.contract]) if spec.contract in contracts else None
            return (*payload_type(spec, row).names, *c.BRONZE_METADATA) if row is not None else None
        case ChangeSpec() if not spec.select:
            return None
        case CurrentSpec():
            return (*spec.columns, c.SEQUENCE, c.COLUMN_SEQUENCES)
        case HistorySpec():
            return (*spec.columns, c.SEQUENCE, c.DELETED, c.UNKNOWN)
        case Scd2Spec():
            history = names(spec.from_)
            if history is None:
                return None
            hidden = {c.SEQUENCE, c.DELETED, c.UNKNOWN, *c.INGEST_METADATA}
            return (spec.surrogate_key, *(name for name in history if name not in hidden), *VALIDITY)
        case DerivedSpec():
            output = query_output(spec, names)
            if output is None:
                return None
            return (*output, *([spec.surrogate_key] if spec.surrogate_key else []))


def query_output(spec: DerivedSpec, names: Callable[[str], Names | None]) -> Names | None:
    """The names of the columns that the query gives, None where they can not be told without Spark."""
    try:
        return parse_query(spec.query).output(names)
    except NotSql:
        return None


def image_columns(bronze: StructType) -> tuple[str, ...]:
    """The fields of the row that a Debezium event is about, as SQL names them there: `after.email`."""
    after = bronze[debezium.AFTER].dataType if debezium.AFTER in bronze.names else None
    return tuple(f"{debezium.AFTER}.{name}" for name in after.names) if isinstance(after, StructType) else ()


def rest_of_row(spec: ChangeSpec, bronze: StructType, is_tagged: Callable[[str], bool]) -> dict[str, str]:
    """The fields of bronze's row that a spec neither reads nor names, as columns: name -> SQL.

    What holds personal data (`is_tagged`, by the field's name) goes along only where the spec names it.
    """
    is_image = debezium.AFTER in bronze.names
    metadata = {*c.BRONZE_METADATA, *c.INGEST_METADATA}
    row = bronze[debezium.AFTER].dataType if is_image else bronze
    names = [name for name in row.names if name not in metadata] if isinstance(row, StructType) else []
    prefix = f"{debezium.AFTER}." if is_image else ""
    read = {str(reference).casefold() for sql in spec.select.values() for reference in _references(sql)}
    named = {name.casefold() for name in (*spec.select, *c.METADATA_TYPES, c.SEQUENCE)}

    def is_read(name: str) -> bool:
        path = f"{prefix}{name}".casefold()
        return any(one == path or one.startswith(f"{path}.") for one in read)

    return {
        name: f"{prefix}`{name}`"
        for name in names
        if name.casefold() not in named and not is_read(name) and not is_tagged(name)
    }


def _references(sql: str) -> list[Reference]:
    try:
        return list(references(parse_expression(sql)))
    except NotSql:
        return []
