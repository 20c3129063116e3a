"""A Delta table's log, commit by commit: which files each one added and took away, and what it says of itself.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import orjson
from pyarrow import fs
from pydantic import ValidationError

from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry

_COMMIT = re.compile(r"^(\d{20})\.json$")
_NUM_RECORDS = re.compile(r'"numRecords":\s*(\d+)')


@dataclass(frozen=True)
class DataFile:
    """A file of rows: its path below the table's folder, and the deletion vector that hides some of its rows."""

    path: str
    deletion_vector: str | None = None
    data_change: bool = field(default=True, compare=False)
    rows: int | None = field(default=None, compare=False)
    partition_values: Mapping[str, str | None] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True)
class LogCommit:
    """One version of a table; `entry` is None where Sluice did not make it. `at` is the commit's own time, in UTC.

    `restored` is the version that a RESTORE went back to, whoever made it; None for one by time, and any other commit.
    `changed` are its files of changed rows, where it has such.
    """

    version: int
    at: datetime
    operation: str
    entry: LedgerEntry | None
    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
    restored: int | None = None
    changed: tuple[str, ...] = ()

    @property
    def feed(self) -> tuple[str, ...]:
        """The files that its part of the change feed is read from, as paths below the table's folder."""
        return self.changed or tuple(file.path for file in (*self.added, *self.removed) if file.data_change)

    @property
    def has_files(self) -> bool:
        """Whether it added or took away any file."""
        return bool(self.added or self.removed)

    @property
    def changes_data(self) -> bool:
        """Whether its files are other rows, and not the same ones laid out anew, as by OPTIMIZE."""
        return any(file.data_change for file in (*self.added, *self.removed))


class CommitLog:
    """The log of one table; `commits_read` counts the commits that were read."""

    def __init__(self, lake: Lake, table: str) -> None:
        self.table = table
        self._filesystem, self._folder = lake.filesystem(f"{lake.table(table)}/_delta_log")
        self.commits_read = 0

    def first(self) -> int:
        """The oldest version that the log still has."""
        found = self._filesystem.get_file_info(fs.FileSelector(self._folder))
        return min(int(match[1]) for info in found if (match := _COMMIT.match(info.base_name)))

    def read(self, version: int) -> LogCommit | None:
        """One commit; None where the log no longer has it."""
        try:
            with self._filesystem.open_input_stream(f"{self._folder}/{version:020d}.json") as stream:
                text = bytes(stream.read())
        except FileNotFoundError:
            return None
        self.commits_read += 1
        info: dict[str, Any] = {}
        added, removed, changed = [], [], []
        for line in text.splitlines():
            action = orjson.loads(line) if line.strip() else {}
            info = action.get("commitInfo") or info
            if add := action.get("add"):
                added.append(_file(add))
            if remove := action.get("remove"):
                removed.append(_file(remove))
            if change := action.get("cdc"):
                changed.append(unquote(change["path"]))
        at = datetime.fromtimestamp(float(info.get("timestamp") or 0) / 1000, UTC)
        operation = str(info.get("operation") or "an unnamed operation")
        entry = _entry(info.get("userMetadata"))
        named = (info.get("operationParameters") or {}).get("version") if operation == "RESTORE" else None
        restored = int(named) if named is not None and str(named).isdigit() else None
        return LogCommit(version, at, operation, entry, tuple(added), tuple(removed), restored, tuple(changed))

    def reaches_back(self) -> bool:
        """Whether the log still has the table's first commit, and so every entry of the ledger."""
        return bool(self._filesystem.get_file_info(f"{self._folder}/{0:020d}.json").type == fs.FileType.File)

    def between(self, first: int, last: int) -> Iterator[LogCommit]:
        """The commits from `first` to `last`, both included, oldest first; those that are gone are left out."""
        return (commit for version in range(first, last + 1) if (commit := self.read(version)) is not None)

    def down_from(self, last: int) -> Iterator[LogCommit]:
        """The commits from `last` on, newest first, as far as the log reaches back."""
        for version in range(last, -1, -1):
            commit = self.read(version)
            if commit is None:
                return
            yield commit


def _file(action: dict[str, Any]) -> DataFile:
    rows = _NUM_RECORDS.search(action.get("stats") or "")
    vector = action.get("deletionVector")
    return DataFile(
        path=unquote(action["path"]),
        deletion_vector=None
        if vector is None
        else f"{vector['storageType']}{vector['pathOrInlineDv']}@{vector.get('offset')}",
        data_change=bool(action.get("dataChange", True)),
        rows=int(rows[1]) if rows else None,
        partition_values=action.get("partitionValues") or {},
    )


def _entry(metadata: object) -> LedgerEntry | None:
    if not isinstance(metadata, str):
        return None
    try:
        return LedgerEntry.model_validate_json(metadata)
    except ValidationError:
        return None
