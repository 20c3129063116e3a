"""Whole tables as plain rows, to be compared with what they should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import DataFrame

from schemas import columns as c

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
    files = Path(errors).glob("dt=*/run_id=*/*.json")
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(found, key=lambda record: (record["topic"], record["partition"], record["offset"]))
