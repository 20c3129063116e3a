"""Letting tables take up again what they have consumed: from bronze, which is not written, or whatever stands above.

Positions stay where they are, so that a replay which is cut short leaves nothing behind, and one that is repeated gives
the same rows: an old change never goes over a newer one, and what a query gives is worked out from rows as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession

from checkpoints import ledger
from checkpoints.commits import CommitLog
from checkpoints.effective import effective, is_batch, read_by
from checkpoints.ledger import LedgerEntry
from checkpoints.requests import Replay
from checkpoints.spans import NONE, Spans
from streams.acts.errors import NoSuchTable, NotAnOffset
from streams.acts.plan import Plan, counted
from streams.commands.since import parse_since
from streams.graph import Graph

_BATCH = re.compile(r"^batch:(\d+)$")
_PLACE = re.compile(r"^(?P<topic>[A-Za-z0-9._-]+)\[(?P<partition>\d+)\]@(?P<offset>\d+)$")

_BRINGS = ("append", "redrive")
"""The steps that bring rows into a bronze table."""

Range = tuple[int, int]
"""The first and the last version."""

_Known = Sequence[tuple[int, LedgerEntry]]
"""The versions that brought rows, newest first."""


@dataclass(frozen=True)
class ReplayPlan(Plan):
    """A replay: for each table, the versions of its upstreams that it takes up again."""

    ranges: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)


def plan_replay(graph: Graph, request: Replay) -> ReplayPlan:
    """What a replay would do; raises NoSuchTable, NotAnOffset.

    1. The versions of each bronze table above that the range names.
    2. For each table on the way down, the versions that were made of those.
    """
    unknown = [name for name in request.tables if name not in graph.below]
    if unknown:
        raise NoSuchTable(unknown[0], "table below bronze; bronze is read, and never written twice", list(graph.below))
    names = [name for name in graph.pipeline.order if name in (request.tables or graph.below)]
    # 1
    above = {one for name in names for one in graph.pipeline.above(name)} & set(graph.bronze)
    found: dict[str, Range] = {}
    for name in (one for one in graph.pipeline.order if one in above and graph.tables[one].exists):
        versions = _bronze_versions(graph, name, request)
        if versions is not None:
            found[name] = versions
    if not found:
        raise NotAnOffset("--from/--to", f"No batch of {', '.join(sorted(above))} lies in it.")
    # 2
    ranges: dict[str, dict[str, Range]] = {}
    lines = []
    for name in graph.pipeline.order:
        upstreams = [one for one in graph.pipeline.upstreams(name) if one in found]
        if not upstreams or not graph.tables[name].exists:
            continue
        if name in names:
            ranges[name] = {one: found[one] for one in upstreams}
            what = ", ".join(_told(graph, one, found[one]) for one in upstreams)
            lines.append(f"  {name} takes up again {what}")
        if any(name in graph.pipeline.above(one) for one in names):
            made = _made_of(graph, name, {one: found[one] for one in upstreams})
            if made is not None:
                found[name] = made
    lines.append("Bronze is not written. Positions stay. An older change never goes over a newer one.")
    return ReplayPlan(
        lines=["Replay:", *lines],
        before={"versions": {name: graph.tables[name].version() for name in ranges}},
        after={"ranges": ranges},
        is_empty=not ranges,
        ranges=ranges,
    )


def carry_out_replay(graph: Graph, spark: SparkSession, plan: ReplayPlan) -> dict[str, Any]:
    """Drive the tables again, upstreams first; what that changed is taken up by those below as anything else."""
    made: dict[str, Any] = {}
    for name, again in plan.ranges.items():
        outcome = graph.below[name].run(spark.newSession(), None, again)
        made[name] = {} if outcome is None else {"version": outcome.version, "rows": outcome.entry.rows}
    return {"tables": made}


def _bronze_versions(graph: Graph, name: str, request: Replay) -> Range | None:
    """The versions whose batches lie in the range: of its log for numbers, else by their clocks or their offsets."""
    table, topic = graph.tables[name], graph.bronze[name].spec.source.topic
    places = [place for place in (_PLACE.match(bound) for bound in (request.since, request.until) if bound) if place]
    if places and all(place["topic"] != topic for place in places):
        return None
    commits = effective(CommitLog(graph.lake, name), table.version())
    known = [(one.version, one.entry) for one in commits if one.entry is not None and one.entry.step in _BRINGS]
    found = {version for version, entry in known if entry.accepted}
    found &= _since(known, request.since, topic) & _until(known, request.until, topic)
    return (min(found), max(found)) if found else None


def _since(known: _Known, bound: str | None, topic: str) -> set[int]:
    """The versions that do not lie before where the range begins."""
    every = {version for version, _ in known}
    if bound is None:
        return every
    if batch := _BATCH.match(bound):
        first = _version_of(known, int(batch[1]))
        return set() if first is None else {one for one in every if one >= first}
    if place := _PLACE.match(bound):
        return _with_redrives(known, lambda spans: spans.pieces[-1][1] > int(place["offset"]), place, topic)
    at = parse_since(bound, option="--from")
    return {version for version, entry in known if entry.clock >= at}


def _until(known: _Known, bound: str | None, topic: str) -> set[int]:
    """The versions that do not lie behind where the range ends; what is named is still in it."""
    every = {version for version, _ in known}
    if bound is None:
        return every
    if batch := _BATCH.match(bound):
        last = _version_of(known, int(batch[1]))
        if last is None and any(is_batch(entry) and (entry.batch_id or 0) > int(batch[1]) for _, entry in known):
            return set()
        return every if last is None else {one for one in every if one <= last}
    if place := _PLACE.match(bound):
        return _with_redrives(known, lambda spans: spans.pieces[0][0] <= int(place["offset"]), place, topic)
    at = parse_since(bound, option="--to")
    return {version for version, entry in known if entry.clock <= at}


def _version_of(known: _Known, number: int) -> int | None:
    """Where a batch lies in the log, of the newest generation that has one of this number."""
    return next((version for version, entry in known if is_batch(entry) and entry.batch_id == number), None)


def _with_redrives(known: _Known, is_in: Callable[[Spans], bool], place: re.Match[str], topic: str) -> set[int]:
    """The versions whose offsets of a partition are asked for, and re-drives after them: they may have brought some."""
    if place["topic"] != topic:
        return {version for version, _ in known}
    partition = int(place["partition"])
    spans = {version: read_by(entry).get(topic, {}).get(partition, NONE) for version, entry in known}
    found = {version for version, one in spans.items() if one and is_in(one)}
    return found | {version for version, entry in known if found and entry.step == "redrive" and version > min(found)}


def _made_of(graph: Graph, name: str, above: Mapping[str, Range]) -> Range | None:
    """The versions of a table that were made of these versions of its upstreams."""
    table = graph.tables[name]
    found = []
    for version, entry in ledger.entries(table.handle()):
        for upstream, (first, last) in above.items():
            consumed = entry.upstreams.get(upstream)
            if consumed is not None and consumed[1] >= first and (consumed[0] or 0) < last:
                found.append(version)
    return (min(found), max(found)) if found else None


def _told(graph: Graph, upstream: str, versions: Range) -> str:
    rows = ledger.rows_between(graph.tables[upstream].handle(), *versions)
    first, last = versions
    return f"{upstream}@{first}-{last} ({'rows unknown' if rows is None else counted(rows, 'row')})"
