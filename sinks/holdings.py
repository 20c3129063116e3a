"""What a bronze table really holds, from its files: for each run and partition the offsets, a few columns read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyarrow import fs

from checkpoints.commits import DataFile
from checkpoints.lake import Lake
from checkpoints.spans import NONE, Spans
from schemas import columns as c

Partition = tuple[str, int]
"""A topic and one of its partitions; NOWHERE where a row does not say."""

NOWHERE: Partition = ("", -1)

_COLUMNS = {c.BATCH_ID: pa.string(), c.TOPIC: pa.string(), c.PARTITION: pa.int32(), c.OFFSET: pa.int64()}
_PIECE_ROWS = 1 << 18
_PIECE_BYTES = 4 << 20


@dataclass(frozen=True)
class Rows:
    """Rows of one partition: how many, their offsets, and those of them that are there more than once."""

    count: int = 0
    offsets: Spans = NONE
    twice: Spans = NONE

    def __add__(self, other: Rows) -> Rows:
        """Both together."""
        twice = self.twice | other.twice | (self.offsets & other.offsets)
        return Rows(self.count + other.count, self.offsets | other.offsets, twice)


NO_ROWS = Rows()

Held = dict[Partition, Rows]
"""The rows of one batch."""


def add_up(into: Held, more: Mapping[Partition, Rows]) -> None:
    """Add the rows of `more` to those of `into`."""
    for partition, rows in more.items():
        into[partition] = into.get(partition, NO_ROWS) + rows


def rows_by_partition(topics: pa.Array, partitions: pa.Array, offsets: pa.Array) -> Held:
    """The rows of three columns; a row that lacks one of them is NOWHERE."""
    held: Held = {}
    table = pa.table({"topic": topics, "partition": partitions, "offset": offsets})
    grouped = table.group_by(["topic", "partition"], use_threads=False).aggregate([("offset", "list")])
    for topic, partition, found in zip(*(grouped[name] for name in grouped.column_names), strict=True):
        known = found.values.drop_null()
        named = topic.is_valid and partition.is_valid
        lost = len(found.values) - len(known) if named else len(found.values)
        if lost:
            add_up(held, {NOWHERE: Rows(lost)})
        if named and len(known):
            add_up(held, {(topic.as_py(), partition.as_py()): Rows(len(known), *Spans.of(known))})
    return held


class Holdings:
    """The rows of a bronze table by run, read file by file; a run's rows are kept as spans of offsets.

    `files_read` counts the files whose rows were read, `footers_read` those whose footer told that they need not be.
    """

    def __init__(self, lake: Lake, table: str) -> None:
        self.path = lake.table(table)
        self._filesystem, self._folder = lake.filesystem(self.path)
        self._hidden: dict[int, dict[str, pa.BooleanArray]] = {}
        self.files_read = 0
        self.footers_read = 0

    def live(self, version: int) -> set[DataFile]:
        """The files that the table consists of at a version; of a deletion vector it is only told that there is one."""
        actions = pa.table(DeltaTable(self.path, version=version).get_add_actions())
        columns = [actions[name].to_pylist() for name in ("path", "num_records")]
        values = actions["partition"].to_pylist() if "partition" in actions.column_names else [{}] * len(actions)
        hidden = self._kept(version)
        return {
            DataFile(
                path=unquote(path),
                deletion_vector="some" if unquote(path) in hidden else None,
                rows=rows,
                partition_values={name: None if value is None else str(value) for name, value in named.items()},
            )
            for path, rows, named in zip(*columns, values, strict=True)
        }

    def on_disk(self, file: DataFile) -> bool:
        """Whether the file is there."""
        return bool(self._filesystem.get_file_info(self._place(file)).type == fs.FileType.File)

    def read(self, file: DataFile, version: int, only: Collection[str] | None = None) -> dict[str, Held] | None:
        """Run id -> its rows in a file that is part of the table at `version`; None where it is missing or damaged.

        With `only`, the rows of these runs; a file whose footer rules them out is not read. Rows without a `_batch_id`
        are under "".
        """
        try:
            with self._filesystem.open_input_file(self._place(file)) as source, pq.ParquetFile(source) as parquet:
                if only is not None and not _may_hold(parquet.metadata, only):
                    self.footers_read += 1
                    return {}
                self.files_read += 1
                kept = self._kept(version).get(file.path) if file.deletion_vector is not None else None
                return _read(parquet, file, kept, only)
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError):
            # Of damaged bytes and of a file system that fails Arrow says the same: only the first can be read as bytes.
            self._read_bytes(file)
            return None

    def scan(self, files: Iterable[DataFile], version: int, only: Collection[str] | None = None) -> Scan:
        """The rows of many files together, as `read` gives them."""
        runs: dict[str, Held] = {}
        missing = []
        for file in files:
            found = self.read(file, version, only)
            if found is None:
                missing.append(file)
                continue
            for run_id, held in found.items():
                add_up(runs.setdefault(run_id, {}), held)
        return Scan(runs, tuple(missing))

    def _read_bytes(self, file: DataFile) -> None:
        with self._filesystem.open_input_stream(self._place(file)) as stream:
            while stream.read(_PIECE_BYTES):
                pass

    def _place(self, file: DataFile) -> str:
        if "://" in file.path:  # a shallow clone names the files of another table
            return str(self._filesystem.normalize_path(urlsplit(file.path).path))
        return f"{self._folder}/{file.path}"

    def _kept(self, version: int) -> dict[str, pa.BooleanArray]:
        """Path -> which of its rows count, of the files with a deletion vector."""
        if version not in self._hidden:
            found = pa.table(DeltaTable(self.path, version=version).deletion_vectors())
            places = [str(place) for place in found["filepath"].to_pylist()]
            masks = [pa.array(mask.values) for mask in found["selection_vector"]]
            self._hidden = {
                version: {_below(place, self._folder): mask for place, mask in zip(places, masks, strict=True)}
            }
        return self._hidden[version]


@dataclass(frozen=True)
class Scan:
    """Rows by run of several files, and those of the files that are missing or damaged."""

    runs: dict[str, Held]
    missing: tuple[DataFile, ...]


def _below(place: str, folder: str) -> str:
    path = unquote(urlsplit(place).path if "://" in place else place)
    return path[path.index(folder) + len(folder) :].lstrip("/") if folder in path else path


def _may_hold(metadata: pq.FileMetaData, runs: Collection[str]) -> bool:
    """Whether the footer lets a file have rows of these runs."""
    names = [metadata.schema.column(at).path for at in range(metadata.num_columns)]
    if c.BATCH_ID not in names:
        return True
    at = names.index(c.BATCH_ID)
    for group in range(metadata.num_row_groups):
        found = metadata.row_group(group).column(at).statistics
        if found is None or not found.has_min_max or found.null_count:
            return True
        if any(found.min <= run_id <= found.max for run_id in runs):
            return True
    return False


def _read(
    parquet: pq.ParquetFile, file: DataFile, kept: pa.BooleanArray | None, only: Collection[str] | None
) -> dict[str, Held]:
    present = [name for name in _COLUMNS if name in parquet.schema_arrow.names]
    runs: dict[str, Held] = {}
    at = 0
    for batch in parquet.iter_batches(_PIECE_ROWS, columns=present, use_threads=False):
        # A column that the table is partitioned by is in the log alone; one that an older file lacks is null.
        table = pa.table(
            {
                name: batch[name].cast(kind)
                if name in present
                else pa.repeat(pa.scalar(file.partition_values.get(name)), len(batch)).cast(kind)
                for name, kind in _COLUMNS.items()
            }
        )
        if kept is not None:
            table = table.filter(kept.slice(at, len(batch)))
        at += len(batch)
        for run_id in pc.unique(table[c.BATCH_ID]).to_pylist():
            if only is not None and (run_id or "") not in only:
                continue
            is_its = pc.is_null(table[c.BATCH_ID]) if run_id is None else pc.equal(table[c.BATCH_ID], run_id)
            its = table.filter(is_its)
            add_up(runs.setdefault(run_id or "", {}), rows_by_partition(its[c.TOPIC], its[c.PARTITION], its[c.OFFSET]))
    return runs
