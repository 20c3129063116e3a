"""Rows that are a whole table, judged by rules that are written as in `dq.yml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from schemas.quality.rule import Rule
from schemas.quality.stream_rules import BatchDrift, ReferentialIntegrity
from schemas.quality.suite import Discriminated
from streams.compute import Compute, InDriver, Rows
from streams.quality.judge import Suite
from streams.quality.verdict import Verdict

CLOCK = datetime(2024, 5, 17, 12, tzinfo=UTC)
RULE: TypeAdapter[Rule] = TypeAdapter(Discriminated)


@dataclass(frozen=True)
class Around:
    """A table that is `table`, beside others."""

    table: pa.Table
    others: Mapping[str, pa.Table] = field(default_factory=dict)
    observed: Sequence[float] = ()
    newest_value: datetime | None = None
    clock: datetime = CLOCK

    def like(self, compute: Compute, rows: Rows, columns: Sequence[str], read: Sequence[str]) -> Rows:
        return compute.of(self.table.select(list(read)))

    def referenced(self, compute: Compute, rows: Rows, rule: ReferentialIntegrity) -> Rows:
        return compute.of(self.others[rule.to_table].select(list(rule.to_columns)))

    def all_rows(self, compute: Compute, columns: Sequence[str]) -> Rows:
        return compute.of(self.table.select(list(columns)))

    def row_count(self) -> int | None:
        return int(self.table.num_rows)

    def newest(self, column: str) -> datetime | None:
        return self.newest_value

    def before(self, rule: BatchDrift) -> list[float]:
        return list(self.observed)


def rule(**given: Any) -> Rule:
    return RULE.validate_python({"severity": "critical", **given})


def judge(
    rows: pa.Table, *rules: Rule, compute: Compute | None = None, around: Around | None = None, **more: Any
) -> list[Verdict]:
    suite = Suite(rules, keys=(rows.column_names[0],), **more)
    return suite.judge(compute or InDriver(), rows, around or Around(rows))
