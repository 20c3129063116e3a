"""Reading Kafka: the stream of one topic, and what the service asks the brokers about it."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from pyspark.sql import DataFrame, SparkSession

from schemas.settings import KafkaSettings, Settings
from schemas.spec import BronzeSpec


def kafka_stream(spark: SparkSession, settings: Settings, spec: BronzeSpec) -> DataFrame:
    """The records of a topic: `key`, `value` BINARY, `topic`, `partition`, `offset`, `timestamp`, `headers`.

    Records of aborted transactions are never seen, and a range that the topic no longer has is an error.
    https://spark.apache.org/docs/4.1.1/streaming/structured-streaming-kafka-integration.html
    """
    options = {
        "subscribe": spec.source.topic,
        "startingOffsets": spec.source.starting_offsets,
        "maxOffsetsPerTrigger": str(settings.max_offsets_per_trigger),
        "includeHeaders": "true",
        "failOnDataLoss": "true",
        "kafka.isolation.level": "read_committed",
        **{f"kafka.{name}": value for name, value in _java_client(settings.kafka).items()},
    }
    return spark.readStream.format("kafka").options(**options).load()


def _java_client(kafka: KafkaSettings) -> dict[str, str]:
    options = {"bootstrap.servers": kafka.bootstrap_servers, "security.protocol": kafka.security_protocol}
    if kafka.sasl_mechanism and kafka.sasl_username and kafka.sasl_password:
        module = (
            "org.apache.kafka.common.security.plain.PlainLoginModule"
            if kafka.sasl_mechanism == "PLAIN"
            else "org.apache.kafka.common.security.scram.ScramLoginModule"
        )
        user, password = (_jaas(text) for text in (kafka.sasl_username, kafka.sasl_password.get_secret_value()))
        options["sasl.mechanism"] = kafka.sasl_mechanism
        options["sasl.jaas.config"] = f"{module} required username={user} password={password};"
    if kafka.ssl_ca_location:
        options["ssl.truststore.type"] = "PEM"
        options["ssl.truststore.location"] = str(kafka.ssl_ca_location)
    return options


def _jaas(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _python_client(kafka: KafkaSettings) -> dict[str, str | int | float | bool]:
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
    }
    if kafka.sasl_mechanism and kafka.sasl_username and kafka.sasl_password:
        options["sasl.mechanism"] = kafka.sasl_mechanism
        options["sasl.username"] = kafka.sasl_username
        options["sasl.password"] = kafka.sasl_password.get_secret_value()
    if kafka.ssl_ca_location:
        options["ssl.ca.location"] = str(kafka.ssl_ca_location)
    return options


class Brokers:
    """What the service asks the brokers: whether a topic is there, and where it ends."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._options = {**_python_client(kafka), "log_level": 0, "socket.timeout.ms": 5000}
        self._servers = kafka.bootstrap_servers
        self._consumer: Consumer | None = None

    def reachable(self, timeout_seconds: float = 3.0) -> bool:
        """Whether the brokers answer."""
        client = AdminClient(self._options)
        try:
            client.list_topics(timeout=timeout_seconds)
        except KafkaException:
            return False
        return True

    def missing(self, topic: str, timeout_seconds: float = 5.0) -> str | None:
        """Why a topic can not be read now, as a sentence; None where it can."""
        # Held in a variable: a temporary client would be destroyed under its own request.
        client = AdminClient(self._options)
        try:
            found = client.list_topics(topic, timeout=timeout_seconds).topics.get(topic)
        except KafkaException as error:
            return f"the brokers at {self._servers} do not answer ({error.args[0].name()})"
        if found is None or found.error is not None or not found.partitions:
            return f"topic {topic} does not exist yet"
        return None

    def end_offsets(self, topic: str, partitions: Mapping[int, int], timeout_seconds: float = 5.0) -> dict[int, int]:
        """Partition -> the offset that the next record will have, for every partition of the topic.

        `partitions` are those already known; new ones are found. Raises KafkaException where the brokers do not answer.
        """
        if self._consumer is None:
            self._consumer = Consumer({**self._options, "group.id": "sluice-lag", "enable.auto.commit": False})
        metadata = self._consumer.list_topics(topic, timeout=timeout_seconds).topics[topic]
        return {
            partition: self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_seconds)[1]
            for partition in sorted({*partitions, *metadata.partitions})
        }

    def close(self) -> None:
        """Close the connection that end offsets are asked over."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
