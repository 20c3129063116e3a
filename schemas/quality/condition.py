"""A rule's `row_condition`: SQL over the row, in the words that Spark and DuckDB read alike.

A suite is judged by the one or the other, as large as the change is, and the verdict must not depend on which.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from sqlglot import exp

from schemas.sql import DIALECT, UNREAD, NotSql, parse_expression, references

_WORDS: Final = (
    *(exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Neg),
    *(exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ),
    *(exp.Is, exp.In, exp.Between, exp.Like),
    *(exp.Add, exp.Sub, exp.Mul, exp.Coalesce, exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Abs),
    *(exp.Case, exp.If, exp.Cast, exp.DataType),
)
_CASTS: Final = frozenset({exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ})

ALLOWED: Final = (
    "comparisons, AND, OR, NOT, IS NULL, IN, BETWEEN, LIKE, CASE, +, -, *, coalesce, lower, upper, trim, length, abs, "
    "and DATE or TIMESTAMP before text"
)


def why_not(text: str) -> str | None:
    """What keeps a condition from being judged, as a clause; None where nothing does. Raises NotSql."""
    tree = parse_expression(text)
    if tree is UNREAD:
        return "only Spark can read it"
    for node in tree.walk():
        if isinstance(node, exp.Cast) and node.to.this not in _CASTS:
            return f"it casts to {node.to.sql(DIALECT)}"
        if isinstance(node, exp.Column) and len(node.parts) > 1:
            return f"`{node.sql(DIALECT)}` is a field of a column"
        if not isinstance(node, _WORDS):
            return f"it has `{node.sql(DIALECT)[:40]}`"
    return None


@cache
def columns_of(text: str) -> tuple[str, ...]:
    """The columns that a condition reads, in lower case."""
    return tuple(dict.fromkeys(reference.parts[0].lower() for reference in references(parse_expression(text))))


@cache
def as_sql(text: str, dialect: str) -> str:
    """The condition in a dialect, `spark` or `duckdb`."""
    try:
        return parse_expression(text).sql(dialect)
    except NotSql:  # a condition that was checked parses
        return text
