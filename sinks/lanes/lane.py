"""The error lane: the rejected records of one batch as JSON files in a folder of their own."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime
from typing import Any, Final

import orjson
import pyarrow as pa
from pyarrow import fs
from pyspark.sql import DataFrame

from checkpoints.lake import Lake

_FILE: Final = "part-00000.json"
_LINES_AT_ONCE: Final = 1000


def folder(lake: Lake, table: str, run_date: date, run_id: str) -> str:
    """Where a batch's rejected records lie; the run id is derived, so a re-run of the batch has the same folder."""
    return f"{lake.errors(table)}/dt={run_date.isoformat()}/run_id={run_id}"


def verdicts_folder(lake: Lake, table: str, run_id: str) -> str:
    """Where a re-drive says why records still fail; see sinks/lanes/verdicts.py."""
    return f"{lake.errors(table)}/_verdicts/run_id={run_id}"


def replace(path: str, rejected: DataFrame) -> None:
    """Write the folder anew with these records; binary columns become base64."""
    rejected.write.mode("overwrite").json(path)


def write(lake: Lake, path: str, rejected: pa.Table) -> None:
    """The same for records that the driver holds, in the same form, as one file."""
    clear(lake, path)
    filesystem, inner = lake.filesystem(path)
    filesystem.create_dir(inner, recursive=True)
    # A reader passes over names that begin with `_`: it never sees half a file.
    with filesystem.open_output_stream(f"{inner}/_{_FILE}") as stream:
        for batch in rejected.to_batches(max_chunksize=_LINES_AT_ONCE):
            stream.write(b"".join(orjson.dumps(_line(record)) + b"\n" for record in batch.to_pylist()))
    filesystem.move(f"{inner}/_{_FILE}", f"{inner}/{_FILE}")


def exists(lake: Lake, path: str) -> bool:
    """Whether there is such a folder."""
    filesystem, inner = lake.filesystem(path)
    return bool(filesystem.get_file_info(inner).type == fs.FileType.Directory)


def clear(lake: Lake, path: str) -> None:
    """Remove the folder where an earlier attempt of the batch left one; nothing where it did not."""
    filesystem, inner = lake.filesystem(path)
    if filesystem.get_file_info(inner).type == fs.FileType.Directory:
        filesystem.delete_dir(inner)


def _line(value: Any) -> Any:
    """A value as Spark writes it to JSON: no nulls in objects, bytes as base64, times to the millisecond in UTC."""
    match value:
        case dict():
            return {name: _line(inner) for name, inner in value.items() if inner is not None}
        case list():
            return [_line(item) for item in value]
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
