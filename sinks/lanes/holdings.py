"""What an error lane really holds: its folders with their files and bytes, and the records of one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyarrow import fs

from checkpoints.audit_state import LaneMark
from checkpoints.lake import Lake
from sinks.errors import UnreadableLaneFile
from sinks.holdings import Held, add_up, rows_by_partition
from sinks.lanes import lines as lane_lines
from sinks.lanes import retention as lane_retention
from sinks.lanes.positions import POSITION

_FILE = re.compile(r"(dt=\d{4}-\d{2}-\d{2})/run_id=([^/]+)/[^/._][^/]*\.json")


@dataclass(frozen=True)
class Folder:
    """The files of records of one batch; `day` is `dt=<date>`."""

    day: str
    run_id: str
    files: tuple[str, ...]
    bytes: int

    def mark(self, version: int) -> LaneMark:
        """What an audit remembers of it, with the version of its batch."""
        return LaneMark(version=version, files=len(self.files), bytes=self.bytes)


@dataclass(frozen=True)
class LaneRecords:
    """The records of one folder by partition; `unreadable` are the sentences about files that are not a lane's."""

    held: Held
    unreadable: tuple[str, ...] = ()


class Lane:
    """The error lane of one table as it was when this was made: one listing, then files as they are asked for."""

    def __init__(self, lake: Lake, table: str) -> None:
        self._table = table
        self._filesystem, root = lake.filesystem(lake.errors(table))
        self.folders: dict[tuple[str, str], Folder] = {}
        files: dict[tuple[str, str], list[fs.FileInfo]] = {}
        for info in self._filesystem.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True)):
            match = _FILE.fullmatch(info.path.removeprefix(f"{root}/"))
            # Spark leaves a file without lines where a partition had none.
            if match and info.type == fs.FileType.File and info.size:
                files.setdefault((match[1], match[2]), []).append(info)
        for (day, run_id), infos in files.items():
            paths = tuple(sorted(info.path for info in infos))
            self.folders[day, run_id] = Folder(day, run_id, paths, sum(info.size for info in infos))
        # Read after the listing: what is removed is written down before.
        self.expired: dict[str, int] = lane_retention.expired(lake, table)
        self.files_read = 0

    def read(self, folder: Folder) -> LaneRecords:
        """The records of a folder."""
        held: Held = {}
        unreadable = []
        for file in folder.files:
            self.files_read += 1
            try:
                for batch in lane_lines.batches(self._table, self._filesystem, file, POSITION, POSITION.names):
                    add_up(held, rows_by_partition(*(batch[name] for name in POSITION.names)))
            except UnreadableLaneFile as error:
                unreadable.append(f"{file.rpartition('/')[2]} can not be read: {error.why}")
        return LaneRecords(held, tuple(unreadable))
