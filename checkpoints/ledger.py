"""The ledger: what each commit of a table did, kept in the commit itself.

Every commit carries one entry as `userMetadata`; it becomes visible with its rows, in one atomic step, and costs no
commit of its own. https://docs.delta.io/latest/delta-batch.html#set-user-defined-commit-metadata
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Literal

from deltalake import DeltaTable
from pydantic import BaseModel, ConfigDict, ValidationError

_RUN_NAMESPACE = uuid.UUID("6f1d2d0e-6f0f-5b7c-9a55-5a1c5e0c7a11")


class ContractUse(BaseModel):
    """The contract under which a batch was judged."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    hash: str


class PartitionCounts(BaseModel):
    """What became of the records that a batch read from one partition: `read` is the sum of the others."""

    model_config = ConfigDict(frozen=True)

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    dropped: int = 0


class LedgerEntry(BaseModel):
    """One step of one table.

    `clock` is the time of the batch, not of the commit; `rows` are what the step took up, by kind: the rows that it
    wrote, or in silver the changes, of which those that are not the newest of their key leave no row. Bronze steps
    fill `batch_id` and everything from `offsets` on; the others fill `upstreams`, the versions that the step consumed:
    after `from`, up to and with `to`. `offsets` are topic -> partition -> (start, end), the end not included;
    `partitions` has the counts for the same. A `redrive` appends rows of records that an earlier batch rejected;
    a `gate` is a verdict of the gate before gold, and a `discard` takes back what it does not let through. A `fence`
    keeps holders of the lease before this one out. A `rewind` makes the table what it was at the version `restored`;
    a `replay` takes up again the versions `replayed`, which were consumed before. `passed_over` are offsets among
    `offsets` that the table or its lane held before, since an older generation had read them; the counts are without
    them. `epoch` is that of the generation; see checkpoints/generations.py.
    """

    model_config = ConfigDict(frozen=True)

    table: str
    step: Literal[
        "append",
        "merge",
        "history",
        "refresh",
        "position",
        "redrive",
        "columns",
        "gate",
        "discard",
        "fence",
        "rewind",
        "replay",
    ]
    run_id: str
    clock: datetime
    generation: int
    engine: Literal["driver", "spark", "none"]
    source: Literal["kafka", "lane", "memory", "feed", "full"]
    batch_id: int | None = None
    upstreams: dict[str, tuple[int | None, int]] = {}
    replayed: dict[str, tuple[int, int]] = {}
    rows: dict[str, int] = {}
    offsets: dict[str, dict[int, tuple[int, int]]] = {}
    read: int = 0
    accepted: int = 0
    rejected: int = 0
    dropped: dict[str, int] = {}
    partitions: dict[str, dict[int, PartitionCounts]] = {}
    contract: ContractUse | None = None
    epoch: int = 0
    passed_over: dict[str, dict[int, tuple[tuple[int, int], ...]]] = {}
    restored: int | None = None

    @property
    def run_date(self) -> date:
        """The day of the batch's clock, in UTC."""
        return self.clock.date()

    def to_metadata(self) -> str:
        """The entry as one line of JSON."""
        return self.model_dump_json(exclude_defaults=True)


def run_id(*parts: object) -> str:
    """The uuid of a run, worked out from what names it: a re-run of the same step has the same one."""
    return str(uuid.uuid5(_RUN_NAMESPACE, "/".join(str(part) for part in parts)))


def entries(table: DeltaTable, limit: int | None = None) -> Iterator[tuple[int, LedgerEntry]]:
    """(version, entry) of a table's commits, newest first; commits that are not Sluice's are passed over."""
    for commit in table.history(limit):
        text = commit.get("userMetadata")
        if not text:
            continue
        try:
            yield int(commit["version"]), LedgerEntry.model_validate_json(text)
        except ValidationError:
            continue


def clock_at(table: DeltaTable, version: int) -> datetime:
    """The clock of the step that made a version; the commit's own time where another program made it."""
    for commit in table.history(int(table.version()) - version + 1):
        if commit.get("version") == version:
            text = commit.get("userMetadata")
            if text:
                try:
                    return LedgerEntry.model_validate_json(text).clock
                except ValidationError:
                    break
            return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)
    return datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC)


def rows_between(table: DeltaTable, first: int, last: int) -> int | None:
    """How many rows the commits from version `first` to `last` wrote.

    None where one of them is not in the ledger, or is a rewind: what that brings and takes is not counted.
    """
    found = dict(entries(table, int(table.version()) - first + 1))
    versions = range(first, last + 1)
    if any(version not in found or found[version].step == "rewind" for version in versions):
        return None
    return sum(sum(found[version].rows.values()) for version in versions)
