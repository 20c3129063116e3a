"""Taking tables and all that hangs on them back to one state: tables, checkpoints, gates, lanes and tombstones.

RESTORE makes a new version of a table, with the rows of an old one; it takes no position back. So the commit that
restores also carries the positions, under a new generation: what was consumed by then, and where an upstream goes back
too and had been consumed to its cut, the version that restores it.

Nothing is deleted: the versions in between stay, lane folders are moved aside, checkpoints are kept. So a rewind can be
rewound, with `--to act:<id>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs

from checkpoints import generations, ledger
from checkpoints.commits import CommitLog, LogCommit
from checkpoints.effective import effective, held_offsets
from checkpoints.failpoints import reach
from checkpoints.generations import Start, pieces
from checkpoints.journal import Act
from checkpoints.ledger import LedgerEntry
from checkpoints.positions import GENERATION_APP, app_id
from checkpoints.requests import Rewind
from checkpoints.spans import NONE, Spans
from sinks import fence
from sinks.commit import Commit
from streams.acts import lanes
from streams.acts.cut import Cut, cuts_of
from streams.acts.errors import FilesGone, WouldLose
from streams.acts.plan import Plan
from streams.bronze import BronzeStep
from streams.graph import Graph
from streams.silver import ChangeStep
from streams.sources import Brokers
from streams.steps import CREATED


@dataclass(frozen=True)
class RewindPlan(Plan):
    """A rewind: the cut of every table, and the starts of the bronze queries that go back."""

    cuts: Mapping[str, Cut] = field(default_factory=dict)
    starts: Mapping[str, Start] = field(default_factory=dict)


def plan_rewind(graph: Graph, brokers: Brokers, request: Rewind) -> RewindPlan:
    """What a rewind would do.

    1. The version that each table goes back to.
    2. For bronze, what has to be read again, and whether the topic still has it.
    3. Whether the files of those versions are there.

    Raises NoSuchTable, NotAnOffset, FilesGone, and WouldLose.
    """
    # 1
    cuts = cuts_of(graph, request)
    lines, starts = [], {}
    batches = {}
    for name, cut in cuts.items():
        if not cut.moves:
            lines.append(f"  {name}: stays at version {cut.now}")
            continue
        lines.append(f"  {name}: version {cut.now} -> {cut.to}, of {cut.at:%Y-%m-%d %H:%M:%S}")
        # 2
        if name in graph.bronze:
            start = _start(graph.bronze[name], cut, brokers, accept_loss=request.accept_loss)
            starts[name] = start
            undone = [one for one in _only_in(graph, name, cut.now, cut.to) if _is_batch(one)]
            batches[name] = len(undone)
            lines.append(f"    {len(undone):,} of its batches are undone; {_again(start)}")
        # 3
        _require_files(graph, name, cut)
    moved = [name for name, cut in cuts.items() if cut.moves]
    gates = [name for name in moved if name in graph.gates]
    if gates:
        lines.append(f"  Gates go back with their tables: {', '.join(gates)}.")
    if moved:
        lines.append("  Lane folders of what is undone are moved aside. Nothing is deleted: the rewind can be rewound.")
    return RewindPlan(
        lines=[f"Back to {request.to}:", *lines] if moved else ["Every table is as it was then: nothing to do."],
        before={"versions": {name: cuts[name].now for name in moved}},
        after={"versions": {name: cuts[name].to for name in moved}, "batches": batches},
        is_empty=not moved,
        cuts=cuts,
        starts=starts,
    )


def noted(graph: Graph, act: Act, plan: RewindPlan) -> Act:
    """The act with all that is to be done, so that another process can go on: what gates let through is gone then."""
    moved = [name for name, cut in plan.cuts.items() if cut.moves]
    steps = {
        "cuts": {
            name: {"now": cut.now, "to": cut.to, "at": cut.at.isoformat(), "consumed": dict(cut.consumed)}
            for name, cut in plan.cuts.items()
        },
        "starts": {name: start.model_dump(mode="json") for name, start in plan.starts.items()},
        "approved": {name: graph.gates[name].approved() for name in moved if name in graph.gates},
    }
    return act.model_copy(update={"steps": steps})


def carry_out_rewind(graph: Graph, act: Act) -> dict[str, Any]:
    """Do what is noted in an act; one that was cut short goes on where it was.

    1. Table by table, upstreams first: move lane folders, restore the tombstones and the table with its positions; for
       bronze, begin a new generation.
    2. Let the gates have what they had let through.
    """
    steps: dict[str, Any] = act.steps
    # 1
    made: dict[str, int] = {}
    cuts: dict[str, Cut] = {}
    for name in (one for one in graph.pipeline.order if one in steps["cuts"]):
        one = steps["cuts"][name]
        cut = Cut(graph.tables[name], one["now"], one["to"], datetime.fromisoformat(one["at"]), one["consumed"])
        cuts[name] = cut
        if not cut.moves:
            made[name] = cut.now
            continue
        lanes.move(
            graph.lake, name, _only_in(graph, name, cut.now, cut.to), _only_in(graph, name, cut.to, cut.now), act.id
        )
        if name in graph.bronze:
            lanes.put_aside(graph.lake, name, graph.bronze[name].open_run(graph.bronze[name].generation))
        _restore_tombstones(graph, name, cut)
        made[name] = _restore(graph, name, cut, act, made, cuts)
        if name in graph.bronze:
            generations.keep(graph.lake, name, Start.model_validate(steps["starts"][name]))
        reach("rewind.between_tables", name)
    # 2
    for name, approved in steps["approved"].items():
        _approve(graph, name, cuts[name], made[name], approved)
    return {"versions": made, "undo": f"act:{act.id[:8]}"}


def _start(step: BronzeStep, cut: Cut, brokers: Brokers, *, accept_loss: bool) -> Start:
    """The generation that reads on from where the ledger ended at the cut; raises WouldLose."""
    topic, before = step.spec.source.topic, step.start
    at, generation = datetime.now(UTC).replace(microsecond=0), step.next_generation
    if step.spec.source.jdbc is not None:  # it goes on from what bronze holds
        return Start(generation=generation, kind="rewind", at=at, topic=topic, epoch=before.epoch)
    log = CommitLog(step.lake, step.spec.table)
    then = held_offsets(log, cut.to, topic, before.epoch)
    now = held_offsets(log, cut.now, topic, before.epoch)
    bounds = brokers.bounds(topic)
    offsets, lost = {}, {}
    for partition in sorted(bounds.partitions):
        end = then[partition].pieces[-1][1] if then.get(partition) else bounds.first(partition)
        undone = now.get(partition, NONE) - then.get(partition, NONE)
        gone = undone & Spans.between(0, bounds.first(partition))
        if gone:
            lost[partition] = gone
        least = min([end, *(start for start, _ in undone.pieces[:1])])
        offsets[partition] = max(least, bounds.first(partition))
    if lost and not accept_loss:
        raise WouldLose(step.spec.table, [f"{topic}[{partition}] offsets {gone}" for partition, gone in lost.items()])
    return Start(
        generation=generation,
        kind="rewind",
        at=at,
        topic=topic,
        topic_id=bounds.id,
        epoch=before.epoch,
        offsets=offsets,
        held=pieces(then),
        lost=pieces(lost),
    )


def _again(start: Start) -> str:
    places = [
        f"{start.topic}[{partition}] from {offset:,}" for partition, offset in sorted((start.offsets or {}).items())
    ]
    return f"generation {start.generation} reads {', '.join(places)}"


def _require_files(graph: Graph, name: str, cut: Cut) -> None:
    path = graph.tables[name].path
    try:
        then = set(DeltaTable(path, version=cut.to).file_uris())
    except DeltaError as error:
        raise FilesGone(name, cut.to, str(error)) from error
    left = sorted(then - set(graph.tables[name].handle().file_uris()))
    filesystem, _ = graph.lake.filesystem(path)
    infos = filesystem.get_file_info([graph.lake.filesystem(file)[1] for file in left])
    for file, info in zip(left, infos, strict=True):
        if info.type != fs.FileType.File:
            raise FilesGone(name, cut.to, f"{file} is not there any more")


def _restore(graph: Graph, name: str, cut: Cut, act: Act, made: Mapping[str, int], cuts: Mapping[str, Cut]) -> int:
    """Restore one table, with its positions; the version that this made. Nothing where an earlier try has done it."""
    table = graph.tables[name]
    run_id = ledger.run_id(act.id, name)
    with table.lock:
        for commit in CommitLog(graph.lake, name).down_from(table.version()):
            if commit.version <= cut.now:
                break
            if commit.entry is not None and commit.entry.run_id == run_id:
                return commit.version
        generation = table.generation() + 1
        moves, upstreams = {GENERATION_APP: generation}, {}
        for upstream in graph.pipeline.upstreams(name):
            at = _position(graph, upstream, cut, made, cuts)
            if at is not None:
                moves[app_id(graph.tables[upstream].source_name(), graph.below[name].label, generation)] = at
                upstreams[upstream] = (None, at)
        entry = LedgerEntry(
            table=name,
            step="rewind",
            run_id=run_id,
            clock=act.at,
            generation=generation,
            engine="driver",
            source="full",
            upstreams=upstreams,
            restored=cut.to,
        )
        handle, carried = table.to_commit(Commit(moves, entry), "driver")
        handle.restore(cut.to, commit_properties=carried)
        return table.version()


def _position(graph: Graph, upstream: str, cut: Cut, made: Mapping[str, int], cuts: Mapping[str, Cut]) -> int | None:
    """How far the restored table has come in an upstream: to its restored version, where it had come to its cut."""
    consumed = cut.consumed.get(upstream)
    if consumed is None or upstream not in cuts or not cuts[upstream].moves:
        return consumed
    above = cuts[upstream]
    left = range(consumed + 1, above.to + 1)
    handle = graph.tables[upstream].handle()
    is_whole = not left or ledger.rows_between(handle, consumed + 1, above.to) == 0
    return made[upstream] if is_whole else consumed


def _restore_tombstones(graph: Graph, name: str, cut: Cut) -> None:
    """Take the tombstones of a table of current rows back to when its version was committed."""
    path = graph.lake.tombstones(name)
    if not isinstance(graph.below.get(name), ChangeStep) or not DeltaTable.is_deltatable(path):
        return
    handle = DeltaTable(path)
    millis = int(cut.at.timestamp() * 1000)
    versions = [int(one["version"]) for one in handle.history() if int(one["timestamp"]) <= millis]
    to = max(versions, default=CREATED)
    if to < handle.version():
        handle.restore(to, commit_properties=fence.properties(handle, graph.lake, {}, None))


def _approve(graph: Graph, name: str, cut: Cut, version: int, approved: int) -> None:
    """Let gold read what it could read of the version that the table went back to."""
    if approved == CREATED:
        return
    gate = graph.gates[name]
    entry = gate.entry(approved, version)
    entry = entry.model_copy(update={"run_id": ledger.run_id(entry.run_id, "rewind"), "rows": {}})
    gate.results.write(entry, (), {gate.app: version if approved >= cut.to else approved})


def _only_in(graph: Graph, name: str, one: int, other: int) -> Iterator[LogCommit]:
    """The commits that made a table what it is at version `one`, and not what it is at version `other`."""
    log = CommitLog(graph.lake, name)
    theirs = {commit.version for commit in effective(log, other)}
    for commit in effective(log, one):
        if commit.version in theirs:
            return
        yield commit


def _is_batch(commit: LogCommit) -> bool:
    return commit.entry is not None and commit.entry.step == "append"
