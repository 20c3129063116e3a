"""Spark's expressions as DuckDB's, just those of which the two are known to give the same.

A batch in the driver's memory whose expressions are all among these needs no job of Spark's: half of what a small batch
costs. Where the two differ for some values only, the others are recognised first; a value that is not among them
stops the query with UNSURE, and Spark is asked for the batch. So what is told here is never a guess:

| expression                                        | told for                                                |
|---------------------------------------------------|---------------------------------------------------------|
| columns and fields, strings, integers, NULL       | all values                                              |
| `=`, `<>`, `<`, ..., `<=>`, `IN`, `IS NULL`       | texts, exact numbers, dates or timestamps, of one kind  |
| `AND`, `OR`, `NOT`, `coalesce`, `nullif`, `CASE`  | all values, branches of one type                        |
| `trim(x)`                                         | all values: both take spaces away then, and no other    |
| `upper(x)`, `lower(x)`                            | ASCII: beyond it they fold otherwise                    |
| `+`, `-`, `*`, `round(x, n)`                      | integers, and decimals within 38 digits                 |
| `year`, `quarter`, `weekofyear`, `weekday`, ...   | dates from the year 1000 on                             |
| `date_format(x, ...)` of `yyyy`, `MM`, `dd`, ...  | the same                                                |
| `timestamp_micros`, `_millis`, `_seconds`         | integers that are a time for both                       |
| `trycast_to(text AS DECIMAL(p, s))`                 | plain digits that fit, `s` of them fraction at most     |
| `trycast_to(text AS DATE)`, `try_to_timestamp`      | ISO 8601 from the year 1000 on, with a zone of any form |
| `to_date(x)`, `CAST(x AS DATE)`                   | timestamps, and texts as above                          |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    IntegralType,
    NullType,
    StringType,
    StructType,
    TimestampType,
)
from sqlglot import exp

from schemas.spark_types import NotASparkType, parse_type
from schemas.sql import DIALECT, NotSql, parse_expression, reference_of
from streams.compute import DUCKDB
from streams.exact import functions
from streams.exact.casts import LONGEST_INTEGER, cast_to, text_of
from streams.exact.values import OnlySpark, Told, alike, if_sure, passes

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
_COMPARED: Final[tuple[Callable[[DataType], bool], ...]] = (
    lambda kind: kind == StringType(),
    lambda kind: isinstance(kind, (IntegralType, DecimalType)),
    lambda kind: isinstance(kind, DateType),
    lambda kind: isinstance(kind, TimestampType),
    lambda kind: isinstance(kind, BooleanType),
)


class Names(Protocol):
    """What the names in an expression stand for."""

    def reference(self, parts: Sequence[str]) -> Told:
        """A column, or a field below one; raises OnlySpark."""

    def node(self, node: exp.Expr) -> Told | None:
        """What may be said here and nowhere else, as aggregates within a grouping; None for anything else."""


@dataclass(frozen=True)
class _Columns:
    """The columns of one table."""

    columns: StructType

    def reference(self, parts: Sequence[str]) -> Told:
        return field_of(None, self.columns, parts)

    def node(self, node: exp.Expr) -> Told | None:
        del node
        return None


def told(sql: str, columns: StructType) -> Told | None:
    """An expression over these columns for DuckDB; None where only Spark can tell it."""
    if "\\" in sql:  # which escapes there are is for Spark's parser to say
        return None
    try:
        return tell(parse_expression(sql), _Columns(columns))
    except (OnlySpark, NotSql, NotASparkType):
        return None


def tell(node: exp.Expr, names: Names) -> Told:
    """An expression that is parsed, for DuckDB; raises OnlySpark, NotSql and NotASparkType."""

    def of(one: exp.Expr) -> Told:
        return tell(one, names)

    found = names.node(node)
    if found is not None:
        return found
    match node:
        case exp.Paren():
            return of(node.this)
        case exp.Column() | exp.Dot():
            return names.reference(_parts(node))
        case exp.Literal() | exp.Neg(this=exp.Literal(is_string=False)):
            return _literal(node)
        case exp.Boolean():
            return Told(str(node.this).upper(), BooleanType())
        case exp.Null():
            return Told("NULL", NullType())
        case exp.And() | exp.Or():
            word = "AND" if isinstance(node, exp.And) else "OR"
            return Told(f"({_truth(of(node.this))} {word} {_truth(of(node.expression))})", BooleanType())
        case exp.Not():
            return Told(f"(NOT {_truth(of(node.this))})", BooleanType())
        case exp.Is(expression=exp.Null()):
            return Told(f"({of(node.this).sql} IS NULL)", BooleanType())
        case exp.In() if _has_only(node, "this", "expressions"):
            return _comparison("IN", of(node.this), [of(one) for one in node.expressions])
        case _ if type(node) in _COMPARISONS:
            return _comparison(_COMPARISONS[type(node)], of(node.this), [of(node.expression)])
        case exp.Coalesce() if _has_only(node, "this", "expressions"):
            given = [of(one) for one in (node.this, *node.expressions)]
            kind, sqls = alike(given)
            return Told(f"coalesce({', '.join(sqls)})", kind)
        case exp.Nullif():
            given = [of(node.this), of(node.expression)]
            _comparison("=", given[0], given[1:])
            return Told(f"nullif({given[0].sql}, {given[1].sql})", given[0].type)
        case exp.If() | exp.Case() if _has_only(node, "this", "true", "false", "ifs", "default"):
            return _choice(node, names)
        case exp.Between() if _has_only(node, "this", "low", "high"):
            least = _comparison(">=", of(node.this), [of(node.args["low"])])
            most = _comparison("<=", of(node.this), [of(node.args["high"])])
            return Told(f"({least.sql} AND {most.sql})", BooleanType())
        case exp.Add() | exp.Sub() | exp.Mul():
            return functions.arithmetic(node, of(node.this), of(node.expression))
        case exp.Round() if _has_only(node, "this", "decimals"):
            return functions.rounded(of(node.this), _number(node.args.get("decimals")))
        case exp.TimeToStr(this=exp.TimeStrToTime()) if _has_only(node.this, "this"):
            return functions.formatted(of(node.this.this), node.args["format"].name)
        case exp.Cast(this=exp.Literal(is_string=True)) if not isinstance(node, exp.TryCast):
            return functions.constant(node.this.name, parse_type(node.to.sql(DIALECT)))
        case _ if type(node) in functions.PARTS_OF_DATES:
            inner = node.this.this if isinstance(node.this, exp.TsOrDsToDate) else node.this
            return functions.part_of(type(node), of(inner))
        case exp.Trim() if _has_only(node, "this"):
            return Told(f"trim({text_of(of(node.this))}, ' ')", StringType())
        case exp.Upper() | exp.Lower():
            given_text = text_of(of(node.this))
            folded = f"{'upper' if isinstance(node, exp.Upper) else 'lower'}({given_text})"
            return Told(if_sure(given_text, f"strlen({given_text}) = length({given_text})", folded), StringType())
        case exp.TryCast() if _has_only(node, "this", "to", "safe"):
            return cast_to(of(node.this), parse_type(node.to.sql(DIALECT)), is_try=bool(node.args.get("safe")))
        case exp.TsOrDsToDate() if _has_only(node, "this", "safe"):
            return cast_to(of(node.this), DateType(), is_try=False)
        case exp.Anonymous() if len(node.expressions) == 1:
            return _function(str(node.this).lower(), of(node.expressions[0]))
    raise OnlySpark


def _has_only(node: exp.Expr, *names: str) -> bool:
    return all(name in names for name, value in node.args.items() if value not in (None, [], False))


def _parts(node: exp.Expr) -> Sequence[str]:
    column = node.find(exp.Column)
    reference = reference_of(column) if column is not None else None
    if reference is None:
        raise OnlySpark
    return reference.parts


def field_of(source: str | None, columns: StructType, parts: Sequence[str]) -> Told:
    """A column of a source, or of the only one, or a field below it; raises OnlySpark."""
    kind: DataType = columns
    sql = DUCKDB.name(source) + "." if source is not None else ""
    for number, part in enumerate(parts):
        if not isinstance(kind, StructType):
            raise OnlySpark
        names = [name for name in kind.names if name.casefold() == part.casefold()]
        if len(names) != 1:
            raise OnlySpark
        kind = kind[names[0]].dataType
        sql = f"struct_extract({sql}, {DUCKDB.text(names[0])})" if number else sql + DUCKDB.name(names[0])
    if not passes(kind):
        raise OnlySpark
    return Told(sql, kind)


def _literal(node: exp.Expr) -> Told:
    sign, literal = ("-", node.this) if isinstance(node, exp.Neg) else ("", node)
    text = str(literal.this)
    if literal.is_string:
        return Told(DUCKDB.text(text), StringType())
    if text.isdecimal() and len(text) <= LONGEST_INTEGER:
        return Told(f"{sign}{text}", IntegerType())
    whole, _, fraction = text.partition(".")
    if whole.isdecimal() and fraction.isdecimal() and len(whole + fraction) <= LONGEST_INTEGER:
        return Told(f"{sign}{text}", DecimalType(len(whole + fraction), len(fraction)))
    raise OnlySpark


def _number(node: exp.Expr | None) -> int:
    if not isinstance(node, exp.Literal) or node.is_string or not node.name.isdecimal():
        raise OnlySpark
    return int(node.name)


def _truth(one: Told) -> str:
    if not isinstance(one.type, (BooleanType, NullType)):
        raise OnlySpark
    return one.sql


def _comparison(sign: str, left: Told, right: Sequence[Told]) -> Told:
    """Texts are compared by their bytes in both, and numbers that are exact, dates and timestamps by their values."""
    given = (left, *right)
    if not any(all(is_kind(one.type) for one in given) for is_kind in _COMPARED):
        raise OnlySpark
    listed = f"({', '.join(one.sql for one in right)})" if sign == "IN" else right[0].sql
    return Told(f"({left.sql} {sign} {listed})", BooleanType())


def _choice(node: exp.If | exp.Case, names: Names) -> Told:
    if isinstance(node, exp.Case) and node.this is not None:
        raise OnlySpark
    branches = node.args["ifs"] if isinstance(node, exp.Case) else [node]
    last = node.args.get("default") or node.args.get("false") or exp.Null()
    conditions = [_truth(tell(one.this, names)) for one in branches]
    kind, values = alike([*(tell(one.args["true"], names) for one in branches), tell(last, names)])
    *chosen, default = values
    whens = " ".join(f"WHEN {when} THEN {then}" for when, then in zip(conditions, chosen, strict=True))
    return Told(f"CASE {whens} ELSE {default} END", kind)


def _function(name: str, one: Told) -> Told:
    if name in _MICROS_OF and isinstance(one.type, IntegralType):
        return Told(f"make_timestamptz(CAST({one.sql} AS BIGINT) * {_MICROS_OF[name]})", TimestampType())
    if name == "weekday":
        return functions.weekday(one)
    if name == "try_to_timestamp":
        return cast_to(one, TimestampType(), is_try=True)
    raise OnlySpark
