"""What all rules of `dq.yml` share: severity, a condition that says which rows count, and how they are named."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from schemas.quality.condition import columns_of
from schemas.spec import SqlExpression


def _as_text(value: Any) -> Any:
    """YAML reads `2024-01-31` as a date."""
    return value.isoformat() if isinstance(value, date) else value


Bound = Annotated[int | float | str, Field(union_mode="left_to_right"), BeforeValidator(_as_text)]
"""What a value is compared with: a number, or text as it is written in SQL (`2024-01-31` for a date)."""

Severity = Literal["critical", "warn"]

Mostly = Annotated[float, Field(ge=0, le=1)]


class Rule(BaseModel):
    """A rule of a table's suite. `critical` holds gold where it fails, `warn` only says so.

    `row_condition` is a condition over the row, see condition.py; rows for which it does not hold are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    NOT_KWARGS: ClassVar = frozenset({"type", "severity", "quarantine"})

    severity: Severity
    row_condition: SqlExpression | None = None

    @property
    def expectation(self) -> str:
        """The rule's name, as Great Expectations has it."""
        return str(getattr(self, "type"))  # noqa: B009 - every rule has one, of its own kind

    @property
    def code(self) -> str:
        """The stable code of the rule, as lanes name it."""
        return f"rule.{self.expectation}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule is about, those of its condition left out."""
        return ()

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """The columns that the condition reads."""
        return columns_of(self.row_condition) if self.row_condition else ()

    @property
    def label(self) -> str:
        """The rule and its columns, as metrics and logs name it."""
        return f"{self.expectation}({', '.join(self.columns)})" if self.columns else self.expectation

    @property
    def kwargs(self) -> dict[str, Any]:
        """The rule's parameters by name, those left out that say nothing."""
        given = self.model_dump(mode="json", exclude_defaults=True, exclude=set(self.NOT_KWARGS))
        return {name: value for name, value in given.items() if value is not None}

    @property
    def kwargs_json(self) -> str:
        """The same as one line of JSON: with the rule's name and the table it tells the rule from all others."""
        return json.dumps(self.kwargs, sort_keys=True)

    @property
    def quarantines(self) -> bool:
        """Whether a row that breaks the rule goes to the silver lane."""
        return False


class MapRule(Rule):
    """A rule that finds for each row whether it is as expected; `mostly` is the share of rows that must be."""

    mostly: Mostly = 1.0


class RowRule(MapRule):
    """A rule that a row keeps or breaks by itself: one that breaks it may `quarantine`, and go to the silver lane.

    Where nothing is said, rows are quarantined by critical rules of tables that take changes up, without `mostly`.
    """

    quarantine: bool | None = None

    @property
    def quarantines(self) -> bool:
        """Whether a row that breaks the rule goes to the silver lane."""
        return bool(self.quarantine)
