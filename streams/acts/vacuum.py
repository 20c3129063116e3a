"""Removing the files that no version of the last hours needs, and none that a table has still to read.

The change feed is read from files that VACUUM removes too (delta-io/delta#1365): what a table has not consumed yet must
be younger than what is kept. https://docs.delta.io/latest/delta-utility.html#remove-files-no-longer-referenced-by-a-delta-table
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from checkpoints.commits import CommitLog
from checkpoints.requests import Vacuum
from sinks.table import Table
from streams.acts.errors import NoSuchTable, WouldBreak
from streams.acts.plan import Plan, counted
from streams.graph import Graph
from streams.steps import pending


@dataclass(frozen=True)
class VacuumPlan(Plan):
    """A VACUUM: the tables with how many files go, and the hours that are kept."""

    files: Mapping[str, int] = field(default_factory=dict)
    hours: float = 0.0


def plan_vacuum(graph: Graph, request: Vacuum, now: datetime | None = None) -> VacuumPlan:
    """What a VACUUM would remove; raises NoSuchTable, and WouldBreak where a table has still to read some of it."""
    unknown = [name for name in request.tables if name not in graph.tables]
    if unknown:
        raise NoSuchTable(unknown[0], "table of this pipeline", list(graph.tables))
    names = [name for name in graph.pipeline.order if name in (request.tables or graph.tables)]
    horizon = (now or datetime.now(UTC)) - timedelta(hours=request.hours)
    files = {}
    for name in (one for one in names if graph.tables[one].exists):
        if readers := _late_readers(graph, name, horizon):
            raise WouldBreak(name, readers, request.hours)
        files[name] = len(_vacuum(graph.tables[name], request.hours, dry_run=True))
    lines = [f"  {name}: {counted(count, 'file')}" for name, count in files.items() if count]
    return VacuumPlan(
        lines=[
            f"Remove what no version since {horizon:%Y-%m-%d %H:%M:%S} needs:",
            *(lines or ["  nothing"]),
            "Versions before can not be rewound to any more.",
        ],
        before={"files": {name: count for name, count in files.items() if count}},
        after={"hours": request.hours},
        is_empty=not any(files.values()),
        files=files,
        hours=request.hours,
    )


def carry_out_vacuum(graph: Graph, plan: VacuumPlan) -> dict[str, Any]:
    """Remove the files, table by table, each under its lock."""
    removed = {}
    for name in (one for one, count in plan.files.items() if count):
        with graph.tables[name].lock:
            removed[name] = len(_vacuum(graph.tables[name], plan.hours, dry_run=False))
    return {"removed": removed}


def oldest_unread(graph: Graph, name: str, reader: str) -> datetime | None:
    """When the first version that a table below has still to read was committed; None where it has read all."""
    todo = pending(graph.tables[reader], graph.tables[name], graph.below[reader].label)
    if todo.is_empty:
        return None
    commit = CommitLog(graph.lake, name).read(todo.position + 1)
    return commit.at if commit is not None else datetime.fromtimestamp(0, UTC)


def _late_readers(graph: Graph, name: str, horizon: datetime) -> Sequence[str]:
    late = []
    for reader in graph.pipeline.downstreams(name):
        if not graph.tables[reader].exists:
            continue
        unread = oldest_unread(graph, name, reader)
        if unread is not None and unread < horizon:
            late.append(f"{reader} has not read what was committed at {unread:%Y-%m-%d %H:%M:%S}")
    return late


def _vacuum(table: Table, hours: float, *, dry_run: bool) -> list[str]:
    handle = table.writer() if not dry_run else table.handle()
    return list(
        handle.vacuum(retention_hours=int(hours), dry_run=dry_run, enforce_retention_duration=False, full=False)
    )
