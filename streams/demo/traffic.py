"""The traffic: a thread that makes the shop's changes at a steady rate, and counts what it made."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import psycopg
from confluent_kafka import KafkaError, KafkaException, Producer

from deploy.embedded.behavior import BehaviorEvent
from schemas.errors import SluiceError
from streams.demo.broken import Record
from streams.demo.changes import Change

_FLUSH_SECONDS = 30.0


class TrafficStopped(SluiceError):
    """PostgreSQL or Kafka refused a change."""

    def __init__(self, made: int, reason: str) -> None:
        self.made = made
        super().__init__(f"The demo's traffic stopped after {made} changes: {reason.strip()}")


class Traffic:
    """Makes up to `seconds * rate` changes, each when its time has come; a slow machine makes fewer.

    `kinds` counts the changes by kind, `records` and `broken` the records by topic, those of Debezium included;
    `events` are what visitors did, those that were sent again too.
    """

    def __init__(self, dsn: str, bootstrap: str, changes: Iterator[Change], *, seconds: int, rate: int) -> None:
        self.kinds: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.events: list[BehaviorEvent] = []
        self.error: TrafficStopped | None = None
        self._dsn, self._bootstrap = dsn, bootstrap
        self._changes, self._seconds, self._rate = changes, seconds, rate
        self._refused: list[KafkaError] = []
        self._stopping = threading.Event()
        self._began: float | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    @property
    def made(self) -> int:
        """The changes so far."""
        return sum(self.kinds.values())

    @property
    def elapsed_seconds(self) -> float:
        """How long it has been going on, up to its end."""
        return 0.0 if self._began is None else min(time.monotonic() - self._began, float(self._seconds))

    @property
    def has_ended(self) -> bool:
        """Whether all changes have been made, or it was stopped."""
        return self._began is not None and not self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Make no further change, and wait for the one in hand."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_FLUSH_SECONDS)

    def _run(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "enable.idempotence": True, "log_level": 0})
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                self._make_all(connection, producer)
            left = producer.flush(_FLUSH_SECONDS)
            if left or self._refused:
                reason = self._refused[0].str() if self._refused else f"{left} records did not reach Kafka."
                self.error = TrafficStopped(self.made, reason)
        except (psycopg.Error, KafkaException, BufferError) as error:
            self.error = TrafficStopped(self.made, str(error))

    def _make_all(self, connection: psycopg.Connection[tuple[object, ...]], producer: Producer) -> None:
        began = time.monotonic()
        for number in range(self._seconds * self._rate):
            due = began + number / self._rate
            if self._stopping.wait(max(0.0, due - time.monotonic())) or time.monotonic() > began + self._seconds:
                break
            self._make(next(self._changes), connection, producer)

    def _make(self, change: Change, connection: psycopg.Connection[tuple[object, ...]], producer: Producer) -> None:
        if isinstance(change, Record):
            producer.produce(change.topic, key=change.key, value=change.value, on_delivery=self._on_delivery)
            producer.poll(0)
            self.records[change.topic] += 1
            self.broken[change.topic] += change.is_broken
            if change.event is not None:
                self.events.append(change.event)
        else:
            connection.execute(change.statement.encode(), change.values)
            self.records[change.topic] += change.records
        self.kinds[change.kind] += 1

    def _on_delivery(self, error: KafkaError | None, message: object) -> None:
        del message
        if error is not None:
            self._refused.append(error)
