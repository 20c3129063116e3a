"""A table of every kind of column in PostgreSQL and in silver, the latter written by hand as its step would."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from checkpoints.lake import Lake
from schemas import columns as c
from schemas.arrow_values import arrow_type
from schemas.loader import load
from schemas.settings import SourceSettings
from streams.reconcile.report import Reconciliation
from streams.reconcile.table import Limits, reconcile

TABLE = "silver.things"
COLUMNS = {
    "id": (pa.int64(), "bigint"),
    "name": (pa.string(), "text"),
    "amount": (pa.decimal128(18, 4), "numeric(24, 6)"),
    "flag": (pa.bool_(), "boolean"),
    "day": (pa.date32(), "date"),
    "at": (pa.timestamp("us", "UTC"), "timestamptz"),
    "local_at": (pa.timestamp("us"), "timestamp"),
    "uid": (pa.string(), "uuid"),
    "code": (pa.string(), "char(4)"),
    "raw": (pa.binary(), "bytea"),
    "ratio": (pa.float64(), "double precision"),
    "small": (pa.int32(), "smallint"),
}
ROW: dict[str, Any] = {
    "id": 1,
    "name": "Zoë: 🐦 1:n",
    "amount": Decimal("12.5"),
    "flag": True,
    "day": date(2026, 3, 29),
    "at": datetime(2026, 3, 29, 1, 30, 0, 1, UTC),
    "local_at": datetime(1969, 12, 31, 23, 59, 59, 999_999),
    "uid": "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
    "code": "AB  ",
    "raw": b"\x00\xff",
    "ratio": 0.1,
    "small": -3,
}
METADATA = {
    c.SEQUENCE: arrow_type(c.POSITION_TYPE),
    c.INGEST_TS: pa.timestamp("us", "UTC"),
    c.BATCH_ID: pa.string(),
    c.SOURCE_SYSTEM: pa.string(),
    c.RUN_DATE: pa.date32(),
}
CLOCK = datetime(2026, 1, 2, 12, tzinfo=UTC)


def row(**changed: Any) -> dict[str, Any]:
    return {**ROW, **changed}


def write_pipeline(
    folder: Path, *, keys: Sequence[str] = ("id",), private: Sequence[str] = (), **reconcile: Any
) -> Path:
    """The folder of the pipeline; words of `reconcile` as they are given."""
    (folder / "contracts").mkdir(parents=True)
    (folder / "tables").mkdir()
    properties = {name: {"type": "string", **({"x-pii": True} if name in private else {})} for name in COLUMNS}
    contract = {"x-version": "1", "type": "object", "properties": properties}
    (folder / "contracts" / "things.schema.json").write_text(json.dumps(contract))
    bronze = {"table": "bronze.things", "contract": "things", "keys": list(keys)}
    bronze["source"] = {"topic": "db.things", "format": "debezium-json"}
    silver = {
        "table": TABLE,
        "from": "bronze.things",
        "keys": list(keys),
        "sequence_by": ["_source_position"],
        "apply_as_deletes": "op = 'd'",
        "stored_as_scd_type": 1,
        "select": {name: f"after.{name}" for name in COLUMNS},
        **({"pii": dict.fromkeys(private, "keep")} if private else {}),
        "reconcile": {
            "source": "town",
            "table": "things",
            "select": {name: name for name in COLUMNS},
            **reconcile,
        },
    }
    # JSON is YAML.
    (folder / "tables" / "bronze.things.yml").write_text(json.dumps(bronze))
    (folder / "tables" / f"{TABLE}.yml").write_text(json.dumps(silver))
    return folder


@dataclass
class Both:
    """Both sides: `source` and `silver` write rows, `reconcile` compares them."""

    dsn: str
    login: SourceSettings
    lake: Lake
    pipeline: Path
    slept: list[float] = field(default_factory=list)
    while_waiting: list[Callable[[], object]] = field(default_factory=list)

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement.encode())

    def create(self) -> None:
        columns = ", ".join(f"{name} {type_}" for name, (_, type_) in COLUMNS.items())
        self.sql(f"DROP TABLE IF EXISTS things; CREATE TABLE things ({columns})")

    def source(self, *rows: Mapping[str, Any]) -> None:
        names, marks = ", ".join(COLUMNS), ", ".join(["%s"] * len(COLUMNS))
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO things ({names}) VALUES ({marks})".encode(),
                [[one[name] for name in COLUMNS] for one in rows],
            )

    def silver(self, *rows: Mapping[str, Any], lsn: int = 1, mode: str = "append") -> None:
        position = {"epoch": 0, "major": lsn, "minor": 1, "row": 0, "partition": 0, "offset": 1}
        metadata = {
            c.SEQUENCE: position,
            c.INGEST_TS: CLOCK,
            c.BATCH_ID: "b",
            c.SOURCE_SYSTEM: "town",
            c.RUN_DATE: CLOCK.date(),
        }
        schema = pa.schema([*((name, type_) for name, (type_, _) in COLUMNS.items()), *METADATA.items()])
        found = pa.Table.from_pylist([{**one, **metadata} for one in rows], schema=schema)
        write_deltalake(self.lake.table(TABLE), found, mode=mode)

    def delta(self) -> DeltaTable:
        return DeltaTable(self.lake.table(TABLE))

    def both(self, *rows: Mapping[str, Any]) -> None:
        self.source(*rows)
        self.silver(*rows)

    def reconcile(self, **limits: Any) -> Reconciliation:
        """Compare; instead of each pause, what stands next in `while_waiting` is done."""

        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            if self.while_waiting:
                self.while_waiting.pop(0)()

        limits = {"wait_seconds": 0, **limits}
        sources = {"town": self.login}
        return reconcile(load(self.pipeline), TABLE, sources, self.lake, Limits(**limits), sleep)

    def texts(self, **limits: Any) -> list[str]:
        return [one.text for one in self.reconcile(**limits).differences]
