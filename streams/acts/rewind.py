"""Taking tables and all that hangs on them back to one state: tables, checkpoints, gates, lanes and tombstones.

RESTORE makes a new version of a table, with the rows of an old one; it takes no position back. So the commit that
restores also carries the positions, under a new generation: what was consumed by then, and where an upstream goes back
too and had been consumed to its cut, the version that restores it.

Nothing is deleted: the versions in between stay, lane folders are moved aside, checkpoints are kept. So a rewind can be
rewound, with `--to act:<id>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs

from checkpoints import generations, ledger
from checkpoints.commits import CommitLog, LogCommit
from checkpoints.effective import only_in
from checkpoints.errors import LeaseLost
from checkpoints.failpoints import reach
from checkpoints.generations import Start
from checkpoints.journal import Act
from checkpoints.ledger import LedgerEntry
from checkpoints.positions import GENERATION_APP, app_id
from checkpoints.requests import Rewind
from schemas.errors import SluiceError
from sinks.commit import Commit
from streams.acts import lanes
from streams.acts.again import of_backfills, start_again, told
from streams.acts.cut import Cut, cuts_of
from streams.acts.errors import FilesGone, HalfDone
from streams.acts.plan import Plan
from streams.explain import explain
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
            start = start_again(graph.bronze[name], cut, brokers, accept_loss=request.accept_loss)
            starts[name] = start
            undone = [one for one in only_in(CommitLog(graph.lake, name), cut.now, cut.to) if _is_batch(one)]
            batches[name] = len(undone)
            lines.append(f"    {len(undone):,} of its batches are undone; {told(graph.bronze[name], start)}")
            lines += of_backfills(undone, start)
        # 3
        _require_files(graph, name, cut)
    moved = [name for name, cut in cuts.items() if cut.moves]
    gates = _gates(graph, cuts)
    if gates:
        lines.append(f"  Gates go back to what gold had of their tables: {', '.join(gates)}.")
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
        "tombstones": {name: _tombstones_at(graph, name, plan.cuts[name]) for name in moved},
        "starts": {name: start.model_dump(mode="json") for name, start in plan.starts.items()},
        "approved": {name: graph.gates[name].approved() for name in _gates(graph, plan.cuts)},
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
        log = CommitLog(graph.lake, name)
        lanes.move(graph.lake, name, only_in(log, cut.now, cut.to), only_in(log, cut.to, cut.now), act.id)
        if (run_id := _unfinished(graph, name)) is not None:
            lanes.set_aside(graph.lake, name, run_id, act.id)
        _restore_tombstones(graph, name, steps.get("tombstones", {}).get(name))
        made[name] = _restore(graph, name, cut, act, made, cuts)
        if name in graph.bronze:
            generations.keep(graph.lake, name, Start.model_validate(steps["starts"][name]))
        reach("rewind.between_tables", name)
    # 2
    for name, approved in steps["approved"].items():
        _approve(graph, name, cuts, made[name], approved)
    return {"versions": made, "undo": f"act:{act.id[:8]}"}


def cut_short(act: Act, error: Exception) -> SluiceError:
    """What to raise where a rewind fails half way; a lease that is lost stays just that."""
    if isinstance(error, LeaseLost):
        return error
    return HalfDone(act.id[:8], str(error).rstrip(".") if isinstance(error, SluiceError) else explain(error))


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
    _tombstones_at(graph, name, cut)


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


def _unfinished(graph: Graph, name: str) -> str | None:
    """The run of the batch that is in hand or was cut short: under another generation it never comes to its end."""
    if name in graph.bronze:
        return graph.bronze[name].open_run(graph.bronze[name].generation)
    step = graph.below[name]
    return step.following_run() if isinstance(step, ChangeStep) and step.upstream.exists else None


def _tombstones_at(graph: Graph, name: str, cut: Cut) -> int | None:
    """The version of a table's tombstones that belongs to its cut; None where it has none. Raises FilesGone."""
    step = graph.below.get(name)
    tombstones = step.tombstones if isinstance(step, ChangeStep) else None
    if tombstones is None or not tombstones.exists:
        return None
    version = tombstones.version_at(cut.to, cut.at)
    if version is None:
        raise FilesGone(name, cut.to, "the log of its tombstones does not reach back to then")
    return version


def _restore_tombstones(graph: Graph, name: str, version: int | None) -> None:
    """Take the tombstones of a table of current rows back with it."""
    step = graph.below.get(name)
    if version is not None and isinstance(step, ChangeStep) and step.tombstones is not None:
        step.tombstones.restore(version)


def _gates(graph: Graph, cuts: Mapping[str, Cut]) -> list[str]:
    """The gates whose table goes back, or a table behind them, which may have been let through since."""
    moved = {name for name, cut in cuts.items() if cut.moves}
    return [name for name in cuts if name in graph.gates and moved.intersection([name, *_readers(graph, name)])]


def _readers(graph: Graph, name: str) -> list[str]:
    """The tables that a gate stands before."""
    return [one for one in graph.pipeline.downstreams(name) if graph.pipeline.tables[one].layer == "gold"]


def _approve(graph: Graph, name: str, cuts: Mapping[str, Cut], version: int, approved: int) -> None:
    """Let gold read what it had read by then of the version that the table went back to; the rest is judged anew.

    What was released or discarded since is so no more: it waits for a decision again. Where no table reads behind the
    gate, it is what was `approved` when the rewind began.
    """
    cut, gate = cuts[name], graph.gates[name]
    if readers := _readers(graph, name):
        approved = max((cuts[one].consumed.get(name, CREATED) for one in readers if one in cuts), default=CREATED)
    if approved == gate.approved():  # of a table that goes back, nothing is approved yet
        return
    entry = gate.entry(approved, version)
    entry = entry.model_copy(update={"run_id": ledger.run_id(entry.run_id, "rewind"), "rows": {}})
    gate.results.write(entry, (), {gate.app: version if approved >= cut.to else approved})


def _is_batch(commit: LogCommit) -> bool:
    return commit.entry is not None and commit.entry.step == "append"
