"""Rules of Sluice's own, for what streams need: freshness, references to other tables, drift from batch to batch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.quality.rule import MapRule, Rule
from schemas.spec import ColumnName, TableName

Columns = Annotated[tuple[ColumnName, ...], Field(min_length=1, strict=False)]


class Freshness(Rule):
    """The newest value of a timestamp column is at most so many seconds older than the batch's clock."""

    type: Literal["expect_freshness"]
    column: ColumnName
    max_age_seconds: Annotated[float, Field(gt=0)]

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)


class ReferentialIntegrity(MapRule):
    """The values of these columns are a row's of another table; a row with a null among them does not count."""

    type: Literal["expect_referential_integrity"]
    column_list: Columns
    to_table: TableName
    to_column_list: Columns | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of this table."""
        return self.column_list

    @property
    def to_columns(self) -> tuple[str, ...]:
        """The columns of the other table, in the same order; of the same names where nothing is said."""
        return self.to_column_list or self.column_list


class BatchDrift(Rule):
    """A number of what changed is near the mean of the same number over the batches before.

    `max_change` is the distance allowed, as a share of that mean (`null_share` is a share already: there it is the
    plain distance). Nothing is said before `min_batches` batches are known; at most `batches` are looked at.
    """

    type: Literal["expect_batch_drift"]
    measure: Literal["mean", "null_share", "row_count"]
    column: ColumnName | None = None
    max_change: Annotated[float, Field(gt=0)]
    batches: Annotated[int, Field(ge=1, le=1000)] = 20
    min_batches: Annotated[int, Field(ge=1)] = 5

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column, none for `row_count`."""
        return () if self.column is None else (self.column,)

    @property
    def label(self) -> str:
        """The rule, its measure and its column."""
        return f"{self.expectation}({', '.join((self.measure, *self.columns))})"

    def holds(self, observed: float, before: list[float]) -> bool:
        """Whether a number is near what it was before."""
        if len(before) < self.min_batches:
            return True
        usual = sum(before) / len(before)
        allowed = self.max_change if self.measure == "null_share" else self.max_change * abs(usual)
        return abs(observed - usual) <= allowed
