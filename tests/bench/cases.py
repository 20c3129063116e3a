"""What is measured, each as a streaming query that drains a topic and ends.

| case                 | what it does                                                                                  |
|----------------------|-----------------------------------------------------------------------------------------------|
| `read`               | Spark reads the topic into a sink that does nothing                                           |
| `from_json`          | and decodes the envelope by `from_json`                                                       |
| `unchecked`          | and appends what came of it to a Delta table with the columns of bronze, checking nothing     |
| `checked`            | Sluice's bronze step: contract, ledger, position, lane; every record is sound                 |
| `checked, 1% broken` | the same with one record in a hundred broken                                                  |

A case counts for nothing unless every event is where it belongs; see `verify` of each.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from checkpoints import ledger
from schemas import columns as c
from schemas.decode import Decoder
from schemas.loader import load
from schemas.settings import Settings
from streams.graph import Graph
from streams.sources import kafka_stream
from tests.bench import events, pipeline, topics
from tests.bench.machine import Tree, Usage
from tests.bench.outcome import Outcome, outcome_of


class WrongOutcome(Exception):
    """A case did not leave what it should have left: its time means nothing."""


@dataclass(frozen=True)
class Run:
    """One run of a case."""

    seconds: float
    usage: Usage
    written_bytes: int


@dataclass(frozen=True)
class Case(ABC):
    """A query over a topic of `events` records; `folder` is for what goes afterwards."""

    name: str
    spark: SparkSession
    settings: Settings
    folder: Path
    events: int
    topic: str

    def run(self, tree: Tree) -> Run:
        """Run it from nothing, see that it left what it should, and clean up."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))  # Delta remembers tables by their place
        settings = self.settings.model_copy(
            update={
                "lake": str(folder / "lake"),
                "pipeline": pipeline.write(folder / "pipeline", self.topic),
            }
        )
        graph = Graph.build(load(settings.pipeline), settings)
        writer = self.writer(kafka_stream(self.spark, settings, graph.bronze[pipeline.TABLE].spec), graph)
        gc.collect()
        pa.default_memory_pool().release_unused()
        with tree.watched() as usage:
            began = time.monotonic()
            query = writer.trigger(availableNow=True).start()
            query.awaitTermination()
            seconds = time.monotonic() - began
        self._same("events read", _read(query), self.events)
        self.verify(graph)
        written = sum(file.stat().st_size for file in (folder / "lake").rglob("*") if file.is_file())
        shutil.rmtree(folder)
        return Run(seconds, usage, written)

    @abstractmethod
    def writer(self, records: DataFrame, graph: Graph) -> DataStreamWriter:
        """The query."""

    def verify(self, graph: Graph) -> None:
        """See that the outcome is right, as far as there is one; raises WrongOutcome."""
        return

    def _same(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise WrongOutcome(f"{self.name}: {what}: {found}, and it should be {wanted}")

    def _outcome(self, graph: Graph) -> Outcome:
        """What table and lane hold, each of the topic's records once."""
        found = outcome_of(graph.lake.table(pipeline.TABLE), graph.lake.errors(pipeline.TABLE))
        last = -(-self.events // topics.PARTITIONS) - 1
        self._same("records and last offset", (found.records, found.last_offset), (self.events, last))
        return found

    @staticmethod
    def _checkpoint(graph: Graph) -> str:
        return graph.lake.checkpoint("bench", 0)


class Reading(Case):
    """Kafka to a sink that does nothing."""

    def writer(self, records: DataFrame, graph: Graph) -> DataStreamWriter:
        return records.writeStream.format("noop").option("checkpointLocation", self._checkpoint(graph))


class Decoding(Case):
    """Kafka through `from_json` to a sink that does nothing."""

    def writer(self, records: DataFrame, graph: Graph) -> DataStreamWriter:
        decoded = _decoded(records, graph.bronze[pipeline.TABLE].decoder)
        return decoded.writeStream.format("noop").option("checkpointLocation", self._checkpoint(graph))


class Appending(Case):
    """Any case that leaves a table."""


class Unchecked(Appending):
    """Kafka through `from_json` into a Delta table, as a plain script does it: no contract, no lane, no ledger.

    The table is made beforehand, with the columns and properties of the bronze table.
    """

    def writer(self, records: DataFrame, graph: Graph) -> DataStreamWriter:
        step = graph.bronze[pipeline.TABLE]
        step.prepare()
        path, decoder = step.table.path, step.decoder

        def append(batch: DataFrame, batch_id: int) -> None:
            _with_metadata(_decoded(batch, decoder), decoder, batch_id).write.format("delta").mode("append").save(path)

        return records.writeStream.option("checkpointLocation", self._checkpoint(graph)).foreachBatch(append)

    def verify(self, graph: Graph) -> None:
        self._same("rows", self._outcome(graph).rows, self.events)


class Checked(Appending):
    """Kafka through the bronze step, as the service runs it."""

    def writer(self, records: DataFrame, graph: Graph) -> DataStreamWriter:
        graph.prepare(self.spark)
        step = graph.bronze[pipeline.TABLE]

        def on_batch(batch: DataFrame, batch_id: int) -> None:
            outcome = step.run(batch, batch_id)
            if outcome.handover is not None:
                outcome.handover.rows.release()

        return records.writeStream.option("checkpointLocation", step.checkpoint).foreachBatch(on_batch)

    def verify(self, graph: Graph) -> None:
        """Each event is in the table or in the lane, once, and the ledger says the same."""
        handle = graph.tables[pipeline.TABLE].handle()
        entries = [entry for _, entry in ledger.entries(handle) if entry.step == "append"]
        broken = events.broken_in(self.events) if self.topic == topics.BROKEN else 0
        found = self._outcome(graph)
        self._same("rows", (found.rows, sum(entry.accepted for entry in entries)), (self.events - broken,) * 2)
        self._same("lane", (found.lane_lines, sum(entry.rejected for entry in entries)), (broken,) * 2)
        self._same("dropped", sum(sum(entry.dropped.values()) for entry in entries), 0)


def all_cases(settings: Settings, spark: SparkSession, folder: Path, count: int) -> list[Case]:
    """The cases as the service is set; those that append, in batches of half the width; and committed by Spark."""
    common = (
        (Reading, "read", topics.CLEAN),
        (Decoding, "from_json", topics.CLEAN),
        (Unchecked, "unchecked", topics.CLEAN),
        (Checked, "checked", topics.CLEAN),
        (Checked, "checked, 1% broken", topics.BROKEN),
    )
    half = settings.max_offsets_per_trigger // 2
    ways: tuple[tuple[str, dict[str, int], type[Case]], ...] = (
        ("", {}, Case),
        (f", {half:,} a batch", {"max_offsets_per_trigger": half}, Appending),
        (", by Spark", {"small_batch_rows": 0}, Checked),
    )
    return [
        kind(f"{name}{suffix}", spark, settings.model_copy(update=update), folder, count, topic)
        for suffix, update, least in ways
        for kind, name, topic in common
        if issubclass(kind, least)
    ]


def _decoded(records: DataFrame, decoder: Decoder) -> DataFrame:
    payload = F.from_json(F.col("value").cast("string"), decoder.payload).alias("payload")
    return records.select(payload, "topic", "partition", "offset", "timestamp", "key")


def _with_metadata(decoded: DataFrame, decoder: Decoder, batch_id: int) -> DataFrame:
    """The columns of the bronze table, as far as they can be had without looking at the record."""
    return decoded.select(
        "payload.*",
        F.col("topic").alias(c.TOPIC),
        F.col("partition").alias(c.PARTITION),
        F.col("offset").alias(c.OFFSET),
        F.col("timestamp").alias(c.KAFKA_TS),
        F.col("key").alias(c.KEY),
        _position(F.col("payload.source.lsn"), F.col("payload.op")).alias(c.SOURCE_POSITION),
        F.lit(decoder.contract.version).alias(c.CONTRACT_VERSION),
        F.lit(None).cast("string").alias(c.RESCUED_DATA),
        F.lit(None).cast("array<string>").alias(c.UNAVAILABLE),
        F.current_timestamp().alias(c.INGEST_TS),
        F.lit(str(batch_id)).alias(c.BATCH_ID),
        F.lit("shop").alias(c.SOURCE_SYSTEM),
        F.current_date().alias(c.RUN_DATE),
    )


def _position(lsn: Column, op: Column) -> Column:
    """`_source_position` of a PostgreSQL event, as a script would work it out."""
    fields = {
        "epoch": F.lit(0),
        "major": lsn,
        "minor": F.when(op == "r", -1).otherwise(lsn),
        "row": F.lit(0),
        "partition": F.col("partition"),
        "offset": F.col("offset"),
    }
    return F.struct(*(column.alias(name) for name, column in fields.items())).cast(c.POSITION_TYPE)


def _read(query: StreamingQuery) -> int:
    return sum(int(progress["numInputRows"]) for progress in query.recentProgress)
