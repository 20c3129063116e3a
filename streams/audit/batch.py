"""One batch: what the ledger says of it beside what the table and the lane hold of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from checkpoints.audit_state import Difference, Kind
from checkpoints.ledger import LedgerEntry, PartitionCounts
from checkpoints.spans import NONE, Spans
from sinks.holdings import NO_ROWS, NOWHERE, Held, Partition, Rows
from streams.audit.ranges import spans_of
from streams.audit.words import counted, name_of, offsets, place, ranged


def _nothing_known() -> Held | None:
    return None


@dataclass(frozen=True)
class Batch:
    """A batch of the ledger with what is held of it.

    `lane` are the records of its lane; `expired` how many there were, where they have been let go. `lost` are those of
    its files that are missing or damaged; `written` gives the rows that its own commit wrote, as long as all files are
    there: which of them the table no longer has can then be told exactly.
    """

    table: str
    version: int
    entry: LedgerEntry
    rows: Held
    lane: Held = field(default_factory=dict)
    expired: int | None = None
    unreadable: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    written: Callable[[], Held | None] = _nothing_known

    def differences(self) -> Iterator[Difference]:
        """Everything that is not as the ledger says, each with its exact range."""
        if self.entry.step == "redrive":
            yield from self._redriven()
            return
        yield from self._sums()
        for partition in sorted({*self._ranges, *self.rows, *self.lane}):
            yield from self._misplaced(partition)
        counts = self._counts
        if counts is not None:
            for partition in self._ranges:
                count = counts.get(partition, PartitionCounts())
                yield from self._shortfall([partition], count.accepted, count.rejected)
        else:
            yield from self._shortfall(list(self._ranges), self.entry.accepted, self.entry.rejected)
        if self.expired is not None and self.expired != self.entry.rejected:
            what = counted(self.expired, "record was", "records were")
            what += f" in the lane when it expired, where {self.entry.rejected} {_was(self.entry.rejected)} rejected"
            yield self._difference("lane", "expired", f"{what} ({self._all_ranges()})")
        if self.unreadable:
            yield self._difference("lane", "unreadable", f"lane: {'; '.join(self.unreadable)}")

    @cached_property
    def _ranges(self) -> dict[Partition, Spans]:
        return spans_of(self.entry)

    @cached_property
    def _counts(self) -> dict[Partition, PartitionCounts] | None:
        """The counts by partition; of a batch of one partition they are those of the batch."""
        entry = self.entry
        if entry.partitions:
            return {
                (topic, partition): counts
                for topic, partitions in entry.partitions.items()
                for partition, counts in partitions.items()
            }
        if len(self._ranges) == 1:
            [partition] = self._ranges
            dropped = sum(entry.dropped.values())
            return {
                partition: PartitionCounts(
                    read=entry.read, accepted=entry.accepted, rejected=entry.rejected, dropped=dropped
                )
            }
        return None

    def _sums(self) -> Iterator[Difference]:
        """read = accepted + rejected + dropped, in total and by partition, and no more than the range is wide."""
        entry = self.entry
        total = PartitionCounts(
            read=entry.read, accepted=entry.accepted, rejected=entry.rejected, dropped=sum(entry.dropped.values())
        )
        width = sum(len(spans) for spans in self._ranges.values())
        if problem := _sum_problem(total, width):
            yield self._difference("counts", "batch", f"{problem} ({self._all_ranges()})")
        if not entry.partitions or self._counts is None:
            return
        for partition, counts in self._counts.items():
            if problem := _sum_problem(counts, len(self._ranges.get(partition, NONE))):
                yield self._difference("counts", "partition", problem, partition)
        for name in ("read", "accepted", "rejected", "dropped"):
            by_partition = sum(getattr(counts, name) for counts in self._counts.values())
            if by_partition != getattr(total, name):
                what = f"the ledger has {getattr(total, name)} {name}, but {by_partition} by partition"
                yield self._difference("counts", name, f"{what} ({self._all_ranges()})")

    def _misplaced(self, partition: Partition) -> Iterator[Difference]:
        """Rows and lane records that can not be this batch's, or are there more than once."""
        rows, lane = self.rows.get(partition, NO_ROWS), self.lane.get(partition, NO_ROWS)
        if partition == NOWHERE:
            if rows.count:
                what = counted(rows.count, "row has", "rows have")
                yield self._difference("rows", "nowhere", f"{what} no topic, partition or offset")
            return
        expected = self._ranges.get(partition, NONE)
        for kind, held, noun in _both(rows, lane):
            outside = held.offsets - expected
            if outside:
                what = counted(len(outside), f"{noun} lies", f"{noun}s lie")
                yield self._difference(kind, "outside", f"{what} outside of its range", partition, outside)
            if held.twice:
                where = "table" if kind == "rows" else "lane"
                what = f"{counted(len(held.twice), 'offset is', 'offsets are')} in the {where} more than once"
                yield self._difference("twice", kind, what, partition, held.twice)
        common = rows.offsets & lane.offsets
        if common:
            what = counted(len(common), "offset is", "offsets are")
            yield self._difference("twice", "both", f"{what} in the table and in the lane", partition, common)

    def _shortfall(self, partitions: Sequence[Partition], accepted: int, rejected: int) -> Iterator[Difference]:
        """Too few or too many accepted rows and rejected records, of partitions that are counted together."""
        ranges = {partition: self._ranges[partition] for partition in partitions}
        lane = {partition: self.lane.get(partition, NO_ROWS).offsets & ranges[partition] for partition in partitions}
        # What is in both counts as rejected: the row is the one too many.
        rows = {
            partition: (self.rows.get(partition, NO_ROWS).offsets & ranges[partition]) - lane[partition]
            for partition in partitions
        }
        # Of what neither holds, the rest was dropped or held no record, or lay in a lane that has expired.
        gaps = {partition: ranges[partition] - rows[partition] - lane[partition] for partition in partitions}
        few_rows = accepted - _count(rows)
        few_records = rejected - _count(lane) if self.expired is None else 0

        lost: dict[Partition, Spans] | None = {}
        if few_rows > 0:
            lost = _exactly(few_rows, gaps) or _exactly(few_rows, self._written_of(gaps))
            cause = f"; {', '.join(self.lost)} is missing or damaged" if self.lost else ""
            yield from self._missing("rows", few_rows, "accepted row", "in the table", lost, gaps, cause)
        elif few_rows < 0:
            yield from self._surplus("rows", _count(rows), "row", "in the table", accepted, "accepted", partitions)
        if few_records > 0:
            rest = {partition: gap - (lost or {}).get(partition, NONE) for partition, gap in gaps.items()}
            exact = _exactly(few_records, rest) if lost is not None else None
            yield from self._missing("lane", few_records, "rejected record", "in the lane", exact, rest)
        elif few_records < 0:
            yield from self._surplus("lane", _count(lane), "record", "in the lane", rejected, "rejected", partitions)

    def _written_of(self, gaps: dict[Partition, Spans]) -> dict[Partition, Spans]:
        """What the batch's own commit wrote of the offsets that are missing; nothing where its files are gone."""
        written = self.written() or {}
        return {partition: gap & written.get(partition, NO_ROWS).offsets for partition, gap in gaps.items()}

    def _missing(
        self,
        kind: Kind,
        number: int,
        noun: str,
        where: str,
        exact: dict[Partition, Spans] | None,
        candidates: dict[Partition, Spans],
        cause: str = "",
    ) -> Iterator[Difference]:
        if exact is not None:
            for partition, spans in exact.items():
                if spans:
                    what = f"{counted(len(spans), f'{noun} is', f'{noun}s are')} not {where}"
                    yield self._difference(kind, "missing", what, partition, spans, cause=cause)
            return
        what = f"{counted(number, f'{noun} is', f'{noun}s are')} not {where}"
        found = {partition: spans for partition, spans in candidates.items() if spans}
        if len(found) == 1:
            [(partition, spans)] = found.items()
            yield self._difference(kind, "missing", what, partition, spans, joined=", out of ", cause=cause)
        else:
            listed = "; ".join(f"{self._ranged(partition)} {offsets(spans)}" for partition, spans in found.items())
            yield self._difference(kind, "missing", f"{what}, out of {listed or self._all_ranges()}{cause}")

    def _surplus(
        self, kind: Kind, held: int, noun: str, where: str, wanted: int, done: str, partitions: Sequence[Partition]
    ) -> Iterator[Difference]:
        what = f"{counted(held, f'{noun} is', f'{noun}s are')} {where}, where {wanted} {_was(wanted)} {done}"
        if len(partitions) == 1:
            yield self._difference(kind, "surplus", what, partitions[0])
        else:
            yield self._difference(kind, "surplus", f"{what} ({self._all_ranges()})")

    def _redriven(self) -> Iterator[Difference]:
        held = sum(rows.count for rows in self.rows.values())
        for partition, rows in sorted(self.rows.items()):
            if rows.twice:
                what = f"{counted(len(rows.twice), 'offset is', 'offsets are')} in the table more than once"
                yield self._difference("twice", "rows", what, partition, rows.twice)
        if held == self.entry.accepted:
            return
        what = f"{counted(held, 're-driven row is', 're-driven rows are')} in the table"
        what += f", where {self.entry.accepted} {_was(self.entry.accepted)} accepted"
        cause = f"; {', '.join(self.lost)} is missing or damaged" if self.lost else ""
        written = self.written() if held < self.entry.accepted else None
        lost = {
            partition: rows.offsets - self.rows.get(partition, NO_ROWS).offsets
            for partition, rows in (written or {}).items()
        }
        if any(lost.values()):
            for partition, spans in lost.items():
                if not spans:
                    continue
                yield self._difference("rows", "missing", what, partition, spans, cause=cause)
        else:
            yield self._difference("rows", "missing" if held < self.entry.accepted else "surplus", f"{what}{cause}")

    def _difference(
        self,
        kind: Kind,
        subject: str,
        what: str,
        partition: Partition | None = None,
        spans: Spans = NONE,
        joined: str = ": ",
        cause: str = "",
    ) -> Difference:
        entry = self.entry
        where = f"{self._ranged(partition)}: " if partition is not None else ""
        said = f"{where}{what}{f'{joined}{offsets(spans)}' if spans else ''}{cause}"
        topic, number = partition if partition is not None else (None, None)
        start, end = entry.offsets.get(topic or "", {}).get(number if number is not None else -1, (None, None))
        return Difference(
            kind=kind,
            subject=subject,
            text=f"{self.table} {name_of(entry)}: {said}",
            version=self.version,
            generation=entry.generation,
            batch_id=entry.batch_id,
            run_id=entry.run_id,
            topic=topic,
            partition=number,
            start=start,
            end=end,
            offsets=str(spans) or None,
        )

    def _ranged(self, partition: Partition) -> str:
        spans = self._ranges.get(partition)
        return ranged(partition, *spans.pieces[0]) if spans else place(partition)

    def _all_ranges(self) -> str:
        return ", ".join(self._ranged(partition) for partition in self._ranges) or "no range"


def _both(rows: Rows, lane: Rows) -> tuple[tuple[Kind, Rows, str], tuple[Kind, Rows, str]]:
    return ("rows", rows, "row"), ("lane", lane, "lane record")


def _sum_problem(counts: PartitionCounts, width: int) -> str | None:
    parts = counts.accepted + counts.rejected + counts.dropped
    if counts.read != parts:
        return (
            f"{counts.read} read is not {counts.accepted} accepted + {counts.rejected} rejected "
            f"+ {counts.dropped} dropped = {parts}"
        )
    return f"{counts.read} read is more than the {width} offsets of its range" if counts.read > width else None


def _exactly(number: int, spans: dict[Partition, Spans]) -> dict[Partition, Spans] | None:
    """The offsets where they are just so many; None where it can not be told which of them are meant."""
    return spans if _count(spans) == number else None


def _count(spans: dict[Partition, Spans]) -> int:
    return sum(len(one) for one in spans.values())


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
