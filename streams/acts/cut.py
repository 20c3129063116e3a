"""A consistent cut: the version that each table goes back to, so that none knows more than those above it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from checkpoints.commits import CommitLog, LogCommit
from checkpoints.effective import counts_at
from checkpoints.journal import Journal
from checkpoints.requests import Rewind
from sinks.table import Table
from streams.acts.errors import NoSuchTable, NotAnOffset
from streams.commands.since import parse_since
from streams.graph import Graph
from streams.steps import CREATED

_BATCH = re.compile(r"^batch:(\d+)$")
_ACT = re.compile(r"^act:([0-9a-f]{4,32})$")


@dataclass(frozen=True)
class Cut:
    """One table: the version that it is at, the one that it goes back to, and what it had consumed by then.

    `at` is when the version was committed, in UTC; `consumed` is upstream -> version.
    """

    table: Table
    now: int
    to: int
    at: datetime
    consumed: Mapping[str, int]

    @property
    def moves(self) -> bool:
        """Whether the table changes at all."""
        return self.to < self.now


def cuts_of(graph: Graph, request: Rewind) -> dict[str, Cut]:
    """The cut of every table that goes back, in the order of the flow: the named ones, and all below them.

    Raises NoSuchTable, and NotAnOffset for what is not in the ledger or the journal.
    """
    unknown = [name for name in request.tables if name not in graph.tables]
    if unknown:
        raise NoSuchTable(unknown[0], "table of this pipeline", list(graph.tables))
    if act := _ACT.match(request.to):
        return _before_act(graph, act[1])
    roots = request.tables or tuple(graph.bronze)
    found: dict[str, Cut] = {}
    if batch := _BATCH.match(request.to):
        if len(roots) != 1 or roots[0] not in graph.bronze:
            raise NotAnOffset("--to", "A batch is one of a single bronze table: name it with --tables.")
        commit = _commit_of(graph, roots[0], int(batch[1]))
        # By its version: others may bear the same time, or an earlier one where the clock was put back.
        table = graph.tables[roots[0]]
        found[roots[0]] = Cut(table, table.version(), commit.version, commit.at, {})
        limit = commit.at
    else:
        limit = parse_since(request.to, option="--to")
        if limit > datetime.now(UTC):
            raise NotAnOffset("--to", f"{request.to} is in the future. Name a time that has been.")
    names = {*roots, *(below for root in roots for below in graph.pipeline.below(root))}
    return _with_cuts(graph, found, names, limit)


def _commit_of(graph: Graph, name: str, batch_id: int) -> LogCommit:
    """The newest commit of a batch with this number, the queries' own."""
    table = graph.tables[name]
    for commit in CommitLog(graph.lake, name).down_from(table.version()) if table.exists else ():
        entry = commit.entry
        if entry is not None and entry.batch_id == batch_id and entry.generation >= 0:
            return commit
    raise NotAnOffset("--to", f"The ledger of {name} has no batch {batch_id}; `sluice checkpoints show` lists them.")


def _with_cuts(graph: Graph, known: Mapping[str, Cut], names: Iterable[str], limit: datetime | None) -> dict[str, Cut]:
    """The cuts that are known, and those of the other tables named, in the order of the flow.

    A table is held against all that stands above it, also where that stays: what it has consumed there may have been
    taken back by an earlier rewind.
    """
    wanted = set(names)
    found: dict[str, Cut] = {}
    for name in graph.pipeline.order:
        if name in known:
            found[name] = known[name]
        elif name in wanted and graph.tables[name].exists:
            above = {
                one: found[one].to if one in found else graph.tables[one].version()
                for one in graph.pipeline.upstreams(name)
                if graph.tables[one].exists
            }
            found[name] = _cut(graph, name, above, limit)
    return found


def _cut(graph: Graph, name: str, above: Mapping[str, int], limit: datetime | None) -> Cut:
    """The newest version that was there by then, and knows nothing that the tables above do not at their cuts."""
    table, log = graph.tables[name], CommitLog(graph.lake, name)
    logs = {upstream: CommitLog(graph.lake, upstream) for upstream in above}
    now = table.version()
    oldest: LogCommit | None = None
    refused: set[tuple[str, int]] = set()
    for commit in log.down_from(now):
        oldest = commit
        if limit is not None and commit.at > limit:
            continue
        consumed = _consumed(graph, name, log, commit.version)
        places = {(upstream, consumed.get(upstream, CREATED)) for upstream in above}
        if places & refused:
            continue
        refused |= {
            (upstream, at) for upstream, at in places if at and not counts_at(logs[upstream], above[upstream], at)
        }
        if not places & refused:
            return Cut(table, now, commit.version, commit.at, consumed)
    if oldest is None or oldest.version != CREATED:
        raise NotAnOffset("--to", f"The log of {name} does not reach back to then.")
    return Cut(table, now, CREATED, oldest.at, {})


def _before_act(graph: Graph, prefix: str) -> dict[str, Cut]:
    acts = [act for act in Journal(graph.lake).acts() if act.id.startswith(prefix)]
    if len(acts) != 1 or acts[0].action.action != "rewind":
        raise NotAnOffset("--to", f"There is no rewind act:{prefix}; `sluice journal` lists what was done.")
    versions = acts[0].before.get("versions", {})
    found: dict[str, Cut] = {}
    for name in graph.pipeline.order:
        if name in versions and graph.tables[name].exists:
            table, to = graph.tables[name], int(versions[name])
            log = CommitLog(graph.lake, name)
            commit = log.read(to)
            if commit is None:
                raise NotAnOffset("--to", f"The log of {name} no longer has version {to}.")
            found[name] = Cut(table, table.version(), to, commit.at, _consumed(graph, name, log, to))
    # Those that stayed then may have consumed since what is taken back now.
    return _with_cuts(graph, found, {below for name in found for below in graph.pipeline.below(name)}, None)


def _consumed(graph: Graph, name: str, log: CommitLog, version: int) -> dict[str, int]:
    """What a table had consumed of each upstream at a version; a rewind says all of it anew."""
    wanted = set(graph.pipeline.upstreams(name))
    found: dict[str, int] = {}
    for commit in log.down_from(version) if wanted else ():
        entry = commit.entry
        if entry is None or entry.step == "discard":
            continue
        for upstream, (_, to) in entry.upstreams.items():
            found.setdefault(upstream, to)
        if entry.step == "rewind" or wanted <= set(found):
            break
    return found
