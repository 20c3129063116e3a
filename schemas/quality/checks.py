"""What can be wrong with a rule that is right in itself: columns that are not there, bounds that nothing keeps."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.folder import Folder
from schemas.quality import condition
from schemas.quality.column_rules import (
    Between,
    InSet,
    LengthBetween,
    MatchRegex,
    NotInSet,
    NotMatchRegex,
    NotNull,
    Null,
)
from schemas.quality.regex import is_portable, is_regex
from schemas.quality.rule import MapRule, RowRule, Rule
from schemas.quality.stream_rules import BatchDrift, ReferentialIntegrity
from schemas.quality.table_rules import AggregateRule, RowCount
from schemas.spec import ChangeSpec, TableSpec
from schemas.sql import NotSql
from schemas.suggest import did_you_mean, quoted

Found = tuple[tuple[str | int, ...], str, str]
"""Where in the rule, what is wrong, and what to do."""

_WITHOUT_NULLS_IS_ENOUGH = (NotNull, Null)


def problems_of(rule: Rule, spec: TableSpec | None, folder: Folder) -> Iterator[Found]:
    """All of them."""
    yield from _columns(rule, spec, folder)
    yield from _bounds(rule)
    yield from _quarantine(rule, spec)
    if rule.row_condition is not None:
        yield from _condition(rule.row_condition)
        if isinstance(rule, RowCount):
            what = "The number of rows is read from the table's log, which knows no conditions."
            yield ("row_condition",), what, "Remove it."
    if isinstance(rule, (MatchRegex, NotMatchRegex)):
        yield from _regex(rule.regex)
    if isinstance(rule, (InSet, NotInSet)) and len({isinstance(value, str) for value in rule.value_set}) > 1:
        yield ("value_set",), "It has both text and numbers.", "Write values of the column's type."
    if isinstance(rule, ReferentialIntegrity):
        yield from _reference(rule, folder)
    if isinstance(rule, BatchDrift) and (rule.column is None) != (rule.measure == "row_count"):
        if rule.column is None:
            yield (), f"The rule needs `column` for the measure `{rule.measure}`.", "Add it."
        else:
            yield ("column",), "The number of rows is of no column.", "Remove it."


def _columns(rule: Rule, spec: TableSpec | None, folder: Folder) -> Iterator[Found]:
    if spec is None:
        return
    names = folder.names(spec.table)
    at_bronze = (*spec.select, *(names or ())) if isinstance(spec, ChangeSpec) and spec.select else names
    # Where a row is quarantined its columns are judged as they came, those too that the table does not keep.
    known = at_bronze if rule.quarantines else names
    if known is None:
        return
    read = [*rule.columns, *(_columns_of(rule.row_condition))]
    for name in dict.fromkeys(read):
        if name in known or (isinstance(spec, ChangeSpec) and spec.schema_change == "evolve"):
            continue
        if at_bronze is not None and name in at_bronze:
            what = f"`{spec.table}` does not keep `{name}`, which is personal."
            yield _where(rule, name), what, "Let the rule quarantine, or remove it."
        else:
            what = f"There is no column `{name}` in `{spec.table}`."
            yield _where(rule, name), what, did_you_mean(name, known, "Name one that is there.")
    if isinstance(spec, ChangeSpec) and not rule.quarantines:
        yield from _protected(rule, spec)


def _protected(rule: Rule, spec: ChangeSpec) -> Iterator[Found]:
    for name in rule.columns:
        decision = spec.protections.get(name)
        if decision in (None, "drop") or isinstance(rule, _WITHOUT_NULLS_IS_ENOUGH):
            continue
        # A hash is the same for the same value, so that it still tells which are.
        if decision == "hash" and not isinstance(rule, RowRule) and isinstance(rule, MapRule):
            continue
        what = f"`{spec.table}` holds `{name}` protected (`{decision}`), and the rule is judged on what it holds."
        yield _where(rule, name), what, "Let the rule quarantine, or remove it."


def _where(rule: Rule, column: str) -> tuple[str | int, ...]:
    for key in ("column", "column_A", "column_B", "column_list"):
        value = getattr(rule, key, None)
        if value == column:
            return (key,)
        if isinstance(value, tuple) and column in value:
            return (key, value.index(column))
    return ("row_condition",)


def _bounds(rule: Rule) -> Iterator[Found]:
    if not isinstance(rule, (Between, LengthBetween, AggregateRule)):
        return
    low, high = rule.min_value, rule.max_value
    if low is None and high is None:
        yield (), "The rule has no bound.", "Give it a `min_value`, a `max_value` or both."
    elif low is not None and high is not None:
        if isinstance(low, str) != isinstance(high, str):
            yield ("max_value",), "One bound is text and the other a number.", "Write both in the column's type."
        elif low > high:  # type: ignore[operator]
            yield ("min_value",), "`min_value` is above `max_value`.", "Exchange them."


def _quarantine(rule: Rule, spec: TableSpec | None) -> Iterator[Found]:
    if not rule.quarantines:
        return
    if rule.severity == "warn":
        yield ("quarantine",), "A rule that only warns leaves rows where they are.", "Make it `critical`, or remove it."
    if isinstance(rule, MapRule) and rule.mostly != 1:
        what = "With `mostly` some rows may break the rule, and which of them is not for one row to tell."
        yield ("quarantine",), what, "Remove one of the two."
    if spec is not None and not isinstance(spec, ChangeSpec):
        what = f"`{spec.table}` takes no changes up, so that there is nothing that its rows could be kept from."
        yield ("quarantine",), what, "Remove it, or write the rule for the `current` or `history` table above it."


def _columns_of(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        return condition.columns_of(text) if condition.why_not(text) is None else ()
    except NotSql:
        return ()


def _condition(text: str) -> Iterator[Found]:
    try:
        why = condition.why_not(text)
    except NotSql as error:
        yield ("row_condition",), f"This is not SQL that Spark reads: {error.why}.", "Correct it."
    else:
        if why:
            yield ("row_condition",), f"The condition can not be judged: {why}.", f"Use {condition.ALLOWED}."


def _regex(pattern: str) -> Iterator[Found]:
    if not is_regex(pattern):
        yield ("regex",), f"`{pattern}` is not a regular expression.", "Correct it."
    elif not is_portable(pattern):
        what = f"`{pattern}` looks around or back, or has `\\Z`: not every engine that judges it can."
        yield ("regex",), what, "Write it without, or as two rules."


def _reference(rule: ReferentialIntegrity, folder: Folder) -> Iterator[Found]:
    target = folder.specs.get(rule.to_table)
    if rule.to_table not in folder.tables:
        what = f"There is no table `{rule.to_table}`."
        yield ("to_table",), what, did_you_mean(rule.to_table, folder.tables, "Name one that is there.")
        return
    if target is not None and target.layer != "silver":
        what = f"`{rule.to_table}` is a {target.layer} table."
        yield ("to_table",), what, "Name a silver table: gold waits for the verdict, and bronze has a row per record."
    if len(rule.to_columns) != len(rule.column_list):
        what = f"It names {len(rule.to_columns)} columns for {len(rule.column_list)}."
        yield ("to_column_list",), what, "Name as many, in the same order."
    names = folder.names(rule.to_table)
    missing = [name for name in rule.to_columns if names is not None and name not in names]
    if missing and not (isinstance(target, ChangeSpec) and target.schema_change == "evolve"):
        what = f"There is no column {quoted(missing)} in `{rule.to_table}`."
        yield ("to_column_list",), what, did_you_mean(missing[0], names or (), "Name those that are there.")
