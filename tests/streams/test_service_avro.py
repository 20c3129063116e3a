"""The service on Avro topics while its schema registry goes away and comes back.

Records are those of Confluent's own serialiser. A Debezium feed in Avro is not among them: Confluent's converter for
Kafka Connect is not on Maven Central. What it writes is in test_bronze_avro.py, made from events of a real Debezium.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from checkpoints.lake import Lake
from deploy.embedded.registry import EmbeddedRegistry
from deploy.embedded.stack import EmbeddedStack
from tests.streams.test_service import free_port, get
from tests.support.avro_pipeline import CLICK_V1, CLICK_V2, CLICK_V3, write
from tests.support.service import ServiceProcess, is_drained
from tests.support.tables import lane_records, rows_of

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        started.create_topics({"clicks": 1, "rates": 1})
        yield started


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(username="sluice", password="s3cr3t") as running:
        yield running


@pytest.fixture
def service(
    stack: EmbeddedStack, registry: EmbeddedRegistry, service_jars: Path, tmp_path: Path
) -> Iterator[ServiceProcess]:
    made = ServiceProcess(
        {
            "lake": str(tmp_path / "lake"),
            "pipeline": str(write(tmp_path / "pipeline", "bronze.clicks", "bronze.rates")),
            "kafka.bootstrap_servers": stack.kafka.bootstrap,
            "registry.url": registry.url,
            "registry.username": "sluice",
            "registry.password": "s3cr3t",
            "jars_dir": str(service_jars),
            "metrics_port": str(free_port()),
            "trigger_seconds": "0.5",
            "restart_backoff_seconds": "0.2",
            "restart_backoff_max_seconds": "1",
        },
        tmp_path / "service.log",
    )
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def clicks(registry: EmbeddedRegistry, schema: Any, *values: dict[str, Any]) -> list[bytes]:
    """The records as Confluent's serialiser writes them, which registers their schema."""
    client = SchemaRegistryClient({"url": registry.url, "basic.auth.user.info": "sluice:s3cr3t"})
    serialise = AvroSerializer(client, json.dumps(schema))
    context = SerializationContext("clicks", MessageField.VALUE)
    return [serialise(value, context) for value in values]


def send(stack: EmbeddedStack, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    for value in values:
        producer.produce(topic, value=value)
    assert producer.flush(30) == 0


def waits(service: ServiceProcess) -> list[dict[str, Any]]:
    return [event for event in service.events() if event["event"] == "waiting"]


def test_it_waits_for_the_registry_beside_queries_that_go_on_and_then_everything_arrives(
    stack: EmbeddedStack, registry: EmbeddedRegistry, service: ServiceProcess
) -> None:
    lake = Lake.at(service.settings["lake"])
    first = clicks(
        registry,
        CLICK_V1,
        {"click_id": 1, "link": "/a", "score": 1},
        {"click_id": 2, "link": "/b", "score": 2},
        {"click_id": 3, "link": "/c", "score": 3},
    )
    second = clicks(registry, CLICK_V2, {"click_id": 2**40, "link": "/d", "customer_id": 9})
    experiment = {"channel": "app", "experiment": {"arm": "b"}, "score": 0.5}
    third = clicks(registry, CLICK_V3, {"click_id": 5, "url": "/e", "customer_id": None, **experiment})
    send(stack, "clicks", first[:2])
    send(stack, "rates", [b'{"rate_id": 1, "rate": 1.5}'])
    service.start()
    service.wait_for(lambda status: status["bronze.clicks"]["rows"] == 2, "the first writer's clicks are read")
    service.wait_for(lambda _: get(service, "/readyz")[0] == 200, "everything runs")

    registry.stop()
    send(stack, "clicks", first[2:])
    service.wait_for(lambda status: status["bronze.clicks"]["rows"] == 3, "a schema that is known is not asked for")
    send(stack, "clicks", second + third)
    sentence = f"The schema registry at {registry.url} can not be reached (Connection refused)."
    service.wait_for(lambda _: f"waiting: {sentence}" in get(service, "/readyz")[1], "it says what it waits for")
    send(stack, "rates", [b'{"rate_id": 2, "rate": 2.5}'])
    status = service.wait_for(lambda status: status["bronze.rates"]["rows"] == 2, "the table beside it goes on")
    assert (status["bronze.clicks"]["rows"], status["bronze.clicks"]["lag"]) == (3, 2)
    assert get(service, "/livez")[0] == 200
    assert 'sluice_query_up{query="bronze.clicks"} 0.0' in get(service, "/metrics")[1]
    # It asks again all the while, and is never taken for running meanwhile.
    asked = len(waits(service))
    answers = []
    while len(waits(service)) < asked + 3:
        answers.append(get(service, "/readyz")[0])
    assert set(answers) == {503}
    assert lane_records(lake.errors("bronze.clicks")) == []
    assert "Traceback" not in service.log.read_text()
    assert service.terminate() == 0
    assert {event["query"] for event in waits(service)} == {"bronze.clicks"}

    # The batch that was planned then is run again, and waits as it did.
    asked = len(waits(service))
    service.start()
    service.wait_for(lambda _: len(waits(service)) > asked, "it waits again")
    registry.start()
    service.wait_for(is_drained, "everything arrives")
    # Spark 4.1.1 fails a query after the first batch that it runs again (SPARK-55271); the one after it is sound.
    send(stack, "clicks", clicks(registry, CLICK_V1, {"click_id": 6, "link": "/f", "score": 6}))
    service.wait_for(lambda status: status["bronze.clicks"]["rows"] == 6, "it reads on")
    service.wait_for(lambda _: get(service, "/readyz")[0] == 200, "everything runs again")
    assert service.terminate() == 0
    columns = ("click_id", "url", "customer_id", "channel", "score", "_rescued_data", "_offset")
    assert rows_of(lake.table("bronze.clicks"), *columns) == [
        (1, "/a", None, "web", 1.0, None, 0),
        (1099511627776, "/d", 9, "web", 0.0, None, 3),
        (2, "/b", None, "web", 2.0, None, 1),
        (3, "/c", None, "web", 3.0, None, 2),
        (5, "/e", None, "app", 0.5, '{"experiment":{"arm":"b"}}', 4),
        (6, "/f", None, "web", 6.0, None, 5),
    ]
    assert lane_records(lake.errors("bronze.clicks")) == []
    fetched = [request for request in registry.requests if request.startswith("GET /schemas/ids/")]
    # V1 by the first process and by the second, V2 and V3 by the second
    assert sorted(fetched) == [f"GET /schemas/ids/{number}" for number in (1, 1, 2, 3)]
    assert all(event["reason"].startswith(sentence) for event in waits(service))
    assert "s3cr3t" not in service.log.read_text()


def test_a_drain_without_the_registry_gives_up_says_so_and_loses_nothing(
    stack: EmbeddedStack, registry: EmbeddedRegistry, service: ServiceProcess
) -> None:
    lake = Lake.at(service.settings["lake"])
    send(stack, "clicks", clicks(registry, CLICK_V1, {"click_id": 1, "link": "/a", "score": 1}))
    registry.stop()

    assert service.run_to_end("--once") == 1

    [given_up] = [event for event in service.events() if event["event"] == "query failed" and event["attempt"] == 3]
    assert "can not be reached (Connection refused)" in given_up["error"]
    assert rows_of(lake.table("bronze.clicks"), "_offset") == []
    assert lane_records(lake.errors("bronze.clicks")) == []
    registry.start()
    assert service.run_to_end("--once") == 0
