"""Offsets that more than one batch may hold: those that were re-driven, and those that two generations have read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from checkpoints.audit_state import Difference, Kind
from checkpoints.ledger import LedgerEntry
from checkpoints.spans import NONE, Spans
from sinks.holdings import Held, Partition
from streams.audit.ranges import spans_of
from streams.audit.words import counted, name_of, offsets, place


class Places:
    """Sees that each of these offsets is in one row, and that each re-driven one is in a lane.

    `redriven` are the redrives to check with their rows, `shared` the offsets that several generations have read.
    Every batch that may hold one of them is shown to `visit`, in any order, and to it once. `epoch` is the newest one.
    """

    def __init__(
        self,
        table: str,
        redriven: list[tuple[int, LedgerEntry, Held]],
        shared: Mapping[Partition, Spans],
        epoch: int = 0,
    ) -> None:
        self._table, self._epoch = table, epoch
        self._redriven = redriven
        self._in_lane: dict[Partition, Spans] = {}
        self._seen: dict[Partition, Spans] = {}
        self._holders: dict[Partition, list[tuple[Spans, str]]] = {}
        self.wanted: dict[Partition, Spans] = dict(shared)
        for _, _, held in redriven:
            for partition, rows in held.items():
                self.wanted[partition] = self.wanted.get(partition, NONE) | rows.offsets

    def concerns(self, entry: LedgerEntry) -> bool:
        """Whether a batch or a redrive may hold one of the offsets; a redrive does not say which it appended."""
        if entry.step == "redrive":
            return bool(self.wanted)
        return any(spans & self.wanted.get(partition, NONE) for partition, spans in spans_of(entry).items())

    def visit(
        self, version: int, entry: LedgerEntry, rows: Held, lane: Held, expired: int | None
    ) -> Iterator[Difference]:
        """A batch or a redrive with its rows and lane records; the offsets that one visited before holds as well."""
        name = name_of(entry)
        # The same offset of another epoch is another record.
        for partition, held in rows.items() if entry.epoch == self._epoch else ():
            mine = held.offsets & self.wanted.get(partition, NONE)
            if not mine:
                continue
            holders = self._holders.setdefault(partition, [])
            if again := mine & self._seen.get(partition, NONE):
                others = ", ".join(sorted(other for theirs, other in holders if again & theirs))
                what = counted(len(again), "offset is", "offsets are")
                text = f"{place(partition)}: {what} in the table as rows of {others} too: {offsets(again)}"
                yield self._difference("twice", version, entry, partition, again, f"{name}: {text}")
            self._seen[partition] = self._seen.get(partition, NONE) | mine
            holders.append((mine, name))
        known = {partition: records.offsets for partition, records in lane.items()}
        # Of a lane that has expired only the number is known.
        for partition, spans in (known if expired is None else spans_of(entry)).items():
            if entry.step == "append":
                found = spans & self.wanted.get(partition, NONE)
                self._in_lane[partition] = self._in_lane.get(partition, NONE) | found

    def finish(self) -> Iterator[Difference]:
        """After all visits: the re-driven rows that no lane has a record of."""
        for version, entry, held in self._redriven:
            for partition, rows in sorted(held.items()):
                stray = rows.offsets - self._in_lane.get(partition, NONE)
                if stray:
                    what = counted(len(stray), "re-driven row is", "re-driven rows are")
                    text = f"{name_of(entry)}: {place(partition)}: {what} of no record in the lane: {offsets(stray)}"
                    yield self._difference("lane", version, entry, partition, stray, text)

    def _difference(
        self, kind: Kind, version: int, entry: LedgerEntry, partition: Partition, spans: Spans, text: str
    ) -> Difference:
        return Difference(
            kind=kind,
            subject="elsewhere",
            text=f"{self._table} {text}",
            version=version,
            generation=entry.generation,
            batch_id=entry.batch_id,
            run_id=entry.run_id,
            topic=partition[0],
            partition=partition[1],
            offsets=str(spans),
        )
