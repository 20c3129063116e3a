"""Rules about many rows at once: their number, a sum, a mean."""

from __future__ import annotations

from typing import Literal

from schemas.quality.rule import Rule
from schemas.spec import ColumnName


class AggregateRule(Rule):
    """One number of many rows lies within bounds, which count as inside unless they are strict."""

    min_value: int | float | None = None
    max_value: int | float | None = None
    strict_min: bool = False
    strict_max: bool = False

    def holds(self, observed: float) -> bool:
        """Whether a number lies within the bounds."""
        low, high = self.min_value, self.max_value
        above = low is None or (observed > low if self.strict_min else observed >= low)
        return above and (high is None or (observed < high if self.strict_max else observed <= high))


class RowCount(AggregateRule):
    """How many rows the table has."""

    type: Literal["expect_table_row_count_to_be_between"]


class ColumnAggregate(AggregateRule):
    """A number of one column: over what changed, or with `scope: table` over all rows of the table."""

    column: ColumnName
    scope: Literal["change", "table"] = "change"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)


class ColumnSum(ColumnAggregate):
    """The sum of the values."""

    type: Literal["expect_column_sum_to_be_between"]


class ColumnMean(ColumnAggregate):
    """The mean of the values."""

    type: Literal["expect_column_mean_to_be_between"]
