"""What PostgreSQL commits arrives on Kafka as Debezium writes it: snapshot, changes, tombstones."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer

from deploy.embedded.connect import Capture
from deploy.embedded.errors import MissingTablesError, NotRunningError, StartError
from deploy.embedded.stack import EmbeddedStack

pytestmark = pytest.mark.stack

TABLE, TOPIC = "public.item", "shop.public.item"
HEARTBEATS = "__debezium-heartbeat.shop"
CAPTURE = Capture((TABLE,))


@dataclass
class Feed:
    """What arrived on the topics so far, decoded, in the order of arrival."""

    consumer: Consumer
    by_topic: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)

    def until(self, topic: str, count: int) -> list[dict[str, Any] | None]:
        for _ in range(600):
            if len(self.by_topic.get(topic, [])) >= count:
                break
            message = self.consumer.poll(0.1)
            if message is not None and message.error() is None:
                value = message.value()
                decoded = None if value is None else json.loads(value)
                self.by_topic.setdefault(message.topic() or "", []).append(decoded)
        return self.by_topic.get(topic, [])


def feed_of(stack: EmbeddedStack, *topics: str) -> Feed:
    settings = {
        "bootstrap.servers": stack.kafka.bootstrap,
        "group.id": f"test_debezium.{topics[0]}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "log_level": 0,
    }
    stack.create_topics(dict.fromkeys(topics, 1))
    consumer = Consumer(settings)
    consumer.subscribe(list(topics))
    return Feed(consumer)


@pytest.fixture(scope="module")
def captured(stack: EmbeddedStack) -> Iterator[Feed]:
    with psycopg.connect(stack.postgres.dsn) as connection:
        connection.execute("CREATE TABLE item (id bigint PRIMARY KEY, name text, price numeric(12, 2))")
        connection.execute("INSERT INTO item VALUES (1, 'lamp', 12.50), (2, 'vase', 7)")
    stack.start_connect(CAPTURE)
    feed = feed_of(stack, TOPIC, HEARTBEATS)
    yield feed
    feed.consumer.close()
    stack.connect.stop()


def execute(stack: EmbeddedStack, *statements: str) -> None:
    for statement in statements:
        with psycopg.connect(stack.postgres.dsn) as connection:
            connection.execute(statement)


def test_tables_that_are_not_there_are_named_before_anything_starts(stack: EmbeddedStack) -> None:
    with pytest.raises(MissingTablesError, match=r"no table public\.nowhere\b.*Create them before"):
        stack.start_connect(Capture(("public.nowhere",)))
    with pytest.raises(NotRunningError, match=r"start_connect\(\)"):
        _ = stack.connect


def test_every_kind_of_change_arrives(stack: EmbeddedStack, captured: Feed) -> None:
    assert [event and event["op"] for event in captured.until(TOPIC, 2)] == ["r", "r"]
    execute(
        stack,
        "INSERT INTO item VALUES (3, 'bowl', 3.10)",
        "UPDATE item SET price = 13 WHERE id = 1",
        "DELETE FROM item WHERE id = 2",
        "TRUNCATE item",
    )
    events = captured.until(TOPIC, 7)
    kinds = [event["op"] if event else "tombstone" for event in events]
    assert kinds == ["r", "r", "c", "u", "d", "tombstone", "t"]
    rows = [event["after"] if event else None for event in events]
    assert rows == [
        {"id": 1, "name": "lamp", "price": "12.50"},
        {"id": 2, "name": "vase", "price": "7.00"},
        {"id": 3, "name": "bowl", "price": "3.10"},
        {"id": 1, "name": "lamp", "price": "13.00"},
        None,
        None,
        None,
    ]


def test_positions_grow_with_the_changes(stack: EmbeddedStack, captured: Feed) -> None:
    positions = [event["source"]["lsn"] for event in captured.until(TOPIC, 7) if event]
    assert positions == sorted(positions)


def test_heartbeats_come_while_nothing_changes(captured: Feed) -> None:
    count = len(captured.by_topic.get(HEARTBEATS, []))
    assert len(captured.until(HEARTBEATS, count + 2)) >= count + 2


def test_a_killed_connect_goes_on_where_it_was(stack: EmbeddedStack, captured: Feed) -> None:
    before = len(captured.until(TOPIC, 7))
    stack.connect.kill()
    execute(stack, "INSERT INTO item VALUES (4, 'while it was down', 1)")
    stack.connect.start()
    names: list[str] = []
    while "while it was down" not in names:
        before += 1
        events = captured.until(TOPIC, before)
        assert len(events) >= before, "the change never arrived"
        names = [event["after"]["name"] for event in events if event and event["after"]]


def test_the_replication_is_by_its_own_role(stack: EmbeddedStack, captured: Feed) -> None:
    with psycopg.connect(stack.postgres.admin_dsn) as connection:
        senders = connection.execute("SELECT DISTINCT usename FROM pg_stat_replication").fetchall()
    assert senders == [("debezium",)]


def test_no_password_is_in_its_log(stack: EmbeddedStack, captured: Feed) -> None:
    assert stack.postgres.replication.password not in stack.connect.log.read_text()


def test_a_connector_that_fails_is_quoted(stack: EmbeddedStack, captured: Feed) -> None:
    with pytest.raises(StartError, match='database "nowhere" does not exist'):
        stack.start_connect(replace(CAPTURE, connector={"database.dbname": "nowhere"}))
    assert not stack.connect.running
    stack.start_connect(CAPTURE)


def test_the_schema_envelope_is_there_when_asked_for(stack: EmbeddedStack, captured: Feed) -> None:
    stack.start_connect(replace(CAPTURE, schemas_enable=True))
    count = len(captured.until(TOPIC, 1))
    execute(stack, "INSERT INTO item VALUES (5, 'with its schema', 1)")
    event: dict[str, Any] | None = None
    while not (event and "schema" in event):
        count += 1
        events = captured.until(TOPIC, count)
        assert len(events) >= count, "no event with a schema arrived"
        event = events[count - 1]
    assert event["payload"]["after"]["name"] == "with its schema"


def test_another_connector_on_a_table_made_anew_loses_nothing(stack: EmbeddedStack, captured: Feed) -> None:
    feed = feed_of(stack, "other.public.item")
    execute(stack, "DROP TABLE item", "CREATE TABLE item (id bigint PRIMARY KEY)")
    stack.start_connect(Capture((TABLE,), topic_prefix="other"))
    # Some are in its snapshot, some happen before it reads the log, and some after.
    count = 500
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
        for number in range(count):
            connection.execute("INSERT INTO item VALUES (%s)", (number,))
            time.sleep(0.005)
    events = feed.until("other.public.item", count)
    feed.consumer.close()
    assert [event and event["after"]["id"] for event in events] == list(range(count))
