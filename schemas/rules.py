"""Row rules of `dq.yml`: what must hold for each row of a silver table; one that breaks them goes to its error lane.

    silver.orders:
      - type: expect_column_values_to_be_between
        column: quantity
        min_value: 1
        severity: critical

The names are those of Great Expectations, and so is what they mean: all but `..._to_not_be_null` let a null pass.
https://greatexpectations.io/expectations
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.spec import ColumnName

Bound = int | float | str


class _RowRule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    column: ColumnName
    severity: Literal["critical"]

    @property
    def code(self) -> str:
        """The stable code of the rule, as lanes name it."""
        return f"rule.{getattr(self, 'type')}"  # noqa: B009 - every rule has one, of its own kind

    @property
    def _sql(self) -> str:
        return f"`{self.column}`"


class NotNull(_RowRule):
    """The column has a value."""

    type: Literal["expect_column_values_to_not_be_null"]

    def broken(self) -> str:
        """SQL that holds for a row that breaks the rule."""
        return f"{self._sql} IS NULL"


class Between(_RowRule):
    """The value lies within bounds, which count as inside unless they are strict."""

    type: Literal["expect_column_values_to_be_between"]
    min_value: Bound | None = None
    max_value: Bound | None = None
    strict_min: bool = False
    strict_max: bool = False

    def broken(self) -> str:
        """SQL that holds for a row that breaks the rule."""
        bounds = (
            ("<=" if self.strict_min else "<", self.min_value),
            (">=" if self.strict_max else ">", self.max_value),
        )
        outside = [f"{self._sql} {sign} {_literal(bound)}" for sign, bound in bounds if bound is not None]
        return " OR ".join(outside) or "FALSE"


class MatchRegex(_RowRule):
    """The text has a part that matches, as Python's `re.search` has it and Java's `find`."""

    type: Literal["expect_column_values_to_match_regex"]
    regex: Annotated[str, Field(min_length=1)]

    def broken(self) -> str:
        """SQL that holds for a row that breaks the rule."""
        return f"NOT {self._sql} RLIKE {_literal(self.regex)}"


class InSet(_RowRule):
    """The value is one of these."""

    type: Literal["expect_column_values_to_be_in_set"]
    value_set: Annotated[tuple[Bound, ...], Field(min_length=1)]

    def broken(self) -> str:
        """SQL that holds for a row that breaks the rule."""
        return f"{self._sql} NOT IN ({', '.join(_literal(value) for value in self.value_set)})"


RowRule = Annotated[NotNull | Between | MatchRegex | InSet, Field(discriminator="type")]
"""Any of them, told apart by `type`."""


def _literal(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return str(value)
