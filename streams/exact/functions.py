"""Arithmetic and dates."""

from __future__ import annotations

import re
from typing import Final

from pyspark.sql.types import DataType, DateType, DecimalType, IntegerType, IntegralType, StringType, TimestampType
from sqlglot import exp

from streams.exact.casts import cast_to
from streams.exact.values import OnlySpark, Told, decimal, if_sure, sql_type, width

PARTS_OF_DATES: Final[dict[type[exp.Expr], str]] = {
    exp.Year: "year",
    exp.Quarter: "quarter",
    exp.Month: "month",
    exp.Day: "day",
    exp.DayOfMonth: "day",
    exp.DayOfYear: "dayofyear",
    exp.WeekOfYear: "week",
}
"""Parts of a date, and DuckDB's names of them."""

_FORMAT: Final = re.compile(r"(%Y|%mstrict|%dstrict|%[ABab]|[-/. ])+")
_DAY: Final = re.compile(r"[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|[1-9]\d{3}-12-31", re.ASCII)
_MOMENT: Final = re.compile(rf"({_DAY.pattern})[ T]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{{1,6}})?", re.ASCII)
_SIGNS: Final[dict[type[exp.Expr], str]] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}


def arithmetic(node: exp.Expr, left: Told, right: Told) -> Told:
    """`+`, `-` and `*`; what is too great for its type makes DuckDB fail, and Spark then says so itself."""
    sign = _SIGNS[type(node)]
    match left.type, right.type:
        case IntegralType(), IntegralType():
            kind: DataType = max(left.type, right.type, key=width)
            sides = (f"CAST({one.sql} AS {sql_type(kind)})" for one in (left, right))
            return Told(f"({f' {sign} '.join(sides)})", kind)
        case DecimalType(), DecimalType():
            kind = _decimal_of(sign, left.type, right.type)
            return Told(f"CAST(({left.sql} {sign} {right.sql}) AS {sql_type(kind)})", kind)
    raise OnlySpark


def _decimal_of(sign: str, left: DecimalType, right: DecimalType) -> DecimalType:
    if sign == "*":
        return decimal(left.precision + right.precision + 1, left.scale + right.scale)
    scale = max(left.scale, right.scale)
    return decimal(max(left.precision - left.scale, right.precision - right.scale) + scale + 1, scale)


def rounded(one: Told, digits: int) -> Told:
    """`round(x, digits)`: halves go away from zero."""
    if not isinstance(one.type, DecimalType) or digits > one.type.scale:
        raise OnlySpark
    kind = decimal(one.type.precision - one.type.scale + digits + 1, digits)
    return Told(f"CAST(round({one.sql}, {digits}) AS {sql_type(kind)})", kind)


def part_of(part: type[exp.Expr], one: Told) -> Told:
    """The year, the ISO week, ... of a date or a timestamp."""
    return Told(f"CAST({PARTS_OF_DATES[part]}({_date(one)}) AS INTEGER)", IntegerType())


def weekday(one: Told) -> Told:
    """The day of the week, 0 for Monday."""
    return Told(f"CAST(isodow({_date(one)}) - 1 AS INTEGER)", IntegerType())


def formatted(one: Told, given: str) -> Told:
    """`date_format`, of years, months, days and their English names; `given` as sqlglot has it."""
    if not _FORMAT.fullmatch(given):
        raise OnlySpark
    return Told(f"strftime({_date(one)}, '{given.replace('strict', '')}')", StringType())


def constant(text: str, kind: DataType) -> Told:
    """`DATE '...'` and `TIMESTAMP '...'`, whole and with four digits of a year; one without a zone is in UTC."""
    if isinstance(kind, DateType) and _DAY.fullmatch(text):
        return Told(f"DATE '{text}'", kind)
    if isinstance(kind, TimestampType) and _MOMENT.fullmatch(text):
        return Told(f"TIMESTAMPTZ '{text}+00'", kind)
    if isinstance(kind, TimestampType) and _DAY.fullmatch(text):
        return Told(f"TIMESTAMPTZ '{text} 00:00:00+00'", kind)
    raise OnlySpark


def _date(one: Told) -> str:
    """A date of a year that both write with four digits."""
    date = cast_to(one, DateType(), is_try=False).sql if isinstance(one.type, (DateType, TimestampType)) else None
    if date is None:
        raise OnlySpark
    return if_sure(date, f"year({date}) BETWEEN 1000 AND 9999", date)
