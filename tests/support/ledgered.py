"""A bronze table with its ledger and lane, written as the bronze step writes them, without Spark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from checkpoints import ledger
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry, PartitionCounts
from checkpoints.positions import app_id
from schemas import columns as c
from sinks.commit import Commit
from sinks.lanes import lane
from sinks.table import PROPERTIES, Table

TABLE = "bronze.t"
TOPIC = "shop"
CLOCK = datetime(2026, 1, 2, 12, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        (c.BATCH_ID, pa.string()),
        (c.TOPIC, pa.string()),
        (c.PARTITION, pa.int32()),
        (c.OFFSET, pa.int64()),
        ("name", pa.string()),
        (c.RUN_DATE, pa.date32()),
    ]
)

Fates = Mapping[int, str]
"""Partition -> what becomes of its records, one letter each: accepted, rejected, dropped, or - where there is none."""


def rows(run_id: str, offsets: Mapping[int, Sequence[int]], clock: datetime = CLOCK) -> pa.Table:
    found = [
        {
            c.BATCH_ID: run_id,
            c.TOPIC: TOPIC,
            c.PARTITION: partition,
            c.OFFSET: offset,
            "name": f"n{offset}",
            c.RUN_DATE: clock.date(),
        }
        for partition, there in offsets.items()
        for offset in there
    ]
    return pa.Table.from_pylist(found, schema=SCHEMA)


@dataclass
class Ledgered:
    """Writes one batch after the other; `at` is where each partition stands."""

    lake: Lake
    name: str = TABLE
    generation: int = 0
    next_batch: int = 0
    at: dict[int, int] = field(default_factory=dict)
    by_partition: bool = True
    partition_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        DeltaTable.create(
            self.lake.table(self.name), SCHEMA, configuration=PROPERTIES, partition_by=list(self.partition_by) or None
        )
        self.table = Table(self.name, self.lake)

    def entry(self, fates: Fates, clock: datetime | None = None) -> LedgerEntry:
        """The entry of the next batch over these records."""
        counts = {
            partition: PartitionCounts(
                read=len(text.replace("-", "")),
                accepted=text.count("a"),
                rejected=text.count("r"),
                dropped=text.count("d"),
            )
            for partition, text in fates.items()
        }
        ranges = {one: (self.at.get(one, 0), self.at.get(one, 0) + len(text)) for one, text in fates.items()}
        dropped = sum(one.dropped for one in counts.values())
        return LedgerEntry(
            table=self.name,
            step="append",
            run_id=ledger.run_id(self.name, self.generation, self.next_batch),
            clock=clock or CLOCK + timedelta(minutes=self.next_batch),
            generation=self.generation,
            engine="driver",
            source="kafka",
            batch_id=self.next_batch,
            rows={"inserted": sum(one.accepted for one in counts.values())},
            offsets={TOPIC: ranges},
            read=sum(one.read for one in counts.values()),
            accepted=sum(one.accepted for one in counts.values()),
            rejected=sum(one.rejected for one in counts.values()),
            dropped={"tombstone": dropped} if dropped else {},
            partitions={TOPIC: counts} if self.by_partition else {},
        )

    def batch(self, fates: Fates, clock: datetime | None = None) -> LedgerEntry:
        """Write the next batch: its lane, then its rows with the entry."""
        entry = self.entry(fates, clock)
        self.plan(self.next_batch)
        self.write_lane(entry, self._offsets(fates, "r"))
        self.append(entry, self._offsets(fates, "a"))
        self.next_batch += 1
        self.at |= {partition: self.at.get(partition, 0) + len(text) for partition, text in fates.items()}
        return entry

    def append(self, entry: LedgerEntry, offsets: Mapping[int, Sequence[int]]) -> None:
        """Commit these rows, or none, with the entry."""
        position = {app_id(self.name, "append", entry.generation): entry.batch_id} if entry.batch_id is not None else {}
        commit = Commit(position, entry)
        if any(offsets.values()):
            handle, carried = self.table.to_commit(commit, "driver")
            rows_ = rows(entry.run_id, offsets, entry.clock)
            write_deltalake(handle, rows_, mode="append", commit_properties=carried)
        else:
            self.table.commit_position(commit)

    def write_lane(self, entry: LedgerEntry, offsets: Mapping[int, Sequence[int]]) -> None:
        lines = [
            json.dumps({"topic": TOPIC, "partition": partition, "offset": offset, "value": "eA=="})
            for partition, there in offsets.items()
            for offset in there
        ]
        if lines:
            folder = self.lane_of(entry)
            folder.mkdir(parents=True, exist_ok=True)
            half = (len(lines) + 1) // 2
            (folder / "part-0.json").write_text("\n".join(lines[:half]) + "\n")
            if lines[half:]:
                (folder / "part-1.json").write_text("\n".join(lines[half:]) + "\n")
            (folder / "_SUCCESS").touch()

    def lane_of(self, entry: LedgerEntry) -> Path:
        return Path(lane.folder(self.lake, self.name, entry.run_date, entry.run_id))

    def plan(self, batch_id: int) -> None:
        """As far as the audit looks: the batch is in Spark's offset log."""
        folder = Path(self.lake.checkpoint(self.name, self.generation), "offsets")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(batch_id)).touch()

    def redrive(self, offsets: Mapping[int, Sequence[int]]) -> LedgerEntry:
        """Append rows of rejected records, as a redrive does."""
        number = sum(len(there) for there in offsets.values())
        entry = LedgerEntry(
            table=self.name,
            step="redrive",
            run_id=ledger.run_id(self.name, "redrive", str(sorted(offsets.items()))),
            clock=CLOCK + timedelta(hours=1),
            generation=self.generation,
            engine="driver",
            source="memory",
            rows={"inserted": number},
            accepted=number,
        )
        self.append(entry, offsets)
        return entry

    def delta(self) -> DeltaTable:
        """The table to do things to by hand."""
        return DeltaTable(self.lake.table(self.name))

    def _offsets(self, fates: Fates, fate: str) -> dict[int, list[int]]:
        return {
            partition: [self.at.get(partition, 0) + index for index, one in enumerate(text) if one == fate]
            for partition, text in fates.items()
        }
