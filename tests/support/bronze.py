"""Batches for the bronze step without a broker: the records, and the offset log that Spark would have written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from streams.bronze import BatchOutcome, BronzeStep
from streams.graph import Graph

KAFKA_COLUMNS = (
    "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp, "
    "headers array<struct<key: string, value: binary>>"
)
CLOCK_MS = 1_767_312_000_000  # 2026-01-02 00:00:00 UTC


def change(
    op: str, row: dict[str, Any] | None, lsn: int, ts_ms: int = 0, before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A change event as Debezium's PostgreSQL connector gives it."""
    source = {"connector": "postgresql", "name": "shop", "lsn": lsn, "ts_ms": ts_ms, "snapshot": "false"}
    return {"before": before, "after": row, "source": source, "op": op, "ts_ms": ts_ms}


def value_of(record: Any) -> bytes | None:
    return record if record is None or isinstance(record, bytes) else json.dumps(record).encode()


@dataclass
class Feeder:
    """Feeds batches of records into the bronze steps of a graph, one partition a topic, offsets counted on."""

    spark: SparkSession
    graph: Graph
    next_offset: dict[str, int] = field(default_factory=dict)
    next_batch: dict[str, int] = field(default_factory=dict)
    headers: list[tuple[str, bytes | None]] | None = None

    def records(self, table: str, records: Sequence[Any], first_offset: int) -> DataFrame:
        topic = self.graph.bronze[table].spec.source.topic
        rows = [
            (b"k", value_of(record), topic, 0, first_offset + index, None, self.headers)
            for index, record in enumerate(records)
        ]
        return self.spark.createDataFrame(rows, KAFKA_COLUMNS)

    def feed(self, table: str, *records: Any) -> BatchOutcome:
        """The next batch of a table."""
        step = self.graph.bronze[table]
        batch_id = self.next_batch.get(table, 0)
        first = self.next_offset.get(table, 0)
        plan_batch(step, batch_id, first + len(records))
        outcome = step.run(self.records(table, records, first), batch_id)
        self.next_batch[table] = batch_id + 1
        self.next_offset[table] = first + len(records)
        return outcome

    def drive(self, outcome: BatchOutcome | None = None, only: str | None = None) -> None:
        """Bring every table below bronze up to date, in order, with the batch in hand where there is one."""
        handover = outcome.handover if outcome else None
        for name, step in self.graph.below.items():
            if only is not None and name != only:
                continue
            is_below = handover is not None and name in self.graph.pipeline.downstreams(handover.table)
            step.run(self.spark, handover if is_below else None)
        if handover is not None:
            handover.rows.release()

    def feed_and_drive(self, table: str, *records: Any) -> BatchOutcome:
        outcome = self.feed(table, *records)
        self.drive(outcome)
        return outcome


def plan_batch(step: BronzeStep, batch_id: int, end: int, clock_ms: int | None = None) -> None:
    """What Spark writes before it runs a batch."""
    checkpoint = Path(step.checkpoint)
    for folder in ("offsets", "sources/0"):
        (checkpoint / folder).mkdir(parents=True, exist_ok=True)
    topic = step.spec.source.topic
    (checkpoint / "sources/0/0").write_text("\0v1\n" + json.dumps({topic: {"0": 0}}))
    metadata = {"batchWatermarkMs": 0, "batchTimestampMs": clock_ms or CLOCK_MS + 1000 * batch_id, "conf": {}}
    text = "\n".join(["v1", json.dumps(metadata), json.dumps({topic: {"0": end}})])
    (checkpoint / "offsets" / str(batch_id)).write_text(text)
    (checkpoint / "metadata").write_text('{"id":"of a test"}')
    if batch_id:  # Spark plans a batch once the one before is committed
        (checkpoint / "commits").mkdir(exist_ok=True)
        (checkpoint / "commits" / str(batch_id - 1)).write_text("v1\n{}")
