"""Letting a query read on from elsewhere: a new generation of its checkpoint, the one before kept as it is.

Nothing that is written is changed: what bronze or its lane holds is passed over when it is read again.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from checkpoints import generations
from checkpoints.commits import CommitLog
from checkpoints.effective import effective, held_offsets, is_batch, newest_batch
from checkpoints.errors import TopicRecreated, UnreadableOffsets
from checkpoints.generations import Start, pieces
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
_MOVED_ASIDE = "The lane of the batch in hand, which bronze does not hold, is moved aside: it is judged again."
_NOT_CHANGED = "Not changed: any row of bronze, silver or gold, and any record of the error lanes."


@dataclass(frozen=True)
class ResetPlan(Plan):
    """A reset of one query; `start` is the beginning of its new generation, `open_run` the batch in hand."""

    start: Start | None = None
    open_run: str = ""


def plan_reset(step: BronzeStep, brokers: Brokers, request: Reset) -> ResetPlan:
    """What a reset would do.

    1. What the table and its lane account for, by the ledger, and where the query would go on.
    2. Where each partition is to be read from.
    3. What is left out that the topic no longer has.
    4. Say what is read again, what of that is new, and what is left out.

    Raises NotAnOffset, LedgerCutShort, TopicRecreated without `accept_topic`, and WouldLose without `accept_loss`.
    """
    table, topic = step.spec.table, step.spec.source.topic
    before = _start(step)
    bounds = brokers.bounds(topic)
    # 1
    log, version = CommitLog(step.lake, table), _version(step)
    held = held_offsets(log, version, topic, before.epoch)
    following = _following(before, log, version, held)
    other = _other_topic(table, before, bounds, following)
    if other is not None:
        if not request.accept_topic:
            raise other
        held, following = {}, {}
    epoch = before.epoch if other is None else before.epoch + 1
    # 2
    wanted = _wanted(
        brokers,
        bounds,
        request.to,
        following,
        lambda number: _of_batch(log, version, topic, epoch, number, following),
    )
    # 3
    lost, offsets = {}, {}
    for partition in sorted(bounds.partitions):
        target, first = wanted.get(partition, _EARLIEST), bounds.first(partition)
        asked = [following.get(partition)] if target == _EARLIEST else [target, following.get(partition)]
        begins = min((one for one in asked if one is not None), default=first)
        gone = Spans.between(begins, first) - held.get(partition, NONE)
        if gone:
            lost[partition] = gone
        offsets[partition] = first if target == _EARLIEST else max(target, first)
    if lost and not request.accept_loss:
        raise WouldLose(table, [f"{topic}[{partition}] offsets {gone}" for partition, gone in lost.items()])
    # 4
    start = Start(
        generation=step.next_generation,
        kind="recover" if request.to == "ledger" else "reset",
        at=datetime.now(UTC).replace(microsecond=0),
        topic=topic,
        topic_id=bounds.id,
        epoch=epoch,
        offsets=offsets,
        held=pieces(held),
        lost=pieces(lost),
    )
    run_id = step.open_run(before.generation)
    unfinished = lanes.of_run(step.lake, table, run_id)
    return ResetPlan(
        lines=_lines(before, start, table, bounds, following, held, lost, unfinished, is_other=other is not None),
        before={"table": table, "generation": before.generation, "offsets": following, "epoch": before.epoch},
        after={"table": table, "generation": start.generation, "offsets": offsets, "epoch": epoch},
        start=start,
        open_run=run_id,
    )


def plan_recovery_of_pull(step: BronzeStep) -> ResetPlan:
    """A new generation of a table that is pulled: it goes on from the newest row that bronze holds."""
    table, before = step.spec.table, _start(step)
    run_id = step.open_run(before.generation)
    start = Start(
        generation=step.next_generation,
        kind="recover",
        at=datetime.now(UTC).replace(microsecond=0),
        topic=before.topic,
        epoch=before.epoch,
    )
    lines = [
        f"{table}: generation {before.generation} -> {start.generation}; what is left of {before.generation} is kept.",
        "  It is pulled from the newest row on that bronze holds, and once more what lies in its lookback.",
        *([_MOVED_ASIDE] if lanes.of_run(step.lake, table, run_id) else []),
        _NOT_CHANGED,
    ]
    return ResetPlan(
        lines=lines,
        before={"table": table, "generation": before.generation},
        after={"table": table, "generation": start.generation},
        start=start,
        open_run=run_id,
    )


def carry_out_reset(step: BronzeStep, plan: ResetPlan, act: str) -> dict[str, Any]:
    """Make the new generation, by one small file; the query that is started next is of it.

    The lane of the batch in hand, which bronze does not hold, goes first: under the new generation its records are
    judged again, as those of another batch.
    """
    assert plan.start is not None  # noqa: S101 - a plan of a reset always has one
    lanes.set_aside(step.lake, step.spec.table, plan.open_run, act)
    generations.keep(step.lake, step.spec.table, plan.start)
    return plan.after


def _start(step: BronzeStep) -> Start:
    """Where the newest generation began; where that can not be read any more, what the ledger still tells of it."""
    newest = newest_batch(CommitLog(step.lake, step.spec.table), _version(step))
    with contextlib.suppress(UnreadableOffsets):
        if newest is None or newest.generation <= step.generation:
            return step.start
    return Start(
        generation=max(step.generation, newest.generation if newest else 0),
        kind="reset",
        at=datetime.now(UTC),
        topic=step.spec.source.topic,
        epoch=newest.epoch if newest else 0,
    )


def _other_topic(table: str, before: Start, bounds: TopicBounds, following: dict[int, int]) -> TopicRecreated | None:
    """What tells that the topic is another one than was read, under the same name; None where nothing does."""
    if before.topic_id is not None and before.topic_id != bounds.id:
        return TopicRecreated(table, bounds.topic, before.topic_id, bounds.id)
    for partition, offset in following.items():
        if partition in bounds.partitions and offset > bounds.end(partition):
            return TopicRecreated(table, bounds.topic, before.topic_id or "?", bounds.id, (partition, offset, bounds))
    return None


def _following(start: Start, log: CommitLog, version: int, held: dict[int, Spans]) -> dict[int, int]:
    """Partition -> where the query goes on: before that all is held, or was left out because somebody said so.

    That is behind the last batch of the generation, where it has come to one. What was held when it began and is not
    held now, as in an older copy of the table, lies before. Where nobody knows where the generation began, nothing
    counts as left out.
    """
    read: dict[int, int] = {}
    for commit in effective(log, version):
        entry = commit.entry
        if is_batch(entry) and entry.generation == start.generation:
            for partition, (_, end) in entry.offsets.get(start.topic, {}).items():
                read[partition] = max(end, read.get(partition, 0))
    found = {}
    for partition in {*held, *read, *(start.offsets or {})}:
        known = held.get(partition, NONE)
        reached = read.get(partition, (start.offsets or {}).get(partition))
        if reached is None and known:
            reached = known.pieces[0][1]
        lacking = start.held_of(partition) - known
        places = [*([] if reached is None else [reached]), *(first for first, _ in lacking.pieces[:1])]
        if places:
            found[partition] = min(places)
    return found


def _version(step: BronzeStep) -> int:
    """The version of the table; -1, before the first, where it is not there yet."""
    return step.table.version() if step.table.exists else -1


def _wanted(
    brokers: Brokers,
    bounds: TopicBounds,
    to: str,
    following: dict[int, int],
    of_batch: Callable[[int], dict[int, int]],
) -> dict[int, int]:
    """Partition -> the offset that is asked for; -2 is the first that there is, as are partitions that are left out."""
    if to == "earliest":
        return {}
    if to == "latest":
        return {partition: bounds.end(partition) for partition in bounds.partitions}
    if to == "ledger":
        return dict(following)
    if batch := _BATCH.match(to):
        return of_batch(int(batch[1]))
    if to.lstrip().startswith("{"):
        return _of_json(to, bounds)
    at = parse_since(to, option="--to")
    if at > datetime.now(UTC):
        raise WrongUsage(f"--to {to}: it is in the future. Name a time that has been.")
    return brokers.offsets_at(bounds, at)


def _of_batch(
    log: CommitLog, version: int, topic: str, epoch: int, batch_id: int, following: dict[int, int]
) -> dict[int, int]:
    """Where a batch of the ledger began, of the newest generation that has it; where it did not read, on from here."""
    known = []
    for commit in effective(log, version):
        entry = commit.entry
        if not is_batch(entry) or entry.batch_id is None or entry.epoch != epoch:
            continue
        if entry.batch_id == batch_id:
            began = {partition: start for partition, (start, _) in entry.offsets.get(topic, {}).items()}
            return {**following, **began}
        known.append(entry.batch_id)
    reach = f"It has {min(known)} to {max(known)}." if known else "It has none."
    raise NotAnOffset("batch", f"The ledger of {log.table} has no batch {batch_id} of this topic. {reach}")


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
    before: Start,
    start: Start,
    table: str,
    bounds: TopicBounds,
    following: dict[int, int],
    held: dict[int, Spans],
    lost: dict[int, Spans],
    unfinished: Sequence[str],
    *,
    is_other: bool,
) -> list[str]:
    was, now = before.generation, start.generation
    lines = [f"{table}: generation {was} -> {now}; the checkpoint of {was} is kept."]
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
        at = following.get(partition, bounds.first(partition))
        skipped = Spans.between(at, offset) - held.get(partition, NONE) - lost.get(partition, NONE)
        if skipped:
            parts.append(f"{counted(len(skipped), 'offset')} ({skipped}) {_is(skipped)} NOT read")
        if partition in lost:
            parts.append(f"{counted(len(lost[partition]), 'offset')} ({lost[partition]}) {_is(lost[partition])} LOST")
        instead = f" instead of {at:,}" if at != offset else ""
        lines.append(f"  {start.topic}[{partition}] goes on at {offset:,}{instead}: {'; '.join(parts)}.")
    if unfinished:
        lines.append(_MOVED_ASIDE)
    lines.append(_NOT_CHANGED)
    return lines


def _is(spans: Spans) -> str:
    return "is" if len(spans) == 1 else "are"
