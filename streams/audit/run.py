"""One audit of one table: all of its log, or the part that came after the audit before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from checkpoints import ledger
from checkpoints import offsets as offset_log
from checkpoints.audit_state import AuditState, Difference, Totals
from checkpoints.commits import CommitLog, LogCommit
from checkpoints.effective import taken_back
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from checkpoints.spans import NONE, Spans
from sinks.holdings import Held, Holdings, Partition
from sinks.lanes.holdings import Folder, Lane, LaneRecords
from streams.audit.batch import Batch
from streams.audit.foreign import ForeignCommit
from streams.audit.lanes import NO_BATCH, LaneKey, LaneMarks, LaneReview, UnknownState, marks_of, review, stray
from streams.audit.ranges import Ranges, shared, spans_of
from streams.audit.replay import Replay, step_of
from streams.audit.rows import Found, TableRows
from streams.audit.twice import Places
from streams.audit.words import counted, name_of, offsets, place


class AuditRun:
    """Audits the commits of a table from `first` to `version`.

    With `before`, the state of an audit that ended just before `first`, older commits are looked at only where a newer
    one, or the lane's listing, touches what they wrote. With `since` nothing older is looked at. With neither, `first`
    is the beginning of the log, and all that the table and the lane hold is looked at.
    """

    def __init__(
        self,
        lake: Lake,
        table: str,
        first: int,
        version: int,
        before: AuditState | None = None,
        since: datetime | None = None,
    ) -> None:
        self.version = version
        self.differences: dict[tuple[object, ...], Difference] = {}
        self.totals = before.totals.model_copy() if before else Totals()
        self.ranges = Ranges(table, before.generations if before else {})
        self.marks = LaneMarks(dict(before.lanes) if before else {})
        self.in_flight: list[str] = []
        self.holdings = Holdings(lake, table)
        self._lake, self._table = lake, table
        self._first, self._before, self._since = first, before, since
        self._log = CommitLog(lake, table)
        self._replay = Replay(table)
        self._rows = TableRows(self.holdings, self._replay, version)
        self._steps: list[tuple[str, int]] = []
        self._read_now: dict[Partition, Spans] = {}
        self._redriven: dict[int, Found] = {}
        self._touched: set[str] = set()
        self._names: dict[str, str] = {}
        self._filed: dict[LaneKey, int] = {}

    def run(self) -> None:
        """Look at everything; afterwards the attributes have what was found.

        1. Follow the log: ranges, sums, and which files came and went.
        2. List the lane, and set the folders of batches in flight aside.
        3. Find out what commits by hand did, and which rows are in other files than their batch's own.
        4. Hold each batch against the rows and the records that are held of it: older ones where anything touched
           them, then the new ones.
        5. Say which rows and which folders are of no batch, and note what the lane looks like now.

        Raises UnknownState where the earlier state is not enough.
        """
        # 1
        self._follow_log()
        runs = {run_id for run_id, _ in self._steps}
        # 2
        self._lane = Lane(self._lake, self._table)
        flying = self._planned()
        folders = {key: folder for key, folder in self._lane.folders.items() if key[1] not in flying}
        self.in_flight = sorted({f"{self._table} {flying[run]}" for _, run in self._lane.folders if run in flying})
        # 3
        foreign = self._foreign()
        self._touched = {run_id for one in foreign for run_id in one.touched()}
        if self._is_of_everything:
            self._rows.look_elsewhere(None)
        else:
            displaced = {run_id for run_id, version in self._steps if self._rows.is_displaced(self._commit(version))}
            self._rows.look_elsewhere(self._touched | displaced)
        # 4
        epoch = max((ends.epoch for ends in self.ranges.generations.values()), default=0)
        places = Places(self._table, self._redrives(), self._read_again(), epoch)
        old = {key: folder for key, folder in folders.items() if key[1] not in runs}
        reviewed = LaneReview({}, {})
        if self._before is not None:
            reviewed = review(self._lake, self._table, old, self._before.lanes)
            self._check_older(self._touched - runs, reviewed, places)
        for run_id, version in self._steps:
            commit = self._commit(version)
            self._check(commit, self._redriven.get(version) or self._rows.of_new(commit, run_id), places)
        if self._since is None:
            self._add(places.finish())
        self._add(one.difference(self._table, self._name_of_run) for one in foreign)
        # 5
        if self._since is None and self._log.reaches_back():
            self._add(self._stranger(run_id, held) for run_id, held in sorted(self._rows.elsewhere.items()))
        self._add(self._lost(file.path, file.rows) for file in self._rows.missing)
        self._look_for_strays(reviewed.unknown if self._before is not None else folders)
        self._note_lane(folders, runs, reviewed)

    @property
    def _is_of_everything(self) -> bool:
        return self._before is None and self._since is None

    def _follow_log(self) -> None:
        undone = taken_back(self._log, self._first, self.version, by_rewinds=True)
        if self._before is not None and self._reaches_before(undone):
            raise UnknownState
        for commit in self._log.between(self._first, self.version):
            if commit.version in undone:
                continue
            self._replay.take(commit)
            entry = step_of(commit, self._table)
            if entry is None or (self._since is not None and entry.clock < self._since):
                continue
            self._steps.append((entry.run_id, commit.version))
            if entry.step == "redrive":
                self.totals.redriven += entry.accepted
                continue
            self._add(self.ranges.take(commit.version, entry))
            self._count(entry)
            for partition, spans in spans_of(entry).items():
                self._read_now[partition] = self._read_now.get(partition, NONE) | spans

    def _reaches_before(self, undone: set[int]) -> bool:
        """Whether a rewind took back what an earlier audit has seen."""
        commits = (self._log.read(version) for version in undone)
        return any(one is not None and one.restored is not None and one.restored < self._first - 1 for one in commits)

    def _count(self, entry: LedgerEntry) -> None:
        width = sum(len(spans) for spans in spans_of(entry).values())
        self.totals.batches += 1
        self.totals.read += entry.read
        self.totals.accepted += entry.accepted
        self.totals.rejected += entry.rejected
        self.totals.dropped += sum(entry.dropped.values())
        self.totals.without_record += max(0, width - entry.read)

    def _planned(self) -> dict[str, str]:
        """Run -> name of the batches that Spark has planned and this version of the table does not hold yet."""
        generation = self._lake.generation(self._table)
        planned = offset_log.planned_batches(self._lake, self._lake.checkpoint(self._table, generation))
        held = self.ranges.generations.get(generation)
        # Where only a part of the ledger was followed, the newest batch may not be in it.
        flying = planned[-1:] if held is None and self._since else planned
        return {
            (run_id := ledger.run_id(self._table, generation, batch)): f"batch {batch} (run {run_id[:8]})"
            for batch in flying
            if held is None or batch > held.batch_id
        }

    def _foreign(self) -> list[ForeignCommit]:
        """The commits by hand whose effect is still there, with the rows that they took and brought."""
        found = [ForeignCommit.of(self._commit(one), self.holdings) for one in sorted(self._replay.lasting())]
        if self._before is not None and not all(one.complete for one in found):
            raise UnknownState
        return found

    def _redrives(self) -> list[tuple[int, LedgerEntry, Held]]:
        redrives = []
        for run_id, version in self._steps:
            commit = self._commit(version)
            entry = _entry(commit)
            if entry.step == "redrive":
                self._redriven[version] = found = self._rows.of_new(commit, run_id)
                redrives.append((version, entry, found.rows))
        return redrives

    def _read_again(self) -> dict[Partition, Spans]:
        """The offsets that the new batches have read, and a batch of another generation too."""
        both = shared(self.ranges.generations)
        return {partition: spans & self._read_now.get(partition, NONE) for partition, spans in both.items()}

    def _check_older(self, touched: set[str], reviewed: LaneReview, places: Places) -> None:
        """Batches of earlier audits that something has touched since, or that may hold the same offsets as new ones."""
        looked_for = touched | {run_id for _, run_id in reviewed.unknown}
        versions = dict.fromkeys(reviewed.changed.values(), True)
        if looked_for or places.wanted:
            for commit in self._log.down_from(self._first - 1):
                entry = step_of(commit, self._table)
                if entry is None:
                    continue
                if entry.run_id in looked_for:
                    looked_for.discard(entry.run_id)
                    versions[commit.version] = True
                elif places.concerns(entry):
                    versions.setdefault(commit.version, False)
                if not (looked_for or places.wanted):
                    break
        for version in sorted(versions):
            commit = self._commit(version)
            entry = _entry(commit)
            found = self._rows.of_old(commit, entry.run_id)
            if versions[version]:
                self._check(commit, found, places)
            else:
                lane, expired = self._lane_of(entry)
                self._add(places.visit(version, entry, found.rows, lane.held, expired))

    def _check(self, commit: LogCommit, found: Found, places: Places) -> None:
        entry = _entry(commit)
        if entry.run_id in self._touched:
            self._names[entry.run_id] = name_of(entry)
        lane, expired = self._lane_of(entry)
        self._filed[_lane_key(entry)] = commit.version
        batch = Batch(
            table=self._table,
            version=commit.version,
            entry=entry,
            rows=found.rows,
            lane=lane.held,
            expired=expired,
            unreadable=lane.unreadable,
            lost=found.lost,
            written=found.written,
        )
        self._add(batch.differences())
        self._add(self._stranger(run_id, held) for run_id, held in found.strangers.items())
        self._add(places.visit(commit.version, entry, found.rows, lane.held, expired))

    def _lane_of(self, entry: LedgerEntry) -> tuple[LaneRecords, int | None]:
        """The records of a batch's lane, and how many there were where they have expired."""
        expired = self._lane.expired.get(entry.run_id)
        folder = self._lane.folders.get(_lane_key(entry))
        if folder is None or expired is not None:
            return LaneRecords({}), expired
        return self._lane.read(folder), None

    def _stranger(self, run_id: str, held: Held) -> Difference:
        rows = sum(one.count for one in held.values())
        where = "; ".join(f"{place(one)} {offsets(rows.offsets)}" for one, rows in sorted(held.items()) if rows.offsets)
        what = f"{counted(rows, 'row has', 'rows have')} {f'the _batch_id {run_id}' if run_id else 'no _batch_id'}"
        text = f"{self._table}: {what}, of no batch in the ledger{f': {where}' if where else ''}"
        return Difference(kind="rows", subject="stranger", text=text, run_id=run_id)

    def _lost(self, path: str, rows: int | None) -> Difference:
        held = f", which held {counted(rows, 'row', 'rows')} of several batches," if rows is not None else ""
        return Difference(kind="file", subject=path, text=f"{self._table}: file {path}{held} is missing or damaged")

    def _look_for_strays(self, folders: Mapping[LaneKey, Folder]) -> None:
        """Those of the folders that no batch has; with `since` the days before and of it are not known in whole."""
        since = f"dt={self._since.date().isoformat()}" if self._since else ""
        if self._log.reaches_back():
            strays = (folder for key, folder in folders.items() if key not in self._filed and folder.day > since)
            self._add(stray(self._table, self._lane, folder) for folder in strays)

    def _note_lane(self, folders: dict[LaneKey, Folder], runs: set[str], reviewed: LaneReview) -> None:
        """The days whose folders are not as the state has them."""
        before = self._before.lanes if self._before else {}
        by_day: dict[str, dict[str, Folder]] = {}
        for (day, run_id), folder in folders.items():
            by_day.setdefault(day, {})[run_id] = folder
        other = {day for day, _ in (*reviewed.changed, *reviewed.unknown)}
        other |= {day for day, run_id in folders if run_id in runs or self._before is None}
        for day in sorted(other):
            known = marks_of(self._lake, self._table, day, before)
            marks = {}
            for run_id, folder in by_day.get(day, {}).items():
                earlier = known[run_id].version if run_id in known else NO_BATCH
                marks[run_id] = folder.mark(self._filed.get((day, run_id), earlier))
            self.marks.keep(day, marks)

    def _name_of_run(self, run_id: str) -> str:
        return self._names.get(run_id) or (f"run {run_id[:8]}" if run_id else "no batch")

    def _commit(self, version: int) -> LogCommit:
        commit = self._log.read(version)
        if commit is None:
            raise UnknownState
        return commit

    def _add(self, found: Iterable[Difference]) -> None:
        for one in found:
            self.differences[one.key] = one


def _entry(commit: LogCommit) -> LedgerEntry:
    assert commit.entry is not None  # noqa: S101 - only commits that are steps come here
    return commit.entry


def _lane_key(entry: LedgerEntry) -> LaneKey:
    return f"dt={entry.run_date.isoformat()}", entry.run_id
