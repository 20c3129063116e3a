"""Which commits of a table lost or brought rows that no step of Sluice wrote, from the log alone.

Bronze is append-only: its files are those that Sluice's steps added, or what OPTIMIZE made of them. A commit by hand
that is taken back, as a DELETE by RESTORE, leaves the same files behind, and is no difference.
"""

from __future__ import annotations

from collections.abc import Iterable

from checkpoints.commits import DataFile, LogCommit
from checkpoints.ledger import LedgerEntry


def step_of(commit: LogCommit, table: str) -> LedgerEntry | None:
    """The entry of a commit in which a step of Sluice appended to this bronze table; None for every other one."""
    entry = commit.entry
    if entry is None or entry.table != table or entry.step not in ("append", "redrive"):
        return None
    return None if any(file.data_change for file in commit.removed) else entry


class Replay:
    """The files of a table as its commits come and go; those that were there before the first commit are taken as good.

    `live` are the files that the commits added and that are still part of the table.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self.live: set[DataFile] = set()
        self._owned: set[DataFile] = set()
        self._good: set[DataFile] = set()
        self._gone: dict[DataFile, int] = {}
        self._eaten: dict[DataFile, int] = {}
        self._made: dict[int, tuple[DataFile, ...]] = {}
        self._tainted: dict[DataFile, frozenset[int]] = {}
        self.foreign: list[int] = []

    def take(self, commit: LogCommit) -> None:
        """The next commit of the table."""
        if not commit.has_files:
            return
        if step_of(commit, self._table) is not None:
            self._owned.update(commit.added)
            self._good.update(commit.added)
            self._add(commit.added, frozenset())
        elif commit.changes_data:
            self._remove(commit.removed)
            self._gone |= dict.fromkeys(commit.removed, commit.version)
            self._add(commit.added, frozenset({commit.version}))
            self.foreign.append(commit.version)
        else:
            self._remove(commit.removed)
            self._eaten |= dict.fromkeys(commit.removed, commit.version)
            self._made[commit.version] = commit.added
            self._add(commit.added, frozenset().union(*(self._tainted[file] for file in commit.removed)))

    def is_owned(self, file: DataFile) -> bool:
        """Whether a step of Sluice wrote the file, and nothing laid its rows out anew."""
        return file in self._owned

    def is_laid_out_anew(self, files: Iterable[DataFile]) -> bool:
        """Whether those of the files that are gone went into files that are still there, by OPTIMIZE."""
        present = self._present()
        return all(self._is_present(file, present) for file in files)

    def lasting(self) -> set[int]:
        """The foreign commits that still show: rows that they brought are there, or rows that they took are not."""
        present = self._present()
        found = {version for file in self.live for version in self._tainted[file]}
        left = [file for file in self._good if not self._is_present(file, present)]
        seen = set(left)
        while left:
            file = left.pop()
            if file in self._gone:
                found.add(self._gone[file])
                continue
            made = self._made.get(self._eaten.get(file, -1), ())
            more = [one for one in made if one not in seen and not self._is_present(one, present)]
            seen.update(more)
            left += more
        return found

    def _add(self, files: Iterable[DataFile], taint: frozenset[int]) -> None:
        for file in files:
            # A file that comes back, as by RESTORE, is what it was.
            self._tainted.setdefault(file, taint)
            self._gone.pop(file, None)
            self._eaten.pop(file, None)
            self.live.add(file)

    def _remove(self, files: Iterable[DataFile]) -> None:
        for file in files:
            if file not in self._tainted:
                self._tainted[file] = frozenset()
                self._good.add(file)
            self.live.discard(file)

    def _present(self) -> dict[int, bool]:
        """Version of an OPTIMIZE -> whether all that it made is still in the table, itself or laid out anew."""
        present: dict[int, bool] = {}
        # What one made is eaten by later ones only.
        for version in sorted(self._made, reverse=True):
            present[version] = all(self._is_present(file, present) for file in self._made[version])
        return present

    def _is_present(self, file: DataFile, present: dict[int, bool]) -> bool:
        return file in self.live or (file in self._eaten and present[self._eaten[file]])
