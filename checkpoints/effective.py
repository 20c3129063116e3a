"""The commits of a table that still count: a RESTORE takes back those between the version it went to and itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeGuard

from checkpoints.commits import CommitLog, LogCommit
from checkpoints.errors import LedgerCutShort
from checkpoints.ledger import LedgerEntry
from checkpoints.spans import NONE, Spans

ACCOUNTS = ("append", "backfill")
"""The steps of a bronze table that account for ranges of a topic's offsets."""


def effective(log: CommitLog, version: int) -> Iterator[LogCommit]:
    """The commits that made the table what it is at `version`, newest first, as far as the log reaches back.

    A RESTORE, as of a rewind, is passed over with all that it took back: what it went back to was made by those before.
    """
    at = version
    while at >= 0:
        commit = log.read(at)
        if commit is None:
            return
        if commit.restored is not None:
            at = commit.restored
            continue
        yield commit
        at -= 1


def only_in(log: CommitLog, version: int, other: int) -> Iterator[LogCommit]:
    """The commits that made a table what it is at `version`, and not what it is at version `other`, newest first."""
    theirs = effective(log, other)
    there = next(theirs, None)
    for commit in effective(log, version):
        while there is not None and there.version > commit.version:
            there = next(theirs, None)
        if there is not None and there.version == commit.version:
            return  # what made both from here on is the same
        yield commit


def counts_at(log: CommitLog, version: int, other: int) -> bool:
    """Whether what a table was at version `other` is still part of what it is at `version`.

    It is not where it came later, or where a RESTORE has taken it back. What the log no longer has was not.
    """
    at = version
    while at > other:
        commit = log.read(at)
        at = at - 1 if commit is None or commit.restored is None else commit.restored
    return at == other


def taken_back(log: CommitLog, first: int, last: int, *, by_rewinds: bool = False) -> set[int]:
    """The versions from `first` to `last` that a later RESTORE among them took back, and those RESTOREs.

    With `by_rewinds`, what people restored by hand does not count.
    """
    gone: set[int] = set()
    for at in range(last, first - 1, -1):
        if at in gone:
            continue
        commit = log.read(at)
        is_ours = commit is not None and commit.entry is not None and commit.entry.step == "rewind"
        if commit is not None and commit.restored is not None and (is_ours or not by_rewinds):
            gone.update(range(max(first, commit.restored + 1), at + 1))
    return gone


def newest_batch(log: CommitLog, version: int) -> LedgerEntry | None:
    """The last batch of the query that was written, whether or not it still counts; None where there was none.

    Generations only grow, so none had a greater number; those of backfills are below 0 and not asked for.
    """
    return next((one.entry for one in log.down_from(version) if is_batch(one.entry)), None)


def is_batch(entry: LedgerEntry | None) -> TypeGuard[LedgerEntry]:
    """Whether a step is a batch of the query, and not one of a backfill."""
    return entry is not None and entry.step == "append" and entry.generation >= 0


def held_offsets(log: CommitLog, version: int, topic: str, epoch: int) -> dict[int, Spans]:
    """Partition -> the offsets of a topic that bronze and its lane account for at `version`, by the ledger alone.

    Raises LedgerCutShort: of a part of the ledger it would say that nothing holds what the other part has.
    """
    if version >= 0 and not log.reaches_back():
        raise LedgerCutShort(log.table, log.first())
    held: dict[int, Spans] = {}
    for commit in effective(log, version):
        entry = commit.entry
        if entry is None or entry.step not in ACCOUNTS or entry.epoch != epoch:
            continue
        for partition, spans in read_by(entry).get(topic, {}).items():
            held[partition] = held.get(partition, NONE) | spans
    return held


def read_by(entry: LedgerEntry) -> Mapping[str, Mapping[int, Spans]]:
    """Topic -> partition -> the offsets that a batch accounts for: its ranges without what was held before."""
    return {
        topic: {
            partition: Spans.between(start, end) - Spans(tuple(entry.passed_over.get(topic, {}).get(partition, ())))
            for partition, (start, end) in partitions.items()
        }
        for topic, partitions in entry.offsets.items()
    }
