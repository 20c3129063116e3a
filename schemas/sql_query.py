"""A query of a derived table: the tables it reads, the columns it gives, the columns that are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from schemas.columns import INGEST_METADATA
from schemas.sql import UNREAD, NotSql, Reference, parse, reference_of

Names = tuple[str, ...]
ColumnsOf = Callable[[str], Names | None]
"""The columns of a table by its name, None where they can not be told."""

_MANY_COLUMNS: Final = (exp.UDTF, exp.Explode, exp.Inline, exp.JSONTable)
_NAMED_BY_SPARK: Final = frozenset(
    {
        "explode",
        "explode_outer",
        "inline",
        "inline_outer",
        "json_tuple",
        "posexplode",
        "posexplode_outer",
        "session_window",
        "stack",
        "variant_explode",
        "variant_explode_outer",
        "window",
    }
)


@dataclass(frozen=True)
class Unknown:
    """A column that no table of the query has; `source` is the table or alias before it, where there is one.

    `choices` are the columns that there are, or the aliases where what stands before the dot is none.
    """

    reference: Reference
    source: str
    choices: Names


@dataclass(frozen=True)
class TableRead:
    """A table that a query reads, as it is written there."""

    name: str
    row: int


@dataclass
class _View:
    """A SELECT inside the query: what stands behind each of its aliases, in the order of the FROM clause."""

    scope: Scope
    sources: dict[str, Names | None] = field(default_factory=dict)
    output: Names | None = None

    @property
    def selects(self) -> list[exp.Expr]:
        """The columns of its result as they are written."""
        return self.scope.expression.selects if isinstance(self.scope.expression, exp.Select) else []


@dataclass(frozen=True)
class Query:
    """A query that parses."""

    tree: exp.Query
    scopes: Sequence[Scope]

    def tables(self) -> list[TableRead]:
        """The tables that are read, each once, by line; CTEs and table functions are none."""
        found: dict[str, TableRead] = {}
        for scope in self.scopes:
            for _, source in scope.selected_sources.values():
                if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                    name = ".".join(part.name for part in source.parts).lower()
                    found.setdefault(name, TableRead(name, int(source.parts[-1].meta.get("line") or 1)))
        return sorted(found.values(), key=lambda table: (table.row, table.name))

    def output(self, columns_of: ColumnsOf) -> Names | None:
        """The names of the columns that the query gives, None where only Spark can tell."""
        views = self._views(columns_of)
        return views[-1].output if views else None

    def unnamed(self) -> Iterator[int]:
        """The number, from 1, of each column of the result that needs an `AS`."""
        select = self.tree
        while isinstance(select, exp.SetOperation):
            select = select.this.unnest()
        for number, item in enumerate(select.selects, start=1):
            if _is_unnamed(item):
                yield number

    def unknown(self, columns_of: ColumnsOf) -> Iterator[Unknown]:
        """The columns that are named and not there; none where a source's columns can not be told."""
        views = {id(view.scope): view for view in self._views(columns_of)}
        for view in views.values():
            if not isinstance(view.scope.expression, exp.Select):
                continue
            chain = [view]
            scope = view.scope
            while scope.parent is not None:
                scope = scope.parent
                if id(scope) in views and not isinstance(scope.expression, exp.SetOperation):
                    chain.append(views[id(scope)])
            for column in view.scope.find_all(exp.Column):
                reference = reference_of(column)
                if reference and (unknown := _look_up(reference, chain)):
                    yield unknown

    def sources(self, columns_of: ColumnsOf) -> dict[int, dict[str, Names | None]]:
        """Of each scope, by its `id`, the columns behind each alias in lower case; None where they can not be told."""
        return {id(view.scope): dict(view.sources) for view in self._views(columns_of)}

    def _views(self, columns_of: ColumnsOf) -> list[_View]:
        views: dict[int, _View] = {}
        for scope in self.scopes:
            view = views[id(scope)] = _View(scope)
            for alias, (node, source) in scope.selected_sources.items():
                view.sources[alias.casefold()] = _source_columns(node, source, views, columns_of)
            for lateral in scope.expression.args.get("laterals") or ():
                view.sources.setdefault(lateral.alias_or_name.casefold(), None)
            view.output = _output(view, views)
        return list(views.values())


def parse_query(text: str) -> Query:
    """The query of `text`, one that tells nothing where only Spark can read it; raises NotSql."""
    tree = parse(text)
    if tree is UNREAD:
        return Query(exp.Select(), ())
    if not isinstance(tree, exp.Query):
        raise NotSql(1, "it is not a SELECT")
    try:
        return Query(tree, traverse_scope(tree))
    except (SqlglotError, RecursionError):
        return Query(tree, ())


def _source_columns(
    node: exp.Expr, source: exp.Expr | Scope, views: dict[int, _View], columns_of: ColumnsOf
) -> Names | None:
    if node.args.get("pivots"):
        return None
    if isinstance(source, Scope):
        names = views[id(source)].output if id(source) in views else None
        renamed = tuple(node.alias_column_names) if node.alias_column_names else _cte_columns(source)
        return renamed or names
    if not isinstance(source, exp.Table) or not isinstance(source.this, exp.Identifier):
        return None
    if node.alias_column_names:
        return tuple(node.alias_column_names)
    return columns_of(".".join(part.name for part in source.parts).lower())


def _cte_columns(source: Scope) -> Names:
    cte = source.expression.parent
    return tuple(cte.alias_column_names) if isinstance(cte, exp.CTE) else ()


def _output(view: _View, views: dict[int, _View]) -> Names | None:
    expression = view.scope.expression
    if isinstance(expression, exp.SetOperation):
        left = expression.this.unnest()
        return next((other.output for other in views.values() if other.scope.expression is left), None)
    if not isinstance(expression, exp.Select) or expression.args.get("kind"):
        return None
    names: list[str] = []
    for item in expression.selects:
        given = _names_of(item, view)
        if given is None:
            return None
        names += given
    return tuple(names)


def _names_of(item: exp.Expr, view: _View) -> Names | None:
    if isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star)):
        star = item if isinstance(item, exp.Star) else item.this
        uses = any(
            join.args.get("using") or join.args.get("method") for join in view.scope.expression.args.get("joins") or ()
        )
        if any(star.args.values()) or uses or view.scope.expression.args.get("laterals"):
            return None
        wanted = [item.table.casefold()] if isinstance(item, exp.Column) else list(view.sources)
        names: list[str] = []
        for alias in wanted:
            columns = view.sources.get(alias)
            if columns is None:
                return None
            names += [name for name in columns if name not in INGEST_METADATA]
        return tuple(names)
    if isinstance(item, exp.Aliases):
        return tuple(alias.name for alias in item.aliases)
    if isinstance(item, (exp.Alias, exp.Column, exp.Dot)):
        return (item.output_name,)
    if isinstance(item, exp.Cast) and isinstance(item.this, exp.Column):
        return (item.this.output_name,)
    return ("",) if _is_unnamed(item) else None


def _is_unnamed(item: exp.Expr) -> bool:
    """Whether Spark makes up a name like `(a + 1)`, which Delta refuses; false where that is not sure."""
    if isinstance(item, exp.Anonymous):
        return item.name.casefold() not in _NAMED_BY_SPARK
    if isinstance(item, (exp.Cast, *_MANY_COLUMNS)) or item.find(*_MANY_COLUMNS):
        return False
    return isinstance(item, (exp.Binary, exp.Case, exp.Func)) and not isinstance(item, exp.Dot)


def _look_up(reference: Reference, chain: list[_View]) -> Unknown | None:
    """Resolve as Spark does: the SELECT's own sources first, then those of the SELECTs around it."""
    parts = tuple(part.casefold() for part in reference.parts)
    for view in chain:
        aliased = _folded(_result_names(view)) if view is chain[0] else set()
        if parts[0] in aliased:
            return None
        for at in (0, 1):
            if len(parts) > at + 1 and parts[at] in view.sources:
                columns = view.sources[parts[at]]
                if columns is None or parts[at + 1] in _folded(columns):
                    return None
                return None if _in_any(parts[0], chain) else Unknown(reference, reference.parts[at], columns)
    if _in_any(parts[0], chain):
        return None
    if len(parts) > 1:
        return Unknown(reference, "", tuple(alias for view in chain for alias in view.sources))
    choices = tuple(name for view in chain for columns in view.sources.values() for name in columns or ())
    return Unknown(reference, "", choices)


def _result_names(view: _View) -> Names:
    """Names of the result that ORDER BY, HAVING and later columns may use, beside the sources' columns."""
    qualified = [item.name for item in view.selects if isinstance(item, exp.Column) and item.table]
    return (*(item.alias for item in view.selects if item.alias), *qualified)


def _in_any(name: str, chain: list[_View]) -> bool:
    """Whether any source has the column, or may have it since its columns can not be told."""
    every = [columns for view in chain for columns in view.sources.values()]
    opaque = any(not isinstance(view.scope.expression, exp.Select) for view in chain)
    return opaque or any(columns is None or name in _folded(columns) for columns in every)


def _folded(names: Names) -> set[str]:
    return {name.casefold() for name in names}
