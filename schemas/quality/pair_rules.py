"""Rules about several columns of a row."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.quality.rule import MapRule, RowRule
from schemas.spec import ColumnName

ColumnList = Annotated[tuple[ColumnName, ...], Field(min_length=2, strict=False)]


class PairRule(RowRule):
    """A rule about two columns; `ignore_row_if` says which rows with nulls do not count.

    Of rows that count, one with a null breaks the rule: nothing is greater than nothing, or equal to it.
    """

    column_A: ColumnName  # noqa: N815 - as Great Expectations has it
    column_B: ColumnName  # noqa: N815
    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "both_values_are_missing"

    @property
    def columns(self) -> tuple[str, ...]:
        """Both."""
        return (self.column_A, self.column_B)


class PairGreater(PairRule):
    """A is greater than B, or as great where `or_equal` says so."""

    type: Literal["expect_column_pair_values_a_to_be_greater_than_b"]
    or_equal: bool = False


class PairEqual(PairRule):
    """A equals B."""

    type: Literal["expect_column_pair_values_to_be_equal"]


class CompoundUnique(MapRule):
    """No other row has the same values in all of these columns, a null being equal to a null."""

    type: Literal["expect_compound_columns_to_be_unique"]
    column_list: ColumnList
    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "all_values_are_missing"

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return self.column_list
