"""The sentences of an audit: batches, ranges and offsets by their names."""

from __future__ import annotations

from checkpoints.ledger import LedgerEntry
from checkpoints.spans import Spans
from sinks.holdings import NOWHERE, Partition


def name_of(entry: LedgerEntry) -> str:
    """`batch 7 (run 1a2b3c4d)`; the generation where it is not the first one."""
    if entry.step == "redrive":
        return f"redrive (run {entry.run_id[:8]})"
    generation = f" of generation {entry.generation}" if entry.generation else ""
    return f"batch {entry.batch_id}{generation} (run {entry.run_id[:8]})"


def place(partition: Partition) -> str:
    """`shop.public.orders[0]`."""
    return "no partition" if partition == NOWHERE else f"{partition[0]}[{partition[1]}]"


def ranged(partition: Partition, start: int, end: int) -> str:
    """`shop.public.orders[0]@120-135`, from 120 up to 135, which is not included."""
    return f"{place(partition)}@{start}-{end}"


def offsets(spans: Spans) -> str:
    """`offset 121`, `offsets 121, 124-125`."""
    return f"offset{'' if len(spans) == 1 else 's'} {spans}"


def counted(number: int, one: str, many: str) -> str:
    """`1 accepted row is`, `3 accepted rows are`."""
    return f"{number} {one if number == 1 else many}"
