"""The records that a silver table did not take: those of its error lane that had not gone through by then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from checkpoints.lake import Lake
from sinks.lanes.positions import POSITION, Positions
from sinks.lanes.reader import LaneReader
from sinks.lanes.verdicts import INSTANT

Counts = Callable[[str, pa.RecordBatch], pa.BooleanArray]
"""Which of the verdicts of a run count."""


def by_runs(runs: frozenset[str]) -> Counts:
    """Verdicts of these runs."""
    return lambda run_id, verdicts: pa.repeat(pa.scalar(run_id in runs), verdicts.num_rows)


def by_time(until: datetime) -> Counts:
    """Verdicts that were there at a time."""
    return lambda _, verdicts: pc.less_equal(verdicts["ingest_ts"], pa.scalar(until, INSTANT))


def open_records(lake: Lake, table: str, counts: Counts) -> pa.Table:
    """Where the records of a lane stood that no verdict which counts has let through: POSITION.

    What was rejected is a fact, as the rows of bronze are: rules may have changed since, and are not asked again.
    """
    reader = LaneReader(lake, table)
    through = Positions.of(
        batch.filter(pc.and_(counts(run_id, batch), pc.equal(pc.list_value_length(batch["violations"]), 0)))
        for run_id, batches in reader.verdicts()
        for batch in batches
    )
    found = (batch.select(POSITION.names) for batch in reader.records(with_bytes=False))
    left = [batch.filter(pc.invert(through.mask(batch))).cast(POSITION) for batch in found]
    return pa.Table.from_batches(left, POSITION)
