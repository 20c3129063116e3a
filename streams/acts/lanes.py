"""Error lanes that are moved aside: of what a rewind takes back, and back again with it; of batches never finished."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pyarrow import fs

from checkpoints.commits import LogCommit
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from sinks.lanes import lane
from sinks.lanes.reader import LaneReader

_STEPS: Final = ("append", "merge", "history", "redrive", "discard", "replay")


def move(lake: Lake, name: str, undone: Iterable[LogCommit], again: Iterable[LogCommit], act: str) -> None:
    """Move the folders of what is undone below the act's, and back those of what counts again. Harmless to repeat."""
    errors, aside = f"{lake.root}/_errors", f"{lake.root}/_rewound"
    for folder in (folder for commit in undone for folder in _folders(lake, name, commit.entry)):
        _move(lake, folder, folder.replace(errors, f"{aside}/{act}", 1))
    if back := [folder for commit in again for folder in _folders(lake, name, commit.entry)]:
        filesystem, path = lake.filesystem(aside)
        acts = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        for folder in back:
            for info in acts:
                _move(lake, folder.replace(errors, f"{aside}/{info.base_name}", 1), folder)


def of_run(lake: Lake, name: str, run_id: str) -> list[str]:
    """The lane folders of one run, on whatever day."""
    folders = [lane.folder(lake, name, day, run_id) for day in LaneReader(lake, name).days()]
    return [folder for folder in folders if lane.exists(lake, folder)]


def set_aside(lake: Lake, name: str, run_id: str, act: str) -> None:
    """Move what a batch has written that never came to its end, nor will: its records are read again."""
    for folder in of_run(lake, name, run_id):
        _move(lake, folder, folder.replace(f"{lake.root}/_errors", f"{lake.root}/_rewound/{act}", 1))


def _folders(lake: Lake, name: str, entry: LedgerEntry | None) -> list[str]:
    """Where a step's rejects, or its verdicts on them, are kept."""
    if entry is None or entry.step not in _STEPS:
        return []
    if entry.step == "redrive":
        return [lane.verdicts_folder(lake, name, entry.run_id)]
    return [lane.folder(lake, name, entry.run_date, entry.run_id)]


def _move(lake: Lake, source: str, target: str) -> None:
    filesystem, source_path = lake.filesystem(source)
    _, target_path = lake.filesystem(target)
    if filesystem.get_file_info(source_path).type != fs.FileType.Directory:
        return
    if isinstance(filesystem, fs.LocalFileSystem):
        filesystem.create_dir(target_path.rpartition("/")[0], recursive=True)
        filesystem.move(source_path, target_path)
        return
    # A store of objects moves them one by one; cut short, the rest is moved by the next attempt.
    for info in filesystem.get_file_info(fs.FileSelector(source_path, recursive=True)):
        if info.type == fs.FileType.File:
            filesystem.move(info.path, f"{target_path}{info.path.removeprefix(source_path)}")
    filesystem.delete_dir(source_path)
