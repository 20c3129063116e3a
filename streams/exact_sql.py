"""Spark's expressions as DuckDB's, just those of which the two are known to give the same.

A batch in the driver's memory whose expressions are all among these needs no job of Spark's: half of what a small batch
costs. Where the two differ for some values only, the others are recognised first; a value that is not among them
stops the query with UNSURE, and Spark is asked for the batch. So what is told here is never a guess:

| expression                                        | told for                                                |
|---------------------------------------------------|---------------------------------------------------------|
| columns and fields, strings, integers, NULL       | all values                                              |
| `=`, `<>`, `<`, ..., `<=>`, `IN`, `IS NULL`       | texts with texts, integers with integers                |
| `AND`, `OR`, `NOT`, `coalesce`, `nullif`, `CASE`  | all values, branches of one type                        |
| `trim(x)`                                         | all values: both take spaces away then, and no other    |
| `upper(x)`, `lower(x)`                            | ASCII: beyond it they fold otherwise                    |
| `timestamp_micros`, `_millis`, `_seconds`         | integers that are a time for both                       |
| `try_cast(text AS DECIMAL(p, s))`                 | plain digits that fit, `s` of them fraction at most     |
| `try_cast(text AS DATE)`, `try_to_timestamp`      | ISO 8601 from the year 1000 on, with a zone of any form |
| `to_date(x)`, `CAST(x AS DATE)`                   | timestamps, and texts as above                          |
"""

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
    IntegerType,
    IntegralType,
    NullType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)
from sqlglot import exp

from schemas.spark_types import NotASparkType, parse_type
from schemas.sql import DIALECT, NotSql, parse_expression, reference_of
from streams.compute import DUCKDB

UNSURE: Final = "only Spark tells this value"

_DATE = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?"
_ZONE = "(Z|[+-](0[0-9]|1[0-7]):[0-5][0-9])?"
_LONGEST_INTEGER = 9
_COMPARISONS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
}
_MICROS_OF: Final = {"timestamp_micros": 1, "timestamp_millis": 1_000, "timestamp_seconds": 1_000_000}
_PLAIN_TYPES = (BooleanType, IntegralType, FractionalType, BinaryType, DateType, TimestampType, TimestampNTZType)


@dataclass(frozen=True)
class Told:
    """An expression of DuckDB's, and the type that it has in Spark."""

    sql: str
    type: DataType


class _OnlySpark(Exception):
    """Of this expression it is not known that the two give the same."""


def told(sql: str, columns: StructType) -> Told | None:
    """An expression over these columns for DuckDB; None where only Spark can tell it."""
    if "\\" in sql:  # which escapes there are is for Spark's parser to say
        return None
    try:
        return _tell(parse_expression(sql), columns)
    except (_OnlySpark, NotSql, NotASparkType):
        return None


def _tell(node: exp.Expr, columns: StructType) -> Told:
    def tell(one: exp.Expr) -> Told:
        return _tell(one, columns)

    match node:
        case exp.Paren():
            return tell(node.this)
        case exp.Column() | exp.Dot():
            return _reference(node, columns)
        case exp.Literal() | exp.Neg(this=exp.Literal(is_string=False)):
            return _literal(node)
        case exp.Boolean():
            return Told(str(node.this).upper(), BooleanType())
        case exp.Null():
            return Told("NULL", NullType())
        case exp.And() | exp.Or():
            word = "AND" if isinstance(node, exp.And) else "OR"
            return Told(f"({_truth(tell(node.this))} {word} {_truth(tell(node.expression))})", BooleanType())
        case exp.Not():
            return Told(f"(NOT {_truth(tell(node.this))})", BooleanType())
        case exp.Is(expression=exp.Null()):
            return Told(f"({tell(node.this).sql} IS NULL)", BooleanType())
        case exp.In() if _has_only(node, "this", "expressions"):
            return _comparison("IN", tell(node.this), [tell(one) for one in node.expressions])
        case _ if type(node) in _COMPARISONS:
            return _comparison(_COMPARISONS[type(node)], tell(node.this), [tell(node.expression)])
        case exp.Coalesce() if _has_only(node, "this", "expressions"):
            given = [tell(one) for one in (node.this, *node.expressions)]
            return Told(f"coalesce({', '.join(one.sql for one in given)})", _one_type(given))
        case exp.Nullif():
            given = [tell(node.this), tell(node.expression)]
            _comparison("=", given[0], given[1:])
            return Told(f"nullif({given[0].sql}, {given[1].sql})", given[0].type)
        case exp.If() | exp.Case() if _has_only(node, "this", "true", "false", "ifs", "default"):
            return _choice(node, columns)
        case exp.Trim() if _has_only(node, "this"):
            return Told(f"trim({_text(tell(node.this))}, ' ')", StringType())
        case exp.Upper() | exp.Lower():
            given_text = _text(tell(node.this))
            folded = f"{'upper' if isinstance(node, exp.Upper) else 'lower'}({given_text})"
            return Told(_if_sure(given_text, f"strlen({given_text}) = length({given_text})", folded), StringType())
        case exp.TryCast() if _has_only(node, "this", "to", "safe"):
            return _cast(tell(node.this), parse_type(node.to.sql(DIALECT)), is_try=bool(node.args.get("safe")))
        case exp.TsOrDsToDate() if _has_only(node, "this", "safe"):
            return _cast(tell(node.this), DateType(), is_try=False)
        case exp.Anonymous() if len(node.expressions) == 1:
            return _function(str(node.this).lower(), tell(node.expressions[0]))
    raise _OnlySpark


def _has_only(node: exp.Expr, *names: str) -> bool:
    return all(name in names for name, value in node.args.items() if value not in (None, [], False))


def _reference(node: exp.Expr, columns: StructType) -> Told:
    column = node.find(exp.Column)
    reference = reference_of(column) if column is not None else None
    if reference is None:
        raise _OnlySpark
    kind: DataType = columns
    sql = ""
    for part in reference.parts:
        if not isinstance(kind, StructType):
            raise _OnlySpark
        names = [name for name in kind.names if name.casefold() == part.casefold()]
        if len(names) != 1:
            raise _OnlySpark
        kind = kind[names[0]].dataType
        sql = f"struct_extract({sql}, {DUCKDB.text(names[0])})" if sql else DUCKDB.name(names[0])
    if not _passes(kind):
        raise _OnlySpark
    return Told(sql, kind)


def _passes(kind: DataType) -> bool:
    """Whether values of this type go through DuckDB and come back as they were."""
    match kind:
        case StructType():
            return bool(kind.fields) and all(_passes(field.dataType) for field in kind.fields)
        case ArrayType():
            return _passes(kind.elementType)
    return kind == StringType() or isinstance(kind, _PLAIN_TYPES)


def _literal(node: exp.Expr) -> Told:
    sign, literal = ("-", node.this) if isinstance(node, exp.Neg) else ("", node)
    text = str(literal.this)
    if literal.is_string:
        return Told(DUCKDB.text(text), StringType())
    if text.isdecimal() and len(text) <= _LONGEST_INTEGER:
        return Told(f"{sign}{text}", IntegerType())
    whole, _, fraction = text.partition(".")
    if whole.isdecimal() and fraction.isdecimal() and len(whole + fraction) <= _LONGEST_INTEGER:
        return Told(f"{sign}{text}", DecimalType(len(whole + fraction), len(fraction)))
    raise _OnlySpark


def _truth(one: Told) -> str:
    if not isinstance(one.type, (BooleanType, NullType)):
        raise _OnlySpark
    return one.sql


def _text(one: Told) -> str:
    if one.type != StringType():
        raise _OnlySpark
    return one.sql


def _comparison(sign: str, left: Told, right: Sequence[Told]) -> Told:
    """Texts are compared by their bytes in both, and numbers that are exact by their values."""
    given = (left, *right)
    if not (
        all(one.type == StringType() for one in given)
        or all(isinstance(one.type, (IntegralType, DecimalType)) for one in given)
    ):
        raise _OnlySpark
    listed = f"({', '.join(one.sql for one in right)})" if sign == "IN" else right[0].sql
    return Told(f"({left.sql} {sign} {listed})", BooleanType())


def _one_type(given: Sequence[Told]) -> DataType:
    kinds = [one.type for one in given if one.type != NullType()]
    if not kinds or any(kind != kinds[0] for kind in kinds):
        raise _OnlySpark
    return kinds[0]


def _choice(node: exp.If | exp.Case, columns: StructType) -> Told:
    if isinstance(node, exp.Case) and node.this is not None:
        raise _OnlySpark
    branches = node.args["ifs"] if isinstance(node, exp.Case) else [node]
    last = node.args.get("default") or node.args.get("false") or exp.Null()
    cases = [(_truth(_tell(one.this, columns)), _tell(one.args["true"], columns)) for one in branches]
    default = _tell(last, columns)
    whens = " ".join(f"WHEN {condition} THEN {value.sql}" for condition, value in cases)
    return Told(f"CASE {whens} ELSE {default.sql} END", _one_type([*(value for _, value in cases), default]))


def _if_sure(value: str, condition: str, result: str) -> str:
    return f"CASE WHEN {value} IS NULL THEN NULL WHEN {condition} THEN {result} ELSE error('{UNSURE}') END"


def _matching(text: str, pattern: str, result: str) -> str:
    return _if_sure(text, f"regexp_full_match({text}, '{pattern}')", result)


def _cast(one: Told, to: DataType, *, is_try: bool) -> Told:
    """What only a `CAST` would refuse makes DuckDB fail too, and Spark then says so in its own words."""
    cast = "TRY_CAST" if is_try else "CAST"
    match one.type, to:
        case _ if one.type == to and _passes(to):
            return one
        case IntegralType(), IntegralType() if _width(one.type) < _width(to):
            return Told(f"CAST({one.sql} AS {to.simpleString()})", to)
        case IntegralType(), StringType() if to == StringType():
            return Told(f"CAST({one.sql} AS VARCHAR)", to)
        case TimestampType(), DateType():
            return Told(f"CAST(make_timestamp(epoch_us({one.sql})) AS DATE)", to)
        case StringType(), DateType():
            return Told(_matching(_text(one), _DATE, f"{cast}({one.sql} AS DATE)"), to)
        case StringType(), TimestampType():
            whole = f"{_DATE}[T ]{_TIME}{_ZONE}"
            return Told(_matching(_text(one), whole, f"{cast}({one.sql} AS TIMESTAMPTZ)"), to)
        case StringType(), DecimalType(precision=precision, scale=scale) if precision > scale:
            fraction = f"([.][0-9]{{1,{scale}}})?" if scale else ""
            digits = f"-?[0-9]{{1,{precision - scale}}}{fraction}"
            return Told(_matching(_text(one), digits, f"CAST({one.sql} AS DECIMAL({precision}, {scale}))"), to)
    raise _OnlySpark


def _width(kind: DataType) -> int:
    return ("tinyint", "smallint", "int", "bigint").index(kind.simpleString())


def _function(name: str, one: Told) -> Told:
    if name in _MICROS_OF and isinstance(one.type, IntegralType):
        return Told(f"make_timestamptz(CAST({one.sql} AS BIGINT) * {_MICROS_OF[name]})", TimestampType())
    if name == "try_to_timestamp":
        return _cast(one, TimestampType(), is_try=True)
    raise _OnlySpark
