"""The error lane: the rejected records of one batch as JSON files in a folder of their own."""

from __future__ import annotations

from datetime import date

from pyarrow import fs
from pyspark.sql import DataFrame

from checkpoints.lake import Lake


def folder(lake: Lake, table: str, run_date: date, run_id: str) -> str:
    """Where a batch's rejected records lie; the run id is derived, so a re-run of the batch has the same folder."""
    return f"{lake.errors(table)}/dt={run_date.isoformat()}/run_id={run_id}"


def replace(path: str, rejected: DataFrame) -> None:
    """Write the folder anew with these records; binary columns become base64."""
    rejected.write.mode("overwrite").json(path)


def clear(lake: Lake, path: str) -> None:
    """Remove the folder where an earlier attempt of the batch left one; nothing where it did not."""
    filesystem, inner = lake.filesystem(path)
    if filesystem.get_file_info(inner).type == fs.FileType.Directory:
        filesystem.delete_dir(inner)
