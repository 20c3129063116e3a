"""Removing the files that no version of the last hours needs, and none that a table has still to read.

The change feed is read from files that VACUUM removes too (delta-io/delta#1365): what a table has not consumed yet must
be younger than what is kept. https://docs.delta.io/latest/delta-utility.html#remove-files-no-longer-referenced-by-a-delta-table
"""

from __future__ import annotations

import math
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
    hours: int = 0


def plan_vacuum(graph: Graph, request: Vacuum, now: datetime | None = None) -> VacuumPlan:
    """What a VACUUM would remove; raises NoSuchTable, and WouldBreak where a table has still to read some of it."""
    unknown = [name for name in request.tables if name not in graph.tables]
    if unknown:
        raise NoSuchTable(unknown[0], "table of this pipeline", list(graph.tables))
    names = [name for name in graph.pipeline.order if name in (request.tables or graph.tables)]
    hours = math.ceil(request.hours)  # Delta knows whole hours; what is not kept is gone
    horizon = (now or datetime.now(UTC)) - timedelta(hours=hours)
    files = {}
    for name in (one for one in names if graph.tables[one].exists):
        if readers := _late_readers(graph, name, horizon):
            raise WouldBreak(name, readers, hours)
        files[name] = len(_vacuum(graph.tables[name], hours, dry_run=True))
    lines = [f"  {name}: {counted(count, 'file')}" for name, count in files.items() if count]
    return VacuumPlan(
        lines=[
            f"Remove what no version since {horizon:%Y-%m-%d %H:%M:%S} needs:",
            *(lines or ["  nothing"]),
            "Versions before can not be rewound to any more.",
        ],
        before={"files": {name: count for name, count in files.items() if count}},
        after={"hours": hours},
        is_empty=not any(files.values()),
        files=files,
        hours=hours,
    )


def carry_out_vacuum(graph: Graph, plan: VacuumPlan) -> dict[str, Any]:
    """Remove the files, table by table, each under its lock.

    Since it was planned, a batch may have come that a table below has still to read: under the lock none comes. Raises
    WouldBreak then; what was removed before of other tables is harmless.
    """
    removed = {}
    for name in (one for one, count in plan.files.items() if count):
        with graph.tables[name].lock:
            if readers := _late_readers(graph, name, datetime.now(UTC) - timedelta(hours=plan.hours)):
                raise WouldBreak(name, readers, plan.hours)
            removed[name] = len(_vacuum(graph.tables[name], plan.hours, dry_run=False))
    return {"removed": removed}


def oldest_unread(graph: Graph, name: str, reader: str) -> datetime | None:
    """When the first version that a table below has still to read changes of was committed; None where there is none.

    Versions without rows, as of VACUUM itself, need no file.
    """
    todo = pending(graph.tables[reader], graph.tables[name], graph.below[reader].label)
    log = CommitLog(graph.lake, name)
    for version in range(todo.position + 1, todo.to + 1):
        commit = log.read(version)
        if commit is None or commit.feed:
            return commit.at if commit is not None else datetime.fromtimestamp(0, UTC)
    return None


def _late_readers(graph: Graph, name: str, horizon: datetime) -> Sequence[str]:
    late = []
    for reader in graph.pipeline.downstreams(name):
        if not graph.tables[reader].exists:
            continue
        unread = oldest_unread(graph, name, reader)
        if unread is not None and unread < horizon:
            late.append(f"{reader} has not read what was committed at {unread:%Y-%m-%d %H:%M:%S}")
    return late


def _vacuum(table: Table, hours: int, *, dry_run: bool) -> list[str]:
    """Remove files, those of changed rows and of commits that never came about among them; their names.

    Those two are in no action of the log that could tell of them: only a listing finds them. Deletion vectors are
    files that a listing would take for such, so a table that another tool has given some keeps what only it finds.
    """
    handle = table.writer() if not dry_run else table.handle()
    is_listed = "deletionVectors" not in (handle.protocol().writer_features or [])
    return list(handle.vacuum(retention_hours=hours, dry_run=dry_run, enforce_retention_duration=False, full=is_listed))
