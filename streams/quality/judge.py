"""All rules of a table in one pass: one text of SQL with an aggregate for each count, in DuckDB or in Spark.

| rule                                   | is judged over                                                            |
|----------------------------------------|---------------------------------------------------------------------------|
| of one row or a pair                   | the rows that changed, as they stand at the version that is judged        |
| unique, compound unique                | the same; each is unexpected where the table has another row of its values |
| `expect_referential_integrity`         | the same, against the newest version of the other table                   |
| sum, mean with `scope: change`, drift  | the same                                                                  |
| sum, mean with `scope: table`          | all rows of the table: one column is read                                 |
| `expect_table_row_count_to_be_between` | all rows, by the statistics of the table's log                            |
| `expect_freshness`                     | all rows by those statistics, and the rows that changed                   |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from schemas.masking import MASK
from schemas.quality.column_rules import NotNull, Null, Unique
from schemas.quality.pair_rules import CompoundUnique
from schemas.quality.rule import MapRule, RowRule, Rule
from schemas.quality.stream_rules import BatchDrift, Freshness, ReferentialIntegrity
from schemas.quality.table_rules import ColumnAggregate, ColumnSum, RowCount
from streams.compute import Compute, Dialect, InDriver, Rows
from streams.quality.conditions import broken, counts, missing
from streams.quality.verdict import MOST_SHOWN, Verdict

_JUDGED = "judged_rows"


class Around(Protocol):
    """What rules ask beside the rows that are judged."""

    @property
    def clock(self) -> datetime:
        """The batch's clock."""

    def like(self, compute: Compute, rows: Rows, columns: Sequence[str], read: Sequence[str]) -> Rows:
        """Columns `read` of the table's rows that may have the values of `rows` in `columns`."""

    def referenced(self, compute: Compute, rows: Rows, rule: ReferentialIntegrity) -> Rows:
        """The columns that a rule refers to, of the other table's rows that may have the values of `rows`."""

    def all_rows(self, compute: Compute, columns: Sequence[str]) -> Rows:
        """These columns of all rows of the table."""

    def row_count(self) -> int | None:
        """How many rows the table has; None where its log does not say."""

    def newest(self, column: str) -> datetime | None:
        """The greatest value of a timestamp or a date in the table; None where its log does not say."""

    def before(self, rule: BatchDrift) -> list[float]:
        """What was observed of the batches before, newest first."""


@dataclass(frozen=True)
class Suite:
    """Judges the rules of one table; `keys` name a row to people, `private` says which columns they may not see."""

    rules: tuple[Rule, ...]
    keys: tuple[str, ...]
    private: Callable[[str], bool] = lambda _: False

    def judge(self, compute: Compute, rows: Rows, around: Around) -> list[Verdict]:
        """The verdict on each rule; `rows` has the columns that `needed` names."""
        tables = self._tables(compute, rows, around)
        flagged = self._flagged(compute.dialect)
        aggregates = [one for at, rule in enumerate(self.rules) for one in _aggregates(at, rule, compute.dialect)]
        found = compute.row(f"SELECT {', '.join([*aggregates, 'count(*) AS judged'])} FROM ({flagged}) f", tables)
        verdicts = []
        for at, rule in enumerate(self.rules):
            numbers = {name.removeprefix(f"r{at}_"): found[name] for name in found if name.startswith(f"r{at}_")}
            if isinstance(rule, ColumnAggregate) and rule.scope == "table":
                numbers = self._over_table(compute, rule, around)
            verdict = _verdict(rule, numbers, around)
            if verdict.unexpected:
                verdict = self._with_examples(compute, at, verdict, tables)
            verdicts.append(verdict)
        return verdicts

    def offending(self, compute: Compute, rows: Rows, around: Around, of: Callable[[Rule], bool]) -> Rows:
        """The rows, all their columns, that break one of the rules over rows for which `of` holds."""
        d = compute.dialect
        breaks = [_unexpected(at) for at, rule in enumerate(self.rules) if isinstance(rule, MapRule) and of(rule)]
        tables = self._tables(compute, rows, around)
        shown = d.names(list(_column_names(rows)))
        return compute.sql(f"SELECT {shown} FROM ({self._flagged(d)}) f WHERE {' OR '.join(breaks) or 'FALSE'}", tables)

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that the rules and the names of rows read."""
        read = [name for rule in self.rules for name in _read(rule)]
        return tuple(dict.fromkeys([*self.keys, *read]))

    def _tables(self, compute: Compute, rows: Rows, around: Around) -> dict[str, Rows]:
        """The rows, and what rules hold them against; `rN` is the table of rule N."""
        tables: dict[str, Rows] = {_JUDGED: compute.of(rows)}
        d = compute.dialect
        for at, rule in enumerate(self.rules):
            if isinstance(rule, (Unique, CompoundUnique)):
                read = tuple(dict.fromkeys(_read(rule)))
                values = around.like(compute, tables[_JUDGED], rule.columns, read)
                names, where = rule.columns, f"WHERE {counts(rule, d)} AND NOT {missing(rule, d)}"
                having = "HAVING count(*) > 1"
            elif isinstance(rule, ReferentialIntegrity):
                values = around.referenced(compute, tables[_JUDGED], rule)
                names, where, having = rule.to_columns, "", ""
            else:
                continue
            named = ", ".join(f"{d.name(name)} AS __v{n}" for n, name in enumerate(names))
            grouped = f"SELECT {named}, count(*) AS __n FROM looked_up {where} GROUP BY {d.names(names)} {having}"
            tables[f"r{at}"] = compute.sql(grouped, {"looked_up": values})
        return tables

    def _flagged(self, d: Dialect, only: int | None = None) -> str:
        """The judged rows; for each rule, or one, `__cN` (it counts), `__mN` (nothing to judge) and `__bN` (broken)."""
        flags, joins = [], []
        for at, rule in enumerate(self.rules):
            if only not in (None, at):
                continue
            flags.append(f"{counts(rule, d)} AS __c{at}")
            if not isinstance(rule, MapRule):
                continue
            flags.append(f"{missing(rule, d)} AS __m{at}")
            if isinstance(rule, RowRule):
                flags.append(f"{broken(rule, d)} AS __b{at}")
                continue
            same = " AND ".join(
                f"j.{d.name(name)} IS NOT DISTINCT FROM r{at}.__v{n}" for n, name in enumerate(rule.columns)
            )
            joins.append(f"LEFT JOIN r{at} ON {same}")
            is_known = "r{at}.__n IS NOT NULL" if not isinstance(rule, ReferentialIntegrity) else "r{at}.__n IS NULL"
            flags.append(f"{is_known.format(at=at)} AS __b{at}")
        return f"SELECT j.*{''.join(f', {flag}' for flag in flags)} FROM {_JUDGED} j {' '.join(joins)}"

    def _over_table(self, compute: Compute, rule: ColumnAggregate, around: Around) -> dict[str, Any]:
        d = compute.dialect
        rows = around.all_rows(compute, tuple(dict.fromkeys(_read(rule))))
        flagged = f"SELECT *, {counts(rule, d)} AS __c0 FROM {_JUDGED}"
        found = compute.row(f"SELECT {', '.join(_aggregates(0, rule, d))} FROM ({flagged}) f", {_JUDGED: rows})
        return {name.removeprefix("r0_"): value for name, value in found.items()}

    def _with_examples(self, compute: Compute, at: int, verdict: Verdict, tables: Mapping[str, Rows]) -> Verdict:
        d = compute.dialect
        columns = tuple(dict.fromkeys([*self.keys, *verdict.rule.columns]))
        text = (
            f"SELECT {d.names(columns)} FROM ({self._flagged(d, at)}) f WHERE {_unexpected(at)} "
            f"ORDER BY {d.names(columns)} LIMIT {MOST_SHOWN}"
        )
        rows = InDriver().of(compute.sql(text, tables)).to_pylist()
        return replace(
            verdict,
            values=tuple(", ".join(self._shown(row, name) for name in verdict.rule.columns) for row in rows),
            keys=tuple(", ".join(f"{name}={self._shown(row, name)}" for name in self.keys) for row in rows),
        )

    def _shown(self, row: Mapping[str, Any], column: str) -> str:
        value = row[column]
        if value is None:
            return "null"
        return MASK if self.private(column) else str(value)


def _read(rule: Rule) -> list[str]:
    return [*rule.columns, *rule.condition_columns]


def _column_names(rows: Rows) -> Sequence[str]:
    return list(rows.column_names) if isinstance(rows, pa.Table) else rows.columns


def _unexpected(at: int) -> str:
    return f"(__c{at} AND NOT __m{at} AND __b{at})"


def _aggregates(at: int, rule: Rule, d: Dialect) -> Iterator[str]:
    """What is worked out of the flagged rows for a rule, each under `rN_<name>`."""
    yield f"count(CASE WHEN __c{at} THEN 1 END) AS r{at}_elements"
    match rule:
        case MapRule():
            yield f"count(CASE WHEN __c{at} AND __m{at} THEN 1 END) AS r{at}_missing"
            yield f"count(CASE WHEN {_unexpected(at)} THEN 1 END) AS r{at}_unexpected"
        case Freshness():
            at_time = f"CAST({d.name(rule.column)} AS {'TIMESTAMP' if d.is_spark else 'TIMESTAMPTZ'})"
            yield f"max(CASE WHEN __c{at} THEN {d.micros(at_time)} END) AS r{at}_newest"
        case ColumnAggregate() | BatchDrift(column=str()):
            value = d.name(rule.columns[0])
            yield f"count(CASE WHEN __c{at} THEN {value} END) AS r{at}_values"
            is_number = isinstance(rule, ColumnAggregate) or rule.measure == "mean"
            number = f"CAST({value} AS DOUBLE)" if is_number else "CAST(NULL AS DOUBLE)"
            yield f"sum(CASE WHEN __c{at} THEN {number} END) AS r{at}_sum"


def _verdict(rule: Rule, found: Mapping[str, Any], around: Around) -> Verdict:
    elements = int(found["elements"])
    match rule:
        case MapRule():
            nulls, unexpected = int(found["missing"]), int(found["unexpected"])
            judged = elements - nulls
            success = not judged or (judged - unexpected) / judged >= rule.mostly
            return Verdict(
                rule,
                success,
                elements,
                None if isinstance(rule, (NotNull, Null)) else nulls,
                unexpected,
            )
        case RowCount():
            rows = around.row_count()
            return Verdict(rule, rows is None or rule.holds(rows), observed=None if rows is None else float(rows))
        case ColumnAggregate():
            observed = _aggregate(rule, found)
            return Verdict(rule, observed is None or rule.holds(observed), elements, observed=observed)
        case Freshness():
            age = _age(rule, found["newest"], around)
            return Verdict(rule, age is None or age <= rule.max_age_seconds, elements, observed=age)
        case BatchDrift():
            drift = _measured(rule, elements, found)
            return Verdict(rule, drift is None or rule.holds(drift, around.before(rule)), elements, observed=drift)
    raise TypeError(rule.expectation)


def _aggregate(rule: ColumnAggregate, found: Mapping[str, Any]) -> float | None:
    if not found["values"]:
        return None
    return float(found["sum"]) if isinstance(rule, ColumnSum) else float(found["sum"]) / int(found["values"])


def _measured(rule: BatchDrift, elements: int, found: Mapping[str, Any]) -> float | None:
    if rule.measure == "row_count":
        return float(elements)
    values = int(found["values"])
    if rule.measure == "null_share":
        return (elements - values) / elements if elements else None
    return float(found["sum"]) / values if values else None


def _age(rule: Freshness, newest: int | None, around: Around) -> float | None:
    """How many seconds the newest value is older than the batch."""
    known = [] if newest is None else [newest / 1e6]
    in_table = around.newest(rule.column) if rule.row_condition is None else None
    if in_table is not None:
        known.append(in_table.timestamp())
    return around.clock.timestamp() - max(known) if known else None
