"""What a run left behind, counted in a process of its own: the rows that it reads are not in the driver's memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from schemas import columns as c


@dataclass(frozen=True)
class Outcome:
    """Rows of the table, lines of the lane, different (partition, offset) among both, and the largest offset."""

    rows: int
    lane_lines: int
    records: int
    last_offset: int


def outcome_of(table: str, lane: str) -> Outcome:
    """What lies in a table and in its lane."""
    command = [sys.executable, "-m", "tests.bench.outcome", table, lane]
    return Outcome(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _count(table: str, lane: str) -> Outcome:
    columns = {"partition": pc.field(c.PARTITION), "offset": pc.field(c.OFFSET)}
    rows = DeltaTable(table).to_pyarrow_dataset().to_table(columns=columns)
    files = Path(lane).rglob("*.json")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    rejected = pa.Table.from_pylist(
        [{"partition": line["partition"], "offset": line["offset"]} for line in lines], schema=rows.schema
    )
    found = pa.concat_tables([rows, rejected]).group_by(["partition", "offset"]).aggregate([])
    return Outcome(len(rows), len(rejected), len(found), pc.max(found["offset"]).as_py())


if __name__ == "__main__":
    print(json.dumps(asdict(_count(*sys.argv[1:]))))
