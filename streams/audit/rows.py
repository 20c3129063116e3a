"""The rows of batches: in the files of their own commits, or wherever else in the table they have got to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from checkpoints.commits import DataFile, LogCommit
from sinks.holdings import Held, Holdings, add_up
from streams.audit.replay import Replay


@dataclass(frozen=True)
class Found:
    """What the table has of a commit's run; see audit_batch.Batch. `strangers` are rows of other runs in its files."""

    rows: Held
    lost: tuple[str, ...]
    strangers: dict[str, Held]
    written: Callable[[], Held | None]


class TableRows:
    """The rows of a table at one version, whose newer commits `replay` has followed.

    `elsewhere` are rows by run that are in files of no step: laid out anew by OPTIMIZE, or brought by a commit by hand.
    `missing` are such files that are not there, or damaged.
    """

    def __init__(self, holdings: Holdings, replay: Replay, version: int) -> None:
        self.elsewhere: dict[str, Held] = {}
        self.missing: tuple[DataFile, ...] = ()
        self._looked_for: Collection[str] | None = ()
        self._holdings, self._replay, self._version = holdings, replay, version

    @cached_property
    def _live(self) -> set[DataFile]:
        return self._holdings.live(self._version)

    def look_elsewhere(self, runs: Collection[str] | None) -> None:
        """Read the rows of these runs, or of all, from the files that the commits followed did not append."""
        self._looked_for = runs
        if runs is None or runs:
            files = sorted((file for file in self._live if not self._replay.is_owned(file)), key=lambda file: file.path)
            scan = self._holdings.scan(files, self._version, runs)
            self.elsewhere, self.missing = scan.runs, scan.missing

    def is_displaced(self, commit: LogCommit) -> bool:
        """Whether the rows of a commit that was followed have to be looked for elsewhere.

        What OPTIMIZE laid out anew is read from the files that it was made of, as long as they are on disk.
        """
        gone = [file for file in commit.added if file not in self._replay.live]
        if not gone:
            return False
        return not (self._replay.is_laid_out_anew(gone) and all(self._holdings.on_disk(file) for file in gone))

    def of_new(self, commit: LogCommit, run_id: str) -> Found:
        """The rows of a commit that was followed."""
        live = [file for file in commit.added if file in self._replay.live]
        is_elsewhere = self._looked_for is None or run_id in self._looked_for
        return self._found(commit, run_id, live if is_elsewhere else commit.added)

    def of_old(self, commit: LogCommit, run_id: str) -> Found:
        """The rows of a commit from before those that were followed."""
        if self._looked_for is not None and run_id in self._looked_for:
            return self._found(commit, run_id, ())
        if all(file in self._live for file in commit.added):
            return self._found(commit, run_id, commit.added)
        files = [file for file in self._live if not self._replay.is_owned(file)]
        scan = self._holdings.scan(files, self._version, {run_id})
        return Found(scan.runs.get(run_id, {}), (), {}, lambda: self._written(commit, run_id))

    def _found(self, commit: LogCommit, run_id: str, files: Collection[DataFile]) -> Found:
        scan = self._holdings.scan(files, self._version)
        rows = scan.runs.pop(run_id, {})
        add_up(rows, self.elsewhere.pop(run_id, {}))
        lost = tuple(file.path.rpartition("/")[2] for file in scan.missing)
        return Found(rows, lost, scan.runs, lambda: self._written(commit, run_id))

    def _written(self, commit: LogCommit, run_id: str) -> Held | None:
        """What the commit wrote, from its own files; None where they are gone, or are just what the table has."""
        scan = self._holdings.scan(commit.added, commit.version)
        return None if scan.missing else scan.runs.get(run_id, {})
