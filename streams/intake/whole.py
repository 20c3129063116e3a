"""The records of a planned batch, with those that came into its range after it was planned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession

from checkpoints.planned_batches import PlannedBatches
from streams.bronze import BronzeStep
from streams.intake.jdbc import JdbcSource
from streams.intake.source import Planned, Source


@contextmanager
def whole_batch(
    step: BronzeStep, source: Source, spark: SparkSession, batches: PlannedBatches, batch: int
) -> Iterator[DataFrame]:
    """The records of a planned batch, held for as long as they are used where the same question may be answered anew.

    A database may have more rows in the range of a batch by now: of transactions that were committed late. They are
    taken too, and the batch is made wider for them before anything is written. One that the table holds stays as it is.
    """
    offsets = batches.offsets(batch)
    start, end = offsets.start[source.topic], offsets.end[source.topic]
    records = source.read(spark, Planned(batches.reads(batch), end), start)
    held = step.table.position(step.app)
    if not isinstance(source, JdbcSource) or (held is not None and held >= batch):
        yield records
        return
    records.persist()
    try:
        last = start[0] + records.count()
        if last > end[0]:
            batches.widen(batch, source.topic, {0: last})
        yield records
    finally:
        records.unpersist()
