"""The traffic against a real PostgreSQL and Kafka: what it counts is what is there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import psycopg
import pytest

from deploy.embedded import shop
from deploy.embedded.behavior import BEHAVIOR_TOPIC
from deploy.embedded.shop import FX_RATES_TOPIC
from deploy.embedded.stack import EmbeddedStack
from schemas.settings import KafkaSettings
from streams.demo.broken import ORDERS_TOPIC, Record
from streams.demo.changes import RowChange, Seeded, changes
from streams.demo.traffic import Traffic
from streams.sources import Brokers
from tests.support.shop import encoded

pytestmark = pytest.mark.stack

SEEDED = Seeded(customers=30, products=5, orders=40)
NOW = datetime(2026, 3, 14, tzinfo=UTC)
TOPICS = (FX_RATES_TOPIC, ORDERS_TOPIC, BEHAVIOR_TOPIC)
WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack() as running:
        running.create_topics(dict.fromkeys(TOPICS, 1))
        yield running


@pytest.fixture
def dsn(stack: EmbeddedStack) -> str:
    with psycopg.connect(stack.postgres.dsn) as connection:
        connection.execute("DROP TABLE IF EXISTS customers, products, orders")
    shop.create_tables(stack.postgres.dsn)
    shop.seed(stack.postgres.dsn, customers=SEEDED.customers, products=SEEDED.products, orders=SEEDED.orders)
    return stack.postgres.dsn


def run(traffic: Traffic) -> None:
    traffic.start()
    for _ in range(int(WAIT_SECONDS * 10)):
        if traffic.has_ended:
            break
        traffic._thread.join(0.1)
    assert traffic.has_ended


def ends(stack: EmbeddedStack) -> dict[str, int]:
    brokers = Brokers(KafkaSettings(bootstrap_servers=stack.kafka.bootstrap))
    found = {topic: sum(brokers.end_offsets(topic, {}).values()) for topic in TOPICS}
    brokers.close()
    return found


def test_what_it_counts_is_what_is_there(stack: EmbeddedStack, dsn: str) -> None:
    before = ends(stack)
    traffic = Traffic(dsn, stack.kafka.bootstrap, changes(SEEDED, NOW, encoded), seconds=3, rate=100)
    run(traffic)
    assert traffic.error is None
    made = list(islice(changes(SEEDED, NOW, encoded), traffic.made))
    written = [one for one in made if isinstance(one, Record)]
    assert sum(traffic.broken.values()) == sum(one.is_broken for one in written) > 0
    after = ends(stack)
    for topic in before:
        assert after[topic] - before[topic] == sum(one.topic == topic for one in written)
    assert traffic.events == [one.event for one in written if one.event is not None]
    assert traffic.events
    rows = [one for one in made if isinstance(one, RowChange)]
    assert sum(traffic.records.values()) == len(written) + sum(one.records for one in rows)
    with psycopg.connect(dsn) as connection:
        for table in ("customers", "products", "orders"):
            mine = [one.statement.partition(" ")[0] for one in rows if one.table == table]
            expected = getattr(SEEDED, table) + mine.count("INSERT") - mine.count("DELETE")
            count = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            assert count == (expected,)


def test_every_change_finds_its_row(stack: EmbeddedStack, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for change in islice(changes(SEEDED, NOW, encoded, seed=5), 400):
            if isinstance(change, RowChange):
                assert connection.execute(change.statement.encode(), change.values).rowcount == 1


def test_it_stops_when_told(stack: EmbeddedStack, dsn: str) -> None:
    traffic = Traffic(dsn, stack.kafka.bootstrap, changes(SEEDED, NOW, encoded), seconds=600, rate=1)
    traffic.start()
    traffic.stop()
    assert traffic.has_ended
    assert traffic.made <= 1
    assert traffic.error is None


def test_a_database_that_refuses_ends_it_with_a_sentence(stack: EmbeddedStack, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP TABLE orders")
    traffic = Traffic(dsn, stack.kafka.bootstrap, changes(SEEDED, NOW, encoded), seconds=3, rate=50)
    run(traffic)
    assert traffic.error is not None
    assert 'relation "orders" does not exist' in str(traffic.error)
