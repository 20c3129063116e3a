"""The stand-in for a schema registry, asked with Confluent's own client and Avro serializers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from deploy.embedded.errors import NotRunningError
from deploy.embedded.ports import answers
from deploy.embedded.registry import EmbeddedRegistry

CLICK = json.dumps({"type": "record", "name": "Click", "fields": [{"name": "url", "type": "string"}]})
VIEW = json.dumps({"type": "record", "name": "View", "fields": [{"name": "click", "type": "Click"}]})
VALUE = SerializationContext("behavior", MessageField.VALUE)


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as running:
        yield running


def client_of(registry: EmbeddedRegistry, **options: str | int) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": registry.url, "max.retries": 0, **options})


def refusal(registry: EmbeddedRegistry, action: str, *arguments: object, **options: str) -> tuple[int, int]:
    with pytest.raises(SchemaRegistryError) as raised:
        getattr(client_of(registry, **options), action)(*arguments)
    return raised.value.http_status_code, raised.value.error_code


def test_confluents_serializer_writes_and_its_deserializer_reads(registry: EmbeddedRegistry) -> None:
    written = AvroSerializer(client_of(registry), CLICK)({"url": "/"}, VALUE)
    assert written == b"\x00\x00\x00\x00\x01\x02/"
    assert AvroDeserializer(client_of(registry))(written, VALUE) == {"url": "/"}
    assert client_of(registry).get_subjects() == ["behavior-value"]


def test_ids_count_over_subjects_and_versions_within_one(registry: EmbeddedRegistry) -> None:
    client = client_of(registry)
    assert client.register_schema("a", Schema(CLICK, "AVRO")) == 1
    assert client.register_schema("a", Schema('"string"', "AVRO")) == 2
    assert client_of(registry).register_schema("b", Schema(CLICK, "AVRO")) == 1
    assert client_of(registry).register_schema("a", Schema(CLICK, "AVRO")) == 1
    assert client.get_versions("a") == [1, 2]
    latest = client.get_latest_version("a")
    assert (latest.schema_id, latest.version, latest.schema.schema_str) == (2, 2, '"string"')
    assert client.get_version("a", 1).schema_id == 1
    assert [(each.subject, each.version) for each in client.get_schema_versions(1)] == [("a", 1), ("b", 1)]
    found = client.lookup_schema("b", Schema(CLICK, "AVRO"))
    assert (found.schema_id, found.version, found.subject) == (1, 1, "b")


def test_references_and_types_come_back_as_they_were_given(registry: EmbeddedRegistry) -> None:
    client = client_of(registry)
    client.register_schema("click", Schema(CLICK, "AVRO"))
    view = client.register_schema("view", Schema(VIEW, "AVRO", [SchemaReference("Click", "click", 1)]))
    found = client_of(registry).get_schema(view)
    assert [(each.name, each.subject, each.version) for each in found.references] == [("Click", "click", 1)]
    other = client.register_schema("json", Schema('{"type": "object"}', "JSON"))
    assert client_of(registry).get_schema(other).schema_type == "JSON"


def test_what_is_not_there_has_confluents_codes(registry: EmbeddedRegistry) -> None:
    registry.register("a", CLICK)
    assert refusal(registry, "get_schema", 7) == (404, 40403)
    assert refusal(registry, "get_schema", 0) == (404, 40403)
    assert refusal(registry, "get_latest_version", "b") == (404, 40401)
    assert refusal(registry, "get_versions", "b") == (404, 40401)
    assert refusal(registry, "get_version", "a", 2) == (404, 40402)
    assert refusal(registry, "lookup_schema", "a", Schema('"int"', "AVRO")) == (404, 40403)
    assert refusal(registry, "lookup_schema", "b", Schema('"int"', "AVRO")) == (404, 40401)
    assert refusal(registry, "register_schema", "a", Schema("{", "AVRO")) == (422, 42201)
    assert refusal(registry, "get_schema_types") == (404, 404)


def test_a_subject_with_a_slash_is_one_subject(registry: EmbeddedRegistry) -> None:
    client_of(registry).register_schema("a/b c", Schema(CLICK, "AVRO"))
    assert client_of(registry).get_latest_version("a/b c").subject == "a/b c"


def test_it_asks_for_a_password_where_it_has_one() -> None:
    with EmbeddedRegistry(username="me", password="secret") as registry:
        number = registry.register("a", CLICK)
        assert refusal(registry, "get_schema", number)[0] == 401
        assert refusal(registry, "get_schema", number, **{"basic.auth.user.info": "me:wrong"})[0] == 401
        client = client_of(registry, **{"basic.auth.user.info": "me:secret"})
        assert client.get_schema(number).schema_str == CLICK


def test_it_stops_and_comes_back_where_it_was_with_what_it_had() -> None:
    registry = EmbeddedRegistry()
    with pytest.raises(NotRunningError):
        _ = registry.url
    registry.start()
    url, client = registry.url, client_of(registry)
    number = client.register_schema("a", Schema(CLICK, "AVRO"))
    registry.stop()
    registry.stop()
    found = re.fullmatch(r"http://127\.0\.0\.1:([0-9]+)", url)
    assert found is not None
    assert not answers(int(found[1]))
    registry.start()
    registry.start()
    assert registry.url == url
    assert client_of(registry).get_schema(number).schema_str == CLICK
    assert registry.requests == ["POST /subjects/a/versions", "GET /schemas/ids/1"]
    registry.stop()
