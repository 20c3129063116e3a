"""Whether the batches of each generation follow each other: their ids, and the offsets of every partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from checkpoints.audit_state import Difference, GenerationEnds
from checkpoints.effective import read_by
from checkpoints.ledger import LedgerEntry
from checkpoints.spans import NONE, Spans
from sinks.holdings import Partition
from streams.audit.words import name_of, offsets, ranged


class Ranges:
    """Takes the entries of one table's appends in the order of its versions, on from where an earlier audit ended.

    A generation may begin anywhere; within one, batch ids are consecutive, and each partition goes on where it ended.
    A partition that a batch does not name has not moved.
    """

    def __init__(self, table: str, before: Mapping[int, GenerationEnds]) -> None:
        self._table = table
        self.generations = {number: ends.model_copy(deep=True) for number, ends in before.items()}

    def take(self, version: int, entry: LedgerEntry) -> Iterator[Difference]:
        """The next batch; what does not follow on from the one before."""
        batch_id = entry.batch_id if entry.batch_id is not None else -1
        held = self.generations.get(entry.generation)
        if held is None:
            held = self.generations[entry.generation] = GenerationEnds(batch_id=batch_id, epoch=entry.epoch)
        elif batch_id != held.batch_id + 1:
            yield self._jump(version, entry, held.batch_id)
        for topic, partitions in entry.offsets.items():
            for partition, (start, end) in partitions.items():
                ends = held.ends.setdefault(topic, {})
                known = ends.get(partition)
                if known is not None and start != known:
                    yield self._break(version, entry, (topic, partition), (start, end), known)
                ends[partition] = max(end, known or end)
                starts = held.starts.setdefault(topic, {})
                starts[partition] = min(start, starts.get(partition, start))
        held.batch_id = max(held.batch_id, batch_id)

    def _jump(self, version: int, entry: LedgerEntry, before: int) -> Difference:
        if entry.batch_id is not None and entry.batch_id > before:
            missing = Spans.between(before + 1, entry.batch_id)
            what = f"batch{'' if len(missing) == 1 else 'es'} {missing} before it {_is(missing)} not in the ledger"
        else:
            what = f"it is in the ledger again, in version {version}, after batch {before}"
        return Difference(
            kind="range",
            subject="batch",
            text=f"{self._table} {name_of(entry)}: {what}",
            version=version,
            generation=entry.generation,
            batch_id=entry.batch_id,
            run_id=entry.run_id,
        )

    def _break(
        self, version: int, entry: LedgerEntry, partition: Partition, span: tuple[int, int], known: int
    ) -> Difference:
        start, end = span
        if start > known:
            differ = Spans.between(known, start)
            what = f"{offsets(differ)} before it {_was(differ)} skipped: no batch read {_them(differ)}"
        else:
            differ = Spans.between(start, min(end, known))
            what = f"{offsets(differ)} {_was(differ)} read before: the batch before it ends at {known}"
        return Difference(
            kind="range",
            subject="offsets",
            text=f"{self._table} {name_of(entry)}: {ranged(partition, start, end)}: {what}",
            version=version,
            generation=entry.generation,
            batch_id=entry.batch_id,
            run_id=entry.run_id,
            topic=partition[0],
            partition=partition[1],
            start=start,
            end=end,
            offsets=str(differ),
        )


def spans_of(entry: LedgerEntry) -> dict[Partition, Spans]:
    """The offsets that a batch accounts for, by partition; some of its partitions may have none."""
    return {
        (topic, partition): spans
        for topic, partitions in read_by(entry).items()
        for partition, spans in partitions.items()
    }


def covered(ends: GenerationEnds) -> dict[Partition, Spans]:
    """Where a generation began and how far it has come, by partition."""
    return {
        (topic, partition): Spans.between(ends.starts[topic][partition], end)
        for topic, partitions in ends.ends.items()
        for partition, end in partitions.items()
    }


def shared(generations: Mapping[int, GenerationEnds]) -> dict[Partition, Spans]:
    """The offsets that more than one generation of the newest epoch has read, by partition."""
    seen: dict[Partition, Spans] = {}
    both: dict[Partition, Spans] = {}
    newest = max((ends.epoch for ends in generations.values()), default=0)
    for ends in (one for one in generations.values() if one.epoch == newest):
        for partition, spans in covered(ends).items():
            common = seen.get(partition, NONE) & spans
            if common:
                both[partition] = both.get(partition, NONE) | common
            seen[partition] = seen.get(partition, NONE) | spans
    return both


def _is(spans: Spans) -> str:
    return "is" if len(spans) == 1 else "are"


def _was(spans: Spans) -> str:
    return "was" if len(spans) == 1 else "were"


def _them(spans: Spans) -> str:
    return "it" if len(spans) == 1 else "them"
