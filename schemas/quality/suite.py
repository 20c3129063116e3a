"""All rules that there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias, get_args

from pydantic import Field

from schemas.quality.column_rules import (
    Between,
    InSet,
    LengthBetween,
    MatchRegex,
    NotInSet,
    NotMatchRegex,
    NotNull,
    Null,
    Unique,
)
from schemas.quality.pair_rules import CompoundUnique, PairEqual, PairGreater
from schemas.quality.rule import RowRule, Rule
from schemas.quality.stream_rules import BatchDrift, Freshness, ReferentialIntegrity
from schemas.quality.table_rules import ColumnMean, ColumnSum, RowCount

AnyRule: TypeAlias = (
    NotNull
    | Null
    | Between
    | MatchRegex
    | NotMatchRegex
    | InSet
    | NotInSet
    | LengthBetween
    | Unique
    | PairGreater
    | PairEqual
    | CompoundUnique
    | RowCount
    | ColumnSum
    | ColumnMean
    | Freshness
    | ReferentialIntegrity
    | BatchDrift
)

Discriminated = Annotated[AnyRule, Field(discriminator="type")]
"""Any of them, told apart by `type`."""

KINDS: Final[Mapping[str, type[Rule]]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(AnyRule)
}

Suite = tuple[Rule, ...]
"""The rules of one table, in the order of the file."""


def quarantining(suite: Suite) -> tuple[RowRule, ...]:
    """Those whose rows go to the silver lane: they are judged where changes are taken up."""
    return tuple(rule for rule in suite if isinstance(rule, RowRule) and rule.quarantines)
