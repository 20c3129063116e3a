"""Error lanes written as the service writes them: JSON lines below `dt=` and `run_id=`, without Spark."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from checkpoints.lake import Lake

TABLE = "bronze.people"
DAY = date(2026, 1, 2)


def at(day: date = DAY, minutes: int = 0) -> datetime:
    """A clock of that day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minutes)


def iso(time: datetime) -> str:
    """A time as Spark writes it into JSON."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def record(offset: int, rule: str = "json.syntax", clock: datetime | None = None, **more: Any) -> dict[str, Any]:
    """One record of a lane."""
    value = more.pop("value", b"{")
    return {
        "table": TABLE,
        "topic": "db.people",
        "partition": 0,
        "offset": offset,
        "key": base64.b64encode(b"k").decode(),
        "value": base64.b64encode(value).decode(),
        "violations": [{"rule": rule, "pointer": "", "schema_path": ""}],
        "contract": "people",
        "contract_version": "3",
        "contract_hash": "0123456789ab",
        "source_system": "town",
        "ingest_ts": iso(clock or at()),
        **more,
    }


def put(lake: Lake, run: str, records: Iterable[dict[str, Any]], day: date = DAY, table: str = TABLE) -> Path:
    """The folder of a batch, with what Spark leaves beside the records."""
    folder = Path(lake.errors(table), f"dt={day.isoformat()}", f"run_id={run}")
    _write(folder, [one | {"run_id": run} for one in records])
    return folder


def put_verdicts(lake: Lake, run: str, verdicts: Iterable[dict[str, Any]], table: str = TABLE) -> Path:
    """The verdicts of one redrive."""
    folder = Path(lake.errors(table), "_verdicts", f"run_id={run}")
    _write(folder, verdicts)
    return folder


def verdict(offset: int, *rules: str, clock: datetime, version: str = "4", partition: int = 0) -> dict[str, Any]:
    """What a record was found to break, under a newer contract."""
    return {
        "topic": "db.people",
        "partition": partition,
        "offset": offset,
        "violations": [{"rule": rule, "pointer": "/x", "schema_path": ""} for rule in rules],
        "contract": "people",
        "contract_version": version,
        "contract_hash": "ba9876543210",
        "ingest_ts": iso(clock),
    }


def put_bronze(lake: Lake, *offsets: int, partition: int = 0, topic: str = "db.people") -> None:
    """A bronze table, or one more file of it, with records of these offsets."""
    rows = pa.table(
        {
            "_topic": pa.array([topic] * len(offsets)),
            "_partition": pa.array([partition] * len(offsets), pa.int32()),
            "_offset": pa.array(offsets, pa.int64()),
        }
    )
    write_deltalake(lake.table(TABLE), rows, mode="append")


def _write(folder: Path, lines: Iterable[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "part-00000-x.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "part-00001-x.json").write_text("")
    (folder / ".part-00000-x.json.crc").write_bytes(b"crc\x00")
    (folder / "_SUCCESS").write_text("")
