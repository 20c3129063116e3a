"""The broker keeps its address and its records, whatever happens to its process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.embedded import component
from deploy.embedded.errors import NotRunningError, StartError, ToolFailedError
from deploy.embedded.kafka import KafkaBroker
from deploy.embedded.ports import LOOPBACK, free_ports
from deploy.embedded.stack import EmbeddedStack

pytestmark = pytest.mark.stack


def write(bootstrap: str, topic: str, *values: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def read(bootstrap: str, topic: str, count: int) -> list[str]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        messages = consumer.consume(count, 30)
    finally:
        consumer.close()
    return [(message.value() or b"").decode() for message in messages]


def partitions(bootstrap: str) -> dict[str, int]:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    one = KafkaBroker(tmp_path / "kafka")
    yield one
    one.kill()


def test_topics_are_created_once_and_left_as_they_are(stack: EmbeddedStack) -> None:
    stack.create_topics({"created.one": 1, "created.three": 3})
    stack.create_topics({"created.three": 1})
    stack.create_topics({})
    found = partitions(stack.kafka.bootstrap)
    assert (found["created.one"], found["created.three"]) == (1, 3)


def test_a_topic_that_nobody_created_does_not_appear(stack: EmbeddedStack) -> None:
    # Spark's consumers ask in this way, too.
    asking = {"bootstrap.servers": stack.kafka.bootstrap, "group.id": "x", "allow.auto.create.topics": True}
    consumer = Consumer(asking)
    assert consumer.list_topics("misspelt", 10).topics["misspelt"].error is not None
    consumer.close()
    assert "misspelt" not in partitions(stack.kafka.bootstrap)


def test_a_killed_broker_comes_back_with_its_records_at_its_address(broker: KafkaBroker) -> None:
    broker.start()
    address, pids = broker.bootstrap, broker.pids
    broker.create_topics({"kept": 1})
    write(address, "kept", "before")
    broker.kill()
    assert not broker.running
    broker.start()
    assert broker.bootstrap == address
    assert set(broker.pids).isdisjoint(pids)
    write(address, "kept", "after")
    assert read(address, "kept", 2) == ["before", "after"]
    broker.restart()
    assert read(address, "kept", 2) == ["before", "after"]
    assert broker.log.exists()


def test_starting_twice_changes_nothing(stack: EmbeddedStack) -> None:
    pids = stack.kafka.pids
    stack.kafka.start()
    assert stack.kafka.pids == pids


def test_a_paused_broker_does_not_answer_and_a_resumed_one_does(stack: EmbeddedStack) -> None:
    admin = AdminClient({"bootstrap.servers": stack.kafka.bootstrap, "log_level": 0})
    stack.kafka.pause()
    try:
        assert stack.kafka.running
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=1)
    finally:
        stack.kafka.resume()
    assert admin.list_topics(timeout=30).brokers


def test_it_listens_on_the_loopback_interface_alone(stack: EmbeddedStack, listening: Callable[[int], set[str]]) -> None:
    assert {address.removeprefix("::ffff:") for address in listening(stack.kafka.pids[0])} == {LOOPBACK}


def test_a_port_that_was_taken_in_between_is_replaced_once(
    broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        taken = other.getsockname()[1]
        draws = iter([[taken, *free_ports(1)], free_ports(2)])
        monkeypatch.setattr(component, "free_ports", lambda count: next(draws))
        broker.start()
    assert broker.ports[0] != taken
    assert broker.running


def test_a_later_start_needs_its_own_port_and_says_what_the_log_says(broker: KafkaBroker) -> None:
    broker.start()
    broker.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((LOOPBACK, broker.ports[0]))
        other.listen()
        with pytest.raises(StartError, match="Address already in use") as failure:
            broker.start()
    assert str(broker.log) in str(failure.value)
    assert not broker.running


def test_settings_that_the_storage_tool_refuses_are_quoted(tmp_path: Path) -> None:
    with pytest.raises(ToolFailedError, match="Invalid value one"):
        KafkaBroker(tmp_path, properties={"node.id": "one"}).start()


def test_it_has_no_address_before_its_first_start(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="before its first start"):
        _ = KafkaBroker(tmp_path).bootstrap
