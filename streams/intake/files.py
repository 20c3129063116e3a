"""History in files: JSON lines or Parquet, in the form of the table's records, read a piece at a time."""

from __future__ import annotations

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
from streams.intake.errors import FilesChanged, NoFiles, UnknownFile
from streams.intake.source import Planned, as_records

JSON_LINES: Final = (".jsonl", ".ndjson", ".json")
PARQUET: Final = (".parquet",)
JSON_OPTIONS: Final = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
    "ignoreNullFields": "false",
}
_BLOCK_BYTES: Final = 8 << 20


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

    @classmethod
    def of(cls, pattern: str, topic: str, batch_rows: int) -> FileSource:
        """The files of a path with `*` in its last part, or of a folder; raises NoFiles, UnknownFile."""
        found = sorted(_matching(pattern), key=lambda one: one.path)
        if not found:
            raise NoFiles(pattern)
        for one in found:
            if not one.path.endswith((*JSON_LINES, *PARQUET)):
                raise UnknownFile(one.path)
        return cls(pattern, topic, batch_rows, found)

    def describe(self) -> list[str]:
        """How many files of how many bytes."""
        size = sum(one.size for one in self.files) / 1e6
        return [f"{len(self.files):,} file{'' if len(self.files) == 1 else 's'} of {size:,.1f} MB: {self.pattern}"]

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
        numbers = pa.array(range(start[0], start[0] + rows), pa.int64())
        if file.path.endswith(PARQUET):
            table = _rows_of(file.path, reads["from"], rows).append_column("__offset", numbers)
            frame = spark.createDataFrame(table)
            names = [name for name in frame.columns if name != "__offset"]
            value = F.to_json(F.struct(*names), JSON_OPTIONS)
            records = frame.select(value.alias("value"), F.col("__offset").alias("offset"))
            return as_records(records, self.topic, "NULL", "NULL")
        values = pa.array(_lines(file.path, reads["from"], rows)[0], pa.binary())
        lines = pa.table({"value": values, "offset": numbers})
        # An empty line is no record; its offset is left out.
        frame = spark.createDataFrame(lines.filter(pc.greater(pc.binary_length(values), 0)))
        return as_records(frame, self.topic, "NULL", "NULL")

    def _look(self, file: File, place: int) -> tuple[int, int]:
        """How many records a batch from this place on has, and where it ends."""
        if file.path.endswith(PARQUET):
            rows = min(self.batch_rows, max(0, _metadata(file.path).num_rows - place))
            return rows, place + rows
        found, until = _lines(file.path, place, self.batch_rows)
        return len(found), until

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
        folder, _, name = (path, "", "*") if info.type == fs.FileType.Directory else path.rpartition("/")
        selector = fs.FileSelector(folder or ".", allow_not_found=True)
        found = [one for one in filesystem.get_file_info(selector) if fnmatchcase(one.base_name, name)]
    prefix = pattern[: len(pattern) - len(path)] if "://" in pattern else ""
    for one in found:
        if one.type == fs.FileType.File and not one.base_name.startswith(("_", ".")):
            yield File(f"{prefix}{one.path}", one.size, one.mtime_ns or 0)


def _metadata(path: str) -> pq.FileMetaData:
    filesystem, inner = filesystem_of(path)
    with filesystem.open_input_file(inner) as file:
        return pq.read_metadata(file)


def _rows_of(path: str, first: int, rows: int) -> pa.Table:
    """Rows of a Parquet file, of which only the row groups that have them are read."""
    filesystem, inner = filesystem_of(path)
    with filesystem.open_input_file(inner) as source, pq.ParquetFile(source) as file:
        groups, begins, at = [], None, 0
        for index in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(index).num_rows
            if at < first + rows and at + count > first:
                groups.append(index)
                begins = at if begins is None else begins
            at += count
        return file.read_row_groups(groups).slice(first - (begins or 0), rows)


def _lines(path: str, place: int, rows: int) -> tuple[list[bytes], int]:
    """Up to so many lines from a byte on, and where the next begins."""
    filesystem, inner = filesystem_of(path)
    found: list[bytes] = []
    with filesystem.open_input_file(inner) as file:
        file.seek(place)
        rest, at = b"", place
        while len(found) < rows:
            block = file.read(_BLOCK_BYTES)
            *lines, rest = (rest + block).split(b"\n")
            if not block and rest:  # the last line need not end
                lines = [rest]
            taken = lines[: rows - len(found)]
            at += sum(map(len, taken)) + len(taken)
            found += taken
            if not block:
                break
    return found, at
