"""SQL of the specs read without Spark: does it parse, and which columns does it name?

sqlglot reads Spark's dialect in milliseconds. It is asked just what can be told for certain; types and
functions are for Spark's analyzer, when the service starts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlglot
from pyspark.sql.types import ArrayType, DataType, MapType, StructType
from sqlglot import exp

from schemas.spark_types import NotASparkType, parse_type

# sqlglot warns of syntax that it knows no node for; what can not be read is left to Spark anyway.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

DIALECT: Final = "spark"
UNREAD: Final = exp.Var(this="UNREAD")
"""Stands for SQL that may be right, but which only Spark can read."""

_ONLY_SPARK_READS = re.compile(r">>>|\bx\s+'|:|\|>|\.\s*select\b|^\s*table\b|\bby\s+window\b", re.IGNORECASE)
"""What sqlglot refuses and Spark takes: `>>>`, `X 'FF'`, paths into a VARIANT, pipes, a field named `select`,
`GROUP BY window(...)`."""

WITHOUT_PARENTHESES: Final = frozenset(
    {
        "current_catalog",
        "current_database",
        "current_date",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_timezone",
        "current_user",
        "grouping__id",
        "localtimestamp",
        "session_user",
        "session_window",
        "user",
        "window",
    }
)
"""What Spark takes for a function or a grouping's window: names like these need be no column."""


class NotSql(ValueError):
    """A text that is not the SQL that was asked for; `row` counts its lines from 1."""

    def __init__(self, row: int, why: str) -> None:
        self.row, self.why = row, why
        super().__init__(why)


@dataclass(frozen=True)
class Reference:
    """A column that an expression names, part by part: `after.email` is ("after", "email")."""

    parts: tuple[str, ...]
    row: int

    def __str__(self) -> str:
        """The reference as it is written in SQL."""
        return ".".join(self.parts)


@dataclass(frozen=True)
class Miss:
    """A part of a reference that is not there: below `parent`, which has `choices`."""

    reference: Reference
    parent: str
    name: str
    choices: tuple[str, ...]


def parse(text: str) -> exp.Expr:
    """The one statement or expression of `text`, or UNREAD; raises NotSql."""
    try:
        tree = sqlglot.parse_one(text, dialect=DIALECT)
    except sqlglot.errors.ParseError as error:
        if _ONLY_SPARK_READS.search(text):
            return UNREAD
        first = error.errors[0] if error.errors else {}
        near = str(first.get("highlight") or "").strip()
        why = f"it breaks at `{near}`" if near else "it ends too early"
        raise NotSql(int(first.get("line") or 1), why) from None
    except sqlglot.errors.TokenError:
        raise NotSql(1, "a quote or a comment is not closed") from None
    except RecursionError:
        raise NotSql(1, "it is nested too deeply") from None
    if isinstance(tree, exp.Block):
        raise NotSql(1, "it is more than one statement")
    return tree


def parse_expression(text: str) -> exp.Expr:
    """The expression of one column, or UNREAD; raises NotSql."""
    tree = parse(text)
    match tree:
        case exp.Subquery():
            return tree
        case exp.Query() | exp.Command():
            raise NotSql(1, "it is a statement, where an expression is asked for")
        case exp.Alias() if _ONLY_SPARK_READS.search(text):
            return UNREAD
        case exp.Alias() | exp.Aliases():
            raise NotSql(1, f"it names its result itself (`{tree.alias}`), or an operator is missing")
        case exp.Star() | exp.Column(this=exp.Star()):
            raise NotSql(1, "it stands for several columns, where one is asked for")
    return tree


def tells_its_columns(tree: exp.Expr) -> bool:
    """Whether `references` gives all columns that an expression reads, and no `*` stands for others."""
    return tree is not UNREAD and tree.find(exp.Query, exp.JSONExtract, exp.Star) is None


def references(tree: exp.Expr) -> Iterator[Reference]:
    """The columns that an expression names, nothing where it can not be told which names are columns."""
    if tree.find(exp.Query, exp.JSONExtract):
        return
    for column in tree.find_all(exp.Column):
        if reference := reference_of(column):
            yield reference


def reference_of(column: exp.Column) -> Reference | None:
    """The column and the fields below it that are named; None for what is no column: `*`, `current_date`."""
    if isinstance(column.this, exp.Star) or column.find_ancestor(exp.Hint):
        return None
    parts = [part.name for part in column.parts]
    if parts[0].casefold() in WITHOUT_PARENTHESES | _lambda_variables(column):
        return None
    node: exp.Expr = column
    while (
        isinstance(node.parent, exp.Dot)
        and node.parent.this is node
        and isinstance(node.parent.expression, exp.Identifier)
    ):
        node = node.parent
        parts.append(node.expression.name)
    return Reference(tuple(parts), int(column.parts[-1].meta.get("line") or 1))


def _lambda_variables(node: exp.Expr) -> set[str]:
    variables: set[str] = set()
    while enclosing := node.find_ancestor(exp.Lambda):
        variables |= {variable.name.casefold() for variable in enclosing.expressions}
        node = enclosing
    return variables


def miss(reference: Reference, columns: StructType) -> Miss | None:
    """The first part of `reference` that `columns` does not have, upper and lower case being the same."""
    kind: DataType = columns
    parent = ""
    for part in reference.parts:
        while isinstance(kind, ArrayType):
            kind = kind.elementType
        match kind:
            case MapType():
                kind = kind.valueType
            case StructType():
                found = next((field for field in kind.fields if field.name.casefold() == part.casefold()), None)
                if found is None:
                    return Miss(reference, parent, part, tuple(kind.names))
                kind = found.dataType
            case _:
                return Miss(reference, parent, part, ())
        parent = f"{parent}.{part}".removeprefix(".")
    return None


def type_of(tree: exp.Expr, columns: StructType) -> DataType | None:
    """The type of an expression that is just a column or a cast, None for any other."""
    tree = tree.unnest()
    if isinstance(tree, exp.Cast):
        try:
            return parse_type(tree.to.sql(DIALECT))
        except NotASparkType:
            return None
    named = next(iter(references(tree)), None) if isinstance(tree, (exp.Column, exp.Dot)) else None
    if named is None or miss(named, columns) is not None:
        return None
    kind: DataType = columns
    for part in named.parts:
        if not isinstance(kind, StructType):
            return None
        kind = next(field.dataType for field in kind.fields if field.name.casefold() == part.casefold())
    return kind
