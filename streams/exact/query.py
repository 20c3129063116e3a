"""Spark's queries as DuckDB's: SELECTs of joins, filters, groupings and unions, of expressions that are told.

Not told, and so left to Spark: windows, LIMIT and ORDER BY, table functions, LATERAL, USING, subqueries within
expressions, sums and averages of binary fractions, and comparisons of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    IntegralType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)
from sqlglot import exp

from schemas.spark_types import NotASparkType
from schemas.sql import NotSql, parse
from streams.compute import DUCKDB
from streams.exact.expressions import field_of, tell
from streams.exact.values import OnlySpark, Told, alike, decimal, sql_type

_SELECT: Final = frozenset({"with_", "expressions", "from_", "joins", "where", "group", "having", "distinct", "kind"})
_UNION: Final = frozenset({"with_", "this", "expression", "distinct"})
_JOIN: Final = frozenset({"this", "on", "side", "kind"})
_JOINS: Final = {
    ("", ""): "JOIN",
    ("", "INNER"): "JOIN",
    ("", "CROSS"): "CROSS JOIN",
    ("LEFT", ""): "LEFT JOIN",
    ("LEFT", "OUTER"): "LEFT JOIN",
    ("RIGHT", ""): "RIGHT JOIN",
    ("RIGHT", "OUTER"): "RIGHT JOIN",
    ("FULL", ""): "FULL JOIN",
    ("FULL", "OUTER"): "FULL JOIN",
}
_COMPARED: Final = (BooleanType, IntegralType, DecimalType, DateType, TimestampType)


@dataclass(frozen=True)
class ToldQuery:
    """A query of DuckDB's, the columns that it has in Spark, and which columns of each table it reads."""

    sql: str
    columns: StructType
    reads: Mapping[str, Sequence[str]]


def told_query(sql: str, tables: Mapping[str, StructType]) -> ToldQuery | None:
    """A query over these tables, each by its name with `__` for the dot; None where only Spark can tell it."""
    if "\\" in sql:  # which escapes there are is for Spark's parser to say
        return None
    reader = _Reader(tables)
    try:
        text, columns = reader.query(parse(sql), {})
    except (OnlySpark, NotSql, NotASparkType):
        return None
    return ToldQuery(text, columns, {name: tuple(sorted(read)) for name, read in reader.read.items()})


def view_of(table: str) -> str:
    """The name under which a table is given to a query that was told."""
    return table.replace(".", "__")


_Source = tuple[str, StructType]
"""The text that stands after FROM, and the columns of what it gives."""


@dataclass
class _Reader:
    tables: Mapping[str, StructType]
    read: dict[str, set[str]] = field(default_factory=dict)

    def query(self, tree: exp.Expr, known: Mapping[str, _Source]) -> _Source:
        """A query, with the CTEs that are known to it."""
        tree = tree.unnest()
        if isinstance(tree, (exp.Select, exp.Union)) and (with_ := tree.args.get("with_")) is not None:
            if with_.args.get("recursive"):
                raise OnlySpark
            known = dict(known)
            for cte in with_.expressions:
                if cte.alias_column_names:
                    raise OnlySpark
                text, columns = self.query(cte.this, known)
                known[cte.alias.casefold()] = (f"({text})", columns)
        if isinstance(tree, exp.Union):
            return self._union(tree, known)
        if isinstance(tree, exp.Select):
            return self._select(tree, known)
        raise OnlySpark

    def _union(self, tree: exp.Union, known: Mapping[str, _Source]) -> _Source:
        _only(tree, _UNION)
        (left, ours), (right, theirs) = self.query(tree.this, known), self.query(tree.expression, known)
        if len(ours) != len(theirs):
            raise OnlySpark
        fields, sides = [], ([], [])  # type: tuple[list[StructField], tuple[list[str], list[str]]]
        for one, other in zip(ours, theirs, strict=True):
            pair = [Told(DUCKDB.name(each.name), each.dataType) for each in (one, other)]
            kind, sqls = alike(pair)
            if tree.args.get("distinct") and not _is_compared(kind):
                raise OnlySpark
            fields.append(StructField(one.name, kind))
            for side, sql in zip(sides, sqls, strict=True):
                side.append(f"{sql} AS {DUCKDB.name(one.name)}")
        word = "UNION" if tree.args.get("distinct") else "UNION ALL"
        texts = [f"SELECT {', '.join(side)} FROM ({text})" for side, text in zip(sides, (left, right), strict=True)]
        return f" {word} ".join(texts), StructType(fields)

    def _select(self, tree: exp.Select, known: Mapping[str, _Source]) -> _Source:
        _only(tree, _SELECT)
        if tree.args.get("kind") or tree.args.get("from_") is None:
            raise OnlySpark
        sources: dict[str, StructType] = {}
        names = _Sources(sources, self, {})
        first = self._source(tree.args["from_"].this, known, names)
        joins = [self._join(join, known, names) for join in tree.args.get("joins") or ()]
        grouping = _grouping(tree)
        by = [tell(one, names) for one in grouping or ()]
        if not all(_is_compared(one.type) for one in by):
            raise OnlySpark
        clauses = [f"FROM {first}", *joins]
        if where := tree.args.get("where"):
            clauses.append(f"WHERE {_truth(tell(where.this, names))}")
        if by:
            clauses.append(f"GROUP BY {', '.join(one.sql for one in by)}")
        aggregated = _Sources(sources, self, names.tables, may_aggregate=True)
        if having := tree.args.get("having"):
            clauses.append(f"HAVING {_truth(tell(having.this, aggregated))}")
        items = [pair for item in tree.expressions for pair in self._item(item, aggregated)]
        columns = [StructField(name, one.type) for name, one in items]
        if len({column.name.casefold() for column in columns}) < len(columns):
            raise OnlySpark
        distinct = tree.args.get("distinct")
        if distinct is not None and (distinct.args.get("on") or not all(_is_compared(one.dataType) for one in columns)):
            raise OnlySpark
        listed = ", ".join(f"{one.sql} AS {DUCKDB.name(name)}" for name, one in items)
        return f"SELECT {'DISTINCT ' if distinct else ''}{listed} {' '.join(clauses)}", StructType(columns)

    def _item(self, item: exp.Expr, names: _Sources) -> list[tuple[str, Told]]:
        star = item.this if isinstance(item, exp.Column) else item
        if isinstance(star, exp.Star):
            if any(star.args.values()):
                raise OnlySpark
            aliases = [item.table.casefold()] if isinstance(item, exp.Column) else list(names.sources)
            if not set(aliases) <= set(names.sources):
                raise OnlySpark
            return [(name, names.reference((alias, name))) for alias in aliases for name in names.sources[alias].names]
        if not isinstance(item, (exp.Alias, exp.Column, exp.Dot)):
            raise OnlySpark  # its name is for Spark to make up
        return [(item.output_name, tell(item.unalias(), names))]

    def _join(self, join: exp.Join, known: Mapping[str, _Source], names: _Sources) -> str:
        _only(join, _JOIN)
        word = _JOINS.get((join.side or "", join.kind or ""))
        if word is None:
            raise OnlySpark
        source = self._source(join.this, known, names)
        on = join.args.get("on")
        if on is None:
            if word not in ("JOIN", "CROSS JOIN"):
                raise OnlySpark
            return f"CROSS JOIN {source}"
        return f"{word} {source} ON {_truth(tell(on, names))}"

    def _source(self, node: exp.Expr, known: Mapping[str, _Source], names: _Sources) -> str:
        """What stands after FROM or JOIN; its columns are added to the sources."""
        allowed = {"this", "alias", "db"} if isinstance(node, exp.Table) else {"this", "alias"}
        if not isinstance(node, (exp.Table, exp.Subquery)) or node.alias_column_names:
            raise OnlySpark
        _only(node, allowed)
        if isinstance(node, exp.Subquery):
            text, columns = self.query(node.this, known)
            text, table = f"({text})", ""
        else:
            name = ".".join(part.name for part in node.parts).lower()
            table = "" if name in known else name
            if table and table not in self.tables:
                raise OnlySpark
            text, columns = (view_of(table), self.tables[table]) if table else known[name]
        # A subquery may have no name: nothing can be named by it then.
        alias = node.alias_or_name.casefold() or f"__{len(names.sources)}"
        if alias in names.sources:
            raise OnlySpark
        names.sources[alias] = columns
        if table:
            names.tables[alias] = table
            self.read.setdefault(table, set())
        return f"{text} AS {DUCKDB.name(alias)}"


@dataclass
class _Sources:
    """The names within one SELECT: its sources' columns, and aggregates where they may stand."""

    sources: dict[str, StructType]
    reader: _Reader
    tables: dict[str, str]
    may_aggregate: bool = False

    def reference(self, parts: Sequence[str]) -> Told:
        folded = parts[0].casefold()
        if len(parts) > 1 and folded in self.sources:
            alias, parts = folded, parts[1:]
        else:
            having = [alias for alias, columns in self.sources.items() if folded in _folded(columns)]
            if len(having) != 1:
                raise OnlySpark
            [alias] = having
        found = field_of(alias, self.sources[alias], parts)
        if table := self.tables.get(alias):
            self.reader.read[table].add(_folded(self.sources[alias])[parts[0].casefold()])
        return found

    def node(self, node: exp.Expr) -> Told | None:
        if not isinstance(node, exp.AggFunc):
            return None
        if not self.may_aggregate:
            raise OnlySpark
        return _aggregate(node, _Sources(self.sources, self.reader, self.tables))


def _aggregate(node: exp.AggFunc, names: _Sources) -> Told:
    match node:
        case exp.Count(this=exp.Star()):
            return Told("count(*)", LongType())
        case exp.Count(this=exp.Distinct(expressions=[one])) if not node.expressions:
            given = tell(one, names)
            if not _is_compared(given.type):
                raise OnlySpark
            return Told(f"count(DISTINCT {given.sql})", LongType())
        case exp.Count() if not node.expressions and not isinstance(node.this, exp.Distinct):
            return Told(f"count({tell(node.this, names).sql})", LongType())
        case exp.CountIf():
            return Told(f"CAST(count_if({_truth(tell(node.this, names))}) AS BIGINT)", LongType())
        case exp.Min() | exp.Max() if not node.expressions:
            given = tell(node.this, names)
            if not _is_compared(given.type):
                raise OnlySpark
            return Told(f"{'min' if isinstance(node, exp.Min) else 'max'}({given.sql})", given.type)
        case exp.Sum() if not isinstance(node.this, exp.Distinct):
            given = tell(node.this, names)
            kind = _sum_of(given.type)
            return Told(f"CAST(sum({given.sql}) AS {sql_type(kind)})", kind)
    raise OnlySpark


def _sum_of(kind: DataType) -> DataType:
    if isinstance(kind, IntegralType):
        return LongType()
    if isinstance(kind, DecimalType):
        return decimal(kind.precision + 10, kind.scale)
    raise OnlySpark


def _grouping(tree: exp.Select) -> list[exp.Expr]:
    group = tree.args.get("group")
    if group is None:
        return []
    _only(group, frozenset({"expressions"}))
    named = {item.alias.casefold() for item in tree.expressions if item.alias}
    for one in group.expressions:
        # A column of that name goes before, where there is one; a number is a place.
        if isinstance(one, exp.Literal) or (
            isinstance(one, exp.Column) and not one.table and one.name.casefold() in named
        ):
            raise OnlySpark
    return list(group.expressions)


def _truth(one: Told) -> str:
    if not isinstance(one.type, BooleanType):
        raise OnlySpark
    return one.sql


def _is_compared(kind: DataType) -> bool:
    """Whether two values of this type are told apart alike, and are ordered alike."""
    return kind == StringType() or isinstance(kind, _COMPARED)


def _folded(columns: StructType) -> dict[str, str]:
    return {name.casefold(): name for name in columns.names}


def _only(node: exp.Expr, allowed: frozenset[str] | set[str]) -> None:
    if any(value not in (None, [], False) for name, value in node.args.items() if name not in allowed):
        raise OnlySpark
