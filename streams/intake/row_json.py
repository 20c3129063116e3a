"""A row of a database as JSON, where the database itself writes its numbers and times out.

Spark's reader would round a number that has more digits than its decimals, fail on NaN, and make some date of an
infinite time. As text they come as they are: numbers stay numbers to the last digit, times are written as all times
are, and what JSON or Spark has no word for is a string, for the contract to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, DecimalType, StructType, TimestampNTZType, TimestampType

from streams.intake.files import JSON_OPTIONS

_NUMBER: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
_DATED: Final = r"^[0-9]{4,6}-[0-9]{2}-[0-9]{2} .*[^C]$"


def wants_text(kind: DataType) -> bool:
    """Whether a column is to be written out by the database."""
    return isinstance(kind, DecimalType | DateType | TimestampType | TimestampNTZType)


def column(name: str) -> Column:
    """A column by its name, whatever is in it."""
    return F.col(f"`{name.replace('`', '``')}`")


def row_json(schema: StructType, texts: Mapping[str, str]) -> Column:
    """The columns of a row as a JSON object; `texts` names those that hold the text of others, by the others' names."""
    plain, numbers = [], []
    for field in schema.fields:
        text = texts.get(field.name)
        if text is None:
            plain.append(column(field.name).alias(field.name))
        elif isinstance(field.dataType, DecimalType):
            numbers.append((field.name, F.col(text)))
        else:
            plain.append(_time(F.col(text)).alias(field.name))
    found = F.to_json(F.struct(*plain), JSON_OPTIONS) if plain else F.lit("{}")
    if not numbers:
        return found
    members = [_member(name, text) for name, text in numbers]
    inner = F.substring(found, F.lit(2), F.length(found) - 2)
    return F.concat(F.lit("{"), F.concat_ws(",", *members, F.when(inner != "", inner)), F.lit("}"))


def instant(text: Column) -> Column:
    """The time that a text of a database stands for, NULL where it is none of these 10,000 years."""
    return F.when(text.rlike(_DATED), text.try_cast("timestamp"))


def _time(text: Column) -> Column:
    return F.coalesce(F.date_format(instant(text), JSON_OPTIONS["timestampFormat"]), text)


def _member(name: str, text: Column) -> Column:
    """A member of the object: its name in quotes, as `to_json` writes it, and a number as it is."""
    named = F.to_json(F.struct(F.lit(0).alias(name)))
    value = (
        F.when(text.isNull(), "null").when(text.rlike(_NUMBER), text).otherwise(F.concat(F.lit('"'), text, F.lit('"')))
    )
    return F.concat(F.substring(named, F.lit(2), F.length(named) - 3), value)
