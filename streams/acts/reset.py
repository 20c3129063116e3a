"""Letting a query read on from elsewhere: a new generation of its checkpoint, the one before kept as it is.

Nothing that is written is changed: what bronze or its lane holds is passed over when it is read again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from checkpoints import generations
from checkpoints.commits import CommitLog
from checkpoints.effective import effective, held_offsets
from checkpoints.errors import TopicRecreated, UnreadableOffsets
from checkpoints.generations import Start, pieces
from checkpoints.ledger import LedgerEntry
from checkpoints.requests import Reset
from checkpoints.spans import NONE, Spans
from schemas.errors import WrongUsage
from streams.acts import lanes
from streams.acts.errors import NotAnOffset, WouldLose
from streams.acts.plan import Plan, counted
from streams.bronze import BronzeStep
from streams.commands.since import parse_since
from streams.sources import Brokers, TopicBounds

_BATCH = re.compile(r"^batch:(\d+)$")
_EARLIEST, _LATEST = -2, -1


@dataclass(frozen=True)
class ResetPlan(Plan):
    """A reset of one query; `start` is the beginning of its new generation."""

    start: Start | None = None


def plan_reset(step: BronzeStep, brokers: Brokers, request: Reset) -> ResetPlan:
    """What a reset would do.

    1. What the table and its lane account for, by the ledger.
    2. Where each partition is to be read from.
    3. What of it the topic no longer has.
    4. Say what is read again, what of that is new, and what is left out.

    Raises NotAnOffset, TopicRecreated without `accept_topic`, and WouldLose without `accept_loss`.
    """
    table, topic = step.spec.table, step.spec.source.topic
    before = _start(step)
    bounds = brokers.bounds(topic)
    is_other = before.topic_id is not None and before.topic_id != bounds.id
    if is_other and not request.accept_topic:
        raise TopicRecreated(table, topic, before.topic_id or "", bounds.id)
    epoch = before.epoch + 1 if is_other else before.epoch
    # 1
    log, version = CommitLog(step.lake, table), _version(step)
    held = held_offsets(log, version, topic, epoch)
    ends = {partition: spans.pieces[-1][1] for partition, spans in held.items() if spans}
    # 2
    wanted = _wanted(step, brokers, bounds, request.to, ends, log, version)
    # 3
    lost, offsets = {}, {}
    for partition in sorted(bounds.partitions):
        target, first = wanted.get(partition, _EARLIEST), bounds.first(partition)
        begins = ends.get(partition, first) if target == _EARLIEST else target
        gone = Spans.between(begins, first) - held.get(partition, NONE)
        if gone:
            lost[partition] = gone
        offsets[partition] = first if target == _EARLIEST else max(target, first)
    if lost and not request.accept_loss:
        raise WouldLose(table, [f"{topic}[{partition}] offsets {gone}" for partition, gone in lost.items()])
    # 4
    start = Start(
        generation=step.generation + 1,
        kind="recover" if request.to == "ledger" else "reset",
        at=datetime.now(UTC).replace(microsecond=0),
        topic=topic,
        topic_id=bounds.id,
        epoch=epoch,
        offsets=offsets,
        held=pieces(held),
        lost=pieces(lost),
    )
    return ResetPlan(
        lines=_lines(step, start, bounds, ends, held, lost, is_other=is_other),
        before={"table": table, "generation": step.generation, "offsets": ends, "epoch": before.epoch},
        after={"table": table, "generation": start.generation, "offsets": offsets, "epoch": epoch},
        start=start,
    )


def carry_out_reset(step: BronzeStep, plan: ResetPlan, act: str) -> dict[str, Any]:
    """Make the new generation, by one small file; the query that is started next is of it.

    What a batch left in the lane that never came to its end is moved aside: its records are not accounted for.
    """
    assert plan.start is not None  # noqa: S101 - a plan of a reset always has one
    lanes.set_aside(step.lake, step.spec.table, step.following_run(), act)
    generations.keep(step.lake, step.spec.table, plan.start)
    return plan.after


def _start(step: BronzeStep) -> Start:
    """Where the generation began; where that can not be read any more, what the ledger still tells of it."""
    try:
        return step.start
    except UnreadableOffsets:
        newest = _newest_batch(step)
        return Start(
            generation=step.generation,
            kind="reset",
            at=datetime.now(UTC),
            topic=step.spec.source.topic,
            epoch=newest.epoch if newest else 0,
        )


def _version(step: BronzeStep) -> int:
    """The version of the table; -1, before the first, where it is not there yet."""
    return step.table.version() if step.table.exists else -1


def _newest_batch(step: BronzeStep) -> LedgerEntry | None:
    log = CommitLog(step.lake, step.spec.table)
    entries = (commit.entry for commit in effective(log, _version(step)))
    return next((entry for entry in entries if _is_batch(entry)), None)


def _is_batch(entry: LedgerEntry | None) -> bool:
    """Whether a step is a batch of the query; the generations of backfills are below 0."""
    return entry is not None and entry.step == "append" and entry.generation >= 0


def _wanted(
    step: BronzeStep,
    brokers: Brokers,
    bounds: TopicBounds,
    to: str,
    ends: dict[int, int],
    log: CommitLog,
    version: int,
) -> dict[int, int]:
    """Partition -> the offset that is asked for; -2 is the first that there is, as are partitions that are left out."""
    table = step.spec.table
    if to == "earliest":
        return {}
    if to == "latest":
        return {partition: bounds.end(partition) for partition in bounds.partitions}
    if to == "ledger":
        return dict(ends)
    if batch := _BATCH.match(to):
        return _of_batch(table, log, version, int(batch[1]), ends)
    if to.lstrip().startswith("{"):
        return _of_json(to, bounds)
    at = parse_since(to, option="--to")
    if at > datetime.now(UTC):
        raise WrongUsage(f"--to {to}: it is in the future. Name a time that has been.")
    return brokers.offsets_at(bounds, at)


def _of_batch(table: str, log: CommitLog, version: int, batch_id: int, ends: dict[int, int]) -> dict[int, int]:
    """Where a batch of the ledger began, and where the ledger ends in partitions that it did not read."""
    known = []
    for commit in effective(log, version):
        entry = commit.entry
        if entry is None or not _is_batch(entry) or entry.batch_id is None:
            continue
        if entry.batch_id == batch_id:
            began = {
                number: start for ranges in entry.offsets.values() for number, (start, _) in sorted(ranges.items())
            }
            return {**ends, **began}
        known.append(entry.batch_id)
    reach = f"It has {min(known)} to {max(known)}." if known else "It has none."
    raise NotAnOffset("batch", f"The ledger of {table} has no batch {batch_id}. {reach}")


def _of_json(text: str, bounds: TopicBounds) -> dict[int, int]:
    try:
        named = {int(partition): int(offset) for partition, offset in json.loads(text)[bounds.topic].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        example = json.dumps({bounds.topic: {"0": 0}})
        raise NotAnOffset("--to", f"It is not Spark's JSON of offsets for this topic, as '{example}'.") from None
    unknown = sorted(set(named) - set(bounds.partitions))
    if unknown:
        raise NotAnOffset("--to", f"{bounds.topic} has no partition {unknown[0]}; it has {sorted(bounds.partitions)}.")
    found = {}
    for partition, offset in named.items():
        if offset == _LATEST:
            found[partition] = bounds.end(partition)
        elif offset == _EARLIEST or 0 <= offset <= bounds.end(partition):
            found[partition] = offset
        else:
            raise NotAnOffset(
                "--to", f"{bounds.topic}[{partition}] ends at {bounds.end(partition)}, and {offset} is not in it."
            )
    return found


def _lines(
    step: BronzeStep,
    start: Start,
    bounds: TopicBounds,
    ends: dict[int, int],
    held: dict[int, Spans],
    lost: dict[int, Spans],
    *,
    is_other: bool,
) -> list[str]:
    table = step.spec.table
    lines = [
        f"{table}: generation {step.generation} -> {start.generation}; the checkpoint of {step.generation} is kept."
    ]
    if is_other:
        lines.append(
            f"{start.topic} is another topic than before: it is read as epoch {start.epoch}, beside the old one."
        )
    for partition, offset in sorted((start.offsets or {}).items()):
        again = Spans.between(offset, bounds.end(partition))
        known = again & held.get(partition, NONE)
        parts = [f"reads {counted(len(again), 'offset')} up to {bounds.end(partition)}"]
        if known:
            parts.append(f"{len(known):,} of them are accounted for and passed over")
        skipped = Spans.between(ends.get(partition, offset), offset) - lost.get(partition, NONE)
        if skipped:
            parts.append(f"{counted(len(skipped), 'offset')} ({skipped}) {_is(skipped)} NOT read")
        if partition in lost:
            parts.append(f"{counted(len(lost[partition]), 'offset')} ({lost[partition]}) {_is(lost[partition])} LOST")
        was = f" instead of {ends[partition]:,}" if partition in ends and ends[partition] != offset else ""
        lines.append(f"  {start.topic}[{partition}] goes on at {offset:,}{was}: {'; '.join(parts)}.")
    lines.append("Not changed: any row of bronze, silver or gold, and any record of the error lanes.")
    return lines


def _is(spans: Spans) -> str:
    return "is" if len(spans) == 1 else "are"
