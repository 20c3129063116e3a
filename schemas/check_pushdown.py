"""Checks of what a derived table is refreshed by: the keys of a change have to reach the tables that it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from schemas.errors import Problem
from schemas.folder import Folder
from schemas.pushdown import Reach, reach_of, unsteady
from schemas.spec import DerivedSpec
from schemas.sql import NotSql
from schemas.sql_query import ColumnsOf, parse_query


@dataclass(frozen=True)
class Refresh:
    """How the changes of one upstream find their rows: by `columns` (theirs -> ours), and where these get to (ours)."""

    upstream: str
    columns: Mapping[str, str]
    reach: Mapping[str, Reach]

    @property
    def is_blocked(self) -> bool:
        """Whether none of the columns gets to any table, each for a reason that is known."""
        return all(one.barriers for one in self.reach.values())


def refreshes(spec: DerivedSpec, columns_of: ColumnsOf) -> list[Refresh]:
    """How a table is refreshed, for each of its upstreams; raises NotSql."""
    query = parse_query(spec.query)
    found = []
    for upstream in spec.upstreams:
        columns = spec.affected_columns(upstream)
        found.append(Refresh(upstream, columns, {ours: reach_of(query, ours, columns_of) for ours in columns.values()}))
    return found


def pushdown_problems(folder: Folder) -> Iterator[Problem]:
    """Queries of which every refresh would cost a whole one, and those that give another result each time."""
    for table, spec in folder.specs.items():
        if not isinstance(spec, DerivedSpec):
            continue
        try:
            found, query = refreshes(spec, folder.names), parse_query(spec.query)
        except NotSql:
            # check_query says so.
            continue
        for name, row in dict(unsteady(query)).items():
            what = f"`{name}` gives another value each time: a refresh and a rebuild would not agree."
            remedy = "Take the value from a column of a table, or leave it to those who read this table."
            yield folder.problem(table, ("query",), what, remedy, row)
        for refresh in found:
            if not refresh.columns or not refresh.is_blocked:
                continue
            for theirs, ours in refresh.columns.items():
                why = refresh.reach[ours].barriers[0].why
                what = (
                    f"A change of `{refresh.upstream}` is found by `{ours}` of the query's result, which can not be "
                    f"brought up to the tables that it reads: {why}. Each change would read them whole."
                )
                remedy = "Name a column that is one of a table's own, and that the query groups and partitions by."
                yield folder.problem(table, ("affected_by", refresh.upstream, theirs), what, remedy)
