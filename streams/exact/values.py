"""Values of expressions, and their types: what goes through DuckDB and comes back as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    FractionalType,
    IntegralType,
    NullType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

UNSURE: Final = "only Spark tells this value"
_MOST_DIGITS: Final = 38
_PLAIN_TYPES = (BooleanType, IntegralType, FractionalType, BinaryType, DateType, TimestampType, TimestampNTZType)


@dataclass(frozen=True)
class Told:
    """An expression of DuckDB's, and the type that it has in Spark."""

    sql: str
    type: DataType


class OnlySpark(Exception):
    """Of this expression it is not known that the two give the same."""


def passes(kind: DataType) -> bool:
    """Whether values of this type go through DuckDB and come back as they were."""
    match kind:
        case StructType():
            return bool(kind.fields) and all(passes(field.dataType) for field in kind.fields)
        case ArrayType():
            return passes(kind.elementType)
    return kind == StringType() or isinstance(kind, _PLAIN_TYPES)


def alike(given: Sequence[Told]) -> tuple[DataType, list[str]]:
    """The type that values have together, and each as a value of it; raises OnlySpark."""
    kinds = list(dict.fromkeys(one.type for one in given if one.type != NullType()))
    if not kinds:
        raise OnlySpark
    kind = kinds[0]
    if len(kinds) > 1:
        kind = _wider(kinds)
    return kind, [
        one.sql if one.type in (kind, NullType()) else f"CAST({one.sql} AS {sql_type(kind)})" for one in given
    ]


def _wider(kinds: Sequence[DataType]) -> DataType:
    """The type that holds the values of all of these: of integers, or of decimals."""
    if all(isinstance(kind, IntegralType) for kind in kinds):
        return max(kinds, key=width)
    decimals = [kind for kind in kinds if isinstance(kind, DecimalType)]
    if len(decimals) < len(kinds):
        raise OnlySpark
    scale = max(kind.scale for kind in decimals)
    return decimal(max(kind.precision - kind.scale for kind in decimals) + scale, scale)


def decimal(precision: int, scale: int) -> DecimalType:
    """A decimal of so many digits; raises OnlySpark where Spark would give up some of them."""
    if precision > _MOST_DIGITS:
        raise OnlySpark
    return DecimalType(precision, scale)


def width(kind: DataType) -> int:
    """The place of an integer's type among them, by what it holds."""
    return ("tinyint", "smallint", "int", "bigint").index(kind.simpleString())


def sql_type(kind: DataType) -> str:
    """A type as DuckDB names it; raises OnlySpark for one that is not plain."""
    if isinstance(kind, DecimalType):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if kind == StringType():
        return "VARCHAR"
    if isinstance(kind, TimestampType):
        return "TIMESTAMPTZ"
    if isinstance(kind, (IntegralType, BooleanType, DateType)):
        return kind.simpleString().upper()
    raise OnlySpark


def if_sure(value: str, condition: str, result: str) -> str:
    """A result where a condition over a value holds; the query is stopped where it does not."""
    return f"CASE WHEN {value} IS NULL THEN NULL WHEN {condition} THEN {result} ELSE error('{UNSURE}') END"
