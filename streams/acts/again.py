"""What a bronze table that goes back reads again: from where, what of it is gone, and what comes only if asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from checkpoints.commits import CommitLog, LogCommit
from checkpoints.effective import effective, held_offsets, is_batch, only_in
from checkpoints.errors import UnreadableOffsets
from checkpoints.generations import Start, pieces
from checkpoints.planned_batches import PlannedBatches
from checkpoints.spans import NONE, Spans
from streams.acts.cut import Cut
from streams.acts.errors import WouldLose
from streams.bronze import BronzeStep
from streams.sources import Brokers


def start_again(step: BronzeStep, cut: Cut, brokers: Brokers, *, accept_loss: bool) -> Start:
    """The generation that reads on from where the ledger ended at a cut; raises WouldLose."""
    topic, before = step.spec.source.topic, step.start
    at, generation = datetime.now(UTC).replace(microsecond=0), step.next_generation
    if step.spec.source.jdbc is not None:
        watermark = _watermark(step, cut.to)
        return Start(generation=generation, kind="rewind", at=at, topic=topic, epoch=before.epoch, watermark=watermark)
    log = CommitLog(step.lake, step.spec.table)
    then = held_offsets(log, cut.to, topic, before.epoch)
    now = held_offsets(log, cut.now, topic, before.epoch)
    bounds = brokers.bounds(topic)
    offsets, lost = {}, {}
    for partition in sorted(bounds.partitions):
        ends = [end for _, end in then.get(partition, NONE).pieces[-1:]]
        undone = now.get(partition, NONE) - then.get(partition, NONE)
        gone = undone & Spans.between(0, bounds.first(partition))
        if gone:
            lost[partition] = gone
        least = min([*ends, *(start for start, _ in undone.pieces[:1])], default=bounds.first(partition))
        offsets[partition] = max(least, bounds.first(partition))
    ranges = [f"{topic}[{partition}] offsets {gone}" for partition, gone in lost.items()]
    ranges += _of_other_topics(log, cut, topic, before.epoch)
    if ranges and not accept_loss:
        raise WouldLose(step.spec.table, ranges)
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


def _of_other_topics(log: CommitLog, cut: Cut, topic: str, epoch: int) -> list[str]:
    """The offsets that are undone of topics which had the name before: nothing has them any more."""
    undone = [
        one.entry for one in only_in(log, cut.now, cut.to) if one.entry is not None and topic in one.entry.offsets
    ]
    found = []
    for other in sorted({entry.epoch for entry in undone} - {epoch}):
        then, now = (held_offsets(log, version, topic, other) for version in (cut.to, cut.now))
        gone = {partition: spans - then.get(partition, NONE) for partition, spans in sorted(now.items())}
        found += [
            f"{topic}[{one}] offsets {spans} from before it was made anew" for one, spans in gone.items() if spans
        ]
    return found


def _watermark(step: BronzeStep, version: int) -> datetime | None:
    """How far a pulled table had read its source; None where it had not, or where that is not known any more."""
    for commit in effective(CommitLog(step.lake, step.spec.table), version):
        entry = commit.entry
        if not is_batch(entry) or entry.batch_id is None:
            continue
        checkpoint = step.lake.checkpoint(step.spec.table, entry.generation)
        try:
            return datetime.fromisoformat(PlannedBatches(step.lake, checkpoint).reads(entry.batch_id)["until"])
        except UnreadableOffsets:
            return None  # all is read again, and what bronze holds is left out
    return None


def told(step: BronzeStep, start: Start) -> str:
    """From where a generation reads, for a person."""
    if (pull := step.spec.source.jdbc) is not None:
        since = "its beginning" if start.watermark is None else f"{start.watermark:%Y-%m-%d %H:%M:%S.%f}"
        return f"generation {start.generation} pulls {pull.relation} again from {since}"
    places = [
        f"{start.topic}[{partition}] from {offset:,}" for partition, offset in sorted((start.offsets or {}).items())
    ]
    return f"generation {start.generation} reads {', '.join(places)}"


def of_backfills(undone: Sequence[LogCommit], start: Start) -> list[str]:
    """What is undone and not read again by itself: what backfills have brought from elsewhere."""
    numbers = {
        -one.entry.generation
        for one in undone
        if one.entry is not None and one.entry.generation < 0 and start.topic not in one.entry.offsets
    }
    return [
        f"    Backfill {number} is undone with them, and NOT read again: the same command with --again brings it."
        for number in sorted(numbers)
    ]
