"""Rules about the values of one column."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.quality.rule import Bound, MapRule, RowRule
from schemas.spec import ColumnName

Regex = Annotated[str, Field(min_length=1)]
Values = Annotated[tuple[Bound, ...], Field(min_length=1, strict=False)]
Length = Annotated[int, Field(ge=0)]


class ColumnRule(RowRule):
    """A rule about one column, row by row."""

    column: ColumnName

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)


class NotNull(ColumnRule):
    """The column has a value."""

    type: Literal["expect_column_values_to_not_be_null"]


class Null(ColumnRule):
    """The column has no value."""

    type: Literal["expect_column_values_to_be_null"]


class Between(ColumnRule):
    """The value lies within bounds, which count as inside unless they are strict."""

    type: Literal["expect_column_values_to_be_between"]
    min_value: Bound | None = None
    max_value: Bound | None = None
    strict_min: bool = False
    strict_max: bool = False


class MatchRegex(ColumnRule):
    """The text has a part that matches, as Python's `re.search` has it and Java's `find`."""

    type: Literal["expect_column_values_to_match_regex"]
    regex: Regex


class NotMatchRegex(ColumnRule):
    """The text has no part that matches."""

    type: Literal["expect_column_values_to_not_match_regex"]
    regex: Regex


class InSet(ColumnRule):
    """The value is one of these."""

    type: Literal["expect_column_values_to_be_in_set"]
    value_set: Values


class NotInSet(ColumnRule):
    """The value is none of these."""

    type: Literal["expect_column_values_to_not_be_in_set"]
    value_set: Values


class LengthBetween(ColumnRule):
    """The text has as many characters, counted as code points."""

    type: Literal["expect_column_value_lengths_to_be_between"]
    min_value: Length | None = None
    max_value: Length | None = None
    strict_min: bool = False
    strict_max: bool = False


class Unique(MapRule):
    """No other row has the value; each row of several with the same counts as unexpected."""

    type: Literal["expect_column_values_to_be_unique"]
    column: ColumnName

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)
