"""How far each query is behind its topic, from the query's own offsets: Spark commits none to Kafka."""

from __future__ import annotations

from confluent_kafka import KafkaException

from checkpoints.errors import UnreadableOffsets
from streams.bronze import BronzeStep
from streams.sources import Brokers
from streams.starts import next_offsets


def lag_of(step: BronzeStep, brokers: Brokers) -> dict[int, int] | None:
    """Partition -> records that the topic holds beyond what bronze has taken; None where that can not be told now."""
    try:
        taken = next_offsets(step)
        ends = brokers.end_offsets(step.spec.source.topic, taken)
    except (KafkaException, KeyError, UnreadableOffsets):
        return None
    return {partition: max(0, end - taken.get(partition, 0)) for partition, end in ends.items()}
