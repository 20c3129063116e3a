"""How near what has still to be read is to being removed: by a topic's retention, or by VACUUM of a table above."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaException

from schemas.errors import SluiceError
from streams import logs
from streams.acts.vacuum import oldest_unread
from streams.bronze import BronzeStep
from streams.explain import explain
from streams.graph import Graph
from streams.metrics import Metrics
from streams.sources import Brokers
from streams.starts import next_offsets

log = logs.get(__name__)

VACUUM_HOURS = 168.0
"""What `sluice vacuum` keeps unless it is told otherwise."""


def watch_horizons(graph: Graph, brokers: Brokers, metrics: Metrics, now: datetime | None = None) -> None:
    """Measure how long each query and table has left to read what comes next; what can not be told now is left out."""
    now = now or datetime.now(UTC)
    for name, step in graph.bronze.items():
        if step.spec.source.jdbc is not None or not step.table.exists:
            continue
        try:
            found = topic_headroom(step, brokers, now)
        except (KafkaException, SluiceError) as error:
            log.debug("retention not known", query=name, error=explain(error))
            continue
        if found is not None:
            metrics.topic_horizon(name, step.spec.source.topic, headroom=found[0], retention=found[1])
    for name in graph.below:
        for upstream in graph.pipeline.upstreams(name):
            if graph.tables[name].exists and graph.tables[upstream].exists:
                try:
                    unread = oldest_unread(graph, upstream, name)
                except SluiceError as error:
                    log.debug("horizon not known", table=name, error=explain(error))
                    continue
                left = timedelta(hours=VACUUM_HOURS) - (now - unread if unread is not None else timedelta())
                metrics.feed_horizon(name, upstream, left.total_seconds())


def topic_headroom(step: BronzeStep, brokers: Brokers, now: datetime) -> tuple[float, float] | None:
    """(seconds until the first record that is still to be read may be removed, retention); None where for ever."""
    topic = step.spec.source.topic
    retention = brokers.retention_seconds(topic)
    if retention is None:
        return None
    bounds = brokers.bounds(topic)
    left = retention
    for partition, offset in next_offsets(step).items():
        if partition not in bounds.partitions or offset >= bounds.end(partition):
            continue
        written = brokers.written_at(topic, partition, max(offset, bounds.first(partition)))
        if written is not None:
            left = min(left, retention - (now - written).total_seconds())
    return left, retention
