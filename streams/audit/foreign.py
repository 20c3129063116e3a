"""A commit that no step of Sluice made: which rows it took away and which it brought, from the files themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from checkpoints.audit_state import Difference
from checkpoints.commits import LogCommit
from sinks.holdings import NO_ROWS, Held, Holdings, Partition, Rows
from streams.audit.words import counted, offsets, place

_MOST_LISTED = 5


@dataclass(frozen=True)
class ForeignCommit:
    """What a foreign commit did, by run and partition.

    `before` are the rows of the files that it took away, `after` those of the files that it added. It is `complete`
    unless some of these are missing or damaged; what it did to their rows is then not known.
    """

    commit: LogCommit
    before: Mapping[str, Held]
    after: Mapping[str, Held]
    complete: bool

    @classmethod
    def of(cls, commit: LogCommit, holdings: Holdings) -> ForeignCommit:
        """Read the files that it took away and added, as far as they are on disk."""
        before = holdings.scan(commit.removed, commit.version - 1) if commit.removed else None
        after = holdings.scan(commit.added, commit.version)
        complete = not after.missing and not (before and before.missing)
        return cls(commit, before.runs if before else {}, after.runs, complete)

    def touched(self) -> set[str]:
        """The runs of which it took or brought rows."""
        return {
            run_id
            for run_id, _, _ in (*self._changed(self.before, self.after), *self._changed(self.after, self.before))
        }

    def difference(self, table: str, name_of_run: Callable[[str], str]) -> Difference:
        """The sentence about it."""
        commit = self.commit
        done = [
            f"{verb} {what}"
            for verb, one, other in (("took away", self.before, self.after), ("brought", self.after, self.before))
            if (what := self._rows(one, other, name_of_run))
        ]
        if not self.complete:
            done.append("some of the files that it took away or added are missing or damaged")
        if not done:
            done.append("rewrote rows; by their offsets none is gone and none is new")
        made = f"{commit.operation}, {commit.at:%Y-%m-%d %H:%M:%S} UTC"
        return Difference(
            kind="commit",
            subject=commit.operation,
            text=f"{table} version {commit.version} ({made}) is no step of Sluice: it {', and '.join(done)}",
            version=commit.version,
        )

    def _rows(self, one: Mapping[str, Held], other: Mapping[str, Held], name_of_run: Callable[[str], str]) -> str:
        found = self._changed(one, other)
        if not found:
            return ""
        listed = []
        for run_id, partition, number in found[:_MOST_LISTED]:
            spans = _of(one, run_id, partition).offsets - _of(other, run_id, partition).offsets
            which = f" {offsets(spans)}" if spans else f" {counted(number, 'row', 'rows')}"
            listed.append(f"{name_of_run(run_id)} {place(partition)}{which}")
        if len(found) > _MOST_LISTED:
            listed.append(f"and {len(found) - _MOST_LISTED} more batches and partitions")
        rows = sum(number for _, _, number in found)
        return f"{counted(rows, 'row', 'rows')}: {'; '.join(listed)}"

    @staticmethod
    def _changed(one: Mapping[str, Held], other: Mapping[str, Held]) -> list[tuple[str, Partition, int]]:
        """(run, partition, how many rows) of which there are offsets, or just more rows, that the other has not."""
        found = []
        for run_id, held in sorted(one.items()):
            for partition, rows in sorted(held.items()):
                there = _of(other, run_id, partition)
                number = max(len(rows.offsets - there.offsets), rows.count - there.count)
                if number > 0:
                    found.append((run_id, partition, number))
        return found


def _of(runs: Mapping[str, Held], run_id: str, partition: Partition) -> Rows:
    return runs.get(run_id, {}).get(partition, NO_ROWS)
