"""Fills the two topics, in a process of its own: what its client holds in memory is no part of what is measured."""

from __future__ import annotations

import subprocess
import sys

from confluent_kafka import Producer

from tests.bench.events import keys_and_values

CLEAN, BROKEN = "bench.orders", "bench.orders_broken"
PARTITIONS = 4
_TIMEOUT_SECONDS = 600.0
_POLL_EVERY = 5_000


def fill(bootstrap: str, count: int) -> None:
    """So many events on each topic."""
    subprocess.run([sys.executable, "-m", "tests.bench.topics", bootstrap, str(count)], check=True)


def _produce(bootstrap: str, topic: str, count: int) -> None:
    failed: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": 1,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 200_000,
            "on_delivery": lambda error, _: failed.append(str(error)) if error else None,
        }
    )
    for index, (key, value) in enumerate(keys_and_values(count, broken=topic == BROKEN)):
        while True:
            try:
                producer.produce(topic, value, key, partition=index % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
        if index % _POLL_EVERY == 0:
            producer.poll(0)
    if producer.flush(_TIMEOUT_SECONDS) or failed:
        raise SystemExit(f"{len(failed)} records did not reach {topic}: {failed[:1]}")


if __name__ == "__main__":
    address, number = sys.argv[1:]
    for name in (CLEAN, BROKEN):
        _produce(address, name, int(number))
