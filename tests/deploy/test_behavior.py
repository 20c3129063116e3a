"""Seeded events follow from their number, and their records are what a registry's client reads back."""

from __future__ import annotations

from dataclasses import asdict

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from deploy.embedded import behavior
from deploy.embedded.registry import EmbeddedRegistry


def test_an_event_follows_from_its_number() -> None:
    assert behavior.event(7, 10, 5) == behavior.event(7, 10, 5)
    assert behavior.event(7, 10, 5) != behavior.event(8, 10, 5)
    assert {behavior.event(number, 10, 5).customer_id is None for number in range(1, 21)} == {True, False}
    assert len({behavior.event(number, 10, 5).event_id for number in range(1, 101)}) == 100


def test_the_record_is_the_event_to_the_microsecond() -> None:
    events = [behavior.event(number, 10, 5) for number in range(1, 21)]
    with EmbeddedRegistry() as registry:
        records = list(map(behavior.encoder(registry.url), events))
        client = SchemaRegistryClient({"url": registry.url})
        assert client.get_subjects() == [f"{behavior.BEHAVIOR_TOPIC}-value"]
        read = AvroDeserializer(client)
        context = SerializationContext(behavior.BEHAVIOR_TOPIC, MessageField.VALUE)
        assert [read(record, context) for record in records] == [asdict(event) for event in events]
    assert any(event.event_ts.microsecond % 1000 for event in events)
