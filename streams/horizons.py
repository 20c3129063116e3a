"""How near what has still to be read is to being removed: by a topic's retention, or by VACUUM of a table above."""

from __future__ import annotations

import math
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
    """(seconds until the first record that is still to be read may be removed, seconds from when it was written).

    By the topic's `retention.ms`, or by its `retention.bytes` where that is nearer: a record goes when so many bytes
    lie behind it, at the pace at which they came since it was written. None where the topic keeps all.
    """
    topic = step.spec.source.topic
    retention = brokers.retention(topic)
    if retention.seconds is None and retention.bytes is None:
        return None
    bounds, following = brokers.bounds(topic), next_offsets(step)
    for_ever = retention.seconds if retention.seconds is not None else math.inf
    found = [(for_ever, for_ever)]
    for partition, (first, end) in bounds.partitions.items():
        offset = max(following.get(partition, first), first)
        sample = brokers.sample(topic, partition, offset) if offset < end else None
        if sample is None:
            continue
        age = max(1.0, (now - sample.written).total_seconds())
        if retention.seconds is not None:
            found.append((retention.seconds - age, retention.seconds))
        if retention.bytes is not None and sample.mean_bytes:
            whole = age * retention.bytes / (sample.mean_bytes * (end - offset))
            found.append((whole - age, whole))
    return min(found, key=lambda one: one[0] / one[1] if math.isfinite(one[1]) and one[1] else 1.0)
