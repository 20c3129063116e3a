"""Rules as SQL over one row, for the engine that judges them.

Each condition is in parentheses and is never null.
"""

from __future__ import annotations

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
from schemas.quality.condition import as_sql
from schemas.quality.pair_rules import CompoundUnique, PairEqual, PairGreater, PairRule
from schemas.quality.regex import for_java, for_re2
from schemas.quality.rule import RowRule, Rule
from streams.compute import Dialect


def counts(rule: Rule, d: Dialect) -> str:
    """Holds for a row that the rule is about: all, or those of its `row_condition`."""
    if rule.row_condition is None:
        return "(TRUE)"
    return f"(coalesce(({as_sql(rule.row_condition, 'spark' if d.is_spark else 'duckdb')}\n), FALSE))"


def missing(rule: Rule, d: Dialect) -> str:
    """Holds for a row that has nothing to judge."""
    if isinstance(rule, (NotNull, Null)) or not rule.columns:
        return "(FALSE)"
    nulls = [f"{d.name(column)} IS NULL" for column in rule.columns]
    match rule:
        case PairRule(ignore_row_if="neither") | CompoundUnique(ignore_row_if="never"):
            return "(FALSE)"
        case PairRule(ignore_row_if="both_values_are_missing") | CompoundUnique(ignore_row_if="all_values_are_missing"):
            return f"({' AND '.join(nulls)})"
    return f"({' OR '.join(nulls)})"


def broken(rule: RowRule, d: Dialect) -> str:
    """Holds for a row that breaks the rule, where it is about the row and there is something to judge."""
    return f"(coalesce({_broken(rule, d)}, TRUE))"


def _broken(rule: RowRule, d: Dialect) -> str:
    first, *others = (d.name(column) for column in rule.columns)
    match rule:
        case NotNull():
            return f"{first} IS NULL"
        case Null():
            return f"{first} IS NOT NULL"
        case Between():
            return _outside(first, rule, d)
        case LengthBetween():
            return _outside(f"length({first})", rule, d)
        case MatchRegex():
            return f"NOT {_matches(first, rule.regex, d)}"
        case NotMatchRegex():
            return _matches(first, rule.regex, d)
        case InSet():
            return f"{first} NOT IN ({', '.join(literal(value, d) for value in rule.value_set)})"
        case NotInSet():
            return f"{first} IN ({', '.join(literal(value, d) for value in rule.value_set)})"
        case PairGreater():
            return f"NOT ({first} {'>=' if rule.or_equal else '>'} {others[0]})"
        case PairEqual():
            return f"NOT ({first} = {others[0]})"
    raise TypeError(rule.expectation)


def _outside(value: str, rule: Between | LengthBetween, d: Dialect) -> str:
    bounds = (("<=" if rule.strict_min else "<", rule.min_value), (">=" if rule.strict_max else ">", rule.max_value))
    return " OR ".join(f"{value} {sign} {literal(bound, d)}" for sign, bound in bounds if bound is not None)


def _matches(value: str, pattern: str, d: Dialect) -> str:
    if d.is_spark:
        return f"({value} RLIKE {literal(for_java(pattern), d)})"
    return f"regexp_matches({value}, {literal(for_re2(pattern), d)})"


def literal(value: object, d: Dialect) -> str:
    """A number or a text as a constant."""
    if not isinstance(value, str):
        return str(value)
    if d.is_spark:
        value = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{value}'"
    text = value.replace("'", "''")
    return f"'{text}'"
