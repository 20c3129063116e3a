"""A silver table with a gate behind it, written by the driver alone: no Spark is needed while changes are small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType, TimestampType

from checkpoints import ledger
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from schemas.quality.rule import Rule
from schemas.spec import CurrentSpec
from sinks import engine
from sinks.commit import Commit
from sinks.engine import Merge
from sinks.table import Table
from streams.quality.gate import Gate, Judgement
from streams.quality.judge import Suite
from streams.quality.results import Results

NO_SPARK = cast(SparkSession, None)
CLOCK = datetime(2024, 5, 17, 12, tzinfo=UTC)
SCHEMA = StructType(
    [
        StructField("id", LongType()),
        StructField("name", StringType()),
        StructField("price", DoubleType()),
        StructField("at", TimestampType()),
    ]
)
COLUMNS = pa.schema(
    [("id", pa.int64()), ("name", pa.string()), ("price", pa.float64()), ("at", pa.timestamp("us", "UTC"))]
)
SPEC = CurrentSpec.model_validate(
    {
        "table": "silver.items",
        "from": "bronze.items",
        "keys": ["id"],
        "sequence_by": ["_source_position"],
        "stored_as_scd_type": 1,
        "select": {name: name for name in SCHEMA.names},
    }
)


@dataclass
class Items:
    """The table, and gates behind it as they come and go with the service."""

    lake: Lake
    few_rows: int = 1000
    table: Table = field(init=False)
    others: dict[str, Table] = field(default_factory=dict)
    seen: list[Judgement] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = created(self.lake, "silver.items")

    def gate(self, *rules: Rule, private: Sequence[str] = ()) -> Gate:
        """A gate of a service that has just started."""
        results = Results(self.lake)
        results.ensure()
        suite = Suite(rules, ("id",), private=set(private).__contains__)
        return Gate(self.table, SPEC, suite, results, self.others, self.few_rows, observers=[self.seen.append])

    def put(self, *rows: tuple[Any, ...], delete: Sequence[int] = (), into: Table | None = None) -> int:
        """Rows (id, name, price, minutes after CLOCK) go over those of the same id; the version that has them."""
        table = into or self.table
        filled = [(*row, *(None,) * (4 - len(row))) for row in (*rows, *((gone,) for gone in delete))]
        minutes = [None if row[3] is None else CLOCK + timedelta(minutes=row[3]) for row in filled]
        columns = [*zip(*(row[:3] for row in filled), strict=True), minutes]
        source = pa.table([pa.array(c, f.type) for c, f in zip(columns, COLUMNS, strict=True)], COLUMNS)
        source = source.append_column("gone", pa.array([row[0] in delete for row in filled]))
        merge = Merge(["id"], SCHEMA.names, "s.gone", "NOT s.gone", "NOT s.gone")
        return engine.merge(table, source, merge, Commit({}, _entry(table, upserts=len(filled))))

    def pass_by(self) -> int:
        """A commit without rows."""
        return self.table.commit_position(Commit({"x": 1}, _entry(self.table)))


def _entry(table: Table, **rows: int) -> LedgerEntry:
    version = table.version()
    return LedgerEntry(
        table=table.name,
        step="merge" if rows else "position",
        run_id=ledger.run_id(table.name, version),
        clock=CLOCK + timedelta(minutes=version),
        generation=0,
        engine="driver",
        source="feed",
        rows=rows,
    )


def created(lake: Lake, name: str) -> Table:
    table = Table(name, lake)
    table.ensure(SCHEMA, (), additive=False)
    return table
