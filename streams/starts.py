"""Whether a query can go on from where it is: its checkpoint beside its table, and what the topic still has of it."""

from __future__ import annotations

from checkpoints import offsets
from checkpoints.commits import CommitLog
from checkpoints.effective import effective, is_batch
from checkpoints.errors import (
    CheckpointBehind,
    CheckpointDamaged,
    CheckpointLost,
    OffsetsGone,
    TableBehind,
    TableRolledBack,
    TopicRecreated,
)
from checkpoints.spans import Spans
from sinks.table import Table
from streams.bronze import BronzeStep, ranges
from streams.sources import TopicBounds


def check_query(step: BronzeStep) -> None:
    """See that checkpoint, ledger, position and table of a query fit together; harmless to repeat.

    1. The checkpoint is there: none of a newer generation has written, and it has batches where the table has. It is
       whole: no file is missing, no batch between two others.
    2. The table holds the last batch that was committed, or the one in hand, and no other.
    3. That batch covers the offsets that the ledger has for it.
    4. Nobody has rolled the table back since.

    Raises CheckpointLost, CheckpointDamaged, UnreadableOffsets, CheckpointBehind, TableBehind, TableRolledBack.
    """
    name, held = step.spec.table, step.table.position(step.app)
    log, version = CommitLog(step.lake, name), step.table.version()
    # 1
    _require_newest(step, log, version, held)
    planned = offsets.planned_batches(step.lake, step.checkpoint)
    committed = offsets.committed_batches(step.lake, step.checkpoint)
    if held is not None and not planned:
        raise CheckpointLost(name, held, step.checkpoint)
    if held is not None and planned[-1] < held:
        raise CheckpointBehind(name, held, step.checkpoint, f"ends with batch {planned[-1]}")
    if problem := offsets.damage(step.lake, step.checkpoint, planned, committed):
        raise CheckpointDamaged(name, *problem)
    if planned:
        offsets.read_batch(step.lake, step.checkpoint, planned[-1])
    # 2
    if committed and (held is None or committed[-1] > held):
        raise TableBehind(name, held, step.checkpoint, committed[-1])
    # 3, 4
    check_table(step.table, log)
    for commit in effective(log, version):
        entry = commit.entry
        if held is None or (entry is not None and entry.step == "append" and entry.generation == step.generation):
            break
    else:
        return
    if held is None or entry is None or entry.batch_id != held or held not in planned:
        return
    there = offsets.read_batch(step.lake, step.checkpoint, held)
    if there.ranges != entry.offsets:
        plan = f"has other offsets for batch {held} than the ledger, which has {ranges(entry)}"
        raise CheckpointBehind(name, held, step.checkpoint, plan)


def _require_newest(step: BronzeStep, log: CommitLog, version: int, held: int | None) -> None:
    """See that no generation after this one has begun, whose folder is lost; raises CheckpointLost.

    What it has read, this one would read again, and not know it.
    """
    for commit in log.down_from(version):
        entry = commit.entry
        if is_batch(entry):
            if entry.generation > step.generation:
                lost = step.lake.checkpoint(step.spec.table, entry.generation)
                raise CheckpointLost(step.spec.table, entry.batch_id or 0, lost)
            return
        if entry is not None and entry.step == "rewind" and held is not None:
            raise CheckpointLost(step.spec.table, held, step.lake.checkpoint(step.spec.table, step.generation + 1))


def check_table(table: Table, log: CommitLog) -> None:
    """See that what Sluice wrote last still stands; raises TableRolledBack.

    A RESTORE by hand may take back what was done by hand, if it names the version: of one that names a time nothing can
    be told. A fence is no write: nothing is read after it.
    """
    version, by_hand = table.version(), None
    for written in log.down_from(version):
        if written.entry is not None and written.entry.step != "fence":
            break
        if written.operation == "RESTORE":
            by_hand = by_hand or written
    else:
        return
    if by_hand is None:
        return
    if by_hand.restored is None or all(commit.version != written.version for commit in effective(log, version)):
        raise TableRolledBack(table.name, by_hand.version, by_hand.at)


def check_topic(step: BronzeStep, bounds: TopicBounds) -> None:
    """See that the topic is the one that the generation began with, and still has what comes next.

    Raises TopicRecreated, OffsetsGone.
    """
    start, topic = step.start, step.spec.source.topic
    if start.topic_id is not None and start.topic_id != bounds.id:
        raise TopicRecreated(step.spec.table, topic, start.topic_id, bounds.id)
    gone = {}
    for partition, offset in next_offsets(step).items():
        if partition not in bounds.partitions:
            gone[partition] = f"{topic}[{partition}] is not there any more"
        elif offset > bounds.end(partition):
            raise TopicRecreated(step.spec.table, topic, start.topic_id or "?", bounds.id, (partition, offset, bounds))
        elif offset < bounds.first(partition):
            lost = Spans.between(offset, bounds.first(partition))
            gone[partition] = f"{topic}[{partition}] offsets {lost}"
    if gone:
        raise OffsetsGone(step.spec.table, list(gone.values()))


def next_offsets(step: BronzeStep) -> dict[int, int]:
    """Partition -> where the next batch begins that bronze does not hold; empty where nothing was planned yet."""
    held, topic = step.table.position(step.app), step.spec.source.topic
    if held is not None:
        return offsets.read_batch(step.lake, step.checkpoint, held).end.get(topic, {})
    if offsets.planned_batches(step.lake, step.checkpoint):
        return offsets.read_batch(step.lake, step.checkpoint, 0).start.get(topic, {})
    return dict(step.start.offsets or {})
