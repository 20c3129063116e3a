"""How long a lane keeps its records: days that are over it are removed, and what was in them stays counted.

`<lane>/_expired/dt=<date>.json` holds `{run id: number of records}` of a day that is gone, so that an audit can tell
what has expired from what is missing.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow.compute as pc
from pyarrow import fs

from checkpoints.lake import Lake
from sinks.errors import UnreadableLaneFile
from sinks.lanes import lines as lane_lines
from sinks.lanes.positions import Positions
from sinks.lanes.reader import REDRIVEN, LaneFolder, LaneReader

_EXPIRED, _VERDICTS = "_expired", "_verdicts"
_FILE = re.compile(r"dt=(\d{4}-\d{2}-\d{2})/run_id=([^/]+)/[^/._][^/]*\.json")


@dataclass(frozen=True)
class Expiry:
    """What was removed of one lane: days, records, and how many of these had not been re-driven."""

    table: str
    days: tuple[date, ...] = ()
    records: int = 0
    open: int = 0


def expire(
    lake: Lake,
    table: str,
    before: date,
    held: Callable[[Positions], Positions] | None = None,
    written_before: datetime | None = None,
) -> Expiry:
    """Remove the days of a lane before `before`, and the verdicts on them; harmless to repeat, or to cut short.

    1. Count the day's records by run, and write the counts down; what an earlier attempt wrote is kept, since it may
       have begun to remove.
    2. Remove the runs that were counted, and the day once nothing else is in it.
    3. Remove the verdicts that came before `before`: a verdict is younger than its record.

    `held` tells which positions the table holds: records there are not open. A day in which something was written at
    `written_before` or later is left: its batch was cut short, and is run again under its old clock.
    """
    reader = LaneReader(lake, table, on_problem=lambda _: None)
    done: list[date] = []
    records = still_open = 0
    for day in (day for day in reader.days() if day < before):
        folders = reader.folders_of(day)
        if written_before is not None and any(folder.modified >= written_before for folder in folders):
            continue
        still_open += _open(reader, day, held)
        # 1
        counts = _counts(lake, table, folders)
        if counts:
            _write_down(lake, table, day, counts)
        # 2
        _remove(lake, table, day, folders)
        records += sum(counts.values())
        done.append(day)
    # 3
    if done:
        _remove_verdicts(lake, reader, before)
    return Expiry(table, tuple(done), records, still_open)


def expire_aside(lake: Lake, table: str, before: date) -> int:
    """Remove the days before `before` of what rewinds have moved out of a table's lane; how many records those were.

    They are written down like those of the lane: if the rewind is rewound, they have expired and are not missing.
    """
    filesystem, root = lake.filesystem(f"{lake.root}/_rewound")
    layer, _, name = table.partition(".")
    records = 0
    for act in filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True)):
        there = fs.FileSelector(f"{act.path}/{layer}/{name}", recursive=True, allow_not_found=True)
        days: dict[date, dict[str, int]] = {}
        for info in filesystem.get_file_info(there) if act.type == fs.FileType.Directory else ():
            match = _FILE.fullmatch(info.path.removeprefix(f"{there.base_dir}/"))
            if match and info.type == fs.FileType.File and date.fromisoformat(match[1]) < before:
                counts = days.setdefault(date.fromisoformat(match[1]), {})
                counts[match[2]] = counts.get(match[2], 0) + lane_lines.count(filesystem, info.path)
        for day, counts in days.items():
            _write_down(lake, table, day, counts)
            _delete_dir(filesystem, f"{there.base_dir}/dt={day.isoformat()}")
            records += sum(counts.values())
    return records


def expired(lake: Lake, table: str) -> dict[str, int]:
    """Run id -> number of records that a lane has held and let go; raises UnreadableLaneFile."""
    filesystem, root = lake.filesystem(f"{lake.errors(table)}/{_EXPIRED}")
    found: dict[str, int] = {}
    for info in filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True)):
        if info.base_name.startswith("dt=") and info.base_name.endswith(".json"):
            found |= _written_down(filesystem, info.path, table)
    return found


def _open(reader: LaneReader, day: date, held: Callable[[Positions], Positions] | None) -> int:
    there = held(Positions.of(reader.records(days=[day], with_bytes=False))) if held is not None else None
    batches = reader.records(days=[day], with_bytes=False, held=there)
    return sum(batch.num_rows - int(pc.sum(batch[REDRIVEN]).as_py()) for batch in batches)


def _counts(lake: Lake, table: str, folders: list[LaneFolder]) -> dict[str, int]:
    """Lines by run: also those that can not be read were records."""
    filesystem, _ = lake.filesystem(lake.errors(table))
    counted = {folder.run_id: sum(lane_lines.count(filesystem, file) for file in folder.files) for folder in folders}
    return {run_id: count for run_id, count in counted.items() if count}


def _write_down(lake: Lake, table: str, day: date, counts: dict[str, int]) -> None:
    place = f"{lake.errors(table)}/{_EXPIRED}/dt={day.isoformat()}.json"
    filesystem, file = lake.filesystem(place)
    if filesystem.get_file_info(file).type == fs.FileType.File:
        before = _written_down(filesystem, file, table)
        counts = {**counts, **{run_id: max(count, counts.get(run_id, 0)) for run_id, count in before.items()}}
    lake.write(place, json.dumps(counts, sort_keys=True).encode())


def _written_down(filesystem: fs.FileSystem, file: str, table: str) -> dict[str, int]:
    with filesystem.open_input_stream(file) as stream:
        text = stream.read()
    try:
        counts = json.loads(text)
    except ValueError:
        counts = None
    if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
        raise UnreadableLaneFile(table, file, "it is not a JSON object of counts by run")
    return counts


def _remove(lake: Lake, table: str, day: date, folders: list[LaneFolder]) -> None:
    filesystem, path = lake.filesystem(f"{lake.errors(table)}/dt={day.isoformat()}")
    for folder in folders:
        _delete_dir(filesystem, f"{path}/run_id={folder.run_id}")
    left = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    if not any(info.type == fs.FileType.File and info.size and info.extension == "json" for info in left):
        _delete_dir(filesystem, path)


def _remove_verdicts(lake: Lake, reader: LaneReader, before: date) -> None:
    filesystem, path = lake.filesystem(f"{lake.errors(reader.table)}/{_VERDICTS}")
    old: list[str] = []
    for run_id, batches in reader.verdicts():
        days = [pc.max(batch["ingest_ts"]).as_py().date() for batch in batches]
        # Without days nothing of the run could be read: it is left for whoever puts it right.
        if days and max(days) < before:
            old.append(run_id)
    for run_id in old:
        _delete_dir(filesystem, f"{path}/run_id={run_id}")


def _delete_dir(filesystem: fs.FileSystem, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        filesystem.delete_dir(path)
