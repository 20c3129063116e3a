"""Spark's queries as DuckDB's: SELECTs of joins, filters, groupings and unions, of expressions that are told.

Not told, and so left to Spark: windows, LIMIT and ORDER BY, table functions, LATERAL, USING, subqueries within
expressions, sums and averages of binary fractions, and comparisons of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
from streams.exact.origins import Follow, Origin, Place
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
    """A query of DuckDB's, and what it tells of its tables.

    `columns` are those that it has in Spark, `reads` the columns of each table that it reads, `twice` the tables that
    stand in it more than once. `origins` are those of the columns that come from elsewhere as they are.
    """

    sql: str
    columns: StructType
    reads: Mapping[str, Sequence[str]]
    twice: frozenset[str]
    origins: Mapping[str, Origin]
    follows: Sequence[Follow]


def told_query(sql: str, tables: Mapping[str, StructType]) -> ToldQuery | None:
    """A query over these tables, each by its name with `__` for the dot; None where only Spark can tell it."""
    if "\\" in sql:  # which escapes there are is for Spark's parser to say
        return None
    reader = _Reader(tables)
    try:
        found = reader.query(parse(sql), {})
    except (OnlySpark, NotSql, NotASparkType):
        return None
    reads = {name: tuple(sorted(read)) for name, read in reader.read.items()}
    return ToldQuery(found.text, found.columns, reads, frozenset(reader.twice), found.origins, tuple(reader.follows))


def view_of(table: str) -> str:
    """The name under which a table is given to a query that was told."""
    return table.replace(".", "__")


@dataclass(frozen=True)
class _Source:
    """A query's text, or what stands for it after FROM; its columns, and the origins of some."""

    text: str
    columns: StructType
    origins: Mapping[str, Origin]


_Known = Mapping[str, Callable[[], _Source]]
"""The CTEs that may be named, each made anew where it is: what it reads is read once more then."""


@dataclass
class _Reader:
    tables: Mapping[str, StructType]
    read: dict[str, set[str]] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)
    follows: list[Follow] = field(default_factory=list)

    def query(self, tree: exp.Expr, known: _Known) -> _Source:
        """A query, with the CTEs that are known to it."""
        tree = tree.unnest()
        if isinstance(tree, (exp.Select, exp.Union)) and (with_ := tree.args.get("with_")) is not None:
            if with_.args.get("recursive") or any(cte.alias_column_names for cte in with_.expressions):
                raise OnlySpark
            for cte in with_.expressions:
                known = {**known, cte.alias.casefold(): partial(self.query, cte.this, known)}
        if isinstance(tree, exp.Union):
            return self._union(tree, known)
        if isinstance(tree, exp.Select):
            return self._select(tree, known)
        raise OnlySpark

    def _union(self, tree: exp.Union, known: _Known) -> _Source:
        _only(tree, _UNION)
        left, right = self.query(tree.this, known), self.query(tree.expression, known)
        if len(left.columns) != len(right.columns):
            raise OnlySpark
        fields: list[StructField] = []
        sides: tuple[list[str], list[str]] = ([], [])
        origins: dict[str, Origin] = {}
        for one, other in zip(left.columns, right.columns, strict=True):
            kind, sqls = alike([Told(DUCKDB.name(each.name), each.dataType) for each in (one, other)])
            if tree.args.get("distinct") and not _is_compared(kind):
                raise OnlySpark
            fields.append(StructField(one.name, kind))
            for side, sql in zip(sides, sqls, strict=True):
                side.append(f"{sql} AS {DUCKDB.name(one.name)}")
            here, there = left.origins.get(one.name), right.origins.get(other.name)
            if here is not None and there is not None:
                origins[one.name] = here | there
        word = "UNION" if tree.args.get("distinct") else "UNION ALL"
        texts = (f"SELECT {', '.join(side)} FROM ({of.text})" for side, of in zip(sides, (left, right), strict=True))
        return _Source(f" {word} ".join(texts), StructType(fields), origins)

    def _select(self, tree: exp.Select, known: _Known) -> _Source:
        _only(tree, _SELECT)
        if tree.args.get("kind") or tree.args.get("from_") is None:
            raise OnlySpark
        names = _Names(self)
        clauses = [f"FROM {self._source(tree.args['from_'].this, known, names)}"]
        clauses += [self._join(join, known, names) for join in tree.args.get("joins") or ()]
        if where := tree.args.get("where"):
            clauses.append(f"WHERE {_truth(tell(where.this, names))}")
            for (_, one), (_, other) in names.equalities(where.this):
                self.follows += [Follow(one.places, other.places), Follow(other.places, one.places)]
        if by := [tell(one, names) for one in _grouping(tree)]:
            if not all(_is_compared(one.type) for one in by):
                raise OnlySpark
            clauses.append(f"GROUP BY {', '.join(one.sql for one in by)}")
        aggregated = replace(names, may_aggregate=True)
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
        text = f"SELECT {'DISTINCT ' if distinct else ''}{listed} {' '.join(clauses)}"
        origins = {name: origin for name, one in items if (origin := names.origin_of(one)) is not None}
        return _Source(text, StructType(columns), origins)

    def _item(self, item: exp.Expr, names: _Names) -> list[tuple[str, Told]]:
        star = item.this if isinstance(item, exp.Column) else item
        if isinstance(star, exp.Star):
            if any(star.args.values()):
                raise OnlySpark
            aliases = [item.table.casefold()] if isinstance(item, exp.Column) else list(names.sources)
            if not set(aliases) <= set(names.sources):
                raise OnlySpark
            every = [(alias, name) for alias in aliases for name in names.sources[alias].columns.names]
            return [(name, names.reference((alias, name))) for alias, name in every]
        if not isinstance(item, (exp.Alias, exp.Column, exp.Dot)):
            raise OnlySpark  # its name is for Spark to make up
        return [(item.output_name, tell(item.unalias(), names))]

    def _join(self, join: exp.Join, known: _Known, names: _Names) -> str:
        _only(join, _JOIN)
        word = _JOINS.get((join.side or "", join.kind or ""))
        on = join.args.get("on")
        if word is None or (on is None and word not in ("JOIN", "CROSS JOIN")):
            raise OnlySpark
        before = set(names.sources)
        source = self._source(join.this, known, names)
        [alias] = set(names.sources) - before
        if word in ("LEFT JOIN", "FULL JOIN"):
            names.may_lack.add(alias)
        if word in ("RIGHT JOIN", "FULL JOIN"):
            names.may_lack.update(before)
        if on is None:
            return f"CROSS JOIN {source}"
        for one, other in names.equalities(on):
            here, there = (one, other) if one[0] == alias else (other, one)
            if here[0] == alias and there[0] != alias:
                self.follows += _followed(word, here[1].places, there[1].places)
        return f"{word} {source} ON {_truth(tell(on, names))}"

    def _source(self, node: exp.Expr, known: _Known, names: _Names) -> str:
        """What stands after FROM or JOIN, which is added to the names."""
        if not isinstance(node, (exp.Table, exp.Subquery)) or node.alias_column_names:
            raise OnlySpark
        _only(node, {"this", "alias", "db"} if isinstance(node, exp.Table) else {"this", "alias"})
        if isinstance(node, exp.Table):
            name = ".".join(part.name for part in node.parts).lower()
            found = known[name]() if name in known else self._table(name)
            text = f"({found.text})" if name in known else found.text
        else:
            found = self.query(node.this, known)
            text = f"({found.text})"
        # A subquery may have no name: nothing can be named by it then.
        alias = node.alias_or_name.casefold() or f"__{len(names.sources)}"
        if alias in names.sources:
            raise OnlySpark
        names.sources[alias] = found
        return f"{text} AS {DUCKDB.name(alias)}"

    def _table(self, name: str) -> _Source:
        if name not in self.tables:
            raise OnlySpark
        if name in self.read:
            self.twice.add(name)
        self.read.setdefault(name, set())
        columns = self.tables[name]
        return _Source(view_of(name), columns, {each: Origin(frozenset([(name, each)])) for each in columns.names})


@dataclass(frozen=True)
class _Names:
    """The names within one SELECT, and aggregates where they may stand.

    `may_lack` are the sources that an outer join may leave without a row.
    """

    reader: _Reader
    sources: dict[str, _Source] = field(default_factory=dict)
    may_lack: set[str] = field(default_factory=set)
    may_aggregate: bool = False

    def reference(self, parts: Sequence[str]) -> Told:
        alias, column, fields = self._resolved(parts)
        source = self.sources[alias]
        if (origin := source.origins.get(column)) is not None:
            for table, name in origin.places:
                self.reader.read[table].add(name)
        return field_of(alias, source.columns, (column, *fields))

    def node(self, node: exp.Expr) -> Told | None:
        if not isinstance(node, exp.AggFunc):
            return None
        if not self.may_aggregate:
            raise OnlySpark
        return _aggregate(node, replace(self, may_aggregate=False))

    def origin_of(self, told: Told) -> Origin | None:
        """The origin of what was told, where that is just a column."""
        for alias, source in self.sources.items():
            for name, origin in source.origins.items():
                if told.sql == f"{DUCKDB.name(alias)}.{DUCKDB.name(name)}":
                    return replace(origin, may_lack=origin.may_lack or alias in self.may_lack)
        return None

    def equalities(self, condition: exp.Expr) -> Iterator[tuple[tuple[str, Origin], tuple[str, Origin]]]:
        """The pairs of columns, each with its source, that a condition holds equal."""
        for term in condition.flatten() if isinstance(condition, exp.And) else (condition,):
            equal = term.unnest()
            if isinstance(equal, exp.EQ):
                one, other = self._column(equal.this), self._column(equal.expression)
                if one is not None and other is not None:
                    yield one, other

    def _column(self, node: exp.Expr) -> tuple[str, Origin] | None:
        if not isinstance(node, exp.Column):
            return None
        alias, column, fields = self._resolved([part.name for part in node.parts])
        origin = self.sources[alias].origins.get(column)
        return (alias, origin) if origin is not None and not fields else None

    def _resolved(self, parts: Sequence[str]) -> tuple[str, str, Sequence[str]]:
        """The source and the column that are named, and the fields below it."""
        folded = [part.casefold() for part in parts]
        if len(parts) > 1 and folded[0] in self.sources:
            having, at = [folded[0]], 1
        else:
            having, at = [alias for alias, one in self.sources.items() if folded[0] in _folded(one.columns)], 0
        column = _folded(self.sources[having[0]].columns).get(folded[at]) if len(having) == 1 else None
        if column is None:
            raise OnlySpark
        return having[0], column, parts[at + 1 :]


def _followed(word: str, here: frozenset[Place], there: frozenset[Place]) -> Iterator[Follow]:
    """What a join of `here` to what stands before it says of the rows that are needed."""
    if word in ("JOIN", "LEFT JOIN"):
        yield Follow(there, here)
    if word in ("JOIN", "RIGHT JOIN"):
        yield Follow(here, there)


def _aggregate(node: exp.AggFunc, names: _Names) -> Told:
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
            return Told(f"count(CASE WHEN {_truth(tell(node.this, names))} THEN 1 END)", LongType())
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
