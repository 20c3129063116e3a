"""Casts, of values for which both engines read the same."""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import (
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    IntegralType,
    NullType,
    StringType,
    TimestampType,
)

from streams.exact.values import OnlySpark, Told, if_sure, passes, sql_type, width

LONGEST_INTEGER: Final = 9
_DATE = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?"
_ZONE = "(Z|[+-](0[0-9]|1[0-7]):[0-5][0-9])?"


def cast_to(one: Told, to: DataType, *, is_try: bool) -> Told:
    """What only a `CAST` would refuse makes DuckDB fail too, and Spark then says so in its own words."""
    cast = "TRY_CAST" if is_try else "CAST"
    match one.type, to:
        case _ if one.type == to and passes(to):
            return one
        case NullType(), _ if passes(to):
            return Told(f"CAST(NULL AS {sql_type(to)})", to)
        case DecimalType(), DecimalType():
            return Told(f"{cast}({one.sql} AS {sql_type(to)})", to)
        case StringType(), IntegerType():
            return Told(_matching(text_of(one), f"-?[0-9]{{1,{LONGEST_INTEGER}}}", f"CAST({one.sql} AS INTEGER)"), to)
        case IntegralType(), IntegralType() if width(one.type) < width(to):
            return Told(f"CAST({one.sql} AS {to.simpleString()})", to)
        case IntegralType(), StringType() if to == StringType():
            return Told(f"CAST({one.sql} AS VARCHAR)", to)
        case TimestampType(), DateType():
            return Told(f"CAST(make_timestamp(epoch_us({one.sql})) AS DATE)", to)
        case StringType(), DateType():
            return Told(_matching(text_of(one), _DATE, f"{cast}({one.sql} AS DATE)"), to)
        case StringType(), TimestampType():
            whole = f"{_DATE}[T ]{_TIME}{_ZONE}"
            return Told(_matching(text_of(one), whole, f"{cast}({one.sql} AS TIMESTAMPTZ)"), to)
        case StringType(), DecimalType(precision=precision, scale=scale) if precision > scale:
            fraction = f"([.][0-9]{{1,{scale}}})?" if scale else ""
            digits = f"-?[0-9]{{1,{precision - scale}}}{fraction}"
            return Told(_matching(text_of(one), digits, f"CAST({one.sql} AS DECIMAL({precision}, {scale}))"), to)
    raise OnlySpark


def text_of(one: Told) -> str:
    """A text; raises OnlySpark where it is none."""
    if one.type != StringType():
        raise OnlySpark
    return one.sql


def _matching(text: str, pattern: str, result: str) -> str:
    return if_sure(text, f"regexp_full_match({text}, '{pattern}')", result)
