"""History in files: JSON lines or Parquet, in the form of the table's records, read a piece at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from checkpoints.lake import filesystem_of
from streams.intake.errors import FilesChanged, NoFiles, UnknownFile, UnknownFolder
from streams.intake.source import Planned, as_records

JSON_LINES: Final = (".jsonl", ".ndjson", ".json")
PARQUET: Final = (".parquet",)
JSON_OPTIONS: Final = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
    "ignoreNullFields": "false",
}
_BLOCK_BYTES: Final = 8 << 20
_BATCH_BYTES: Final = 64 << 20
"""A batch ends with the record that goes over it, though it have fewer than it may: each is held in memory."""

_PIECE_ROWS: Final = 10_000
_MOST_NAMED: Final = 5

_MARK: Final = b"\xef\xbb\xbf"
"""What some editors of other systems put before the first line."""


@dataclass(frozen=True)
class File:
    """A file, its size in bytes, and when it was written, so that it can be told whether it is still the same."""

    path: str
    size: int
    written: int


@dataclass
class FileSource:
    """The files of a pattern in the order of their names, `batch_rows` records a batch.

    A batch is a place (file, byte or row group, row) and a number of records. Files must not change meanwhile.
    """

    pattern: str
    topic: str
    batch_rows: int
    files: Sequence[File] = field(default_factory=list)
    watermark: str | None = None
    """The column whose time is that of a record, of tables that are pulled: by it their rows have an order."""

    @classmethod
    def of(cls, pattern: str, topic: str, batch_rows: int, watermark: str | None = None) -> FileSource:
        """The files of a path with `*` in its last part, or of a folder; raises NoFiles, UnknownFile, UnknownFolder."""
        found = sorted(_matching(pattern), key=lambda one: one.path)
        if not found:
            raise NoFiles(pattern)
        for one in found:
            if not one.path.endswith((*JSON_LINES, *PARQUET)):
                raise UnknownFile(one.path)
        return cls(pattern, topic, batch_rows, found, watermark)

    def describe(self) -> list[str]:
        """How many files of how many bytes."""
        size = sum(one.size for one in self.files) / 1e6
        lines = [f"{len(self.files):,} file{'' if len(self.files) == 1 else 's'} of {size:,.1f} MB: {self.pattern}"]
        if folders := _folders_in(self.pattern):
            lines.append(f"none of what is in the folders there: {folders}")
        return lines

    def total(self) -> int | None:
        """The records of Parquet's footers; of lines it is not known before they are read."""
        if not all(one.path.endswith(PARQUET) for one in self.files):
            return None
        return sum(int(_metadata(one.path).num_rows) for one in self.files)

    def share(self, planned: Planned) -> float:
        """Which part of the bytes has been read with a batch."""
        done = sum(one.size for one in self.files[: planned.reads["file"]]) + planned.reads["until"]
        return float(min(1.0, done / max(1, sum(one.size for one in self.files))))

    def next(self, before: Planned | None) -> Planned | None:
        """The batch after this one."""
        file, place, end = 0, 0, 0
        if before is not None:
            self._require_same(before.reads["files"])
            file, place, end = before.reads["file"], before.reads["until"], before.end[0]
        while file < len(self.files):
            rows, until = self._look(self.files[file], place)
            if rows:
                reads = {"file": file, "from": place, "until": until, "rows": rows, "files": self._marks()}
                return Planned(reads, {0: end + rows})
            file, place = file + 1, 0
        return None

    def read(self, spark: SparkSession, planned: Planned, start: dict[int, int]) -> DataFrame:
        """The records of a planned batch."""
        reads = planned.reads
        self._require_same(reads["files"])
        file, rows = self.files[reads["file"]], reads["rows"]
        self._require_still(file)
        numbers = pa.array(range(start[0], start[0] + rows), pa.int64())
        if file.path.endswith(PARQUET):
            table = _rows_of(file.path, reads["from"], rows).append_column("__offset", numbers)
            frame = spark.createDataFrame(table)
            names = [name for name in frame.columns if name != "__offset"]
            value = F.to_json(F.struct(*names), JSON_OPTIONS)
            records = frame.select(value.alias("value"), F.col("__offset").alias("offset"))
            return as_records(records, self.topic, "NULL", self._time)
        values = pa.array([line.rstrip(b"\r") for line in _lines(file.path, reads["from"], rows)[0]], pa.binary())
        lines = pa.table({"value": values, "offset": numbers})
        # An empty line is no record; its offset is left out.
        frame = spark.createDataFrame(lines.filter(pc.greater(pc.binary_length(values), 0)))
        return as_records(frame, self.topic, "NULL", self._time)

    @property
    def _time(self) -> str:
        """The time of a record, in SQL; without one, it is before all others."""
        if self.watermark is None:
            return "NULL"
        text = f"get_json_object(CAST(value AS STRING), '$.{self.watermark}')"
        return f"coalesce(try_cast({text} AS TIMESTAMP), TIMESTAMP '0001-01-01 00:00:00')"

    def _look(self, file: File, place: int) -> tuple[int, int]:
        """How many records a batch from this place on has, and where it ends."""
        self._require_still(file)
        if file.path.endswith(PARQUET):
            rows = min(self.batch_rows, _rows_within(_metadata(file.path), place))
            return rows, place + rows
        found, until = _lines(file.path, place, self.batch_rows)
        return len(found), until

    def _require_still(self, file: File) -> None:
        """See that a file is what it was when the files were looked up; raises FilesChanged."""
        if list(_matching(file.path)) != [file]:
            raise FilesChanged(self.pattern, [file.path])

    def _marks(self) -> list[list[Any]]:
        return [[one.path, one.size, one.written] for one in self.files]

    def _require_same(self, marks: list[list[Any]]) -> None:
        now = self._marks()
        if marks != now:
            raise FilesChanged(self.pattern, sorted({str(one[0]) for one in marks if one not in now}))


def _matching(pattern: str) -> Iterator[File]:
    filesystem, path = filesystem_of(pattern)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.File:
        found = [info]
    else:
        if filesystem.get_file_info(f"{path.rstrip('/')}/_delta_log").type == fs.FileType.Directory:
            raise UnknownFolder(pattern)
        folder, _, name = (path, "", "*") if info.type == fs.FileType.Directory else path.rpartition("/")
        selector = fs.FileSelector(folder or ".", allow_not_found=True)
        found = [one for one in filesystem.get_file_info(selector) if fnmatchcase(one.base_name, name)]
    prefix = pattern[: len(pattern) - len(path)] if "://" in pattern else ""
    for one in found:
        if one.type == fs.FileType.File and not one.base_name.startswith(("_", ".")):
            yield File(f"{prefix}{one.path}", one.size, one.mtime_ns or 0)


def _folders_in(pattern: str) -> str:
    """The names of the folders in a folder, where it is one."""
    filesystem, path = filesystem_of(pattern)
    if filesystem.get_file_info(path).type != fs.FileType.Directory:
        return ""
    found = filesystem.get_file_info(fs.FileSelector(path))
    names = sorted(one.base_name for one in found if one.type == fs.FileType.Directory)
    return ", ".join([*names[:_MOST_NAMED], *(["..."] if len(names) > _MOST_NAMED else [])])


def _metadata(path: str) -> pq.FileMetaData:
    filesystem, inner = filesystem_of(path)
    with filesystem.open_input_file(inner) as file:
        return pq.read_metadata(file)


def _rows_within(found: pq.FileMetaData, place: int) -> int:
    """How many rows from a place on a batch may have, by how large those of their row groups are on average."""
    at, rows, size = 0, 0, 0.0
    for index in range(found.num_row_groups):
        group = found.row_group(index)
        if (left := at + group.num_rows - max(place, at)) > 0:
            each = max(1.0, group.total_byte_size / group.num_rows)
            fit = math.ceil((_BATCH_BYTES - size) / each)
            if fit < left:
                return int(max(1, rows + fit))
            rows, size = rows + int(left), size + left * each
        at += group.num_rows
    return rows


def _rows_of(path: str, first: int, rows: int) -> pa.Table:
    """Rows of a Parquet file, of which only the row groups that have them are read, a piece at a time."""
    filesystem, inner = filesystem_of(path)
    with filesystem.open_input_file(inner) as source, pq.ParquetFile(source) as file:
        groups, begins, at = [], None, 0
        for index in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(index).num_rows
            if at < first + rows and at + count > first:
                groups.append(index)
                begins = at if begins is None else begins
            at += count
        found, at = [], begins or 0
        for piece in file.iter_batches(batch_size=_PIECE_ROWS, row_groups=groups):
            taken = piece.slice(max(0, first - at))
            at += len(piece)
            found.append(taken.slice(0, len(taken) - max(0, at - first - rows)))
            if at >= first + rows:
                break
        return pa.Table.from_batches(found)


def _lines(path: str, place: int, rows: int) -> tuple[list[bytes], int]:
    """Up to so many lines from a byte on, of about 64 MB at most, and where the next begins."""
    filesystem, inner = filesystem_of(path)
    found: list[bytes] = []
    with filesystem.open_input_file(inner) as file:
        file.seek(place)
        begun: list[bytes] = []  # the blocks of a line whose end has not come yet
        at = place
        while len(found) < rows and at - place < _BATCH_BYTES:
            block = file.read(_BLOCK_BYTES)
            if block and b"\n" not in block:
                begun.append(block)
                continue
            *lines, rest = b"".join([*begun, block]).split(b"\n")
            begun = [rest]
            if not block and rest:  # the last line need not end
                lines = [rest]
            taken = lines[: rows - len(found)]
            at += sum(map(len, taken)) + len(taken)
            found += taken
            if not block:
                break
        at = min(at, file.size())
    if place == 0 and found:
        found[0] = found[0].removeprefix(_MARK)
    return found, at
