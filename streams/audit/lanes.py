"""The folders of a lane beside what an earlier audit saw of them: which are new, changed, gone, or of no batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from checkpoints import audit_state
from checkpoints.audit_state import Difference, LaneDay, LaneMark
from checkpoints.lake import Lake
from schemas.errors import SluiceError
from sinks.lanes.holdings import Folder, Lane
from streams.audit.words import counted, offsets, place

LaneKey = tuple[str, str]
"""`dt=<date>` and the run."""

NO_BATCH = -1
"""In place of a version where no batch has the folder."""


class UnknownState(SluiceError):
    """What an earlier audit kept is not there, or no longer enough: everything has to be looked at."""

    def __init__(self) -> None:
        super().__init__("The table's log was cut while it was audited. Run the audit again.")


@dataclass
class LaneMarks:
    """What is to be remembered of each day of a lane; `changed` are the days whose folders have to be kept anew."""

    days: dict[str, LaneDay] = field(default_factory=dict)
    changed: dict[str, dict[str, LaneMark]] = field(default_factory=dict)

    def keep(self, day: str, marks: dict[str, LaneMark]) -> None:
        """A day with new or other folders."""
        self.changed[day] = marks
        if marks:
            self.days[day] = audit_state.lane_day(marks)
        else:
            self.days.pop(day, None)


@dataclass(frozen=True)
class LaneReview:
    """The folders that are not as they were: by the version of their batch, or of no batch that is known of."""

    changed: dict[LaneKey, int]
    unknown: dict[LaneKey, Folder]


def review(
    lake: Lake,
    table: str,
    folders: Mapping[LaneKey, Folder],
    before: Mapping[str, LaneDay],
) -> LaneReview:
    """Hold the folders of all audited batches, as they are listed now, against the checksums of their days.

    Only a day whose checksum differs is looked at by folder. Raises UnknownState where its folders were not kept.
    """
    by_day: dict[str, dict[str, Folder]] = {day: {} for day in before}
    for (day, run_id), folder in folders.items():
        by_day.setdefault(day, {})[run_id] = folder
    changed: dict[LaneKey, int] = {}
    unknown: dict[LaneKey, Folder] = {}
    for day, found in by_day.items():
        marks = {run_id: folder.mark(NO_BATCH) for run_id, folder in found.items()}
        if audit_state.lane_day(marks) == before.get(day, audit_state.lane_day({})):
            continue
        known = marks_of(lake, table, day, before)
        for run_id in {*known, *found}:
            mark, folder_now = known.get(run_id), found.get(run_id)
            if mark is None or mark.version == NO_BATCH:
                if folder_now is not None:
                    unknown[day, run_id] = folder_now
            elif folder_now is None or folder_now.mark(mark.version) != mark:
                changed[day, run_id] = mark.version
    return LaneReview(changed, unknown)


def marks_of(lake: Lake, table: str, day: str, before: Mapping[str, LaneDay]) -> dict[str, LaneMark]:
    """The folders of a day as they were audited; raises UnknownState where they should be kept and are not."""
    kept = audit_state.load_day(lake, table, day)
    if day in before and (kept is None or audit_state.lane_day(kept) != before[day]):
        raise UnknownState
    return kept if kept is not None and day in before else {}


def stray(table: str, lane: Lane, folder: Folder) -> Difference:
    """The sentence about a folder that no entry of the ledger names."""
    found = lane.read(folder)
    records = sum(rows.count for rows in found.held.values())
    where = "; ".join(f"{place(partition)} {offsets(rows.offsets)}" for partition, rows in sorted(found.held.items()))
    what = f"{counted(records, 'record', 'records')}{f': {where}' if where else ''}"
    text = f"{table} lane folder {folder.day}/run_id={folder.run_id} is of no batch in the ledger; it holds {what}"
    return Difference(kind="lane", subject=folder.day, text=text, run_id=folder.run_id)
