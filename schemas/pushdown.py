"""How far a restriction of a query's result can be brought up to the tables that it reads.

A derived table is refreshed by asking its query for the rows of the keys that changed. That costs what the change
costs only where Spark can bring the condition (`order_id IN (...)`) up to the tables: past joins, unions and groupings
by that column, but not past an aggregate's result, a window over other rows, a LIMIT, or a column of several tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from schemas.sql_query import ColumnsOf, Names, Query

_UNSTEADY: Final = frozenset(
    {
        *("rand", "randn", "random", "randstr", "uniform", "uuid", "shuffle"),
        *("now", "current_timestamp", "current_date", "curdate", "current_time", "localtimestamp"),
        *("monotonically_increasing_id", "spark_partition_id"),
        *("input_file_name", "input_file_block_start", "input_file_block_length"),
    }
)
"""Functions that give another value each time, or by the clock, or by how rows lie in files."""
_UNSTEADY_NODES: Final = (
    exp.Rand,
    exp.Randn,
    exp.Uuid,
    exp.CurrentDate,
    exp.CurrentTimestamp,
    exp.CurrentTime,
    exp.Localtimestamp,
)
_Place = tuple[str, str]
"""An alias and a column, both in lower case."""
_GENERATORS: Final = (exp.UDTF, exp.Explode, exp.Inline, exp.JSONTable)


@dataclass(frozen=True)
class Read:
    """A table that is read under the restriction: by `column`; `joined` says that a join brings it there."""

    table: str
    column: str
    joined: bool = False


@dataclass(frozen=True)
class Barrier:
    """What a restriction can not be brought past, as the end of a sentence; `row` is its line in the query."""

    why: str
    row: int = 0


@dataclass
class Reach:
    """Where a restriction of one column of the result gets to; `is_known` is False where only Spark can tell."""

    reads: list[Read] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)
    is_known: bool = True

    def add(self, other: Reach) -> None:
        """Both."""
        self.reads += [read for read in other.reads if read not in self.reads]
        self.barriers += [one for one in other.barriers if one not in self.barriers]
        self.is_known = self.is_known and other.is_known


def reach_of(query: Query, column: str, columns_of: ColumnsOf) -> Reach:
    """Where a restriction of a column of the result gets to."""
    if not query.scopes:
        return Reach(is_known=False)
    return _Tracer(query, query.sources(columns_of)).down(query.scopes[-1], column)


def unsteady(query: Query) -> Iterator[tuple[str, int]]:
    """The functions of a query, with their lines, by which it gives another result of the same tables."""
    for node in query.tree.walk():
        name = _unsteady_name(node)
        if name:
            yield name, _row(node)


def _unsteady_name(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return node.name.lower() if node.name.lower() in _UNSTEADY else ""
    if isinstance(node, _UNSTEADY_NODES):
        return node.sql_name().lower()
    # Without parentheses sqlglot may take it for a column.
    is_bare = isinstance(node, exp.Column) and not node.table and not node.this.args.get("quoted")
    if is_bare and node.name.lower() in ("current_date", "current_timestamp", "localtimestamp"):
        return str(node.name.lower())
    return ""


@dataclass
class _Tracer:
    query: Query
    sources: Mapping[int, Mapping[str, Names | None]]

    def down(self, scope: Scope, column: str) -> Reach:
        """A column of a scope's result, brought as far down as it goes."""
        tree = scope.expression
        found = _clauses(tree)
        if isinstance(tree, exp.SetOperation):
            found.add(self._each_side(scope, column))
        elif isinstance(tree, exp.Select):
            found.add(self._select(scope, tree, column))
        else:
            found.is_known = False
        return found

    def _each_side(self, scope: Scope, column: str) -> Reach:
        """A column of a union, by the place that it has in the first of its sides."""
        names = [name.casefold() for name in _output_names(scope.expression)]
        if column.casefold() not in names:
            return Reach(is_known=False)
        return self._at(scope, names.index(column.casefold()))

    def _at(self, scope: Scope | None, index: int) -> Reach:
        """The column at a place of a result, which may have no name there."""
        tree = scope.expression if scope is not None else None
        if scope is None or tree is None or (isinstance(tree, exp.Select) and tree.is_star):
            return Reach(is_known=False)
        if isinstance(tree, exp.SetOperation):
            found = self._at(self._scope_of(tree.this), index)
            found.add(self._at(self._scope_of(tree.expression), index))
            return found
        if not isinstance(tree, exp.Select) or index >= len(tree.selects):
            return Reach(is_known=False)
        found = _clauses(tree)
        found.add(self._item(scope, tree, tree.selects[index].unalias()))
        return found

    def _scope_of(self, side: exp.Expr) -> Scope | None:
        """The scope of a side of a union; None where it can not be found."""
        inner = side.unnest()
        return next((scope for scope in self.query.scopes if scope.expression is inner), None)

    def _select(self, scope: Scope, tree: exp.Select, column: str) -> Reach:
        wanted = column.casefold()
        for item in tree.selects:
            if item.is_star:
                continue
            if isinstance(item, exp.Aliases):
                if wanted in {one.name.casefold() for one in item.aliases}:
                    return Reach(barriers=[Barrier("it is made by a function that gives several rows", _row(item))])
            elif item.output_name.casefold() == wanted:
                return self._item(scope, tree, item.unalias())
        # Of a `*`: a column by its own name.
        return self._item(scope, tree, exp.column(column)) if tree.is_star else Reach(is_known=False)

    def _item(self, scope: Scope, tree: exp.Select, item: exp.Expr) -> Reach:
        """An expression of a SELECT's result."""
        if (barrier := _barrier(tree, item)) is not None:
            return Reach(barriers=[barrier])
        columns = [column for column in item.find_all(exp.Column) if not isinstance(column.this, exp.Star)]
        if not columns:
            # A constant: nothing to bring up, and nothing in the way.
            return Reach()
        found_in = {self._alias(scope, column) for column in columns}
        aliases = sorted(alias for alias in found_in if alias is not None)
        if None in found_in:
            return Reach(is_known=False)
        row = _row(columns[0])
        if len(aliases) > 1:
            named = " and ".join(f"`{alias}`" for alias in aliases)
            return Reach(barriers=[Barrier(f"it is made of columns of {named}", row)])
        [alias] = aliases
        is_plain = isinstance(item, exp.Column)
        if not is_plain and _may_lack(tree, alias):
            why = f"it is an expression over `{alias}`, which an outer join may leave empty"
            return Reach(barriers=[Barrier(why, row)])
        found = Reach()
        for column in columns:
            found.add(self._source(scope, alias, column.name))
            if is_plain:
                found.add(self._joined(scope, tree, alias, column.name))
        return found

    def _source(self, scope: Scope, alias: str, column: str) -> Reach:
        """A column of a source of a SELECT."""
        found = next((one for name, one in scope.selected_sources.items() if name.casefold() == alias), None)
        if found is None:
            return Reach(barriers=[Barrier(f"it comes from `{alias}`, which gives several rows for one")])
        node, source = found
        if node.args.get("pivots") or node.args.get("sample"):
            return Reach(barriers=[Barrier(f"`{alias}` is a PIVOT or a sample", _row(node))])
        if isinstance(source, Scope):
            renamed = list(node.alias_column_names)
            if isinstance(source.expression.parent, exp.CTE):
                renamed = renamed or list(source.expression.parent.alias_column_names)
            if renamed:
                folded = [name.casefold() for name in renamed]
                is_there = column.casefold() in folded
                return self._at(source, folded.index(column.casefold())) if is_there else Reach(is_known=False)
            return self.down(source, column)
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
            return Reach([Read(".".join(part.name for part in source.parts).lower(), column)])
        return Reach(barriers=[Barrier(f"it comes from `{alias}`, which is no table")])

    def _joined(self, scope: Scope, tree: exp.Select, alias: str, column: str) -> Reach:
        """What is joined on equality with a column is read by the same values."""
        found = Reach()
        for one, other in self._equalities(scope, tree):
            for here, there in ((one, other), (other, one)):
                if here == (alias, column.casefold()) and there[0] != alias:
                    beyond = self._source(scope, *there)
                    # A barrier there keeps nothing from being read by the key here.
                    found.add(Reach([Read(read.table, read.column, joined=True) for read in beyond.reads]))
        return found

    def _equalities(self, scope: Scope, tree: exp.Select) -> Iterator[tuple[_Place, _Place]]:
        """The pairs of columns that the joins of a SELECT hold equal, but for those of a full outer join."""
        for join in tree.args.get("joins") or ():
            on = join.args.get("on")
            if on is None or join.side == "FULL":
                continue
            for term in on.flatten() if isinstance(on, exp.And) else (on,):
                sides = (term.unnest().this, term.unnest().expression) if isinstance(term.unnest(), exp.EQ) else ()
                if sides and all(isinstance(side, exp.Column) for side in sides):
                    one, other = ((self._alias(scope, side), side.name.casefold()) for side in sides)
                    if one[0] is not None and other[0] is not None:
                        yield (one[0], one[1]), (other[0], other[1])

    def _alias(self, scope: Scope, column: exp.Column) -> str | None:
        """The source that a column is of, in lower case (a query without a name is ""); None where it is not known."""
        known = self.sources.get(id(scope), {})
        if column.table:
            return str(column.table.casefold()) if column.table.casefold() in known else None
        if len(known) == 1:
            return next(iter(known))
        having = [
            alias
            for alias, names in known.items()
            if names is not None and column.name.casefold() in {name.casefold() for name in names}
        ]
        if any(names is None for names in known.values()):
            return None
        # Several have it under USING: the first is the one that stands.
        return having[0] if having else None


def _barrier(tree: exp.Select, item: exp.Expr) -> Barrier | None:
    """What keeps a restriction of an expression from getting below its own SELECT."""
    if any(_unsteady_name(node) for node in item.walk()):
        return Barrier("it is another value each time", _row(item))
    if item.find(exp.Query):
        return Barrier("it is the result of a subquery", _row(item))
    if item.find(exp.Window):
        return Barrier("it is the result of a window function", _row(item))
    if item.find(exp.AggFunc):
        return Barrier("it is the result of an aggregate", _row(item))
    if item.find(*_GENERATORS):
        return Barrier("it is made by a function that gives several rows", _row(item))
    group = tree.args.get("group")
    if group is not None and group.find(exp.Rollup, exp.Cube, exp.GroupingSets):
        return Barrier("it is grouped by ROLLUP, CUBE or GROUPING SETS", _row(group))
    named = {window.name.casefold(): window for window in tree.args.get("windows") or ()}
    for window in _own(tree, exp.Window):
        # `OVER w` has its columns where the query says `WINDOW w AS (...)`.
        said = named.get(window.alias.casefold(), window)
        by = {one.sql() for one in said.args.get("partition_by") or ()}
        names = {item.sql(), *(alias.alias for alias in tree.selects if alias.unalias() == item and alias.alias)}
        if isinstance(item, exp.Column):
            names.add(item.name)
        if not by & names:
            return Barrier("a window function beside it is not partitioned by it", _row(window))
    return None


def _own(tree: exp.Select, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The nodes of a kind in a SELECT's own columns, not in a query within."""
    for item in tree.selects:
        for node in item.find_all(kind):
            if node.find_ancestor(exp.Select) is tree:
                yield node


def _may_lack(tree: exp.Select, alias: str) -> bool:
    """Whether an outer join of a SELECT may leave a source without a row."""
    joins = tree.args.get("joins") or ()
    for join in joins:
        is_it = join.alias_or_name.casefold() == alias
        if join.side == "FULL" or (join.side == "LEFT" and is_it) or (join.side == "RIGHT" and not is_it):
            return join.kind not in ("SEMI", "ANTI")
    return False


def _clauses(tree: exp.Expr) -> Reach:
    """What a query ends with that a restriction of its result may not be brought past."""
    found = Reach()
    for word in ("limit", "offset"):
        if isinstance(clause := tree.args.get(word), exp.Expr):
            found.barriers.append(Barrier(f"a {word.upper()} stands in the way", _row(clause)))
    return found


def _output_names(tree: exp.Expr) -> list[str]:
    while isinstance(tree, exp.SetOperation):
        tree = tree.this.unnest()
    return [item.output_name for item in tree.selects] if isinstance(tree, exp.Select) else []


def _row(node: exp.Expr) -> int:
    """The line of a piece of SQL: that of the first name in it."""
    return min((int(one.meta["line"]) for one in node.walk() if one.meta.get("line")), default=0)
