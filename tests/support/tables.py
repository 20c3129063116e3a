"""Whole tables as plain rows, to be compared with what they should be."""

from __future__ import annotations

import json
import re
from typing import Any

from deltalake import DeltaTable
from pyarrow import fs
from pyspark.sql import DataFrame

from checkpoints.lake import filesystem_of
from schemas import columns as c

_LANE_FILE = re.compile(r"/dt=[^/]+/run_id=[^/]+/[^._/][^/]*\.json$")
_ADDED = {*c.INGEST_METADATA, c.SEQUENCE, c.COLUMN_SEQUENCES, c.UNKNOWN}


def rows_of(path: str, *columns: str) -> list[tuple[Any, ...]]:
    """A table's rows as sorted tuples of the columns, all but the added ones where none are named."""
    table = DeltaTable(path).to_pyarrow_table()
    names = columns or tuple(name for name in table.column_names if name not in _ADDED)
    found = [tuple(row[name] for name in names) for row in table.select(list(names)).to_pylist()]
    return sorted(found, key=repr)


def tuples(frame: DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in frame.select(*columns).collect()), key=repr)


def lane_records(errors: str) -> list[dict[str, Any]]:
    """Every record of an error lane, by partition and offset."""
    filesystem, folder = filesystem_of(errors)
    found = []
    for info in filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True)):
        if _LANE_FILE.match(info.path.removeprefix(folder)):
            with filesystem.open_input_stream(info.path) as stream:
                found += [json.loads(line) for line in bytes(stream.read()).splitlines()]
    return sorted(found, key=lambda record: (record["topic"], record["partition"], record["offset"]))
