"""How a derived table is refreshed, for people: by which keys a change is found, and how far these get in its query."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.check_pushdown import Refresh, refreshes
from schemas.pushdown import Reach
from schemas.spec import DerivedSpec
from schemas.sql_query import ColumnsOf


def refresh_plan(spec: DerivedSpec, columns_of: ColumnsOf) -> Iterator[str]:
    """The plan, a line each; for a spec that was checked."""
    yield f"{spec.table}, one row per {', '.join(spec.grain)}"
    for one in refreshes(spec, columns_of):
        yield from _of_upstream(one)


def _of_upstream(refresh: Refresh) -> Iterator[str]:
    if not refresh.columns:
        yield f"  a change of {refresh.upstream} changes nothing here"
        return
    found = ", ".join(ours if theirs == ours else f"{theirs} = {ours}" for theirs, ours in refresh.columns.items())
    yield f"  a change of {refresh.upstream} is found by {found}"
    for ours, reach in refresh.reach.items():
        for line in _of_key(reach):
            yield f"    {ours}: {line}"


def _of_key(reach: Reach) -> Iterator[str]:
    for read in reach.reads:
        how = ", which it is joined with" if read.joined else ""
        yield f"reads {read.table} by {read.column}{how}"
    for barrier in reach.barriers:
        yield f"stops where {barrier.why}: what is behind is read whole"
    if not reach.is_known:
        yield "only Spark can tell how far it gets"
    elif not reach.reads and not reach.barriers:
        yield "is a constant"
