"""How far each query is behind its topic, from the query's own offsets: Spark commits none to Kafka."""

from __future__ import annotations

from confluent_kafka import KafkaException

from checkpoints import offsets
from checkpoints.errors import UnreadableOffsets
from streams.bronze import BronzeStep
from streams.sources import Brokers


def committed_offsets(step: BronzeStep) -> dict[int, int]:
    """Partition -> the first offset that bronze has not yet taken; empty before the first batch."""
    held = step.table.position(step.app)
    if held is None:
        return {}
    return offsets.read_batch(step.lake, step.checkpoint, held).end.get(step.spec.source.topic, {})


def lag_of(step: BronzeStep, brokers: Brokers) -> dict[int, int] | None:
    """Partition -> records that the topic holds beyond what bronze has taken; None where that can not be told now."""
    try:
        taken = committed_offsets(step)
        ends = brokers.end_offsets(step.spec.source.topic, taken)
    except (KafkaException, KeyError, UnreadableOffsets):
        return None
    return {partition: max(0, end - taken.get(partition, 0)) for partition, end in ends.items()}
